package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/accept"
	"github.com/pigeonry/pigeonry/core/api"
)

func TestSendAcceptsAMessage(t *testing.T) {
	h := newHarness(t)
	sendAt := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	sent := h.send(fmt.Sprintf(`{
		"channel": "email", "recipient": "Ada@Example.COM", "subject": "Order {{no}}", "content": "Hi {{name}}",
		"html": "<p>{{name}}</p>", "variables": {"name": "A&B", "no": 7}, "priority": 9, "send_at": %q,
		"expire_at": %q, "connector": "email/main", "metadata": {"cart": "c-1"}, "attributes": {"reply_to": "x@example.com"},
		"attachments": [{"name": "a.txt", "content_type": "text/plain", "data": "aGk="}, {"name": "b.pdf", "url": "https://example.com/b.pdf"}]
	}`, sendAt.Format(time.RFC3339Nano), sendAt.Add(time.Hour).Format(time.RFC3339Nano)))

	m := data[api.Message](t, h.want(h.do("GET", fmt.Sprintf("/api/messages/%d", sent.RecordId), ""), 200, 0))
	if m.TraceId != sent.TraceId || m.Channel != "email" || m.Recipient != "Ada@example.com" || m.RecipientGiven != "Ada@Example.COM" {
		t.Errorf("message %+v", m)
	}
	if m.Status != "scheduled" || m.Lane != "urgent" || m.Priority != 9 || m.PinnedConnector != "email/main" || !m.NextAttemptAt.Equal(sendAt) {
		t.Errorf("message %+v", m)
	}
	if m.Content.Subject != "Order 7" || m.Content.Text != "Hi A&B" || m.Content.Html != "<p>A&amp;B</p>" || m.Metadata["cart"] != "c-1" {
		t.Errorf("content %+v, metadata %v", m.Content, m.Metadata)
	}
	if a := m.Content.Attachments; len(a) != 2 || a[0].Size != 2 || a[1].Url == "" || m.Content.Attributes["reply_to"] == "" {
		t.Errorf("content %+v", m.Content)
	}
}

// A provider's template has its parameters rendered for the recipient, and needs no text beside it.
func TestSendWithTheTemplateOfAProvider(t *testing.T) {
	h := newHarness(t)
	sent := h.send(`{"channel": "sms", "recipient": "+8613800138000", "variables": {"code": "8462"},
		"provider_templates": {"sms/main": {"id": "SMS_1", "parameters": {"code": "{{code}}", "minutes": "5"}}, "*": {"id": "any"}}}`)
	m := data[api.Message](t, h.do("GET", fmt.Sprintf("/api/messages/%d", sent.RecordId), ""))
	own := m.Content.ProviderTemplates
	if len(own) != 2 || own["sms/main"].Id != "SMS_1" || own["sms/main"].Parameters["code"] != "8462" || own["sms/main"].Parameters["minutes"] != "5" || own["*"].Id != "any" {
		t.Errorf("got %+v", own)
	}
}

