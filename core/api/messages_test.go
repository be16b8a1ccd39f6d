package api_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/api"
)

func TestListMessagesInPages(t *testing.T) {
	h := newHarness(t)
	var want []int64
	for range 7 {
		want = append([]int64{h.send(anSMS).RecordId}, want...)
	}
	var got []int64
	path := "/api/messages?limit=3"
	for pages := 0; ; pages++ {
		list := data[api.MessageList](t, h.want(h.do("GET", path, ""), 200, 0))
		for _, m := range list.Items {
			got = append(got, m.RecordId)
			if m.Content.Text != "" || m.Attempts != nil {
				t.Errorf("a list shows content: %+v", m)
			}
		}
		if list.NextCursor == nil {
			break
		}
		if pages > 3 {
			t.Fatal("the list does not end")
		}
		path = "/api/messages?limit=3&cursor=" + url.QueryEscape(*list.NextCursor)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("list %v; want %v", got, want)
	}
	if last := data[api.MessageList](t, h.do("GET", "/api/messages?limit=7", "")); last.NextCursor != nil {
		t.Error("a page that holds all has a next one")
	}
}

func TestListMessagesFiltered(t *testing.T) {
	h := newHarness(t)
	template := h.createTemplate(`{"name":"t","channel":"sms","content":"x"}`)
	start := time.Now()
	h.send(anSMS)
	h.send(`{"channel":"email","recipient":"ada@example.com","content":"x"}`)
	h.send(fmt.Sprintf(`{"template_id":%d,"recipient":"+8613800138001","delay_ms":60000}`, template.Id))
	for query, want := range map[string]int{
		"":                           3,
		"channel=sms":                2,
		"channel=feishu":             0,
		"status=queued":              2,
		"status=scheduled":           1,
		"channel=sms&status=queued":  1,
		"recipient=ada@example.com":  1,
		"recipient=%2B8613800138001": 1,
		"batch_id=1":                 0,
		fmt.Sprintf("template_id=%d", template.Id):                                             1,
		"created_before=" + url.QueryEscape(start.Add(-time.Minute).Format(time.RFC3339)):      0,
		"created_from=" + url.QueryEscape(start.Add(-time.Minute).Format(time.RFC3339)):        3,
		"created_from=" + url.QueryEscape(start.Add(time.Hour).UTC().Format(time.RFC3339Nano)): 0,
	} {
		list := data[api.MessageList](t, h.want(h.do("GET", "/api/messages?"+query, ""), 200, 0))
		if len(list.Items) != want {
			t.Errorf("%s: %d messages; want %d", query, len(list.Items), want)
		}
	}
}

func TestListRefuses(t *testing.T) {
	h := newHarness(t)
	for _, list := range []string{"/api/messages", "/api/messages/templates"} {
		for query, want := range map[string]struct {
			status int
			field  string
		}{
			"limit=0":                 {422, "limit"},
			"limit=201":               {422, "limit"},
			"limit=-1":                {422, "limit"},
			"limit=many":              {400, "limit"},
			"limit=1&limit=2":         {400, "limit"},
			"status=lost":             {422, "status"},
			"cursor=x":                {400, "cursor"},
			"cursor=MTo":              {400, "cursor"},
			"chanel=sms":              {400, "chanel"},
			strings.Repeat("x", 3000): {400, strings.Repeat("x", 100) + "…"},
		} {
			a := h.want(h.do("GET", list+"?"+query, ""), want.status, map[int]int{400: 1000, 422: 1001}[want.status])
			if a.field(want.field) == "" {
				t.Errorf("%s?%s: errors %v", list, query, a.Errors)
			}
		}
	}
	for _, query := range []string{"template_id=x", "batch_id=1.5", "created_from=yesterday", "created_before=2026-01-01", "created_from=2026-01-01T00:00:00"} {
		a := h.want(h.do("GET", "/api/messages?"+query, ""), 400, core.CodeMalformed)
		name, value, _ := strings.Cut(query, "=")
		if a.field(name) == "" || strings.Contains(a.Message, value) {
			t.Errorf("%s: errors %v", query, a.Errors)
		}
	}
	for _, path := range []string{"/api/messages/x", "/api/messages/1.5", "/api/messages/99999999999999999999", "/api/messages/batches/x", "/api/messages/templates/x"} {
		a := h.want(h.do("GET", path, ""), 400, core.CodeMalformed)
		if len(a.Errors) != 1 || a.Errors[0]["field"] == "parameter" {
			t.Errorf("%s: errors %v", path, a.Errors)
		}
	}
}

