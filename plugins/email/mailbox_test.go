package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"github.com/pigeonry/pigeonry/sdk"
)

// postOffice is an IMAP server with the mailbox of the user shop.
type postOffice struct {
	tb   testing.TB
	port int
	user *imapmemserver.User

	mu    sync.Mutex
	conns []net.Conn
	net.Listener
}

// Accept implements net.Listener, and remembers the connection.
func (o *postOffice) Accept() (net.Conn, error) {
	conn, err := o.Listener.Accept()
	if err == nil {
		o.mu.Lock()
		o.conns = append(o.conns, conn)
		o.mu.Unlock()
	}
	return conn, err
}

// hangUp closes all connections and says how many there were.
func (o *postOffice) hangUp() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, conn := range o.conns {
		_ = conn.Close()
	}
	return len(o.conns)
}

func openPostOffice(t *testing.T, ca authority, caps ...imap.Cap) *postOffice {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &postOffice{tb: t, port: listener.Addr().(*net.TCPAddr).Port, Listener: listener}
	o.user = imapmemserver.NewUser("shop", "hunter2-of-the-test")
	if err := o.user.Create("INBOX", nil); err != nil {
		t.Fatal(err)
	}
	mailboxes := imapmemserver.New()
	mailboxes.AddUser(o.user)
	set := imap.CapSet{}
	for _, c := range append(caps, imap.CapIMAP4rev1) {
		set[c] = struct{}{}
	}
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return mailboxes.NewSession(), nil, nil
		},
		Caps: set, TLSConfig: ca.server, InsecureAuth: true,
		Logger: discard{},
	})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(o)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		o.hangUp()
		<-served
	})
	return o
}

// discard is a log that nobody reads.
type discard struct{}

func (discard) Printf(string, ...any) {}

// put lays a mail into the inbox.
func (o *postOffice) put(raw string) {
	o.tb.Helper()
	if _, err := o.user.Append("INBOX", strings.NewReader(raw), &imap.AppendOptions{}); err != nil {
		o.tb.Fatal(err)
	}
}

// count is how many mails a folder has, and how many of them nobody has seen.
func (o *postOffice) count(folder string) (all, unseen uint32) {
	o.tb.Helper()
	data, err := o.user.Status(folder, &imap.StatusOptions{NumMessages: true, NumUnseen: true})
	if err != nil {
		o.tb.Fatal(err)
	}
	return *data.NumMessages, *data.NumUnseen
}

func (o *postOffice) config(edits ...func(*mailboxConfig)) func(*config) {
	return func(c *config) {
		c.Mailbox = &mailboxConfig{
			Host: "127.0.0.1", Port: o.port, TLS: tlsNone, Username: "shop", Password: "hunter2-of-the-test", Folder: "INBOX",
			PollInterval: time.Minute, Timeout: 5 * time.Second,
		}
		for _, edit := range edits {
			edit(c.Mailbox)
		}
	}
}

// receiving runs Receive of a connector and hands over what it emits. The gateway stores nothing before store is sent to.
type receiving struct {
	events chan sdk.Events
	store  chan error
	ended  chan error
	cancel context.CancelFunc
}

