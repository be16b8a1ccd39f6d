package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"github.com/pigeonry/pigeonry/sdk"
)

// mailboxConfig is the mailbox that bounces and complaints go to, read over IMAP.
type mailboxConfig struct {
	Host string `cfg:"host,required" doc:"Name or address of the IMAP server."`
	Port int    `cfg:"port,default=993,min=1,max=65535" doc:"Port of the IMAP server: 993 with TLS from the first byte, 143 with STARTTLS."`

	TLS           string `cfg:"tls,default=auto,enum=auto|starttls|tls|none" doc:"How the connection is protected. auto: STARTTLS on port 143, elsewhere TLS from the first byte; none: in clear, for a server on the same machine."`
	TLSServerName string `cfg:"tls_server_name" doc:"Name in the server's certificate, where it is not the host."`
	TLSCA         string `cfg:"tls_ca" doc:"Certificates (PEM) of the authorities to trust instead of the system's, e.g. file(\"ca.pem\")."`
	TLSInsecure   bool   `cfg:"tls_insecure" doc:"Takes any certificate. Never outside tests."`

	Username string     `cfg:"username,required" doc:"User to log in as."`
	Password sdk.Secret `cfg:"password,required" doc:"Password of the user."`

	Folder       string        `cfg:"folder,default=INBOX" doc:"Folder to read. Every mail in it is looked at once, and then marked as seen."`
	MoveTo       string        `cfg:"move_to" doc:"Folder that reports go to once they are stored; made where it is missing. Empty: they stay, and are seen."`
	PollInterval time.Duration `cfg:"poll_interval,default=1m,min=1s,max=1h" doc:"How often to look for mails where the server does not tell by itself (IDLE), and to make sure where it does."`
	Timeout      time.Duration `cfg:"timeout,default=1m,min=1ms,max=10m" doc:"How long connecting and each command may take."`
}

const (
	// mailsAtOnce bounds the mails that are read and stored together.
	mailsAtOnce = 20
	// maxReport is how much of a mail is read: the mail that came back, large as it may be, stands at its end.
	maxReport = 1 << 20
	// portIMAP is where STARTTLS is spoken.
	portIMAP = 143
)

// validate checks what the tags cannot say.
func (m *mailboxConfig) validate() error {
	if m == nil {
		return nil
	}
	var errs []error
	if strings.ContainsAny(m.Host, " /\r\n\x00") || strings.Count(m.Host, ":") == 1 {
		errs = append(errs, sdk.FieldError("mailbox.host", fmt.Sprintf("%q is no host", m.Host), "write the name alone, e.g. imap.example.com; the port has its own field"))
	}
	if m.TLS == tlsNone && !local(m.Host) {
		errs = append(errs, sdk.FieldError("mailbox.tls", "would send the password in clear to another machine", `write tls = "tls" or "starttls"`))
	}
	if m.TLSCA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(m.TLSCA)) {
		errs = append(errs, sdk.FieldError("mailbox.tls_ca", "holds no certificate", `give the PEM text itself, e.g. file("ca.pem")`))
	}
	if !printable(m.Folder) || !printable(m.MoveTo) {
		errs = append(errs, sdk.FieldError("mailbox.folder", "has a control character", "write it as INBOX"))
	}
	if m.MoveTo == m.Folder {
		errs = append(errs, sdk.FieldError("mailbox.move_to", "is the folder that is read", "name another one, or leave it out"))
	}
	return errors.Join(errs...)
}

func (m *mailboxConfig) tlsMode() string {
	switch {
	case m.TLS == tlsAuto && m.Port == portIMAP:
		return tlsStartTLS
	case m.TLS == tlsAuto:
		return tlsImplicit
	default:
		return m.TLS
	}
}

// reader is one connection to the mailbox. One goroutine uses it.
type reader struct {
	config  *mailboxConfig
	conn    net.Conn
	client  *imapclient.Client
	changed chan struct{} // the server says that there are mails
}

