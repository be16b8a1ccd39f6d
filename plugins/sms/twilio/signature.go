package twilio

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the provider signs with HMAC-SHA1
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"github.com/pigeonry/pigeonry/sdk"
)

// signatureHeader carries the signature of a request.
const signatureHeader = "X-Twilio-Signature"

// signature is over the URL as the provider called it, followed by the parameters of the form: sorted by name, each name
// followed by its value, without anything between. Of equal values of one name one counts, as in the provider's library.
func signature(token, address string, form url.Values) string {
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write([]byte(address))
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := slices.Clone(form[name])
		slices.Sort(values)
		for _, value := range slices.Compact(values) {
			mac.Write([]byte(name + value))
		}
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// verified tells whether a request is signed with the account's token. The provider may have been given the URL with its
// port or without, and behind a proxy it is the one in the config that the provider knows.
func (c *Channel) verified(r *sdk.CallbackRequest, form url.Values) bool {
	given := r.Header.Get(signatureHeader)
	if given == "" || c.config.AuthToken == "" {
		return false
	}
	addresses := []string{r.URL}
	if c.config.CallbackURL != "" {
		address := strings.TrimRight(c.config.CallbackURL, "/") + strings.TrimRight(r.Path, "/")
		if r.Query != "" {
			address += "?" + r.Query
		}
		addresses = append(addresses, address)
	}
	ok := 0
	for _, address := range addresses {
		for _, variant := range []string{address, withPort(address), withoutPort(address)} {
			expected := signature(c.config.AuthToken.Reveal(), variant, form)
			ok |= subtle.ConstantTimeCompare([]byte(expected), []byte(given))
		}
	}
	return ok == 1
}

// withPort adds the usual port to a URL that has none; the rest stays as it is written.
func withPort(address string) string {
	scheme, host, rest := split(address)
	if _, port, ok := cutLast(host, ":"); ok && isDigits(port) {
		return address
	}
	port := ":80"
	if scheme == "https://" {
		port = ":443"
	}
	return scheme + host + port + rest
}

// withoutPort takes the port off a URL.
func withoutPort(address string) string {
	scheme, host, rest := split(address)
	if name, port, ok := cutLast(host, ":"); ok && isDigits(port) {
		host = name
	}
	return scheme + host + rest
}

func split(address string) (scheme, host, rest string) {
	scheme, after, ok := strings.Cut(address, "://")
	if !ok {
		return "", "", address
	}
	at := strings.IndexAny(after, "/?")
	if at < 0 {
		at = len(after)
	}
	return scheme + "://", after[:at], after[at:]
}

func cutLast(text, separator string) (before, after string, ok bool) {
	at := strings.LastIndex(text, separator)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+len(separator):], true
}

func isDigits(text string) bool { return strings.Trim(text, "0123456789") == "" }
