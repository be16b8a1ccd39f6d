package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	double "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/tencent"
	"github.com/pigeonry/pigeonry/plugins/sms/tencent"
	"github.com/pigeonry/pigeonry/sdk"
)

// tencentConfig is what the tags' defaults give, but for the double at a URL.
func tencentConfig(base string) tencent.Config {
	return tencent.Config{
		SecretID: "sandbox", SecretKey: "sandbox-secret", AppID: "1400000000", Region: "ap-guangzhou", SignName: "Sandbox", Template: "1000",
		Parameters: map[string][]string{"1001": {"code", "minutes"}}, CallbackToken: callbackToken,
		BaseURL: base, Timeout: 5 * time.Second, MaxBatch: 94,
	}
}

// newTencentDouble is the provider as the sandbox plays it.
func newTencentDouble(d desk.Desk) desk.Provider { return double.New(d) }

// newTencent runs the double with a connector to it.
func newTencent(t *testing.T) (*counterDesk, desk.Provider, *tencent.Channel) {
	t.Helper()
	d := newDesk()
	p := double.New(d)
	address := callbackBase + "?token=" + callbackToken
	setProvider(t, p, map[string]any{"report_url": address, "reply_url": address})
	return d, p, tencent.Open(tencentConfig(serveProvider(t, p)))
}

func TestTencentSends(t *testing.T) {
	d, p, c := newTencent(t)
	setProvider(t, p, map[string]any{"refuse": map[string]string{"+8613900000007": "FailedOperation.PhoneNumberInBlacklist"}})
	var ms []*sdk.Message
	for i := range 250 {
		m := message("The same to all")
		m.AttemptID, m.Recipient = fmt.Sprintf("%d.1", 1000+i), fmt.Sprintf("+86139%08d", i)
		ms = append(ms, m)
	}
	ms[10] = templated("+8613900000010", "1001", map[string]string{"minutes": "5", "code": "4370"})
	ms[11] = templated("+8613900000011", "1000", map[string]string{"1": "By number"})
	ms[12].Recipient, ms[12].Attributes = "+4917612345678", map[string]string{"sender": "Shop"} // abroad
	ms[13].Recipient = ms[14].Recipient                                                         // the same person twice
	ids := map[string]bool{}
	for i, r := range sendAll(t, c, ms) {
		want := "accepted"
		if i == 7 {
			want = "rejected recipient_blocked message"
		}
		if got := outcomeOf(r.err); got != want {
			t.Errorf("message %d: %s, want %s: %v", i, got, want, r.err)
		}
		if id := r.receipt.ProviderID(); r.err == nil && (id == "" || ids[id] || r.receipt.Segments != 1) {
			t.Errorf("message %d has the receipt %+v", i, r.receipt)
		}
		ids[r.receipt.ProviderID()] = true
	}
	texts := map[string]int{}
	for _, m := range d.entries() {
		texts[m.Text]++
	}
	if len(d.entries()) != 249 || texts["The same to all"] != 247 || texts["Your code is 4370, valid for 5 minutes."] != 1 || texts["By number"] != 1 {
		t.Errorf("the provider took %v", texts)
	}
	if m := d.entries()[len(d.entries())-1]; m.From != "Sandbox" {
		t.Errorf("sent by %q", m.From)
	}
}

func TestTencentReceipts(t *testing.T) {
	d, p, c := newTencent(t)
	r, err := c.Send(t.Context(), templated("+8613800138000", "1000", map[string]string{"1": "Hello"}))
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[desk.ReceiptStatus]string{desk.Delivered: "accepted", desk.Undelivered: "rejected undeliverable message"} {
		callback := d.receipt(t, r.ProviderID(), status)
		first, again := handle(t, c, callback, callbackBase), handle(t, c, callback, callbackBase)
		got := first.Receipts[0]
		if got.ProviderID != r.ProviderID() || outcomeOf(got.Err) != want || got.Recipient != "+8613800138000" || got.AttemptID != "77.1" || got.DedupeKey == "" ||
			got.DedupeKey != again.Receipts[0].DedupeKey || !got.At.Equal(time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)) {
			t.Errorf("receipt %+v", got)
		}
	}
	if c := d.receipt(t, r.ProviderID(), desk.Progress); c.Request != nil {
		t.Error("progress makes a callback")
	}
	callback := d.event(t, p, `{"type":"reply","from":"+8613800138000","text":"T","sign":"Sandbox","extend":"12"}`)
	first, again := handle(t, c, callback, callbackBase), handle(t, c, callback, callbackBase)
	in := first.Inbound[0]
	if in.From != "+8613800138000" || in.To != "12" || in.Text != "T" || in.Attributes["sign_name"] != "Sandbox" || in.At.IsZero() ||
		in.DedupeKey == "" || in.DedupeKey != again.Inbound[0].DedupeKey {
		t.Errorf("inbound %+v", in)
	}
	good := callbackRequest(t, callback, callbackBase)
	for name, tc := range map[string]struct {
		query, body string
		status      int
	}{
		"no token":     {"", string(good.Body), 401},
		"no JSON":      {good.Query, "hello", 400},
		"no objects":   {good.Query, "[1]", 400},
		"nothing else": {good.Query, `[{"report_status":"SUCCESS"}]`, 200},
	} {
		request := *good
		request.Query, request.Body = tc.query, []byte(tc.body)
		answer, events, err := c.HandleCallback(t.Context(), &request)
		if err != nil || answer.Status != tc.status || !events.Empty() {
			t.Errorf("%s: %+v, %+v, %v", name, answer, events, err)
		}
	}
}

