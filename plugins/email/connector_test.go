package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/pigeonry/pigeonry/sdk"
)

func TestTLSAndLogin(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	login := func(c *config) { c.Username, c.Password = "shop", "hunter2" }
	trust := func(c *config) { c.TLSCA = ca.pem }
	mode := func(m string) func(*config) { return func(c *config) { c.TLS = m } }
	tests := []struct {
		name  string
		sink  sinkOptions
		edits []func(*config)
		code  string // "" if the mail is taken
	}{
		{"no TLS offered, none asked for", sinkOptions{}, []func(*config){mode(tlsAuto)}, ""},
		{"STARTTLS as offered", sinkOptions{tls: ca.server}, []func(*config){mode(tlsAuto), trust}, ""},
		{"STARTTLS as asked for", sinkOptions{tls: ca.server}, []func(*config){mode(tlsStartTLS), trust}, ""},
		{"STARTTLS not offered", sinkOptions{}, []func(*config){mode(tlsStartTLS)}, codeTLSFailed},
		{"STARTTLS of an unknown authority", sinkOptions{tls: ca.server}, []func(*config){mode(tlsAuto)}, codeTLSFailed},
		{"STARTTLS of another authority", sinkOptions{tls: ca.server}, []func(*config){mode(tlsAuto), func(c *config) { c.TLSCA = other.pem }}, codeTLSFailed},
		{"STARTTLS of an unknown authority, insecure", sinkOptions{tls: ca.server}, []func(*config){mode(tlsAuto), func(c *config) { c.TLSInsecure = true }}, ""},
		{"STARTTLS under another name", sinkOptions{tls: ca.server}, []func(*config){mode(tlsAuto), trust, func(c *config) { c.TLSServerName = "mail.example.com" }}, ""},
		{"STARTTLS under a wrong name", sinkOptions{tls: ca.server}, []func(*config){mode(tlsAuto), trust, func(c *config) { c.TLSServerName = "other.example.com" }}, codeTLSFailed},
		{"STARTTLS unused", sinkOptions{tls: ca.server}, []func(*config){mode(tlsNone)}, ""},
		{"TLS from the first byte", sinkOptions{tls: ca.server, implicit: true}, []func(*config){mode(tlsImplicit), trust}, ""},
		{"TLS where there is none", sinkOptions{}, []func(*config){mode(tlsImplicit), trust}, codeTLSFailed},
		{"login over STARTTLS", sinkOptions{tls: ca.server, password: "hunter2"}, []func(*config){mode(tlsStartTLS), trust, login}, ""},
		{"login over TLS", sinkOptions{tls: ca.server, implicit: true, password: "hunter2"}, []func(*config){mode(tlsImplicit), trust, login}, ""},
		{"login on the same machine", sinkOptions{password: "hunter2"}, []func(*config){login}, ""},
		{"wrong password", sinkOptions{password: "other"}, []func(*config){login}, codeAuthFailed},
		{"login left out", sinkOptions{password: "hunter2"}, nil, codeAuthFailed},
		{"login not offered", sinkOptions{}, []func(*config){login}, codeAuthFailed},
		{"mechanism not offered", sinkOptions{password: "hunter2"}, []func(*config){login, func(c *config) { c.Auth = "cram-md5" }}, codeAuthFailed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := startSink(t, test.sink)
			c := connect(t, server.port, test.edits...)
			_, err := c.Send(t.Context(), message("hi"))
			if test.code == "" {
				if err != nil || len(server.all()) != 1 {
					t.Fatalf("%d mails taken, %v", len(server.all()), err)
				}
				if err := c.Check(t.Context()); err != nil {
					t.Errorf("check: %v", err)
				}
				return
			}
			got, _ := errors.AsType[*sdk.DeliveryError](err)
			if got == nil || got.Outcome != sdk.OutcomeRetryable || got.Code != test.code || len(server.all()) != 0 {
				t.Fatalf("got %v, want retryable as %s", err, test.code)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password stands in %q", err)
			}
			if test.name != "login left out" && c.Check(t.Context()) == nil {
				t.Error("check finds nothing wrong")
			}
		})
	}
}

func TestPasswordIsNotShownToAnotherMachine(t *testing.T) {
	tests := []struct {
		auth, host      string
		secure, allowed bool
		want            string // of the error; "" if the password is sent
	}{
		{authAuto, "smtp.example.com", false, false, "auth_without_tls"},
		{"login", "smtp.example.com", false, false, "auth_without_tls"},
		{"xoauth2", "smtp.example.com", false, false, "auth_without_tls"},
		{authAuto, "smtp.example.com", true, false, ""},
		{authAuto, "smtp.example.com", false, true, ""},
		{authAuto, "127.0.0.1", false, false, ""},
		{authAuto, "localhost", false, false, ""},
	}
	for _, test := range tests {
		c := valid()
		c.Auth, c.Host, c.AuthWithoutTLS = test.auth, test.host, test.allowed
		_, err := c.mechanism([]string{"LOGIN", "PLAIN", "XOAUTH2"}, test.secure)
		if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%+v gives %v", test, err)
		}
	}
}

