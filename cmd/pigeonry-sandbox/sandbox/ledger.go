package sandbox

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"os"
	"sync"
	"time"
)

// Outcome says what the sandbox did with one thing it received.
type Outcome string

// Outcomes of a ledger entry. The first four were accepted as far as the sender may know.
const (
	// OutcomeDelivered was accepted and stands in the inbox.
	OutcomeDelivered Outcome = "delivered"
	// OutcomeUndelivered was accepted; the receipt said later that it could not be delivered.
	OutcomeUndelivered Outcome = "undelivered"
	// OutcomeDropped was accepted, then lost on purpose: no inbox, no receipt.
	OutcomeDropped Outcome = "dropped"
	// OutcomeUnanswered was delivered, but the connection was closed instead of an answer.
	OutcomeUnanswered Outcome = "unanswered"
	// OutcomeFailed was refused with a temporary error.
	OutcomeFailed Outcome = "failed"
	// OutcomeRefused was refused with a permanent error.
	OutcomeRefused Outcome = "refused"
	// OutcomeThrottled was refused because the sender is too fast.
	OutcomeThrottled Outcome = "throttled"
)

// Taken reports whether the provider took the message: a second entry of the same message that
// was also taken is a double.
func (o Outcome) Taken() bool {
	switch o {
	case OutcomeDelivered, OutcomeUndelivered, OutcomeDropped, OutcomeUnanswered:
		return true
	default:
		return false
	}
}

// Entry is one line of the ledger: one mail to one recipient, or one part of an SMS.
type Entry struct {
	// Seq counts the entries of a ledger from 1, without gaps.
	Seq int64 `json:"seq"`
	// Channel is "email", "sms", or what a hook was called by.
	Channel string `json:"channel"`
	// Provider is the name of a provider with an HTTP API; the others have their channel for themselves.
	Provider string `json:"provider,omitempty"`
	To       string `json:"to"`
	From     string `json:"from"`
	// Reference is the sender's mark of the message, where the protocol carries one: the header
	// X-Pigeonry-Id of a mail, user_message_reference of an SMS. A repeat has the same.
	Reference string `json:"reference,omitempty"`
	// Idempotency is what stays the same when a message is sent again: the Message-ID of a mail, the header
	// Idempotency-Key of a hook.
	Idempotency string `json:"idempotency,omitempty"`
	// Attempt is the number of the attempt where the sender tells it (X-Pigeonry-Attempt).
	Attempt int `json:"attempt,omitempty"`
	// Part counts from 1 to Parts in an SMS of several parts; both are 0 otherwise.
	Part  int `json:"part,omitempty"`
	Parts int `json:"parts,omitempty"`
	// ProviderID is the id the sandbox gave to the message; empty when it refused it.
	ProviderID string `json:"provider_id,omitempty"`
	// SHA256 is the hex SHA-256 of the text (of the HTML when a mail has no text).
	SHA256  string  `json:"sha256"`
	Outcome Outcome `json:"outcome"`
	// Answer is what the sender was told, e.g. "250 2.0.0" or "0x00000058", or the error code of a provider with an HTTP API;
	// empty if nothing.
	Answer     string    `json:"answer,omitempty"`
	ReceivedAt time.Time `json:"received_at"`
}

// Summary counts the entries of a ledger.
type Summary struct {
	// Entries counts the lines.
	Entries int64 `json:"entries"`
	// Channels has the counts per channel.
	Channels map[string]ChannelSummary `json:"channels"`
}

// ChannelSummary counts the entries of one channel.
type ChannelSummary struct {
	// Entries counts lines: mails and SMS parts, refused ones included.
	Entries int64 `json:"entries"`
	// Taken counts the entries that the provider took.
	Taken int64 `json:"taken"`
	// Messages counts different messages taken; the parts of an SMS count once.
	Messages int64 `json:"messages"`
	// Doubles counts entries taken though the same message (or part) had been taken before.
	// A mail is known by its Message-ID; an SMS by recipient, reference and text.
	Doubles int64 `json:"doubles"`
	// Outcomes counts entries by outcome.
	Outcomes map[Outcome]int64 `json:"outcomes"`
}