// openMailbox connects, logs in and opens the folder. The connection ends with ctx.
func openMailbox(ctx context.Context, c *mailboxConfig) (*reader, error) {
	bounded, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	address := net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
	conn, err := (&net.Dialer{}).DialContext(bounded, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect to the mailbox: %w", err)
	}
	r := &reader{config: c, conn: conn, changed: make(chan struct{}, 1)}
	stop := context.AfterFunc(bounded, func() { _ = conn.Close() }) // what waits on it finds out
	err = r.open(bounded)
	stop()
	if err = errors.Join(err, bounded.Err()); err != nil {
		r.close()
		return nil, fmt.Errorf("open the mailbox at %s: %w", address, err)
	}
	return r, nil
}

func (r *reader) open(ctx context.Context) error {
	settings := tlsSettings(r.config.Host, r.config.TLSServerName, r.config.TLSCA, r.config.TLSInsecure)
	options := &imapclient.Options{TLSConfig: settings, UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: r.heard}}
	switch r.config.tlsMode() {
	case tlsImplicit:
		secured := tls.Client(r.conn, settings)
		if err := secured.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS: %w; see tls_ca and tls_server_name", err)
		}
		r.client = imapclient.New(secured, options)
	case tlsStartTLS:
		client, err := imapclient.NewStartTLS(r.conn, options)
		if err != nil {
			return fmt.Errorf("STARTTLS: %w; see tls_ca and tls_server_name", err)
		}
		r.client = client
	default:
		r.client = imapclient.New(r.conn, options)
	}
	if err := r.client.WaitGreeting(); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if err := r.login(); err != nil {
		return fmt.Errorf("login: %w", err)
	}
	if r.config.MoveTo != "" {
		if err := r.client.Create(r.config.MoveTo, nil).Wait(); err != nil && !refused(err) {
			return fmt.Errorf("make %s: %w", r.config.MoveTo, err) // refused: it is there already
		}
	}
	if _, err := r.client.Select(r.config.Folder, nil).Wait(); err != nil {
		return fmt.Errorf("select %s: %w", r.config.Folder, err)
	}
	return nil
}

// refused says whether the server answered, and said no.
func refused(err error) bool {
	_, ok := errors.AsType[*imap.Error](err)
	return ok
}

// login uses the command that the server wants.
func (r *reader) login() error {
	user, password := r.config.Username, r.config.Password.Reveal()
	if r.client.Caps().Has(imap.AuthCap(sasl.Plain)) {
		return r.client.Authenticate(sasl.NewPlainClient("", user, password))
	}
	return r.client.Login(user, password).Wait()
}

