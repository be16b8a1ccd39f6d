package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"mime"
	"net/mail"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/pigeonry/pigeonry/sdk"
)

// maxConnections bounds what a connector may ask for in max_connections.
const maxConnections = 256

// config of a connector.
type config struct {
	Host string `cfg:"host,required" doc:"Name or address of the SMTP server."`
	Port int    `cfg:"port,default=587,min=1,max=65535" doc:"Port of the SMTP server: 587 for submission, 465 for submission over TLS, 25 between servers."`

	TLS           string `cfg:"tls,default=auto,enum=auto|starttls|tls|none" doc:"How the connection is protected. auto: TLS on port 465, elsewhere STARTTLS if the server offers it; starttls: STARTTLS or nothing; tls: TLS from the first byte; none: in clear."`
	TLSServerName string `cfg:"tls_server_name" doc:"Name in the server's certificate, where it is not the host."`
	TLSCA         string `cfg:"tls_ca" doc:"Certificates (PEM) of the authorities to trust instead of the system's, e.g. file(\"ca.pem\")."`
	TLSInsecure   bool   `cfg:"tls_insecure" doc:"Takes any certificate. Never outside tests: anybody on the way can read the password and the mails."`

	Username       string     `cfg:"username" doc:"User to log in as. Empty: no login."`
	Password       sdk.Secret `cfg:"password" doc:"Password of the user, or the access token for xoauth2."`
	Auth           string     `cfg:"auth,default=auto,enum=auto|plain|login|cram-md5|scram-sha-256|xoauth2" doc:"How to log in. auto: the best that the server offers, never xoauth2."`
	AuthWithoutTLS bool       `cfg:"auth_without_tls" doc:"Sends the password in clear where there is no TLS. It is always allowed to the same machine."`

	From         string `cfg:"from,required" doc:"Sender, e.g. Shop <no-reply@example.com>."`
	ReplyTo      string `cfg:"reply_to" doc:"Where answers go, if not to the sender. A message overrides it with the attribute reply_to."`
	EnvelopeFrom string `cfg:"envelope_from" doc:"Address that bounces go to, if not to the sender."`

	BounceAddress string         `cfg:"bounce_address" doc:"Address that bounces go to, in the place of envelope_from, with {attempt} before the @, so that each mail has one of its own: bounce+{attempt}@example.com"`
	BounceSecret  sdk.Secret     `cfg:"bounce_secret,min=16" doc:"Signs what {attempt} stands for, and the envelope ids that dsn gives, so that nobody can make bounces up. Empty: bounces find their mail by its Message-ID alone."`
	BounceToken   sdk.Secret     `cfg:"bounce_token,min=16" doc:"Token of whoever posts bounces to <callback URL>/bounce. Empty: nobody may."`
	Mailbox       *mailboxConfig `cfg:"mailbox" doc:"Mailbox that bounces and complaints go to, read over IMAP."`
	DSN           string         `cfg:"dsn,default=off,enum=off|failure|success" doc:"Asks the server for delivery status notifications, where it offers that (RFC 3461). failure: when a mail is late or comes back; success: when it arrives, too."`

	DKIM        []dkimConfig       `cfg:"dkim" doc:"Keys that mails are signed with. Two of them, RSA and Ed25519, make two signatures."`
	Unsubscribe *unsubscribeConfig `cfg:"unsubscribe" doc:"Headers by which a mail program unsubscribes its user with one click (RFC 8058)."`
	ListID      string             `cfg:"list_id" doc:"List-Id header (RFC 2919), e.g. Shop news <news.shop.example.com>. A message overrides it with the attribute header.List-Id."`
	FeedbackID  string             `cfg:"feedback_id" doc:"Feedback-ID header, by which mailbox providers count complaints. A message overrides it with the attribute header.Feedback-ID."`

	Helo       string `cfg:"helo" doc:"Name of this machine for the server. Default: its address."`
	MessageIDs string `cfg:"message_id_domain" doc:"Domain in Message-ID headers. Default: that of the sender."`

	ConnectTimeout        time.Duration `cfg:"connect_timeout,default=10s,min=1ms,max=5m" doc:"How long connecting, TLS and login may take."`
	Timeout               time.Duration `cfg:"timeout,default=30s,min=1ms,max=10m" doc:"How long the server may take for an answer. For the one that ends a mail it is twice as much."`
	MaxConnections        int           `cfg:"max_connections,default=10,min=1,max=256" doc:"Connections at a time, and so mails at a time."`
	MessagesPerConnection int           `cfg:"messages_per_connection,default=100,min=1" doc:"Mails after which a connection is replaced."`
	IdleTimeout           time.Duration `cfg:"idle_timeout,default=30s,min=1ms,max=1h" doc:"How long an unused connection is kept."`

	MaxMailBytes       int64         `cfg:"max_mail_bytes,default=26214400,min=1024,max=104857600" doc:"Bound of a whole mail, as it goes out: base64 adds a third to attachments. Default: 25 MiB, as large providers take."`
	MaxAttachmentBytes int64         `cfg:"max_attachment_bytes,default=10485760,min=1,max=104857600" doc:"Bound of one attachment that is fetched from a URL."`
	AttachmentTimeout  time.Duration `cfg:"attachment_timeout,default=10s,min=1ms,max=5m" doc:"How long fetching one attachment may take."`
	AllowPrivateURLs   bool          `cfg:"allow_private_urls" doc:"Lets the URLs of attachments lead to this machine and to private networks: whoever may send could read what is there."`
}