func TestMechanismPreference(t *testing.T) {
	tests := []struct {
		auth    string
		offered string
		secure  bool
		want    string // "" for none
	}{
		{authAuto, "LOGIN PLAIN CRAM-MD5", true, "PLAIN"},
		{authAuto, "LOGIN PLAIN CRAM-MD5", false, "CRAM-MD5"},
		{authAuto, "PLAIN SCRAM-SHA-256", false, "SCRAM-SHA-256"},
		{authAuto, "login", true, "LOGIN"},
		{authAuto, "XOAUTH2", true, ""},
		{"xoauth2", "PLAIN XOAUTH2", true, "XOAUTH2"},
		{"plain", "LOGIN", true, ""},
	}
	for _, test := range tests {
		c := valid()
		c.Auth, c.AuthWithoutTLS = test.auth, true
		auth, err := c.mechanism(strings.Fields(test.offered), test.secure)
		got := ""
		if err == nil {
			got, _, err = auth.Start(&smtp.ServerInfo{Name: c.Host, TLS: test.secure, Auth: []string{"LOGIN"}})
		}
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s of %s gives %q, %v; want %q", test.auth, test.offered, got, err, test.want)
		}
	}
}

func TestConnectionsAreReusedAndReplaced(t *testing.T) {
	server := startSink(t, sinkOptions{})
	c := connect(t, server.port, func(c *config) { c.MessagesPerConnection = 5; c.MaxConnections = 3 })
	for range 10 {
		if _, err := c.Send(t.Context(), message("hi")); err != nil {
			t.Fatal(err)
		}
	}
	if n := server.connections(); n != 2 {
		t.Errorf("10 mails took %d connections, want 2 of 5 mails", n)
	}
	var senders sync.WaitGroup
	for range 50 {
		senders.Go(func() {
			if _, err := c.Send(t.Context(), message("hi")); err != nil {
				t.Error(err)
			}
		})
	}
	senders.Wait()
	if n := len(server.all()); n != 60 {
		t.Errorf("%d mails taken, want 60", n)
	}
}

func TestInternationalAddresses(t *testing.T) {
	server := startSink(t, sinkOptions{})
	c := connect(t, server.port)
	tests := []struct {
		to, envelope string
		utf8         bool
	}{
		{"ann@bücher.example", "ann@xn--bcher-kva.example", false},
		{"用户@例子.测试", "用户@xn--fsqu00a.xn--0zwm56d", true},
	}
	for i, test := range tests {
		m := message("hi")
		m.Recipient = test.to
		if _, err := c.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		got := server.all()[i]
		if got.to != test.envelope || got.utf8 != test.utf8 {
			t.Errorf("%s was sent to %s, SMTPUTF8 %v", test.to, got.to, got.utf8)
		}
	}
	ascii := play(t, greeting+"250 script\nC: QUIT\n221 bye")
	m := message("hi")
	m.Recipient = "用户@example.com"
	if _, err := connect(t, ascii.port).Send(t.Context(), m); sdk.OutcomeOf(err) != sdk.OutcomeRejected {
		t.Errorf("a server without SMTPUTF8 gives %v, want rejected", err)
	}
}

func TestWaitingForAConnectionIsRetryable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(&config{MaxConnections: 1, IdleTimeout: time.Minute})
		defer p.close()
		p.slots <- struct{}{} // the one connection is in use
		c := &connector{pool: p}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.submit(ctx, &letter{}, false)
		if got := sdk.OutcomeOf(outcome(err)); got != sdk.OutcomeRetryable {
			t.Errorf("outcome is %s, want retryable", got)
		}
		<-p.slots
	})
}

func TestIdleConnectionsEnd(t *testing.T) {
	server := play(t, greeting+"250 script\n"+wholeMail+"C: QUIT\n221 bye")
	c := connect(t, server.port, func(c *config) { c.IdleTimeout = 20 * time.Millisecond })
	if _, err := c.Send(t.Context(), message("hi")); err != nil {
		t.Fatal(err)
	}
	server.ended.Wait() // the scene ends when the client has said goodbye
	if s := c.pool.pop(); s != nil {
		t.Error("the connection is still in the pool")
	}
}

func BenchmarkSend(b *testing.B) {
	server := startSink(b, sinkOptions{})
	c := connect(b, server.port, func(c *config) { c.MaxConnections = 16; c.MessagesPerConnection = 1_000_000 })
	m := message("Your order 123 is on its way.")
	m.HTML = "<p>Your order <b>123</b> is on its way.</p>"
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Send(b.Context(), m); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
	if n := len(server.all()); n != b.N {
		b.Errorf("%d mails taken, want %d", n, b.N)
	}
}
