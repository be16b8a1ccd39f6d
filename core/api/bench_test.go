package api_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/accept"
	"github.com/pigeonry/pigeonry/core/api"
)

// nullSender accepts everything at once, so that what is measured is the API alone.
type nullSender struct{ recipients int }

func (n *nullSender) Send(_ context.Context, r accept.Request) (accept.Accepted, error) {
	n.recipients = len(r.Recipients)
	a := accept.Accepted{Record: 1 << 40, TraceID: core.NewTraceID(1<<40, 1), Batch: 1 << 40, Accepted: len(r.Recipients)}
	if r.Key != nil {
		r.Key.Answer(a)
	}
	return a, nil
}

const aMail = `{"channel":"email","recipient":"ada@example.com","subject":"Your order {{order_no}}",` +
	`"content":"Hello {{name}}, your order {{order_no}} is on its way.","variables":{"name":"Ada","order_no":"A-1001"},` +
	`"priority":5,"metadata":{"cart":"c-1"}}`

// BenchmarkSend measures one single send, from the request to the answer, with a key and without one.
func BenchmarkSend(b *testing.B) {
	for _, key := range []string{"", "an-idempotency-key"} {
		b.Run("key="+key, func(b *testing.B) {
			h := newBench(b, &nullSender{})
			body := strings.NewReader(aMail)
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(aMail)
				h.post(b, "/api/messages/send", body, key)
			}
		})
	}
}

// BenchmarkSendBatch measures a batch of 10,000 recipients with three variables each.
func BenchmarkSendBatch(b *testing.B) {
	var s strings.Builder
	s.WriteString(`{"template_id":1,"recipients":[`)
	for i := range accept.MaxRecipients {
		fmt.Fprintf(&s, `%s"+86138%08d"`, comma(i), i)
	}
	s.WriteString(`],"variables_list":[`)
	for i := range accept.MaxRecipients {
		fmt.Fprintf(&s, `%s{"name":"Recipient %d","order_no":"A-%d","amount":%d.50}`, comma(i), i, i, i)
	}
	s.WriteString(`]}`)
	sender := &nullSender{}
	h := newBench(b, sender)
	body := strings.NewReader(s.String())
	b.SetBytes(int64(s.Len()))
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(s.String())
		h.post(b, "/api/messages/send-batch", body, "")
	}
	if sender.recipients != accept.MaxRecipients {
		b.Fatalf("%d recipients", sender.recipients)
	}
}

func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}

func newBench(b *testing.B, sender api.Sender) *harness {
	b.Helper()
	return newHarness(b, func(o *api.Options) {
		o.Sender = sender
		o.Logger = slog.New(slog.DiscardHandler)
	})
}

func (h *harness) post(b *testing.B, path string, body *strings.Reader, key string) {
	b.Helper()
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, path, body)
	r.Header.Set("Authorization", "Bearer "+h.key)
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		b.Fatalf("%d %s", w.Code, w.Body)
	}
}
