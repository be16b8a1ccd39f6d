package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/wneessen/go-mail/smtp"
)

// authAuto picks the best mechanism that the server offers.
const authAuto = "auto"

// mechanism returns how to log in to a server that offers these mechanisms (RFC 4954). A password is
// never shown to another machine without TLS, unless the config says so.
func (c *config) mechanism(offered []string, secure bool) (smtp.Auth, error) {
	if len(offered) == 0 {
		return nil, errors.New("the server offers no login; leave username and password out, or see tls")
	}
	hidden := !secure && !c.AuthWithoutTLS && !c.sameMachine()
	for _, name := range c.mechanisms(secure) {
		if !slices.ContainsFunc(offered, func(o string) bool { return strings.EqualFold(o, name) }) {
			continue
		}
		if hidden && showsPassword(name) {
			return nil, fmt.Errorf("the connection has no TLS, and %s would show the password; see tls and auth_without_tls", name)
		}
		return c.newAuth(name), nil
	}
	return nil, fmt.Errorf("the server offers the logins %s, auth = %q takes none of them", strings.Join(offered, ", "), c.Auth)
}

// mechanisms that may be used, the best first. Without TLS, those that do not show the password come
// first.
func (c *config) mechanisms(secure bool) []string {
	switch {
	case c.Auth != authAuto && c.Auth != "":
		return []string{strings.ToUpper(c.Auth)}
	case secure:
		return []string{"SCRAM-SHA-256", "PLAIN", "LOGIN", "CRAM-MD5"}
	default:
		return []string{"SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"}
	}
}

func showsPassword(mechanism string) bool {
	return mechanism == "PLAIN" || mechanism == "LOGIN" || mechanism == "XOAUTH2"
}

// sameMachine tells whether what is sent to the server stays on this machine.
func (c *config) sameMachine() bool {
	return local(c.Host)
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func (c *config) newAuth(name string) smtp.Auth {
	password := c.Password.Reveal()
	switch name {
	case "PLAIN":
		return smtp.PlainAuth("", c.Username, password, c.Host, true)
	case "LOGIN":
		return smtp.LoginAuth(c.Username, password, c.Host, true)
	case "CRAM-MD5":
		return smtp.CRAMMD5Auth(c.Username, password)
	case "SCRAM-SHA-256":
		return smtp.ScramSHA256Auth(c.Username, password)
	default:
		return smtp.XOAuth2Auth(c.Username, password)
	}
}