func receive(t *testing.T, c *connector) *receiving {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &receiving{events: make(chan sdk.Events), store: make(chan error), ended: make(chan error, 1), cancel: cancel}
	emit := func(ctx context.Context, events sdk.Events) error {
		select {
		case r.events <- events:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		select {
		case err := <-r.store:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	go func() { r.ended <- c.Receive(ctx, emit) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-r.ended:
			r.ended <- err
		case <-time.After(10 * time.Second):
			t.Error("Receive does not end")
		}
	})
	return r
}

// next awaits what is emitted next.
func (r *receiving) next(t *testing.T) sdk.Events {
	t.Helper()
	select {
	case events := <-r.events:
		return events
	case err := <-r.ended:
		r.ended <- err
		t.Fatalf("Receive ended: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is received")
	}
	return sdk.Events{}
}

// settled awaits that a folder has so many mails, none of them unseen.
func (o *postOffice) settled(folder string, want uint32) {
	o.tb.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	var all, unseen uint32
	for range 2000 {
		if all, unseen = o.count(folder); all == want && unseen == 0 {
			return
		}
		<-again.C
	}
	o.tb.Fatalf("%s has %d mails, %d unseen; want %d", folder, all, unseen, want)
}

const vacation = "From: ann@example.org\r\nTo: shop@example.com\r\nSubject: away\r\n\r\nI am away.\r\n"

func TestReadsMailbox(t *testing.T) {
	ca := newAuthority(t)
	trust := func(m *mailboxConfig) { m.TLS, m.TLSCA = tlsStartTLS, ca.pem }
	tests := []struct {
		name  string
		caps  []imap.Cap
		edits []func(*mailboxConfig)
	}{
		{"told by the server", []imap.Cap{imap.CapIdle, imap.CapUIDPlus, imap.CapMove}, nil},
		{"over STARTTLS", []imap.Cap{imap.CapIMAP4rev2}, []func(*mailboxConfig){trust}},
		{"looking again and again", nil, []func(*mailboxConfig){func(m *mailboxConfig) { m.PollInterval = 20 * time.Millisecond }}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			office := openPostOffice(t, ca, test.caps...)
			c := connect(t, 25, office.config(append(test.edits, func(m *mailboxConfig) { m.MoveTo = "Reports" })...))
			office.put(dsn("shop@example.com", "failed", "5.1.1", "550 no", ours))
			office.put(vacation)
			r := receive(t, c)
			events := r.next(t)
			if len(events.Receipts) != 1 || events.Receipts[0].ProviderID != "msg_0Abc@example.com" {
				t.Fatalf("received %+v", events)
			}
			if all, unseen := office.count("INBOX"); all != 2 || unseen != 2 {
				t.Errorf("before it is stored, %d of %d mails are unseen, want 2 of 2", unseen, all)
			}
			r.store <- nil
			office.settled("INBOX", 1)
			office.settled("Reports", 1)

			// One that comes while the connection waits.
			office.put(strings.NewReplacer("TYPE", "abuse", "RCPT\r\n", "\r\n").Replace(feedback))
			if events = r.next(t); len(events.Receipts) != 1 || len(events.Inbound) != 1 {
				t.Errorf("received %+v", events)
			}
			r.store <- nil
			office.settled("INBOX", 1)
			office.settled("Reports", 2)
		})
	}
}

// TestNothingIsMarkedBeforeItIsStored lets the gateway fail, and the connection break: the mail comes again.
func TestNothingIsMarkedBeforeItIsStored(t *testing.T) {
	office := openPostOffice(t, authority{}, imap.CapIdle)
	c := connect(t, 25, office.config())
	office.put(dsn("shop@example.com", "failed", "5.1.1", "550 no", ours))

	r := receive(t, c)
	first := r.next(t)
	r.store <- errors.New("the gateway is away")
	if err := <-r.ended; err == nil {
		t.Fatal("Receive ends without an error")
	} else {
		r.ended <- err
	}
	r = receive(t, c)
	r.next(t)
	office.hangUp()
	r.store <- nil // stored, but it cannot be marked any more
	if err := <-r.ended; err == nil {
		t.Fatal("Receive ends without an error")
	} else {
		r.ended <- err
	}
	r = receive(t, c)
	if again := r.next(t); again.Receipts[0].DedupeKey != first.Receipts[0].DedupeKey {
		t.Errorf("the repeat has another key: %+v, %+v", first, again)
	}
	r.store <- nil
	office.settled("INBOX", 1)
}

// TestManyBounces reads more mails than fit into one go.
func TestManyBounces(t *testing.T) {
	office := openPostOffice(t, authority{}, imap.CapIdle)
	for range 2*mailsAtOnce + 5 {
		office.put(dsn("shop@example.com", "failed", "5.1.1", "550 no", ours))
	}
	r := receive(t, connect(t, 25, office.config()))
	total := 0
	for total < 2*mailsAtOnce+5 {
		total += len(r.next(t).Receipts)
		r.store <- nil
	}
	office.settled("INBOX", 2*mailsAtOnce+5)
}

// TestLargeBounce reads the beginning of a mail that came back with all its files.
func TestLargeBounce(t *testing.T) {
	office := openPostOffice(t, authority{}, imap.CapIdle)
	office.put(dsn("shop@example.com", "failed", "5.1.1", "550 no", ours+"\r\n"+strings.Repeat("base64base64base64\r\n", 2*maxReport/20)))
	r := receive(t, connect(t, 25, office.config()))
	if events := r.next(t); len(events.Receipts) != 1 || events.Receipts[0].ProviderID == "" {
		t.Errorf("received %+v", events)
	}
	r.store <- nil
	office.settled("INBOX", 1)
}

