package template

import (
	"html"
	"strings"
	"unicode"
)

// Escape makes a value harmless in the place where it is put.
type Escape func(string) string

// Plain leaves a value as it is: for SMS, push and the plain text of an e-mail.
func Plain(s string) string { return s }

// HTML makes a value harmless in the text of an HTML element and in a quoted attribute, by
// html.EscapeString. It does not make one harmless inside a script, a style or an attribute without
// quotes, nor does it judge a URL: an author who writes href="{{link}}" trusts whoever gives link.
func HTML(s string) string { return html.EscapeString(s) }

// Header makes a value harmless in a header, such as an e-mail's subject: each run of control characters
// (CR, LF, NUL and the like) becomes one space, so that no value can begin a header of its own
// (RFC 5322 section 2.2). Use it on a whole rendered subject too, as its template may hold a line break.
func Header(s string) string {
	if strings.IndexFunc(s, unicode.IsControl) < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	gap := false
	for _, r := range s {
		if !unicode.IsControl(r) {
			b.WriteRune(r)
		} else if !gap {
			b.WriteByte(' ')
		}
		gap = unicode.IsControl(r)
	}
	return b.String()
}