func TestSendRefuses(t *testing.T) {
	h := newHarness(t)
	past, far := time.Now().Add(-time.Hour).Format(time.RFC3339), time.Now().AddDate(2, 0, 0).Format(time.RFC3339)
	disabled := h.createTemplate(`{"name":"off","channel":"sms","content":"x","status":"disabled"}`).Id
	foreign := data[api.Template](t, h.want(h.do("POST", "/api/messages/templates", `{"name":"f","channel":"sms","content":"x"}`, as(h.other)...), 201, 0)).Id
	tests := []struct {
		about, body string
		code        int
		field       string
	}{
		{"no recipient", `{"channel":"sms","content":"x"}`, 1001, "/recipient"},
		{"no phone number", `{"channel":"sms","content":"x","recipient":"12"}`, 1001, "/recipient"},
		{"no mail address", `{"channel":"email","content":"x","recipient":"ada"}`, 1001, "/recipient"},
		{"line break in an address", `{"channel":"email","content":"x","recipient":"ada@example.com\r\nBcc: b@example.com"}`, 1001, "/recipient"},
		{"no channel", `{"content":"x","recipient":"+8613800138000"}`, 1001, "/channel"},
		{"unknown channel", `{"channel":"smoke","content":"x","recipient":"x"}`, 2008, "/channel"},
		{"no content", `{"channel":"sms","recipient":"+8613800138000"}`, 1001, "/content"},
		{"a provider's template without its id", `{"channel":"sms","recipient":"+8613800138000","provider_templates":{"*":{"id":""}}}`, 1001, "/provider_templates/*/id"},
		{"a provider's template with an id without end", `{"channel":"sms","recipient":"+8613800138000","provider_templates":{"*":{"id":"` + strings.Repeat("x", 201) + `"}}}`, 1001, "/provider_templates/*/id"},
		{"a provider's template with a text without end", `{"channel":"sms","recipient":"+8613800138000","provider_templates":{"*":{"id":"x","parameters":{"c":"` + strings.Repeat("x", 1025) + `"}}}}`, 1001, "/provider_templates/*/parameters/c"},
		{"a value that makes a provider's template too long", `{"channel":"sms","recipient":"+8613800138000","variables":{"c":"` + strings.Repeat("x", 600) + `"},"provider_templates":{"*":{"id":"x","parameters":{"c":"{{c}}{{c}}"}}}}`, 1001, "/provider_templates/*/parameters/c"},
		{"a provider's template for another channel", `{"channel":"sms","recipient":"+8613800138000","provider_templates":{"email/main":{"id":"x"}}}`, 1001, "/provider_templates/email~1main"},
		{"a provider's template that lacks a variable", `{"channel":"sms","recipient":"+8613800138000","provider_templates":{"*":{"id":"x","parameters":{"c":"{{code}}"}}}}`, 1001, "/variables/code"},
		{"a provider's template with bad braces", `{"channel":"sms","recipient":"+8613800138000","provider_templates":{"*":{"id":"x","parameters":{"c":"{{co de}}"}}}}`, 1001, "/provider_templates/*/parameters/c"},
		{"template and content", fmt.Sprintf(`{"template_id":%d,"content":"x","recipient":"+8613800138000"}`, foreign), 2002, "/template_id"},
		{"no such template", `{"template_id":999,"recipient":"+8613800138000"}`, 2002, "/template_id"},
		{"another account's template", fmt.Sprintf(`{"template_id":%d,"recipient":"+8613800138000"}`, foreign), 2002, "/template_id"},
		{"disabled template", fmt.Sprintf(`{"template_id":%d,"recipient":"+8613800138000"}`, disabled), 2005, "/template_id"},
		{"template syntax", `{"channel":"sms","recipient":"+8613800138000","content":"a {{b"}`, 1001, "/content"},
		{"a variable's name", `{"channel":"sms","recipient":"+8613800138000","content":"{{order/no}}"}`, 1001, "/content"},
		{"missing variables", `{"channel":"sms","recipient":"+8613800138000","content":"{{order_no}}"}`, 1001, "/variables/order_no"},
		{"priority", `{"channel":"sms","recipient":"+8613800138000","content":"x","priority":11}`, 1001, "/priority"},
		{"negative priority", `{"channel":"sms","recipient":"+8613800138000","content":"x","priority":-1}`, 1001, "/priority"},
		{"two times", `{"channel":"sms","recipient":"+8613800138000","content":"x","delay_ms":1,"send_at":"` + far + `"}`, 1001, "/delay_ms"},
		{"negative delay", `{"channel":"sms","recipient":"+8613800138000","content":"x","delay_ms":-1}`, 1001, "/delay_ms"},
		{"past", `{"channel":"sms","recipient":"+8613800138000","content":"x","send_at":"` + past + `"}`, 1001, "/send_at"},
		{"too far ahead", `{"channel":"sms","recipient":"+8613800138000","content":"x","send_at":"` + far + `"}`, 1001, "/send_at"},
		{"expired", `{"channel":"sms","recipient":"+8613800138000","content":"x","expire_at":"` + past + `"}`, 1001, "/expire_at"},
		{"unknown connector", `{"channel":"sms","recipient":"+8613800138000","content":"x","connector":"sms/none"}`, 1001, "/connector"},
		{"connector of another channel", `{"channel":"sms","recipient":"+8613800138000","content":"x","connector":"email/main"}`, 1001, "/connector"},
		{"attachment without content", `{"channel":"email","recipient":"a@example.com","content":"x","attachments":[{"name":"x"}]}`, 1001, "/attachments/0"},
		{"too many segments", `{"channel":"sms","recipient":"+8613800138000","content":"` + strings.Repeat("x", 5000) + `"}`, 1001, "/content"},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			a := h.want(h.do("POST", "/api/messages/send", test.body), 422, test.code)
			if reason := a.field(test.field); reason == "" || !strings.Contains(a.Message, a.Errors[0]["field"]) && test.code == 1001 {
				t.Errorf("errors %v, message %q; want one about %s", a.Errors, a.Message, test.field)
			}
		})
	}
	if list := data[api.MessageList](t, h.do("GET", "/api/messages", "")); len(list.Items) != 0 {
		t.Errorf("%d messages were accepted", len(list.Items))
	}
}

