package accept

import (
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/net/idna"
)

const (
	maxAddress = 512
	// maxOpaque bounds an address of a channel that the gateway does not know: a browser's push subscription has some 600 bytes,
	// and the store's index on recipients takes 2,700.
	maxOpaque = 2048
)

// addressOf returns the function that checks a recipient of a channel and brings it into the channel's
// canonical form.
func addressOf(channel, region string) func(string) (string, error) {
	switch channel {
	case channelSMS:
		return func(s string) (string, error) { return phone(s, region) }
	case channelEmail:
		return mailbox
	default:
		return opaque
	}
}

// phone reads a number as people write it and returns E.164. A bare number is one of the region.
func phone(s, region string) (string, error) {
	if s == "" {
		return "", errors.New("is missing")
	}
	if len(s) > maxAddress {
		return "", errors.New("is too long for a phone number")
	}
	if region == "" && !strings.HasPrefix(s, "+") {
		return "", errors.New("is not an international number; write it with + and country code, as the account has no default region")
	}
	n, err := phonenumbers.Parse(s, region)
	if err != nil || !phonenumbers.IsPossibleNumber(n) {
		return "", errors.New("is not a phone number; write it as +, country code and number, e.g. +8613800138000")
	}
	return phonenumbers.Format(n, phonenumbers.E164), nil
}

// mailbox checks a bare address (RFC 5322 addr-spec) and lower-cases its domain, which compares without
// case (RFC 5321 section 2.4). The local part is left alone.
func mailbox(s string) (string, error) {
	if s == "" {
		return "", errors.New("is missing")
	}
	if err := printable(s, maxAddress); err != nil {
		return "", err
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s {
		return "", errors.New("is not a mail address; write it as name@example.com, without a display name")
	}
	at := strings.LastIndexByte(s, '@')
	local, domain := s[:at], s[at+1:]
	if len(local) > 64 {
		return "", errors.New("has more than 64 bytes before the @")
	}
	if _, err := idna.Lookup.ToASCII(domain); err != nil && !strings.HasPrefix(domain, "[") {
		return "", fmt.Errorf("has a domain that no name server can know: %q", domain)
	}
	return local + "@" + strings.ToLower(domain), nil
}

func opaque(s string) (string, error) {
	if s == "" {
		return "", errors.New("is missing")
	}
	return s, printable(s, maxOpaque)
}

// printable refuses what could break out of a header or a log line.
func printable(s string, most int) error {
	if len(s) > most {
		return fmt.Errorf("is %d bytes long; at most %d", len(s), most)
	}
	if !utf8.ValidString(s) {
		return errors.New("is not valid UTF-8")
	}
	if strings.IndexFunc(s, unicode.IsControl) >= 0 {
		return errors.New("has a control character, such as a line break")
	}
	return nil
}

// Country returns the country of a phone number in E.164, as ISO 3166-1 alpha-2; "" if it has none, or is no phone number.
func Country(number string) string {
	if !strings.HasPrefix(number, "+") {
		return ""
	}
	n, err := phonenumbers.Parse(number, "")
	if err != nil {
		return ""
	}
	country := phonenumbers.GetRegionCodeForNumber(n)
	if country == "" { // no range that is known; several countries may share a code, and the first is the largest
		country = phonenumbers.GetRegionCodeForCountryCode(int(n.GetCountryCode()))
	}
	if country == "001" || country == "ZZ" { // a number of no country, and no code at all
		return ""
	}
	return country
}
