package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	// senders bounds the requests that are open at a time: enough to go on while half of them hang.
	senders = 256
	// askTimeout is how long a caller waits for an answer before it asks again.
	askTimeout = 10 * time.Second
	// askPause passes, more or less, before a caller asks again.
	askPause = 200 * time.Millisecond
)

// load is a crowd of callers who send at a rate, and repeat each request with its Idempotency-Key, at one gateway
// after the other, until it is answered.
type load struct {
	rate      float64
	addresses []string
	book      *book
	client    *http.Client
	cancel    context.CancelFunc
	working   sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed when paused changes
	paused  bool
	due     time.Time // of the next message
}

func startLoad(rate float64, addresses []string, b *book) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{
		rate: rate, addresses: addresses, book: b, cancel: cancel, paused: true, changed: make(chan struct{}),
		client: &http.Client{Timeout: askTimeout, Transport: &http.Transport{
			MaxIdleConnsPerHost: senders, DialContext: (&net.Dialer{Timeout: time.Second}).DialContext,
		}},
	}
	for range senders {
		l.working.Go(func() { l.send(ctx) })
	}
	return l
}

// stop ends the callers at once; messages that are not answered stay so.
func (l *load) stop() {
	l.cancel()
	l.working.Wait()
	l.client.CloseIdleConnections()
}

// pause has the callers begin no more messages.
func (l *load) pause() { l.set(true) }

// resume has them begin messages at the rate from now on.
func (l *load) resume() { l.set(false) }

func (l *load) set(paused bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused, l.due = paused, time.Now()
	close(l.changed)
	l.changed = make(chan struct{})
}

// next waits until another message is due.
func (l *load) next(ctx context.Context) error {
	for {
		l.mu.Lock()
		wait, changed := time.Hour, l.changed
		if !l.paused {
			if wait = time.Until(l.due); wait <= 0 {
				// Callers that were held up do not make up for more than a second.
				l.due = later(l.due, time.Now().Add(-time.Second)).Add(time.Duration(float64(time.Second) / l.rate))
				l.mu.Unlock()
				return ctx.Err()
			}
		}
		l.mu.Unlock()
		if err := sleep(ctx, wait, changed); err != nil {
			return err
		}
	}
}

// send is one caller.
func (l *load) send(ctx context.Context) {
	for l.next(ctx) == nil {
		number, n := l.book.begin()
		body := bodyOf(number, n.delay)
		for try := number; ctx.Err() == nil; try++ { // the number spreads the callers over the gateways
			gateway := try / 2 % len(l.addresses) // both channels at each gateway
			l.book.ask(n, gateway)
			if a, final := l.ask(ctx, l.addresses[gateway], number, body); final {
				l.book.end(n, a)
				break
			}
			_ = sleep(ctx, askPause/2+rand.N(askPause), nil)
		}
	}
}

// answer is what a caller was told.
type answer struct {
	record  int64
	trace   string
	refused string
}

// ask sends the request once. The answer is not final if it is lost, or says that the gateway cannot just now.
func (l *load) ask(ctx context.Context, address string, number int, body []byte) (answer, bool) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/api/messages/send", bytes.NewReader(body))
	if err != nil {
		return answer{refused: err.Error()}, true
	}
	request.Header.Set("Authorization", "Bearer "+apiKey)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", "chaos-"+strconv.Itoa(number))
	response, err := l.client.Do(request)
	if err != nil {
		return answer{}, false
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	switch status := response.StatusCode; {
	case err != nil, status >= http.StatusInternalServerError, status == http.StatusTooManyRequests, status == http.StatusConflict:
		return answer{}, false
	case status != http.StatusOK && status != http.StatusAccepted:
		return answer{refused: fmt.Sprintf("%s: %s", response.Status, b)}, true
	}
	var given struct {
		Data struct {
			RecordID int64  `json:"record_id"`
			TraceID  string `json:"trace_id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(b, &given); err != nil || given.Data.RecordID == 0 {
		return answer{refused: fmt.Sprintf("an answer without a record id: %s", b)}, true
	}
	return answer{record: given.Data.RecordID, trace: given.Data.TraceID}, true
}

func bodyOf(number int, delay time.Duration) []byte {
	return fmt.Appendf(nil, `{"channel":%q,"recipient":%q,"subject":"Order %d","content":"Your order %d is on its way.","priority":%d,"delay_ms":%d}`,
		channelOf(number), recipientOf(number), number, number, number/2%11, delay.Milliseconds())
}

// sleep waits for a time, or until wake is closed or ctx ends.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
