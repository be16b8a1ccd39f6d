package sandbox_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

// A channel that calls an HTTP provider has one here.
func TestHooks(t *testing.T) {
	tests := []struct {
		name, channel, to, body string
		status                  int
		want                    sandbox.Message
		answer                  string
	}{
		{
			name: "JSON", channel: "pager", status: http.StatusOK, answer: `{"id":"H`,
			body: `{"id": "msg_1", "to": "ann", "from": "shop", "subject": "Hi", "text": "Hello", "html": "<p>Hello", "more": [1]}`,
			want: sandbox.Message{To: "ann", From: "shop", Subject: "Hi", Text: "Hello", HTML: "<p>Hello", Reference: "msg_1"},
		},
		{name: "text", channel: "pager", to: "bob", body: "Hello\n", status: http.StatusOK, answer: `{"id":"H`, want: sandbox.Message{To: "bob", Text: "Hello\n"}},
		{name: "JSON and a header", channel: "pager", to: "carl", body: `{"text": "x"}`, status: http.StatusOK, answer: `{"id":"H`, want: sandbox.Message{To: "carl", Text: "x"}},
		{name: "no recipient", channel: "pager", body: `{"text": "x"}`, status: http.StatusBadRequest, answer: `"field":"to"`},
		{name: "no recipient of a text", channel: "pager", body: "x", status: http.StatusBadRequest, answer: `"field":"to"`},
		{name: "a wrong channel", channel: "Pager!", body: `{"to": "x"}`, status: http.StatusBadRequest, answer: `"field":"channel"`},
		{name: "a channel with a provider of its own", channel: "sms", body: `{"to": "x"}`, status: http.StatusBadRequest, answer: "its own protocol"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, sandbox.Options{})
			status, answer := post(t, s, "/hooks/"+test.channel, test.to, test.body)
			if status != test.status || !strings.Contains(answer, test.answer) {
				t.Fatalf("have %d %s", status, answer)
			}
			found, listed := s.Messages(sandbox.Filter{Channel: test.channel}), entries(t, s)
			if status != http.StatusOK {
				if len(found)+len(listed) > 0 {
					t.Errorf("what was refused is there: %+v", found)
				}
				return
			}
			m := *found[0]
			if !strings.Contains(answer, m.ProviderID) || listed[0].ProviderID != m.ProviderID || listed[0].Idempotency != "k-1" {
				t.Errorf("answer %s, inbox %+v, ledger %+v", answer, m, listed[0])
			}
			have := sandbox.Message{To: m.To, From: m.From, Subject: m.Subject, Text: m.Text, HTML: m.HTML, Reference: m.Reference}
			if have.To != test.want.To || have.Text != test.want.Text || have.From != test.want.From || have.Subject != test.want.Subject ||
				have.HTML != test.want.HTML || have.Reference != test.want.Reference {
				t.Errorf("want %+v, have %+v", test.want, have)
			}
			post(t, s, "/hooks/"+test.channel, test.to, test.body)
			if sum := s.Summary().Channels[test.channel]; sum.Messages != 1 || sum.Doubles != 1 {
				t.Errorf("the same once more: %+v", sum)
			}
		})
	}
}

func post(t *testing.T, s *sandbox.Sandbox, path, to, body string) (int, string) {
	t.Helper()
	return callWith(t, s, http.MethodPost, path, body, http.Header{"To": {to}, "Idempotency-Key": {"k-1"}})
}
