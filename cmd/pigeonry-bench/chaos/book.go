package chaos

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

// note is what is known of one message outside of the gateway. Its number is its place in the book and stands in
// its recipient, so that provider and database name it too.
type note struct {
	begun    time.Time // the first request
	answered time.Time // zero: not yet
	record   int64     // from the answer
	trace    string
	via      int           // the gateway that was asked last
	delay    time.Duration // the message asked to be sent so much later
	refused  string        // an answer that a good request must not get

	seen    int       // entries in the ledger
	taken   int       // those that the provider took
	told    int       // those of which a receipt says "delivered", and whose id was answered
	hinted  int       // those of which a receipt says "delivered", and whose id nobody was told
	failed  int       // those of which a receipt says "undelivered"
	attempt int       // the highest number of an attempt in an entry
	first   time.Time // of the first entry
}

// book has a note of every message.
type book struct {
	mu    sync.Mutex
	notes []*note
	open  int // not answered
	// watchers are told of each entry of the ledger.
	watchers map[*recovery]struct{}
}

func newBook() *book { return &book{watchers: map[*recovery]struct{}{}} }

// begin notes a new message and returns its number.
func (b *book) begin() (int, *note) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := &note{begun: time.Now()}
	if number := len(b.notes); number%delayedEvery == 0 {
		n.delay = delayed
	}
	b.notes = append(b.notes, n)
	b.open++
	return len(b.notes) - 1, n
}

// ask notes that a gateway is asked about a message.
func (b *book) ask(n *note, gateway int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n.via = gateway
}

// end notes how a message was answered at last.
func (b *book) end(n *note, a answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n.answered, n.record, n.trace, n.refused = time.Now(), a.record, a.trace, a.refused
	b.open--
}

// counts returns how many messages have been begun, and how many of them are not answered.
func (b *book) counts() (begun, open int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.notes), b.open
}

// get returns a copy of a note.
func (b *book) get(number int) (note, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if number < 0 || number >= len(b.notes) {
		return note{}, false
	}
	return *b.notes[number], true
}

// see takes an entry of the ledger. It reports false if the entry is about no message of ours.
func (b *book) see(e *sandbox.Entry) bool {
	number, ok := numberOf(e.To)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !ok || number >= len(b.notes) {
		return false
	}
	n := b.notes[number]
	if n.seen++; n.seen == 1 {
		n.first = e.ReceivedAt
	}
	n.attempt = max(n.attempt, e.Attempt)
	if e.Outcome.Taken() {
		n.taken++
	}
	switch {
	case e.Channel != sandbox.ChannelSMS:
	case e.Outcome == sandbox.OutcomeDelivered:
		n.told++
	case e.Outcome == sandbox.OutcomeUnanswered:
		n.hinted++
	case e.Outcome == sandbox.OutcomeUndelivered:
		n.failed++
	}
	for w := range b.watchers {
		w.see(n, e)
	}
	return true
}

// Messages go to two channels in turn. One in so many asks to be sent later.
const (
	delayedEvery = 20
	delayed      = 3 * time.Second
)

func channelOf(number int) string {
	if number%2 == 0 {
		return sandbox.ChannelSMS
	}
	return sandbox.ChannelEmail
}

// recipientOf is an address that holds the number of the message.
func recipientOf(number int) string {
	if channelOf(number) == sandbox.ChannelSMS {
		return fmt.Sprintf("+86139%08d", number)
	}
	return strconv.Itoa(number) + "@example.com"
}

// numberOf reads the number out of a recipient.
func numberOf(recipient string) (int, bool) {
	digits, mail := strings.CutSuffix(recipient, "@example.com")
	if !mail {
		digits = strings.TrimPrefix(recipient, "+86139")
	}
	number, err := strconv.Atoi(digits)
	return number, err == nil && number >= 0
}
