package sdk

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// minSecret is the length from which a secret can be cut out of texts. A shorter one would be found
// inside ordinary words and make every log unreadable; Configure warns of it.
const minSecret = 4

// redactor cuts secrets out of texts. It knows the secrets of all connectors of the process, and
// keeps those of replaced configs: a late error may still quote an old token.
type redactor struct {
	mu      sync.Mutex
	needles map[string]struct{}
	passing []string // tokens, the newest last
	current atomic.Pointer[strings.Replacer]
}

// maxPassing is how many tokens are kept in mind: one in an hour, and old ones open nothing.
const maxPassing = 64

// addPassing makes the redactor know a token that is good for a while only.
func (r *redactor) addPassing(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.passing, token) {
		return
	}
	r.passing = append(r.passing, token)
	r.passing = r.passing[max(0, len(r.passing)-maxPassing):]
	r.rebuild()
}

// add makes the redactor know secrets in each form in which they commonly turn up.
func (r *redactor) add(secrets []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.needles == nil {
		r.needles = make(map[string]struct{})
	}
	before := len(r.needles)
	for _, s := range secrets {
		for _, form := range forms(s) {
			if len(form) >= minSecret && form != redacted {
				r.needles[form] = struct{}{}
			}
		}
	}
	if len(r.needles) > before {
		r.rebuild()
	}
}

// rebuild makes the replacer of all that is known; the caller holds the lock.
func (r *redactor) rebuild() {
	all := make([]string, 0, len(r.needles)+len(r.passing))
	for n := range r.needles {
		all = append(all, n)
	}
	for _, token := range r.passing {
		for _, form := range forms(token) {
			if len(form) >= minSecret {
				all = append(all, form)
			}
		}
	}
	// The longest first: where one secret begins with another, the longer one must win.
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(all))
	for _, n := range all {
		pairs = append(pairs, n, redacted)
	}
	r.current.Store(strings.NewReplacer(pairs...))
}

// forms are the secret as it is, as JSON, Go, a URL and basic authentication write it, and each line
// of one with several lines, such as a private key.
func forms(secret string) []string {
	out := []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret),
		base64.StdEncoding.EncodeToString([]byte(secret)),
		base64.RawURLEncoding.EncodeToString([]byte(secret)),
	}
	quoted := fmt.Sprintf("%q", secret)
	out = append(out, quoted[1:len(quoted)-1])
	var b bytes.Buffer
	for _, escapeHTML := range []bool{false, true} {
		b.Reset()
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(escapeHTML)
		if err := enc.Encode(secret); err != nil {
			continue // no string fails to encode
		}
		inner := b.String()[1 : b.Len()-2]                             // less the quotes and the newline
		out = append(out, inner, strings.ReplaceAll(inner, `\`, `\\`)) // a quoted text quoted again
	}
	if strings.Contains(secret, "\n") {
		for line := range strings.Lines(secret) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// clean returns text without secrets, as valid UTF-8 that protobuf can carry.
func (r *redactor) clean(text string) string {
	if rep := r.current.Load(); rep != nil {
		text = rep.Replace(text)
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// redactWriter cleans whole lines on their way to w; a write must hold whole lines.
type redactWriter struct {
	r  *redactor
	mu sync.Mutex
	w  io.Writer
}

// Write cleans p and writes it in one call, so that lines of several goroutines do not mix.
func (w *redactWriter) Write(p []byte) (int, error) {
	out := p
	if rep := w.r.current.Load(); rep != nil {
		out = []byte(rep.Replace(string(p)))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.w.Write(out); err != nil {
		return 0, fmt.Errorf("write log: %w", err)
	}
	return len(p), nil
}

// redirect sends later lines to dst.
func (w *redactWriter) redirect(dst io.Writer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.w = dst
}