// TLS modes.
const (
	tlsAuto     = "auto"
	tlsStartTLS = "starttls"
	tlsImplicit = "tls"
	tlsNone     = "none"
)

// What dsn asks for.
const (
	dsnFailure = "failure"
	dsnSuccess = "success"
)

// portImplicitTLS is the port of submission over TLS (RFC 8314).
const portImplicitTLS = 465

// validate checks what the tags cannot say.
func validate(c config) error {
	_, err := newIdentity(c)
	errs := []error{err, c.Mailbox.validate()}
	check := func(field string, err error, remedy string) {
		if err != nil {
			errs = append(errs, sdk.FieldError(field, err.Error(), remedy))
		}
	}
	if strings.ContainsAny(c.Host, " /\r\n\x00") || strings.Count(c.Host, ":") == 1 {
		check("host", fmt.Errorf("%q is no host", c.Host), "write the name alone, e.g. smtp.example.com; the port has its own field")
	}
	if !printable(c.Helo) || strings.Contains(c.Helo, " ") {
		check("helo", errors.New("is no name of a machine"), "write it as mail.example.com, or leave it out")
	}
	if c.TLSCA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.TLSCA)) {
		check("tls_ca", errors.New("holds no certificate"), `give the PEM text itself, e.g. file("ca.pem")`)
	}
	check("password", loginComplete(c), "give both username and password, or neither")
	return errors.Join(errs...)
}

func loginComplete(c config) error {
	switch {
	case c.Username == "" && c.Password != "":
		return errors.New("is given without a username")
	case c.Username != "" && c.Password == "":
		return errors.New("is missing for the username")
	default:
		return nil
	}
}

// tlsMode resolves auto as far as the port tells; what stays auto is STARTTLS if offered.
func (c *config) tlsMode() string {
	if c.TLS == tlsAuto && c.Port == portImplicitTLS {
		return tlsImplicit
	}
	return c.TLS
}

// tlsConfig is what TLS is spoken with.
func (c *config) tlsConfig() *tls.Config {
	return tlsSettings(c.Host, c.TLSServerName, c.TLSCA, c.TLSInsecure)
}

// tlsSettings are for a server with that name in its certificate, vouched for by the authorities in ca, if it is given.
func tlsSettings(host, name, ca string, insecure bool) *tls.Config {
	t := &tls.Config{
		ServerName:         orElse(name, host),
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: insecure, //nolint:gosec // asked for by name, documented as for tests
	}
	if ca != "" {
		t.RootCAs = x509.NewCertPool()
		t.RootCAs.AppendCertsFromPEM([]byte(ca))
	}
	return t
}

// identity is who the mails of a connector come from and what all of them have, parsed once.
type identity struct {
	from         *mail.Address
	replyTo      *mail.Address // nil: none
	returnPath   returnPath
	idDomain     string
	listID       string // as it stands in the header; empty: none
	feedbackID   string
	unsubscriber *unsubscriber // nil: none
	signers      []dkim.SignOptions
	maxMail      int64
}

// newIdentity reads the parts of the config that say who a mail comes from, and reports all that is wrong.
func newIdentity(c config) (identity, error) {
	const asSender = "write it as Shop <no-reply@example.com>"
	id := identity{maxMail: c.MaxMailBytes}
	var errs []error
	note := func(field string, err error, remedy string) {
		if err != nil {
			errs = append(errs, sdk.FieldError(field, err.Error(), remedy))
		}
	}
	var err error
	if id.from, err = parseSender(c.From); err != nil {
		note("from", err, asSender)
		id.from = &mail.Address{Address: "nobody@example.com"} // for the checks that follow
	}
	if c.ReplyTo != "" {
		id.replyTo, err = parseSender(c.ReplyTo)
		note("reply_to", err, asSender)
	}
	id.idDomain = domainOf(id.from.Address)
	if c.MessageIDs != "" {
		id.idDomain, err = asciiDomain(c.MessageIDs)
		note("message_id_domain", err, "write it as example.com")
	}
	id.listID, err = listID(c.ListID)
	note("list_id", err, "write it as Shop news <news.shop.example.com>")
	id.feedbackID = c.FeedbackID
	note("feedback_id", headerText(c.FeedbackID), "write it as campaign:customer:type:sender")
	id.returnPath, err = newReturnPath(c, id.from.Address)
	errs = append(errs, err)
	id.unsubscriber, err = newUnsubscriber(c.Unsubscribe)
	errs = append(errs, err)
	id.signers, err = newSigners(c.DKIM, domainOf(id.from.Address))
	if all := errors.Join(append(errs, err)...); all != nil {
		return identity{}, all
	}
	return id, nil
}

// listID reads a List-Id (RFC 2919 section 2): a name, and an id in angle brackets. An id alone gets its brackets.
func listID(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if err := headerText(s); err != nil {
		return "", err
	}
	name, id, bracketed := strings.Cut(s, "<")
	if !bracketed {
		name, id = "", s+">"
	}
	id, closed := strings.CutSuffix(id, ">")
	if !closed || !strings.Contains(id, ".") || strings.ContainsAny(id, " <>@") || !isASCII(id) {
		return "", fmt.Errorf("%q holds no id with a dot in it", s)
	}
	name = mime.QEncoding.Encode("utf-8", strings.TrimSpace(name)) // the id must stand outside of encoded words
	return strings.TrimLeft(name+" <"+id+">", " "), nil
}
