package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pigeonry/pigeonry/sdk"
	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

const token = "s3cret-token"

// What the provider answers decides what becomes of the message.
func TestSend(t *testing.T) {
	tests := []struct {
		status  int
		body    string
		outcome sdk.Outcome
		id      string
	}{
		{http.StatusOK, `{"id": "p-1"}`, sdk.OutcomeAccepted, "p-1"},
		{http.StatusAccepted, "thanks", sdk.OutcomeAccepted, ""},
		{http.StatusBadRequest, "no such recipient", sdk.OutcomeRejected, ""},
		{http.StatusUnauthorized, "who are you?", sdk.OutcomeRejected, ""},
		{http.StatusTooManyRequests, "slow down", sdk.OutcomeThrottled, ""},
		{http.StatusServiceUnavailable, "come back", sdk.OutcomeRetryable, ""},
		{http.StatusInternalServerError, "oops", sdk.OutcomeUncertain, ""}, // it may have done the work before
	}
	for _, test := range tests {
		t.Run(http.StatusText(test.status), func(t *testing.T) {
			var got message
			provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer "+token || r.Header.Get("Idempotency-Key") != "k-1" {
					t.Errorf("headers: %v", r.Header)
				}
				if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
					t.Error(err)
				}
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
			}))
			defer provider.Close()
			sender, err := open(t.Context(), config{URL: provider.URL, Token: token})
			if err != nil {
				t.Fatal(err)
			}
			m := &sdk.Message{ID: "m-1", IdempotencyKey: "k-1", Recipient: "ann", Content: sdk.Content{Plain: "Hello"}}
			receipt, err := sender.Send(t.Context(), m)
			if outcome := sdk.OutcomeOf(err); outcome != test.outcome || receipt.ProviderID() != test.id {
				t.Errorf("have %v, id %q (%v), want %v, id %q", outcome, receipt.ProviderID(), err, test.outcome, test.id)
			}
			if want := (message{ID: "m-1", To: "ann", Text: "Hello"}); got != want {
				t.Errorf("the provider got %+v, want %+v", got, want)
			}
		})
	}
}

// The program that ships does all that the gateway relies on. `pigeonry plugin test` runs the same.
func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "my-plugin")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	provider, err := channeltest.StartProvider()
	if err != nil {
		t.Fatal(err)
	}
	defer provider.Close()
	channeltest.Run(t, provider.Suite(channeltest.Suite{
		Binary: binary,
		Config: map[string]any{"url": provider.URL, "token": token},
		BadConfigs: []channeltest.BadConfig{
			{Name: "a URL without scheme", Path: "url", Config: map[string]any{"url": "example.com", "token": token}},
		},
	}))
}