func TestMailboxEndsWithItsContext(t *testing.T) {
	office := openPostOffice(t, authority{}, imap.CapIdle)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, edit := range map[string]func(*mailboxConfig){
		"waiting for mails":      func(*mailboxConfig) {},
		"waiting for a greeting": func(m *mailboxConfig) { m.Port = silent.Addr().(*net.TCPAddr).Port },
	} {
		r := receive(t, connect(t, 25, office.config(edit)))
		r.cancel()
		select {
		case err := <-r.ended:
			r.ended <- err
		case <-time.After(10 * time.Second):
			t.Errorf("%s does not end", name)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := connect(t, 25).Receive(ended, nil); err != nil {
		t.Errorf("without a mailbox: %v", err)
	}
}

func TestMailboxFailures(t *testing.T) {
	ca := newAuthority(t)
	office := openPostOffice(t, ca, imap.CapIdle)
	sink := startSink(t, sinkOptions{})
	tests := map[string]func(*mailboxConfig){
		"wrong password": func(m *mailboxConfig) { m.Password = "other-than-the-right" },
		"no such folder": func(m *mailboxConfig) { m.Folder = "Bounces" },
		"no authority":   func(m *mailboxConfig) { m.TLS = tlsStartTLS },
		"no TLS there":   func(m *mailboxConfig) { m.TLS = tlsImplicit },
		"nobody listens": func(m *mailboxConfig) { m.Port = 1 },
		"no IMAP server": func(m *mailboxConfig) { m.Port, m.Timeout = sink.port, 200*time.Millisecond },
	}
	for name, edit := range tests {
		c := connect(t, sink.port, office.config(edit))
		err := c.Receive(t.Context(), nil)
		if err == nil || strings.Contains(err.Error(), "other-than") {
			t.Errorf("%s: Receive gives %v", name, err)
		}
		failed, _ := errors.AsType[*sdk.DeliveryError](c.Check(t.Context()))
		if failed == nil || failed.Code != codeMailboxFailed || failed.Fault != sdk.FaultConfig {
			t.Errorf("%s: Check gives %v", name, failed)
		}
	}
	if err := connect(t, sink.port, office.config()).Check(t.Context()); err != nil {
		t.Errorf("a sound mailbox: %v", err)
	}
}

// TestServerThatDoesNotTell asks by NOOP what is new, where there is no IDLE.
func TestServerThatDoesNotTell(t *testing.T) {
	office := openPostOffice(t, authority{}, imap.CapIdle)
	c := connect(t, 25, office.config())
	r, err := openMailbox(t.Context(), c.mailbox)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	office.put(vacation)
	if err := r.noop(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.changed:
	default:
		t.Error("a mail that has come is not heard of")
	}
	office.hangUp()
	if err := r.noop(t.Context()); err == nil {
		t.Error("a connection that is gone answers")
	}
}

func TestMailboxConfig(t *testing.T) {
	tests := map[string]struct {
		edit func(*mailboxConfig)
		path string
	}{
		"sound":                {func(*mailboxConfig) {}, ""},
		"password in clear":    {func(m *mailboxConfig) { m.TLS = tlsNone }, "mailbox.tls"},
		"in clear, at home":    {func(m *mailboxConfig) { m.TLS, m.Host = tlsNone, "localhost" }, ""},
		"host with port":       {func(m *mailboxConfig) { m.Host = "imap.example.com:993" }, "mailbox.host"},
		"authority":            {func(m *mailboxConfig) { m.TLSCA = "/etc/ca.pem" }, "mailbox.tls_ca"},
		"folder":               {func(m *mailboxConfig) { m.Folder = "a\r\nb" }, "mailbox.folder"},
		"moved where it stays": {func(m *mailboxConfig) { m.MoveTo = "INBOX" }, "mailbox.move_to"},
	}
	for name, test := range tests {
		c := valid()
		c.Mailbox = &mailboxConfig{Host: "imap.example.com", Port: 993, TLS: tlsAuto, Username: "u", Password: "p", Folder: "INBOX"}
		test.edit(c.Mailbox)
		err := validate(c)
		wrong, _ := errors.AsType[*sdk.ConfigError](err)
		if (err == nil) != (test.path == "") || err != nil && (wrong == nil || wrong.Path != test.path) {
			t.Errorf("%s gives %v, want an error of %q", name, err, test.path)
		}
	}
	for port, want := range map[int]string{143: tlsStartTLS, 993: tlsImplicit, 10143: tlsImplicit} {
		if got := (&mailboxConfig{TLS: tlsAuto, Port: port}).tlsMode(); got != want {
			t.Errorf("port %d means %s, want %s", port, got, want)
		}
	}
}