// heard is told what the server says by itself.
func (r *reader) heard(data *imapclient.UnilateralDataMailbox) {
	if data.NumMessages == nil {
		return
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *reader) close() {
	if r.client != nil {
		_ = r.client.Close() // nothing depends on how it ends
	}
	_ = r.conn.Close()
}

// bound ends all waiting on the connection at the timeout of a command, or when ctx ends.
func (r *reader) bound(ctx context.Context) (release func()) {
	timer := time.AfterFunc(r.config.Timeout, func() { _ = r.conn.Close() })
	stop := context.AfterFunc(ctx, func() { _ = r.conn.Close() })
	return func() {
		timer.Stop()
		stop()
	}
}

// Receive implements sdk.Receiver: it reads the mailbox, if there is one. A mail is marked only after the gateway has
// stored what it says.
func (c *connector) Receive(ctx context.Context, emit sdk.Emit) error {
	if c.mailbox == nil { // nothing to receive: the SDK takes whoever returns earlier for one who lost what it received from
		<-ctx.Done()
		return nil
	}
	r, err := openMailbox(ctx, c.mailbox)
	if err != nil {
		return err
	}
	defer r.close()
	for {
		taken, err := c.takeMails(ctx, r, emit)
		if err != nil {
			return err
		}
		if taken > 0 {
			continue
		}
		if err := r.wait(ctx); err != nil {
			return err
		}
	}
}

// takeMails reads some of the mails that nobody has seen and says how many.
func (c *connector) takeMails(ctx context.Context, r *reader, emit sdk.Emit) (int, error) {
	mails, err := r.unseen(ctx)
	if err != nil || len(mails) == 0 {
		return 0, err
	}
	var events sdk.Events
	var all, reports imap.UIDSet
	for _, m := range mails {
		all.AddNum(m.uid)
		found, why := c.read(m.raw)
		if found.Empty() {
			sdk.Logger(ctx).InfoContext(ctx, "a mail in the bounce mailbox changes nothing", "uid", uint32(m.uid), "reason", why)
			continue
		}
		reports.AddNum(m.uid)
		events.Receipts = append(events.Receipts, found.Receipts...)
		events.Inbound = append(events.Inbound, found.Inbound...)
	}
	if !events.Empty() {
		if err := emit(ctx, events); err != nil {
			return 0, fmt.Errorf("hand on what the mailbox says: %w", err)
		}
	}
	return len(mails), r.settle(ctx, all, reports)
}

// received is one mail in the mailbox.
type received struct {
	uid imap.UID
	raw []byte
}

// unseen fetches mails that are not marked as seen, without marking them.
func (r *reader) unseen(ctx context.Context) ([]received, error) {
	release := r.bound(ctx)
	defer release()
	select {
	case <-r.changed: // what it told of is about to be found
	default:
	}
	criteria := &imap.SearchCriteria{NotFlag: []imap.Flag{imap.FlagSeen, imap.FlagDeleted}}
	found, err := r.client.UIDSearch(criteria, nil).Wait()
	if err != nil {
		return nil, fmt.Errorf("search the mailbox: %w", err)
	}
	uids := found.AllUIDs()
	if len(uids) == 0 {
		return nil, nil
	}
	section := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: maxReport}}
	options := &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}}
	fetched, err := r.client.Fetch(imap.UIDSetNum(uids[:min(len(uids), mailsAtOnce)]...), options).Collect()
	if err != nil {
		return nil, fmt.Errorf("fetch from the mailbox: %w", err)
	}
	mails := make([]received, 0, len(fetched))
	for _, m := range fetched {
		mails = append(mails, received{uid: m.UID, raw: m.FindBodySection(section)})
	}
	return mails, nil
}

// settle marks mails as seen and moves reports away.
func (r *reader) settle(ctx context.Context, all, reports imap.UIDSet) error {
	release := r.bound(ctx)
	defer release()
	seen := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagSeen}}
	if err := r.client.Store(all, seen, nil).Close(); err != nil {
		return fmt.Errorf("mark mails as seen: %w", err)
	}
	if r.config.MoveTo == "" || len(reports) == 0 {
		return nil
	}
	if _, err := r.client.Move(reports, r.config.MoveTo).Wait(); err != nil {
		return fmt.Errorf("move reports to %s: %w", r.config.MoveTo, err)
	}
	return nil
}

// wait returns when there may be new mails.
func (r *reader) wait(ctx context.Context) error {
	timer := time.NewTimer(r.config.PollInterval)
	defer timer.Stop()
	if !r.client.Caps().Has(imap.CapIdle) && !r.client.Caps().Has(imap.CapIMAP4rev2) {
		select {
		case <-timer.C:
			return r.noop(ctx)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	idle, err := r.idle(ctx)
	if err != nil {
		return err
	}
	select {
	case <-r.changed:
	case <-timer.C:
	case <-r.client.Closed():
	case <-ctx.Done():
		return context.Cause(ctx) // closing the connection ends the command
	}
	release := r.bound(ctx)
	defer release()
	if err := errors.Join(idle.Close(), idle.Wait()); err != nil {
		return fmt.Errorf("wait for mails: %w", err)
	}
	return nil
}

func (r *reader) idle(ctx context.Context) (*imapclient.IdleCommand, error) {
	release := r.bound(ctx)
	defer release()
	idle, err := r.client.Idle()
	if err != nil {
		return nil, fmt.Errorf("wait for mails: %w", err)
	}
	return idle, nil
}

// noop lets the server tell what is new.
func (r *reader) noop(ctx context.Context) error {
	release := r.bound(ctx)
	defer release()
	if err := r.client.Noop().Wait(); err != nil {
		return fmt.Errorf("look for mails: %w", err)
	}
	return nil
}
