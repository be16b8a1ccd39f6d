package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	double "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/aliyun"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	"github.com/pigeonry/pigeonry/plugins/sms/aliyun"
	"github.com/pigeonry/pigeonry/sdk"
)

const (
	callbackBase  = "https://gw.example.com/callbacks/sms/main"
	callbackToken = "push-secret-1"
)

// aliyunConfig is what the tags' defaults give, but for the double at a URL.
func aliyunConfig(base string) aliyun.Config {
	return aliyun.Config{
		AccessKeyID: "sandbox", AccessKeySecret: "sandbox-secret", SignName: "Sandbox", Template: "SMS_SANDBOX", TemplateText: "content",
		CallbackToken: callbackToken, BaseURL: base, Timeout: 5 * time.Second, MaxBatch: 46,
	}
}

// newAliyunDouble is the provider as the sandbox plays it.
func newAliyunDouble(d desk.Desk) desk.Provider { return double.New(d) }

// newAliyun runs the double with a connector to it.
func newAliyun(t *testing.T) (*counterDesk, desk.Provider, *aliyun.Channel) {
	t.Helper()
	d := newDesk()
	p := double.New(d)
	setProvider(t, p, map[string]any{
		"report_url": callbackBase + "?token=" + callbackToken, "up_url": callbackBase + "/" + callbackToken,
	})
	return d, p, aliyun.Open(aliyunConfig(serveProvider(t, p)))
}

func TestAliyunSendsOne(t *testing.T) {
	d, _, c := newAliyun(t)
	for _, tc := range []struct {
		m        *sdk.Message
		to, text string
		segments int
	}{
		{templated("+8613800138000", "SMS_CODE", map[string]string{"code": "12 3*~'+&="}), "+8613800138000", "Your code is 12 3*~'+&=.", 0},
		{message("您的验证码是 123456"), "+8613800138000", "您的验证码是 123456", 1},
		{message(strings.Repeat("长", 62)), "+8613800138000", strings.Repeat("长", 62), 2}, // 【Sandbox】 has 9
		{&sdk.Message{AttemptID: "5.1", Recipient: "+85251234567", Content: sdk.Content{
			Plain: "Hello", Attributes: map[string]string{"sign_name": "阿里云", "extend_code": "90999"},
		}}, "+85251234567", "Hello", 1},
	} {
		r, err := c.Send(t.Context(), tc.m)
		if err != nil {
			t.Fatalf("%s: %v", tc.text, err)
		}
		taken := d.entries()
		last := taken[len(taken)-1]
		if last.To != tc.to || last.Text != tc.text || last.ProviderID != r.ProviderID() || r.Segments != tc.segments {
			t.Errorf("the provider has %+v, the receipt is %+v, want %s to %s in %d", last, r, tc.text, tc.to, tc.segments)
		}
	}
	if taken := d.entries(); taken[0].Reference != "77" || taken[0].From != "Sandbox" || taken[3].From != "阿里云" {
		t.Errorf("references and signatures: %+v", taken)
	}
}

func TestAliyunSendsBatches(t *testing.T) {
	d, p, c := newAliyun(t)
	setProvider(t, p, map[string]any{
		"refuse": map[string]string{"+8613900000007": "isv.MOBILE_NUMBER_ILLEGAL", "+8613900000100": "isv.BUSINESS_LIMIT_CONTROL"},
	})
	var ms []*sdk.Message
	for i := range 130 {
		m := message(fmt.Sprintf("Text %d", i))
		m.AttemptID, m.Recipient = fmt.Sprintf("%d.1", 1000+i), fmt.Sprintf("+86139%08d", i)
		if i%10 == 3 {
			m.Template = &sdk.Template{ID: "SMS_CODE", Parameters: map[string]string{"code": fmt.Sprint(i)}}
		}
		ms = append(ms, m)
	}
	ms[120].Recipient = ms[0].Recipient // the same person twice
	ms[121].Recipient = "13800138000x"
	ids, seen := map[string]bool{}, map[string]bool{}
	for i, r := range sendAll(t, c, ms) {
		want := "accepted"
		switch i {
		case 7, 121:
			want = "rejected invalid_recipient message"
		case 100:
			want = "retryable quota_exceeded message"
		}
		if got := outcomeOf(r.err); got != want {
			t.Errorf("message %d: %s, want %s: %v", i, got, want, r.err)
		}
		if id := r.receipt.ProviderID(); r.err == nil && (id == "" || ids[id]) {
			t.Errorf("message %d has the id %q, as another has", i, id)
		}
		ids[r.receipt.ProviderID()] = true
	}
	for _, m := range d.entries() {
		seen[m.To+" "+m.Text] = true
	}
	if len(seen) != 127 || !seen["+8613900000000 Text 0"] || !seen["+8613900000000 Text 120"] || !seen["+8613900000003 Your code is 3."] {
		t.Errorf("the provider took %d messages", len(seen))
	}
}