func TestTencentOutcomes(t *testing.T) {
	d, _, c := newTencent(t)
	for decision, want := range map[desk.Decision]string{
		{Answer: desk.Fail}:                                  "retryable provider_unavailable provider",
		{Answer: desk.Throttle}:                              "throttled throttled provider",
		{Answer: desk.Refuse}:                                "rejected recipient_blocked message",
		{Answer: desk.HangUp}:                                "uncertain uncertain provider",
		{Answer: desk.Refuse, Code: "InternalError.Timeout"}: "uncertain provider_error provider",
		{Answer: desk.Refuse, Code: "LimitExceeded.PhoneNumberThirtySecondLimit"}:                "retryable quota_exceeded message",
		{Answer: desk.Refuse, Code: "FailedOperation.InsufficientBalanceInSmsPackage"}:           "retryable insufficient_balance config",
		{Answer: desk.Refuse, Code: "UnauthorizedOperation.RequestIpNotInWhitelist"}:             "rejected permission_denied config",
		{Answer: desk.Refuse, Code: "FailedOperation.SomethingNew"}:                              "uncertain provider_error provider",
		{Answer: desk.Refuse, Code: "SomethingNew"}:                                              "uncertain provider_error provider",
		{Answer: desk.Refuse, Code: "InvalidParameterValue.TemplateParameterLengthLimit"}:        "rejected payload_too_large message",
		{Answer: desk.Refuse, Code: "InvalidParameterValue.ProhibitedUseUrlInTemplateParameter"}: "rejected content_refused message",
	} {
		d.decide(decision)
		if _, err := c.Send(t.Context(), message("Hello")); outcomeOf(err) != want {
			t.Errorf("%+v: %s, want %s", decision, outcomeOf(err), want)
		}
	}
	const refused = `{"Response":{"RequestId":"1","Error":{"Code":"InvalidParameterValue.IncorrectPhoneNumber","Message":"no"}}}`
	for name, tc := range map[string]struct {
		change func(*tencent.Config)
		m      *sdk.Message
		want   string
	}{
		"wrong secret":     {func(c *tencent.Config) { c.SecretKey = "other-secret" }, message("x"), "rejected auth_failed config"},
		"wrong key":        {func(c *tencent.Config) { c.SecretID = "nobody" }, message("x"), "rejected auth_failed config"},
		"wrong app":        {func(c *tencent.Config) { c.AppID = "1" }, message("x"), "rejected auth_failed config"},
		"no server":        {func(c *tencent.Config) { c.BaseURL = nobody(t) }, message("x"), "retryable connect_failed provider"},
		"no answer":        {func(c *tencent.Config) { c.BaseURL, c.Timeout = silent(t), 100*time.Millisecond }, message("x"), "uncertain timeout provider"},
		"no JSON":          {func(c *tencent.Config) { c.BaseURL = scripted(t, 200, "<html>") }, message("x"), "uncertain no_response provider"},
		"a proxy":          {func(c *tencent.Config) { c.BaseURL = scripted(t, 502, "bad gateway") }, message("x"), "uncertain http_status provider"},
		"not mentioned":    {func(c *tencent.Config) { c.BaseURL = scripted(t, 200, `{"Response":{"RequestId":"1"}}`) }, message("x"), "uncertain no_response provider"},
		"refused whole":    {func(c *tencent.Config) { c.BaseURL = scripted(t, 200, refused) }, message("x"), "rejected invalid_recipient message"},
		"no sign":          {func(c *tencent.Config) { c.SignName = "" }, message("x"), "rejected sign_invalid config"},
		"unknown sign":     {func(c *tencent.Config) { c.SignName = "Other" }, message("x"), "rejected sign_invalid config"},
		"no template":      {func(c *tencent.Config) { c.Template = "" }, message("x"), "rejected template_missing message"},
		"unknown template": {func(*tencent.Config) {}, templated("+8613800138000", "9", nil), "rejected template_invalid config"},
		"no parameter":     {func(*tencent.Config) {}, templated("+8613800138000", "1001", map[string]string{"code": "1", "min": "2"}), "rejected template_invalid message"},
		"one too many":     {func(*tencent.Config) {}, templated("+8613800138000", "1001", map[string]string{"code": "1", "minutes": "2", "x": "3"}), "rejected template_invalid message"},
		"no text":          {func(*tencent.Config) {}, message(""), "rejected empty_text message"},
		"no number":        {func(*tencent.Config) {}, templated("shop", "1000", nil), "rejected invalid_recipient message"},
	} {
		t.Run(name, func(t *testing.T) {
			config := tencentConfig(serveProvider(t, double.New(newDesk())))
			tc.change(&config)
			if _, err := tencent.Open(config).Send(t.Context(), tc.m); outcomeOf(err) != tc.want {
				t.Errorf("%s, want %s: %v", outcomeOf(err), tc.want, err)
			}
		})
	}
	config := tencentConfig(scripted(t, 200, refused))
	pair := []*sdk.Message{message("x"), message("x")}
	pair[1].Recipient = "+8613800138001"
	for i, r := range sendAll(t, tencent.Open(config), pair) { // the halves are tried apart
		if outcomeOf(r.err) != "rejected invalid_recipient message" {
			t.Errorf("message %d of a batch that is refused whole: %v", i, r.err)
		}
	}
}