func TestMessageAfterAFailure(t *testing.T) {
	h := newHarness(t)
	id := h.send(anSMS).RecordId
	h.sent(id, core.StatusFailed, &core.SendError{Code: "invalid_recipient", Message: "no such number", ProviderCode: "0x0B", Fault: core.FaultMessage})
	m := data[api.Message](t, h.want(h.do("GET", fmt.Sprintf("/api/messages/%d", id), ""), 200, 0))
	if m.Status != "failed" || m.Error.Code != "invalid_recipient" || m.Error.ProviderCode != "0x0B" || m.Error.Fault != "message" || m.Connector != "sms/main" {
		t.Errorf("message %+v", m)
	}
	if len(m.Attempts) != 1 || m.Attempts[0].Number != 1 || m.Attempts[0].Outcome != "rejected" || m.Attempts[0].Error.Code != "invalid_recipient" || m.Attempts[0].FinishedAt.IsZero() {
		t.Errorf("attempts %+v", m.Attempts)
	}
}

func TestCancelMessage(t *testing.T) {
	h := newHarness(t)
	path := func(id int64) string { return fmt.Sprintf("/api/messages/%d/cancel", id) }
	for _, body := range []string{anSMS, `{"channel":"sms","recipient":"+8613800138000","content":"x","delay_ms":60000}`} {
		id := h.send(body).RecordId
		for range 2 { // again is harmless
			result := data[api.StatusResult](t, h.want(h.do("POST", path(id), ""), 200, 0))
			if result.Status != "canceled" || result.RecordId != id {
				t.Errorf("result %+v", result)
			}
		}
	}
	for _, status := range []core.Status{core.StatusSending, core.StatusSent, core.StatusFailed, core.StatusUncertain} {
		id := h.send(anSMS).RecordId
		h.sent(id, status, nil)
		a := h.want(h.do("POST", path(id), ""), 409, core.CodeNotCancelable)
		if !strings.Contains(a.Message, string(status)) {
			t.Errorf("message %q does not name %s", a.Message, status)
		}
	}
}

func TestRetryMessage(t *testing.T) {
	h := newHarness(t)
	path := func(id int64) string { return fmt.Sprintf("/api/messages/%d/retry", id) }
	for _, status := range []core.Status{core.StatusFailed, core.StatusUncertain} {
		id := h.send(anSMS).RecordId
		h.sent(id, status, nil)
		result := data[api.StatusResult](t, h.want(h.do("POST", path(id), ""), 200, 0))
		m := data[api.Message](t, h.do("GET", fmt.Sprintf("/api/messages/%d", id), ""))
		if result.Status != "queued" || m.Status != "queued" || m.Doubtful != (status == core.StatusUncertain) {
			t.Errorf("%s: result %+v, message %+v", status, result, m)
		}
		h.want(h.do("POST", path(id), ""), 409, core.CodeNotRetryable) // queued now
	}
	id := h.send(anSMS).RecordId
	h.sent(id, core.StatusSent, nil)
	h.want(h.do("POST", path(id), ""), 409, core.CodeNotRetryable)
}

func TestCancelBatch(t *testing.T) {
	h := newHarness(t)
	sent := data[api.SendBatchResult](t, h.do("POST", "/api/messages/send-batch",
		`{"channel":"sms","content":"x","recipients":["+8613800138000","+8613800138001","+8613800138002"]}`))
	list := data[api.MessageList](t, h.do("GET", fmt.Sprintf("/api/messages?batch_id=%d", sent.BatchId), ""))
	h.sent(list.Items[0].RecordId, core.StatusSent, nil)
	path := fmt.Sprintf("/api/messages/batches/%d", sent.BatchId)
	result := data[api.BatchCancelResult](t, h.want(h.do("POST", path+"/cancel", ""), 200, 0))
	if result.Canceled != 2 || result.Progress.Canceled != 2 || result.Progress.Sent != 1 || result.BatchId != sent.BatchId {
		t.Errorf("result %+v", result)
	}
	again := data[api.BatchCancelResult](t, h.want(h.do("POST", path+"/cancel", ""), 200, 0))
	if again.Canceled != 0 {
		t.Errorf("again %+v", again)
	}
	batch := data[api.Batch](t, h.want(h.do("GET", path, ""), 200, 0))
	if !batch.Canceled || batch.Finished != 3 {
		t.Errorf("batch %+v", batch)
	}
}
