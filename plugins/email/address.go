package main

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Bounds of RFC 5321 section 4.5.3.1, in bytes.
const (
	maxLocalPart = 64
	maxMailbox   = 254
)

// parseMailbox reads a bare address. Its domain comes back in ASCII (punycode), so that every
// server understands it; a local part beyond ASCII stays and needs SMTPUTF8 (RFC 6531).
func parseMailbox(s string) (string, error) {
	if !printable(s) {
		return "", errors.New("has a line break or another control character")
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Name != "" {
		return "", fmt.Errorf("%q is no mail address", s)
	}
	return asciiMailbox(a.Address)
}

// maxSender bounds an address with its display name, in bytes.
const maxSender = 500

// parseSender reads an address that may have a display name: Shop <no-reply@example.com>.
func parseSender(s string) (*mail.Address, error) {
	if len(s) > maxSender {
		return nil, fmt.Errorf("has more than %d bytes", maxSender)
	}
	if !printable(s) {
		return nil, errors.New("has a line break or another control character")
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		return nil, fmt.Errorf("%q is no mail address", s)
	}
	if a.Address, err = asciiMailbox(a.Address); err != nil {
		return nil, err
	}
	return a, nil
}

// asciiMailbox checks the bounds of an address and brings its domain into ASCII.
func asciiMailbox(s string) (string, error) {
	at := strings.LastIndexByte(s, '@')
	local, domain := s[:at], s[at+1:]
	if len(local) > maxLocalPart {
		return "", fmt.Errorf("has more than %d bytes before the @", maxLocalPart)
	}
	domain, err := asciiDomain(domain)
	if err != nil {
		return "", err
	}
	if len(local)+1+len(domain) > maxMailbox {
		return "", fmt.Errorf("has more than %d bytes", maxMailbox)
	}
	return local + "@" + domain, nil
}

// asciiDomain returns a domain in ASCII; an address literal, [192.0.2.1], stays as it is.
func asciiDomain(domain string) (string, error) {
	if literal, ok := strings.CutPrefix(domain, "["); ok && net.ParseIP(strings.TrimSuffix(literal, "]")) != nil {
		return domain, nil
	}
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil || ascii == "" {
		return "", fmt.Errorf("has a domain %q that no name server can know", domain)
	}
	return ascii, nil
}

func domainOf(mailbox string) string { return mailbox[strings.LastIndexByte(mailbox, '@')+1:] }

// isASCII tells whether an address can do without SMTPUTF8.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// printable refuses what could break out of a header or of an SMTP command.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