func TestSendBatchRejectsRecipientsOneByOne(t *testing.T) {
	h := newHarness(t)
	a := h.want(h.do("POST", "/api/messages/send-batch", `{
		"channel": "sms", "content": "{{name}} at {{shop}}", "variables": {"shop": "Loft", "name": "you"},
		"recipients": ["+8613800138000", "nobody", "+8613800138001"],
		"variables_list": [{"name": "Ada"}, {}, {"shop": "Attic"}]
	}`), 200, 0)
	result := data[api.SendBatchResult](t, a)
	if result.Accepted != 2 || len(result.Rejected) != 1 || result.Rejected[0].Index != 1 || result.Rejected[0].Recipient != "nobody" || result.Rejected[0].Reason == "" {
		t.Fatalf("result %+v", result)
	}
	batch := data[api.Batch](t, h.want(h.do("GET", fmt.Sprintf("/api/messages/batches/%d", result.BatchId), ""), 200, 0))
	if batch.Accepted != 2 || batch.RejectedCount != 1 || batch.Progress.Queued != 2 || batch.Finished != 0 || batch.Channel != "sms" || batch.Canceled {
		t.Errorf("batch %+v", batch)
	}
	list := data[api.MessageList](t, h.want(h.do("GET", fmt.Sprintf("/api/messages?batch_id=%d", result.BatchId), ""), 200, 0))
	if len(list.Items) != 2 {
		t.Fatalf("list %+v", list)
	}
	for i, want := range []string{"you at Attic", "Ada at Loft"} {
		m := data[api.Message](t, h.do("GET", fmt.Sprintf("/api/messages/%d", list.Items[i].RecordId), ""))
		if m.Content.Text != want || m.BatchId != result.BatchId {
			t.Errorf("message %+v; want text %q", m, want)
		}
	}
}

func TestSendBatchRefuses(t *testing.T) {
	h := newHarness(t)
	many := `["` + strings.Repeat(`+8613800138000","`, accept.MaxRecipients) + `+8613800138000"]`
	tests := []struct {
		about, body  string
		status, code int
		field        string
	}{
		{"10,001 recipients", `{"channel":"sms","content":"x","recipients":` + many + `}`, 413, 1002, "/recipients"},
		{"none", `{"channel":"sms","content":"x","recipients":[]}`, 422, 1001, "/recipients"},
		{"left out", `{"channel":"sms","content":"x"}`, 422, 1001, "/recipients"},
		{"variables for another number", `{"channel":"sms","content":"x","recipients":["a","b"],"variables_list":[{}]}`, 422, 1001, "/variables_list"},
		{"recipient of a single send", `{"channel":"sms","content":"x","recipient":"a"}`, 400, 1000, "/recipient"},
		{"priority", `{"channel":"sms","content":"x","recipients":["a"],"priority":11}`, 422, 1001, "/priority"},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			a := h.want(h.do("POST", "/api/messages/send-batch", test.body), test.status, test.code)
			if a.field(test.field) == "" {
				t.Errorf("errors %v; want one about %s", a.Errors, test.field)
			}
			if test.status == http.StatusRequestEntityTooLarge && !strings.Contains(a.Message, "10000") {
				t.Errorf("message %q does not name the limit", a.Message)
			}
		})
	}
}