func TestAliyunReceipts(t *testing.T) {
	d, p, c := newAliyun(t)
	ms := []*sdk.Message{message("one"), message("two")}
	ms[0].AttemptID, ms[1].AttemptID, ms[1].Recipient = "1.1", "2.1", "+8613800138001"
	results := sendAll(t, c, ms)
	single, err := c.Send(t.Context(), templated("+8613800138002", "SMS_CODE", map[string]string{"code": "1"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		id      string
		status  desk.ReceiptStatus
		want    sdk.ReceiptStatus
		attempt string
		code    string
	}{
		{results[0].receipt.ProviderID(), desk.Delivered, sdk.Delivered, "", "accepted"},
		{results[1].receipt.ProviderID(), desk.Undelivered, sdk.Undelivered, "", "rejected undeliverable message"},
		{single.ProviderID(), desk.Delivered, sdk.Delivered, "77.1", "accepted"},
	} {
		callback := d.receipt(t, tc.id, tc.status)
		first, again := handle(t, c, callback, callbackBase), handle(t, c, callback, callbackBase)
		if len(first.Receipts) != 1 || len(again.Receipts) != 1 {
			t.Fatalf("%s: %+v", tc.id, first)
		}
		got := first.Receipts[0]
		if got.ProviderID != tc.id || got.Status != tc.want || got.AttemptID != tc.attempt || outcomeOf(got.Err) != tc.code || got.Segments != 1 ||
			got.DedupeKey == "" || got.DedupeKey != again.Receipts[0].DedupeKey || !got.At.Equal(time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)) {
			t.Errorf("receipt %+v, want %+v", got, tc)
		}
	}
	stranger := d.callbacks[single.ProviderID()](desk.Receipt{ProviderID: "unknown-1"})
	if got := handle(t, c, stranger, callbackBase).Receipts; len(got) != 1 || got[0].AttemptID != "" {
		t.Errorf("a receipt of nothing: %+v", got)
	}
	events := handle(t, c, d.event(t, p, `{"type":"up","from":"+8613800138000","text":"退订","sign":"Sandbox","dest_code":"1234"}`), callbackBase)
	if len(events.Inbound) != 1 || len(events.Receipts) != 0 {
		t.Fatalf("events %+v", events)
	}
	in := events.Inbound[0]
	if in.From != "+8613800138000" || in.To != "1234" || in.Text != "退订" || in.Attributes["sign_name"] != "Sandbox" || in.DedupeKey != "up/1" {
		t.Errorf("inbound %+v", in)
	}
}

// Receipts from other countries, as the provider's page shows them.
func TestAliyunReceiptsFromAbroad(t *testing.T) {
	c := aliyun.Open(aliyunConfig("http://127.0.0.1:1"))
	receive := func(status, code string) []sdk.DeliveryReceipt {
		t.Helper()
		answer, events, err := c.HandleCallback(t.Context(), &sdk.CallbackRequest{Query: "token=" + callbackToken, Body: []byte(`{
			"To": "85212345678", "SendDate": "Thu, 25 Nov 2021 10:27:00 +0800", "ReceiveDate": "Thu, 25 Nov 2021 10:27:33 +0800", "Status": "` + status + `",
			"SmsSize": "2", "ErrorCode": "` + code + `", "ErrorDescription": "words", "MessageId": "1234567890"}`)})
		if err != nil || answer.Status != 200 {
			t.Fatalf("%+v, %v", answer, err)
		}
		return events.Receipts
	}
	for status, want := range map[string]string{"1": "accepted", "2": "rejected undeliverable message", "6": "rejected expired_at_provider message"} {
		got := receive(status, "code")
		if len(got) != 1 || got[0].ProviderID != "1234567890/85212345678" || outcomeOf(got[0].Err) != want || (got[0].Status == sdk.Delivered) != (status == "1") ||
			got[0].Segments != 2 || got[0].DedupeKey != "1234567890/85212345678/"+status+"/code" || !got[0].At.Equal(time.Date(2021, 11, 25, 2, 27, 33, 0, time.UTC)) {
			t.Errorf("status %s: %+v", status, got)
		}
	}
	if got := receive("9", "code"); len(got) != 0 {
		t.Errorf("an unknown status: %+v", got)
	}
}

func TestAliyunRefusesCallbacks(t *testing.T) {
	d, _, c := newAliyun(t)
	r, err := c.Send(t.Context(), message("one"))
	if err != nil {
		t.Fatal(err)
	}
	good := callbackRequest(t, d.receipt(t, r.ProviderID(), desk.Delivered), callbackBase)
	for name, tc := range map[string]struct {
		query, body string
		status      int
	}{
		"no token":     {"", string(good.Body), 401},
		"wrong token":  {"token=push-secret-2", string(good.Body), 401},
		"no array":     {good.Query, "hello", 400},
		"no objects":   {good.Query, "[1]", 400},
		"wrong types":  {good.Query, `[{"success":"yes"}]`, 400},
		"nothing else": {good.Query, `[{"other":1}]`, 200},
	} {
		request := *good
		request.Query, request.Body = tc.query, []byte(tc.body)
		answer, events, err := c.HandleCallback(t.Context(), &request)
		if err != nil || answer.Status != tc.status || !events.Empty() {
			t.Errorf("%s: %+v, %+v, %v", name, answer, events, err)
		}
	}
	closed := aliyunConfig("http://127.0.0.1:1")
	closed.CallbackToken = ""
	if answer, _, _ := aliyun.Open(closed).HandleCallback(t.Context(), good); answer.Status != 401 {
		t.Errorf("without a token of its own: %d", answer.Status)
	}
}

func TestAliyunOutcomes(t *testing.T) {
	d, _, c := newAliyun(t)
	for decision, want := range map[desk.Decision]string{
		{Answer: desk.Fail}:                                   "retryable provider_unavailable provider",
		{Answer: desk.Throttle}:                               "throttled throttled provider",
		{Answer: desk.Refuse}:                                 "rejected invalid_recipient message",
		{Answer: desk.HangUp}:                                 "uncertain uncertain provider",
		{Answer: desk.Refuse, Code: "isv.AMOUNT_NOT_ENOUGH"}:  "retryable insufficient_balance config",
		{Answer: desk.Refuse, Code: "isp.SYSTEM_ERROR"}:       "uncertain provider_error provider",
		{Answer: desk.Refuse, Code: "SignatureNonceUsed"}:     "uncertain no_response provider",
		{Answer: desk.Refuse, Code: "Forbidden.RAM"}:          "rejected permission_denied config",
		{Answer: desk.Refuse, Code: "isv.SOMETHING_NEW"}:      "rejected rejected_by_provider message",
		{Answer: desk.Refuse, Code: "SomethingNew"}:           "rejected http_status message",
		{Answer: desk.Refuse, Code: "isv.CUSTOMER_REFUSED"}:   "rejected unsubscribed message",
		{Answer: desk.Refuse, Code: "Throttling.Api"}:         "throttled throttled provider",
		{Answer: desk.Refuse, Code: "isv.PARAM_LENGTH_LIMIT"}: "rejected payload_too_large message",
	} {
		d.decide(decision)
		if _, err := c.Send(t.Context(), message("Hello")); outcomeOf(err) != want {
			t.Errorf("%+v: %s, want %s", decision, outcomeOf(err), want)
		}
	}
	for name, tc := range map[string]struct {
		change func(*aliyun.Config)
		m      *sdk.Message
		want   string
	}{
		"wrong secret":     {func(c *aliyun.Config) { c.AccessKeySecret = "other-secret" }, message("x"), "rejected auth_failed config"},
		"wrong key":        {func(c *aliyun.Config) { c.AccessKeyID = "nobody" }, message("x"), "rejected auth_failed config"},
		"no server":        {func(c *aliyun.Config) { c.BaseURL = nobody(t) }, message("x"), "retryable connect_failed provider"},
		"no answer":        {func(c *aliyun.Config) { c.BaseURL, c.Timeout = silent(t), 100*time.Millisecond }, message("x"), "uncertain timeout provider"},
		"no JSON":          {func(c *aliyun.Config) { c.BaseURL = scripted(t, 200, "<html>") }, message("x"), "uncertain no_response provider"},
		"no id":            {func(c *aliyun.Config) { c.BaseURL = scripted(t, 200, `{"Code":"OK"}`) }, message("x"), "uncertain no_response provider"},
		"a proxy":          {func(c *aliyun.Config) { c.BaseURL = scripted(t, 502, "bad gateway") }, message("x"), "uncertain http_status provider"},
		"unknown, 200":     {func(c *aliyun.Config) { c.BaseURL = scripted(t, 200, `{"Code":"What"}`) }, message("x"), "uncertain provider_error provider"},
		"no sign":          {func(c *aliyun.Config) { c.SignName = "" }, message("x"), "rejected sign_invalid config"},
		"unknown sign":     {func(c *aliyun.Config) { c.SignName = "Other" }, message("x"), "rejected sign_invalid config"},
		"no template":      {func(c *aliyun.Config) { c.Template = "" }, message("x"), "rejected template_missing message"},
		"unknown template": {func(*aliyun.Config) {}, templated("+8613800138000", "SMS_NONE", nil), "rejected template_invalid config"},
		"no parameter":     {func(*aliyun.Config) {}, templated("+8613800138000", "SMS_CODE", nil), "rejected template_invalid message"},
		"no text":          {func(*aliyun.Config) {}, message(""), "rejected empty_text message"},
		"no number":        {func(*aliyun.Config) {}, templated("shop", "SMS_CODE", nil), "rejected invalid_recipient message"},
		"North America":    {func(*aliyun.Config) {}, templated("+13055551234", "SMS_CODE", map[string]string{"code": "1"}), "rejected invalid_recipient message"},
	} {
		t.Run(name, func(t *testing.T) {
			config := aliyunConfig(serveProvider(t, double.New(newDesk())))
			tc.change(&config)
			if _, err := aliyun.Open(config).Send(t.Context(), tc.m); outcomeOf(err) != tc.want {
				t.Errorf("%s, want %s: %v", outcomeOf(err), tc.want, err)
			}
		})
	}
}

func TestAliyunQuery(t *testing.T) {
	d, _, c := newAliyun(t)
	d.decide(desk.Decision{Answer: desk.HangUp})
	lost := templated("+8613800138000", "SMS_CODE", map[string]string{"code": "1"})
	if _, err := c.Send(t.Context(), lost); outcomeOf(err) != "uncertain uncertain provider" {
		t.Fatalf("a lost answer: %v", err)
	}
	d.decide(desk.Decision{}, desk.Decision{Answer: desk.Fail}, desk.Decision{Answer: desk.HangUp}) // the second is taken with the first
	pair := []*sdk.Message{message("one"), message("two")}
	pair[0].AttemptID, pair[0].Recipient = "8.1", "+8613800138008"
	pair[1].AttemptID, pair[1].Recipient = "9.1", "+8613800138009"
	for i, r := range sendAll(t, c, pair) {
		if outcomeOf(r.err) != "uncertain uncertain provider" {
			t.Errorf("message %d of a lost answer: %v", i, r.err)
		}
	}
	late := handle(t, c, d.receipt(t, d.entries()[2].ProviderID, desk.Undelivered), callbackBase)
	if len(late.Receipts) != 1 || late.Receipts[0].AttemptID != "9.1" {
		t.Errorf("the receipt of a message whose answer was lost: %+v", late)
	}

	now := time.Now()
	results, err := c.Query(t.Context(), []sdk.Attempt{
		{AttemptID: "77.1", Recipient: "+8613800138000", SentAt: now},
		{AttemptID: "8.1", Recipient: "+8613800138008", SentAt: now},
		{AttemptID: "9.1", Recipient: "+8613800138009", SentAt: now},
		{AttemptID: "77.2", Recipient: "+8613800138000", SentAt: now},
		{AttemptID: "8.1", Recipient: "+8613800138008", SentAt: now.Add(-24 * time.Hour)},
		{AttemptID: "1.1", Recipient: "nobody", SentAt: now},
		{AttemptID: "2.1", Recipient: "+8613800138008", SentAt: now, ProviderIDs: []string{d.entries()[1].ProviderID}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, r := range results {
		got += r.AttemptID + " " + outcomeOf(r.Err) + "\n"
	}
	if want := "77.1 accepted\n8.1 accepted\n9.1 rejected undeliverable message\n2.1 accepted\n"; got != want {
		t.Errorf("the provider knows\n%swant\n%s", got, want)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	away := aliyun.Open(aliyunConfig(scripted(t, 500, "")))
	if _, err := away.Query(t.Context(), []sdk.Attempt{{AttemptID: "1.1", Recipient: "+8613800138000", SentAt: now}}); err == nil {
		t.Error("a question without an answer has a result")
	}
	if err := away.Check(t.Context()); sdk.OutcomeOf(err) != sdk.OutcomeRetryable {
		t.Errorf("Check of a provider that fails: %v", err)
	}
}

func TestAliyunDoubleChecksRequests(t *testing.T) {
	p := double.New(newDesk())
	for _, settings := range []string{`{"unknown":1}`, `{"report_url":"nowhere"}`, `[]`} {
		if err := p.Set([]byte(settings)); err == nil {
			t.Errorf("%s: no error", settings)
		}
	}
	for _, event := range []string{`{"type":"down"}`, `{"type":"up","from":"x"}`, `{"type":"up","from":"+8613800138000"}`, `1`} {
		if err := p.Play(t.Context(), []byte(event)); err == nil {
			t.Errorf("%s: no error", event)
		}
	}
}
