package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"

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
	Helo         string `cfg:"helo" doc:"Name of this machine for the server. Default: its address."`
	MessageIDs   string `cfg:"message_id_domain" doc:"Domain in Message-ID headers. Default: that of the sender."`

	ConnectTimeout        time.Duration `cfg:"connect_timeout,default=10s,min=1ms,max=5m" doc:"How long connecting, TLS and login may take."`
	Timeout               time.Duration `cfg:"timeout,default=30s,min=1ms,max=10m" doc:"How long the server may take for an answer. For the one that ends a mail it is twice as much."`
	MaxConnections        int           `cfg:"max_connections,default=10,min=1,max=256" doc:"Connections at a time, and so mails at a time."`
	MessagesPerConnection int           `cfg:"messages_per_connection,default=100,min=1" doc:"Mails after which a connection is replaced."`
	IdleTimeout           time.Duration `cfg:"idle_timeout,default=30s,min=1ms,max=1h" doc:"How long an unused connection is kept."`
}

// TLS modes.
const (
	tlsAuto     = "auto"
	tlsStartTLS = "starttls"
	tlsImplicit = "tls"
	tlsNone     = "none"
)

// portImplicitTLS is the port of submission over TLS (RFC 8314).
const portImplicitTLS = 465

// validate checks what the tags cannot say.
func validate(c config) error {
	var errs []error
	check := func(field string, err error, remedy string) {
		if err != nil {
			errs = append(errs, sdk.FieldError(field, err.Error(), remedy))
		}
	}
	_, err := parseSender(c.From)
	check("from", err, "write it as Shop <no-reply@example.com>")
	if c.ReplyTo != "" {
		_, err := parseSender(c.ReplyTo)
		check("reply_to", err, "write it as Shop <no-reply@example.com>")
	}
	if c.EnvelopeFrom != "" {
		_, err := parseMailbox(c.EnvelopeFrom)
		check("envelope_from", err, "write it as bounces@example.com")
	}
	if c.MessageIDs != "" {
		_, err := asciiDomain(c.MessageIDs)
		check("message_id_domain", err, "write it as example.com")
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
	t := &tls.Config{
		ServerName:         c.Host,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: c.TLSInsecure, //nolint:gosec // asked for by name, documented as for tests
	}
	if c.TLSServerName != "" {
		t.ServerName = c.TLSServerName
	}
	if c.TLSCA != "" {
		t.RootCAs = x509.NewCertPool()
		t.RootCAs.AppendCertsFromPEM([]byte(c.TLSCA))
	}
	return t
}

// identity is who the mails of a connector come from, parsed once.
type identity struct {
	from         *mail.Address
	replyTo      *mail.Address // nil: none
	envelopeFrom string
	idDomain     string
}

func newIdentity(c config) (identity, error) {
	from, err := parseSender(c.From)
	if err != nil {
		return identity{}, sdk.FieldError("from", err.Error(), "write it as Shop <no-reply@example.com>")
	}
	id := identity{from: from, envelopeFrom: from.Address, idDomain: domainOf(from.Address)}
	if c.ReplyTo != "" {
		if id.replyTo, err = parseSender(c.ReplyTo); err != nil {
			return identity{}, sdk.FieldError("reply_to", err.Error(), "write it as Shop <no-reply@example.com>")
		}
	}
	if c.EnvelopeFrom != "" {
		if id.envelopeFrom, err = parseMailbox(c.EnvelopeFrom); err != nil {
			return identity{}, sdk.FieldError("envelope_from", err.Error(), "write it as bounces@example.com")
		}
	}
	if c.MessageIDs != "" {
		if id.idDomain, err = asciiDomain(c.MessageIDs); err != nil {
			return identity{}, sdk.FieldError("message_id_domain", err.Error(), "write it as example.com")
		}
	}
	return id, nil
}
