package pluginhost

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
)

const (
	redacted = "[redacted]"
	// minSecret is the shortest text that is hidden: hiding shorter ones would make logs unreadable
	// and tell the secret by where the holes are.
	minSecret = 4
)

// redactor hides the secrets of a plugin's connectors in whatever the plugin writes.
type redactor struct {
	current atomic.Pointer[redaction]
}

type redaction struct {
	replacer *strings.Replacer
	longest  int
}

// set makes secrets the texts to be hidden.
func (r *redactor) set(secrets []string) {
	var forms []string
	for _, s := range secrets {
		forms = append(forms, secretForms(s)...)
	}
	// A secret that holds another one must be found first.
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	forms = slices.Compact(forms)
	if len(forms) == 0 {
		r.current.Store(nil)
		return
	}
	pairs := make([]string, 0, 2*len(forms))
	for _, f := range forms {
		pairs = append(pairs, f, redacted)
	}
	r.current.Store(&redaction{replacer: strings.NewReplacer(pairs...), longest: len(forms[0])})
}

// secretForms lists the ways in which a secret may appear in a line: as it is, as JSON escapes it,
// and, if it has several lines (a private key), line by line.
func secretForms(secret string) []string {
	var forms []string
	for _, s := range append(strings.Split(secret, "\n"), secret) {
		s = strings.TrimSpace(s)
		if len(s) < minSecret {
			continue
		}
		forms = append(forms, s)
		if quoted, err := json.Marshal(s); err == nil {
			if escaped := string(quoted[1 : len(quoted)-1]); escaped != s {
				forms = append(forms, escaped)
			}
		}
	}
	return forms
}

// redact hides the secrets in s.
func (r *redactor) redact(s string) string {
	if current := r.current.Load(); current != nil {
		return current.replacer.Replace(s)
	}
	return s
}

// longest returns the length of the longest secret.
func (r *redactor) longest() int {
	if current := r.current.Load(); current != nil {
		return current.longest
	}
	return 0
}
