package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// sink is an SMTP server that keeps what it takes.
type sink struct {
	port     int
	password string // asked for when set
	stopping chan struct{}

	mu    sync.Mutex
	mails []taken
	conns int
}

type taken struct {
	from, to string
	utf8     bool
	raw      []byte
}

// sinkOptions of startSink.
type sinkOptions struct {
	tls      *tls.Config
	implicit bool // TLS from the first byte
	password string
}

func startSink(tb testing.TB, o sinkOptions) *sink {
	tb.Helper()
	s := &sink{password: o.password, stopping: make(chan struct{})}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conns++
		return &sinkSession{sink: s}, nil
	}))
	server.Domain, server.EnableSMTPUTF8, server.AllowInsecureAuth = "sink", true, true
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	if !o.implicit {
		server.TLSConfig = o.tls
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s.port = listener.Addr().(*net.TCPAddr).Port
	if o.implicit {
		listener = tls.NewListener(listener, o.tls)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	tb.Cleanup(func() {
		close(s.stopping)
		_ = server.Close()
		<-served
	})
	return s
}

func (s *sink) all() []taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]taken(nil), s.mails...)
}

func (s *sink) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

type sinkSession struct {
	sink   *sink
	mail   taken
	logged bool
}

func (s *sinkSession) AuthMechanisms() []string {
	if s.sink.password == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *sinkSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "shop" || password != s.sink.password {
			return smtp.ErrAuthFailed
		}
		s.logged = true
		return nil
	}), nil
}

func (s *sinkSession) Mail(from string, o *smtp.MailOptions) error {
	if s.sink.password != "" && !s.logged {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Authentication required"}
	}
	s.mail = taken{from: from, utf8: o.UTF8}
	return nil
}

// Recipients that a sink treats otherwise.
const (
	slowRecipient    = "slow@example.com"    // answered after more than a second
	refusedRecipient = "refused@example.com" // refused by an answer that quotes the password
)

func (s *sinkSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	switch to {
	case refusedRecipient:
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "not with " + s.sink.password}
	case slowRecipient:
		select {
		case <-time.After(1200 * time.Millisecond):
		case <-s.sink.stopping:
		}
	}
	s.mail.to = to
	return nil
}

func (s *sinkSession) Data(r io.Reader) (err error) {
	if s.mail.raw, err = io.ReadAll(r); err != nil {
		return errors.New("cut short")
	}
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	s.sink.mails = append(s.sink.mails, s.mail)
	return nil
}

func (*sinkSession) Reset()        {}
func (*sinkSession) Logout() error { return nil }

// authority is a certificate authority made for a test.
type authority struct {
	pem    string
	server *tls.Config // for 127.0.0.1 and mail.example.com
	// certPEM and keyPEM are what server holds, for peers that read files.
	certPEM, keyPEM []byte
}

func newAuthority(tb testing.TB) authority {
	tb.Helper()
	caKey, ca, caDER := certificate(tb, nil, nil)
	key, _, der := certificate(tb, ca, caKey)
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	encode := func(kind string, der []byte) []byte {
		var out bytes.Buffer
		if err := pem.Encode(&out, &pem.Block{Type: kind, Bytes: der}); err != nil {
			tb.Fatal(err)
		}
		return out.Bytes()
	}
	return authority{
		pem:     string(encode("CERTIFICATE", caDER)),
		certPEM: encode("CERTIFICATE", der),
		keyPEM:  encode("EC PRIVATE KEY", keyDER),
		server: &tls.Config{
			MinVersion:   tls.VersionTLS12,
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		},
	}
}

// certificate makes an authority, or a server's certificate when it is given an issuer.
func certificate(tb testing.TB, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate, []byte) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "test"},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true,
	}
	if issuer == nil {
		issuer, issuerKey = template, key
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	} else {
		template.DNSNames, template.IPAddresses = []string{"mail.example.com"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, issuerKey)
	if err != nil {
		tb.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return key, parsed, der
}
