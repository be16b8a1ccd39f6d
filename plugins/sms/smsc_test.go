package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
	"github.com/pigeonry/pigeonry/sdk"
)

// smsc is an SMS centre for tests, made of the server side of package smpp. It takes everything
// unless answer says otherwise.
type smsc struct {
	server *smpp.Server
	addr   string
	bound  chan *smpp.Session // each session as it comes

	mu       sync.Mutex
	answer   func(m *smpp.ShortMessage) smpp.Status
	received []*smpp.ShortMessage
}

func newSMSC(tb testing.TB) *smsc {
	tb.Helper()
	c := &smsc{bound: make(chan *smpp.Session, 64)}
	c.server = &smpp.Server{
		SystemID: "test", Submit: c.submit,
		Bound:   func(s *smpp.Session) { c.bound <- s },
		Options: smpp.Options{Window: 100},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listen: %v", err)
	}
	c.addr = listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- c.server.Serve(listener) }()
	tb.Cleanup(func() {
		c.server.Close()
		if err := <-served; !errors.Is(err, smpp.ErrServerClosed) {
			tb.Errorf("serve: %v", err)
		}
	})
	return c
}

func (c *smsc) submit(_ context.Context, _ *smpp.Session, m *smpp.ShortMessage) (string, smpp.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received = append(c.received, m)
	if c.answer != nil {
		if status := c.answer(m); status != smpp.StatusOK {
			return "", status
		}
	}
	return fmt.Sprintf("id%d", len(c.received)), smpp.StatusOK
}

// answers sets the answers to the submits to come, in their order; later ones are taken.
func (c *smsc) answers(statuses ...smpp.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = func(*smpp.ShortMessage) smpp.Status {
		if len(statuses) == 0 {
			return smpp.StatusOK
		}
		next := statuses[0]
		statuses = statuses[1:]
		return next
	}
}

func (c *smsc) taken() []*smpp.ShortMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*smpp.ShortMessage(nil), c.received...)
}

// config is what the tags' defaults give, but for the SMSC at addr.
func (c *smsc) config() config { return configFor(c.addr) }

func configFor(addr string) config {
	host, port, _ := net.SplitHostPort(addr)
	number, _ := strconv.Atoi(port)
	return config{
		Host: host, Port: number, TLS: "none", SystemID: "shop", Password: "secret",
		BindMode: "transceiver", Binds: 1, Window: 10, Source: "Shop", SourceTON: -1, SourceNPI: -1,
		DestTON: 1, DestNPI: 1, RegisteredDelivery: 1, Alphabet: "gsm7", MaxParts: 10, ReceiptID: "as_is",
		ConnectTimeout: 5 * time.Second, ResponseTimeout: 5 * time.Second, EnquireLink: 30 * time.Second,
		ThrottleBackoff: 10 * time.Millisecond,
	}
}

func openConnector(tb testing.TB, cfg config) *connector {
	tb.Helper()
	c, err := open(tb.Context(), cfg)
	if err != nil {
		tb.Fatalf("open: %v", err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// receiving runs Receive and gives the events it emits.
func receiving(tb testing.TB, c *connector) <-chan sdk.Events {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	events, done := make(chan sdk.Events, 64), make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Receive(ctx, func(_ context.Context, e sdk.Events) error {
			events <- e
			return nil
		})
	}()
	tb.Cleanup(func() {
		cancel()
		<-done
	})
	return events
}

func message(text string) *sdk.Message {
	return &sdk.Message{
		ID: "m1", AttemptID: "a1", IdempotencyKey: "k1", Recipient: "+8613800138000",
		Content: sdk.Content{Plain: text},
	}
}
