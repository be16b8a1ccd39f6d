package report

import (
	"bytes"
	"net/textproto"
	"strings"
)

// maxFields bounds the fields of a header.
const maxFields = 1000

// Header is a header of a mail, by canonical name, as net/textproto has it.
type Header map[string][]string

// Get returns the first field with that name, unfolded; "" if there is none.
func (h Header) Get(name string) string {
	values := h[textproto.CanonicalMIMEHeaderKey(name)]
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// MessageID is the Message-ID without its angle brackets.
func (h Header) MessageID() string { return bare(h.Get("Message-Id")) }

// readHeader reads fields up to an empty line and returns what follows it. Servers in the field write odd lines:
// those are passed over, where net/textproto would read no further.
func readHeader(raw []byte) (fields Header, rest []byte) {
	fields = Header{}
	rest = bytes.TrimLeft(raw, "\r\n")
	var name, value string
	keep := func() {
		if name != "" && len(fields) < maxFields {
			fields[name] = append(fields[name], strings.TrimSpace(strings.ReplaceAll(value, "\r", " "))) // one that ends no line
		}
		name, value = "", ""
	}
	for len(rest) > 0 {
		var line []byte
		line, rest = cutLine(rest)
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			value += " " + strings.TrimSpace(string(line))
			continue
		}
		keep()
		key, text, ok := strings.Cut(string(line), ":")
		if key = strings.TrimRight(key, " \t"); ok && key != "" && !strings.ContainsAny(key, " \t") {
			name, value = textproto.CanonicalMIMEHeaderKey(key), text
		}
	}
	keep()
	return fields, rest
}

// cutLine returns a line without its end, be it CRLF or LF, and what follows.
func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}
