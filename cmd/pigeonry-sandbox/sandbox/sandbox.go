package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Options.
const (
	DefaultSMTP         = "127.0.0.1:1025"
	DefaultSMPP         = "127.0.0.1:2775"
	DefaultHTTP         = "127.0.0.1:8025"
	DefaultReceiptDelay = 200 * time.Millisecond
	DefaultInboxBound   = 500_000
)

// Options of a sandbox. The zero value listens where a fresh gateway.hcl expects it.
type Options struct {
	// SMTP, SMPP and HTTP are the addresses to listen on; port 0 picks a free one.
	SMTP, SMPP, HTTP string
	// Ledger is the file the ledger is appended to. Empty: a file without a name that is gone when
	// the sandbox ends.
	Ledger string
	// ReceiptDelay passes between an SMS and its receipt; negative means at once.
	ReceiptDelay time.Duration
	// InboxBound is how many messages the inbox keeps; the ledger has no bound.
	InboxBound int
	// Seed of the dice that faults throw: the same seed and order of messages, the same faults.
	Seed uint64
	// Log is told what happens; nil is silent.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&o.SMTP, DefaultSMTP)
	set(&o.SMPP, DefaultSMPP)
	set(&o.HTTP, DefaultHTTP)
	if o.ReceiptDelay == 0 {
		o.ReceiptDelay = DefaultReceiptDelay
	}
	if o.InboxBound == 0 {
		o.InboxBound = DefaultInboxBound
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Addresses that a sandbox listens on, as host:port.
type Addresses struct {
	SMTP string `json:"smtp"`
	SMPP string `json:"smpp"`
	HTTP string `json:"http"`
}

// Sandbox is a running set of providers. Its methods may be called from any goroutine.
type Sandbox struct {
	addresses Addresses
	log       *slog.Logger
	ledger    *ledger
	inbox     *inbox
	faults    *faults
	providers providers
	bounces   *bounces
	post      *post

	mail *mailServer
	smsc *smsc
	web  *http.Server

	inFlight atomic.Int64
	stopping chan struct{}
	stopOnce sync.Once
	stopErr  error
	serving  sync.WaitGroup
	failed   chan error
}

// Start starts all providers. They run until Stop; the context bounds the start alone.
func Start(ctx context.Context, o Options) (*Sandbox, error) {
	o = o.withDefaults()
	listeners, err := listenAll(ctx, o.SMTP, o.SMPP, o.HTTP)
	if err != nil {
		return nil, err
	}
	book, err := openLedger(o.Ledger)
	if err != nil {
		return nil, errors.Join(err, closeAll(listeners))
	}
	s := &Sandbox{
		addresses: Addresses{
			SMTP: listeners[0].Addr().String(), SMPP: listeners[1].Addr().String(), HTTP: listeners[2].Addr().String(),
		},
		log: o.Log, ledger: book, inbox: newInbox(o.InboxBound), post: newPost(o.Log),
		stopping: make(chan struct{}), failed: make(chan error, len(listeners)),
	}
	counter := newCounter(s)
	s.providers, s.bounces = newProviders(counter), newBounces(counter)
	s.providers[ChannelEmail] = s.bounces
	s.faults = newFaults(s.providers.names(), o.ReceiptDelay, o.Seed)
	s.mail = newMailServer(s, listeners[0])
	s.smsc = newSMSC(s, listeners[1])
	s.web = newWeb(s)
	s.serve("SMTP", s.mail.serve)
	s.serve("SMPP", s.smsc.serve)
	s.serving.Go(s.post.run)
	s.serve("HTTP", func() error { return s.web.Serve(listeners[2]) })
	return s, nil
}

// serve runs one provider in a goroutine that Stop waits for.
func (s *Sandbox) serve(name string, run func() error) {
	s.serving.Go(func() {
		err := run()
		select {
		case <-s.stopping: // it ended because it was told to
		default:
			s.failed <- fmt.Errorf("%s provider ended: %w", name, err)
		}
	})
}

// Addresses returns where the sandbox listens.
func (s *Sandbox) Addresses() Addresses { return s.addresses }

// InFlight is how many messages have arrived whole and wait out their latency.
func (s *Sandbox) InFlight() int { return int(s.inFlight.Load()) }

// Failed delivers an error when a provider ends though nobody stopped it.
func (s *Sandbox) Failed() <-chan error { return s.failed }

// Messages returns what stands in the inbox, newest first.
func (s *Sandbox) Messages(f Filter) []*Message {
	found, _ := s.inbox.find(f)
	return found
}

// Changed returns a channel that is closed when the inbox changes next. Take it before looking.
func (s *Sandbox) Changed() <-chan struct{} { return s.inbox.changes() }

// Clear empties the inbox. The ledger stays.
func (s *Sandbox) Clear() { s.inbox.clear() }

// SetFault makes the provider of fault.Channel misbehave from now on.
func (s *Sandbox) SetFault(fault Fault) error {
	var errs []error
	for _, wrong := range fault.Validate(s.faults.names) {
		errs = append(errs, wrong)
	}
	if len(errs) == 0 {
		s.faults.set(fault)
	}
	return errors.Join(errs...)
}

// ClearFaults makes all providers behave again.
func (s *Sandbox) ClearFaults() { s.faults.clear("") }

// Summary counts the ledger.
func (s *Sandbox) Summary() Summary { return s.ledger.counts() }

// Entries returns the whole ledger, oldest first.
func (s *Sandbox) Entries() ([]Entry, error) {
	var all []Entry
	err := eachEntry(s.ledger.reader(), func(_ []byte, e Entry) error {
		all = append(all, e)
		return nil
	})
	return all, err
}

// EachEntry calls f with every entry from a place in the ledger on, and returns the place after the last: 0 is
// the beginning, and what was returned before goes on from there.
func (s *Sandbox) EachEntry(from int64, f func(Entry)) (int64, error) {
	err := eachEntry(s.ledger.readerFrom(from), func(line []byte, e Entry) error {
		from += int64(len(line))
		f(e)
		return nil
	})
	return from, err
}

// decide throws the dice for a message that has arrived and waits for as long as they say.
func (s *Sandbox) decide(channel string) decision {
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	d := s.faults.decide(channel)
	s.wait(d.latency)
	return d
}

// wait waits for a time, or until the sandbox stops.
func (s *Sandbox) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-s.stopping:
	}
}

// Stop ends all providers: messages in flight are answered, receipts that are due later are lost.
// It may be called more than once.
func (s *Sandbox) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		close(s.stopping)
		s.stopErr = errors.Join(s.mail.stop(ctx), s.smsc.stop(ctx), stopWeb(ctx, s.web))
		s.post.stop()
		s.serving.Wait()
		s.stopErr = errors.Join(s.stopErr, s.ledger.close())
	})
	return s.stopErr
}

// runPrefix begins the ids of this run: a provider never gives one id twice, not even after a
// restart, or a receipt would be taken for that of an older message.
func runPrefix() string { return strconv.FormatInt(time.Now().UnixMilli(), 36) }

func listenAll(ctx context.Context, addrs ...string) ([]net.Listener, error) {
	var config net.ListenConfig
	var open []net.Listener
	for _, addr := range addrs {
		l, err := config.Listen(ctx, "tcp", addr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen on %s: %w", addr, err), closeAll(open))
		}
		open = append(open, l)
	}
	return open, nil
}

func closeAll(listeners []net.Listener) error {
	var errs []error
	for _, l := range listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