func TestSendRepeatsGiveTheFirstAnswer(t *testing.T) {
	h := newHarness(t)
	for _, path := range []string{"/api/messages/send", "/api/messages/send-batch", "/api/messages/templates"} {
		t.Run(path, func(t *testing.T) {
			body, other := anSMS, strings.Replace(anSMS, "hi", "ho", 1)
			switch path {
			case "/api/messages/send-batch":
				body = `{"channel":"sms","recipients":["+8613800138000"],"content":"hi"}`
				other = strings.Replace(body, "hi", "ho", 1)
			case "/api/messages/templates":
				body = `{"name":"t","channel":"sms","content":"hi"}`
				other = strings.Replace(body, "hi", "ho", 1)
			}
			key := []string{"Idempotency-Key", "key of " + path}
			first := h.do("POST", path, body, key...)
			if first.Code != 0 || first.Header.Get("Idempotency-Replay") != "" {
				t.Fatalf("first answer: %s", first.Raw)
			}
			again := h.do("POST", path, body, key...)
			if again.Status != first.Status || string(again.Raw) != string(first.Raw) || again.Header.Get("Idempotency-Replay") != "true" {
				t.Errorf("repeat: %d %s; want %d %s", again.Status, again.Raw, first.Status, first.Raw)
			}
			h.want(h.do("POST", path, other, key...), 422, core.CodeKeyReused)
			if theirs := h.do("POST", path, body, append(key, as(h.other)...)...); theirs.Header.Get("Idempotency-Replay") != "" || theirs.Code != 0 {
				t.Errorf("another account with the same key: %s", theirs.Raw)
			}
		})
	}
	if list := data[api.MessageList](t, h.do("GET", "/api/messages", "")); len(list.Items) != 2 {
		t.Errorf("%d messages; want 2", len(list.Items))
	}
}

func TestSendKeyOfOneRouteIsNoneOfAnother(t *testing.T) {
	h := newHarness(t)
	h.want(h.do("POST", "/api/messages/send", anSMS, "Idempotency-Key", "k"), 200, 0)
	h.want(h.do("POST", "/api/messages/templates", `{"name":"t","channel":"sms","content":"hi"}`, "Idempotency-Key", "k"), 422, core.CodeKeyReused)
}

func TestSendKeyOfAFailureIsFree(t *testing.T) {
	h := newHarness(t)
	key := []string{"Idempotency-Key", "k"}
	h.want(h.do("POST", "/api/messages/send", `{"channel":"sms","content":"hi"}`, key...), 422, 1001)
	h.want(h.do("POST", "/api/messages/send", anSMS, key...), 200, 0)
	h.want(h.do("POST", "/api/messages/templates", `{"name":"t"}`, "Idempotency-Key", "t"), 422, 1001)
	h.want(h.do("POST", "/api/messages/templates", `{"name":"t","channel":"sms","content":"hi"}`, "Idempotency-Key", "t"), 201, 0)
}

func TestSendKeyHasToBeReadable(t *testing.T) {
	h := newHarness(t)
	for about, key := range map[string]string{"too long": strings.Repeat("k", 256), "no ASCII": "ключ", "control character": "a\tb"} {
		a := h.want(h.do("POST", "/api/messages/send", anSMS, "Idempotency-Key", key), 400, 1000)
		if a.field("Idempotency-Key") == "" {
			t.Errorf("%s: errors %v", about, a.Errors)
		}
		h.want(h.do("POST", "/api/messages/templates", `{"name":"t","channel":"sms","content":"hi"}`, "Idempotency-Key", key), 400, 1000)
	}
	h.want(h.do("POST", "/api/messages/send", anSMS, "Idempotency-Key", strings.Repeat("k", 255)), 200, 0)
}

// slowSender holds its first request just before the commit.
type slowSender struct {
	api.Sender
	entered, goOn chan struct{}
	first         sync.Once
}

func (s *slowSender) Send(ctx context.Context, r accept.Request) (accept.Accepted, error) {
	s.first.Do(func() {
		answer := r.Key.Answer
		r.Key.Answer = func(a accept.Accepted) (int, []byte) {
			close(s.entered)
			<-s.goOn
			return answer(a)
		}
	})
	return s.Sender.Send(ctx, r)
}

func TestSendKeyInFlight(t *testing.T) {
	slow := &slowSender{entered: make(chan struct{}), goOn: make(chan struct{})}
	h := newHarness(t, func(o *api.Options) { slow.Sender, o.Sender = o.Sender, slow })
	var first answer
	var wg sync.WaitGroup
	wg.Go(func() { first = h.do("POST", "/api/messages/send", anSMS, "Idempotency-Key", "k") })
	<-slow.entered
	a := h.do("POST", "/api/messages/send", anSMS, "Idempotency-Key", "k")
	close(slow.goOn)
	wg.Wait()
	h.want(first, 200, 0)
	if h.want(a, 409, core.CodeKeyInFlight); a.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q; want 1", a.Header.Get("Retry-After"))
	}
}
