package chaos

import (
	"context"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

// witness reads the provider's ledger as it grows.
type witness struct {
	sandbox *sandbox.Sandbox
	book    *book
	cancel  context.CancelFunc
	working sync.WaitGroup

	mu      sync.Mutex
	place   int64
	foreign []string // recipients of entries that are about no message of ours
	err     error
}

func startWitness(s *sandbox.Sandbox, b *book) *witness {
	ctx, cancel := context.WithCancel(context.Background())
	w := &witness{sandbox: s, book: b, cancel: cancel}
	w.working.Go(func() {
		for sleep(ctx, 20*time.Millisecond, nil) == nil {
			w.read()
		}
	})
	return w
}

// stop ends the reading.
func (w *witness) stop() {
	w.cancel()
	w.working.Wait()
}

// read takes in what is new in the ledger.
func (w *witness) read() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	w.place, w.err = w.sandbox.EachEntry(w.place, func(e sandbox.Entry) {
		if !w.book.see(&e) {
			w.foreign = append(w.foreign, e.To)
		}
	})
}

// strangers are recipients of entries that are about no message of ours, up to now.
func (w *witness) strangers() ([]string, error) {
	w.read()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.foreign, w.err
}

// lane is a way that messages take: the gateway that is asked and the channel.
type lane struct {
	gateway int
	channel string
}

// recovery waits until messages that were begun after a time have arrived on every lane.
type recovery struct {
	since   time.Time
	waiting map[lane]bool
	last    time.Time // of the entry that freed the last lane
	done    chan struct{}
}

// watch begins to wait for the recovery from a fault.
func (b *book) watch(since time.Time, gateways int) *recovery {
	r := &recovery{since: since, waiting: map[lane]bool{}, done: make(chan struct{})}
	for g := range gateways {
		r.waiting[lane{g, sandbox.ChannelSMS}] = true
		r.waiting[lane{g, sandbox.ChannelEmail}] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watchers[r] = struct{}{}
	return r
}

func (b *book) unwatch(r *recovery) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.watchers, r)
}

// see is called with the book locked.
func (r *recovery) see(n *note, e *sandbox.Entry) {
	l := lane{n.via, e.Channel}
	if !r.waiting[l] || n.begun.Before(r.since) || n.delay > 0 || !e.Outcome.Taken() {
		return
	}
	delete(r.waiting, l)
	r.last = later(r.last, e.ReceivedAt)
	if len(r.waiting) == 0 {
		close(r.done)
	}
}
