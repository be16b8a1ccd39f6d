package main

import (
	"crypto/tls"
	"encoding/pem"
	"net/http/httptest"
	"testing"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
	"github.com/pigeonry/pigeonry/sdk"
)

func TestTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // only for its certificate, made for example.com
	web.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}))
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	server := &smpp.Server{}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	check := func(change func(c *config)) error {
		cfg := configFor(listener.Addr().String())
		cfg.TLS = "tls"
		change(&cfg)
		return openConnector(t, cfg).Check(t.Context())
	}

	if err := check(func(c *config) { c.TLSCA, c.TLSServerName = ca, "example.com" }); err != nil {
		t.Errorf("with the authority: %v", err)
	}
	if err := check(func(c *config) { c.TLSInsecure = true }); err != nil {
		t.Errorf("without any check: %v", err)
	}
	err = check(func(*config) {})
	wantOutcome(t, err, sdk.OutcomeRetryable, "tls_failed")
	err = check(func(c *config) { c.TLSCA, c.TLSServerName = ca, "other.example.org" })
	wantOutcome(t, err, sdk.OutcomeRetryable, "tls_failed")
}