func TestTencentQuery(t *testing.T) {
	d, _, c := newTencent(t)
	d.decide(desk.Decision{Answer: desk.HangUp}, desk.Decision{Answer: desk.HangUp})
	pair := []*sdk.Message{message("the same"), message("the same")}
	pair[0].AttemptID, pair[0].Recipient = "8.1", "+8613800138008"
	pair[1].AttemptID, pair[1].Recipient = "9.1", "+8613800138009"
	for i, r := range sendAll(t, c, pair) {
		if outcomeOf(r.err) != "uncertain uncertain provider" {
			t.Errorf("message %d of a lost answer: %v", i, r.err)
		}
	}
	delivered, err := c.Send(t.Context(), message("Hello"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	d.callbacks[d.entries()[0].ProviderID](desk.Receipt{ProviderID: d.entries()[0].ProviderID, At: now})
	d.callbacks[d.entries()[1].ProviderID](desk.Receipt{ProviderID: d.entries()[1].ProviderID, At: now, Status: desk.Undelivered})
	d.callbacks[delivered.ProviderID()](desk.Receipt{ProviderID: delivered.ProviderID(), At: now})
	results, err := c.Query(t.Context(), []sdk.Attempt{
		{AttemptID: "8.1", Recipient: "+8613800138008", SentAt: now},
		{AttemptID: "9.1", Recipient: "+8613800138009", SentAt: now},
		{AttemptID: "8.1", Recipient: "+8613800138008", SentAt: now.Add(-4 * 24 * time.Hour)}, // a batch of other days names it by chance
		{AttemptID: "10.1", Recipient: "+8613800138010", SentAt: now},
		{AttemptID: "a1", Recipient: "+8613800138000", SentAt: now, ProviderIDs: delivered.ProviderIDs},
		{AttemptID: "a2", Recipient: "+8613800138000", SentAt: now, ProviderIDs: []string{"other"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, r := range results {
		got += fmt.Sprintln(r.AttemptID, outcomeOf(r.Err), len(r.Receipt.ProviderIDs))
	}
	if want := "8.1 accepted 1\n9.1 rejected undeliverable message 1\na1 accepted 1\n"; got != want {
		t.Errorf("the provider knows\n%swant\n%s", got, want)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	away := tencent.Open(tencentConfig(scripted(t, 500, "")))
	if _, err := away.Query(t.Context(), []sdk.Attempt{{AttemptID: "1.1", Recipient: "+8613800138000", SentAt: now}}); err == nil {
		t.Error("a question without an answer has a result")
	}
}

func TestTencentDoubleChecksRequests(t *testing.T) {
	p := double.New(newDesk())
	for _, settings := range []string{`{"unknown":1}`, `{"reply_url":"nowhere"}`, `[]`} {
		if err := p.Set([]byte(settings)); err == nil {
			t.Errorf("%s: no error", settings)
		}
	}
	for _, event := range []string{`{"type":"up"}`, `{"type":"reply","from":"x"}`, `{"type":"reply","from":"+8613800138000"}`, `1`} {
		if err := p.Play(t.Context(), []byte(event)); err == nil {
			t.Errorf("%s: no error", event)
		}
	}
}