// ledger appends entries to a file. It keeps nothing but counts and one hash per message in
// memory, so a run of millions is neither truncated nor heavy.
type ledger struct {
	mu      sync.Mutex
	file    *os.File
	size    int64
	seq     int64
	seed    maphash.Seed
	seen    map[uint64]struct{}
	summary Summary
}

// openLedger opens the ledger at path and goes on where it ended. An empty path means a file of
// no name that is gone when the process ends.
func openLedger(path string) (*ledger, error) {
	file, err := openLedgerFile(path)
	if err != nil {
		return nil, err
	}
	l := &ledger{
		file: file, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{},
		summary: Summary{Channels: map[string]ChannelSummary{}},
	}
	if err := l.reload(); err != nil {
		return nil, errors.Join(fmt.Errorf("read ledger %s: %w", path, err), file.Close())
	}
	return l, nil
}

func openLedgerFile(path string) (*os.File, error) {
	if path != "" {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open ledger: %w", err)
		}
		return file, nil
	}
	file, err := os.CreateTemp("", "pigeonry-sandbox-ledger-")
	if err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	// The name goes at once: the file lives as long as it is open, whatever ends the process.
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("create ledger: %w", err), file.Close())
	}
	return file, nil
}

// reload counts what the file already holds. A last line that a crash cut short is cut off.
func (l *ledger) reload() error {
	err := eachEntry(l.file, func(line []byte, e Entry) error {
		l.size += int64(len(line))
		l.count(e)
		return nil
	})
	if err != nil {
		return err
	}
	return l.file.Truncate(l.size)
}

// append writes an entry and gives it the next sequence number.
func (l *ledger) append(e Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Seq = l.seq + 1
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode ledger entry: %w", err)
	}
	line = append(line, '\n')
	if _, err := l.file.WriteAt(line, l.size); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	l.size += int64(len(line))
	l.count(e)
	return nil
}

// count takes an entry into the summary.
func (l *ledger) count(e Entry) {
	l.seq++
	l.summary.Entries++
	c := l.summary.Channels[e.Channel]
	c.Entries++
	if c.Outcomes == nil {
		c.Outcomes = map[Outcome]int64{}
	}
	c.Outcomes[e.Outcome]++
	if e.Outcome.Taken() {
		c.Taken++
		key := l.key(e)
		if _, double := l.seen[key]; double {
			c.Doubles++
		} else {
			l.seen[key] = struct{}{}
			if e.Part <= 1 {
				c.Messages++
			}
		}
	}
	l.summary.Channels[e.Channel] = c
}

// key tells a message, or a part of one, from all others.
func (l *ledger) key(e Entry) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	identity := e.Idempotency
	if identity == "" {
		identity = e.Reference + " " + e.SHA256
	}
	for _, s := range []string{e.Channel, e.To, identity} {
		_, _ = h.WriteString(s) // never fails
		_ = h.WriteByte(0)
	}
	_ = h.WriteByte(byte(e.Part))
	return h.Sum64()
}

// reader reads the entries written so far, as JSON lines.
func (l *ledger) reader() io.Reader { return l.readerFrom(0) }

// readerFrom reads the entries written so far from a place on, which must be the beginning of one.
func (l *ledger) readerFrom(place int64) io.Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	return io.NewSectionReader(l.file, place, l.size-place)
}

// counts returns a copy of the summary.
func (l *ledger) counts() Summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Summary{Entries: l.summary.Entries, Channels: make(map[string]ChannelSummary, len(l.summary.Channels))}
	for name, c := range l.summary.Channels {
		c.Outcomes = maps.Clone(c.Outcomes)
		s.Channels[name] = c
	}
	return s
}

// eachEntry calls f with every entry and the line it stands on.
func eachEntry(r io.Reader, f func(line []byte, e Entry) error) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // what follows the last line feed was cut short by a crash
		}
		if err != nil {
			return fmt.Errorf("read ledger: %w", err)
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("no ledger entry: %q: %w", line, err)
		}
		if err := f(line, e); err != nil {
			return err
		}
	}
}

func (l *ledger) close() error { return l.file.Close() }
