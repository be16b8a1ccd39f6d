package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/sdk"
)

func valid() config {
	return config{Host: "smtp.example.com", Port: 587, TLS: tlsAuto, Auth: authAuto, From: "Shop <shop@example.com>"}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name  string
		edit  func(*config)
		field string // "" if the config is taken
	}{
		{"minimal", func(*config) {}, ""},
		{"IPv6 host", func(c *config) { c.Host = "2001:db8::1" }, ""},
		{"sender beyond ASCII", func(c *config) { c.From = "Bücher <info@bücher.example>" }, ""},
		{"complete login", func(c *config) { c.Username, c.Password = "u", "p" }, ""},
		{"sender", func(c *config) { c.From = "Shop" }, "from"},
		{"sender with line break", func(c *config) { c.From = "a@b.c\r\nBcc: x@y.z" }, "from"},
		{"reply", func(c *config) { c.ReplyTo = "nobody" }, "reply_to"},
		{"bounces", func(c *config) { c.EnvelopeFrom = "Bounces <b@example.com>" }, "envelope_from"},
		{"domain of ids", func(c *config) { c.MessageIDs = "exa mple" }, "message_id_domain"},
		{"host with port", func(c *config) { c.Host = "smtp.example.com:587" }, "host"},
		{"host as URL", func(c *config) { c.Host = "smtp://example.com/" }, "host"},
		{"helo", func(c *config) { c.Helo = "my host" }, "helo"},
		{"authority", func(c *config) { c.TLSCA = "/etc/ca.pem" }, "tls_ca"},
		{"password alone", func(c *config) { c.Password = "p" }, "password"},
		{"username alone", func(c *config) { c.Username = "u" }, "password"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := valid()
			test.edit(&c)
			err := validate(c)
			if test.field == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				if _, err := newIdentity(c); err != nil {
					t.Fatalf("valid, but not to be opened: %v", err)
				}
				return
			}
			wrong, ok := errors.AsType[*sdk.ConfigError](err)
			if !ok || wrong.Path != test.field || wrong.Detail == "" {
				t.Fatalf("got %v, want an error of %s with a remedy", err, test.field)
			}
		})
	}
}

func TestValidateReportsAllAtOnceAndNoSecret(t *testing.T) {
	c := valid()
	c.From, c.Helo, c.Password = "x", "a b", "hunter2"
	err := validate(c)
	for _, field := range []string{"from:", "helo:", "password:"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the password stands in the error")
	}
}

func TestTLSMode(t *testing.T) {
	tests := []struct {
		tls  string
		port int
		want string
	}{{tlsAuto, 465, tlsImplicit}, {tlsAuto, 587, tlsAuto}, {tlsNone, 465, tlsNone}, {tlsStartTLS, 465, tlsStartTLS}}
	for _, test := range tests {
		if got := (&config{TLS: test.tls, Port: test.port}).tlsMode(); got != test.want {
			t.Errorf("%s on port %d means %s, want %s", test.tls, test.port, got, test.want)
		}
	}
}
