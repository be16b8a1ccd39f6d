package api

import (
	"net/http"
	"testing"
)

// TestCallbackPolicy lets a plugin have a form of its own, and nothing else.
func TestCallbackPolicy(t *testing.T) {
	const shut, form = "sandbox; default-src 'none'", "sandbox allow-forms; default-src 'none'; form-action 'self'"
	for asked, want := range map[string]string{
		"": shut, "form-action 'self'": form, "form-action *": shut, "form-action 'self'; script-src *": shut, "sandbox allow-scripts": shut,
	} {
		if got := callbackPolicy(http.Header{"Content-Security-Policy": {asked}}); got != want {
			t.Errorf("asked for %q, the policy is %q, want %q", asked, got, want)
		}
	}
	if got := callbackPolicy(nil); got != shut {
		t.Errorf("without a header the policy is %q", got)
	}
}
