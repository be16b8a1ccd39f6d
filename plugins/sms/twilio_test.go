package main

import (
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	double "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/twilio"
	"github.com/pigeonry/pigeonry/plugins/sms/twilio"
	"github.com/pigeonry/pigeonry/sdk"
)

func sid(prefix string) string { return prefix + strings.Repeat("0", 32) }

// twilioConfig is what the tags' defaults give, but for the double at a URL.
func twilioConfig(base string) twilio.Config {
	return twilio.Config{
		AccountSID: sid("AC"), AuthToken: "sandboxsecret", From: "+15005550006", Validity: true, CallbackURL: callbackBase,
		BaseURL: base, Timeout: 5 * time.Second,
	}
}

// newTwilioDouble is the provider as the sandbox plays it.
func newTwilioDouble(d desk.Desk) desk.Provider { return double.New(d) }

// newTwilio runs the double with a connector to it.
func newTwilio(t *testing.T) (*counterDesk, desk.Provider, *twilio.Channel) {
	t.Helper()
	d := newDesk()
	p := double.New(d)
	setProvider(t, p, map[string]any{"incoming_url": callbackBase})
	return d, p, twilio.Open(twilioConfig(serveProvider(t, p)))
}

// german is a message to Germany.
func german(text string) *sdk.Message {
	m := message(text)
	m.AttemptID, m.Recipient, m.NotAfter = "77.1", "+4917612345678", time.Now().Add(time.Hour)
	return m
}

func TestTwilioSends(t *testing.T) {
	d, _, c := newTwilio(t)
	content := templated("+4917612345678", sid("HX"), map[string]string{"1": "By content"})
	named := german("By name")
	named.Attributes = map[string]string{"sender": "Sandbox"}
	media := german("")
	media.Attachments = []sdk.Attachment{{URL: "https://example.com/a.jpg"}}
	for _, tc := range []struct {
		m          *sdk.Message
		text, from string
		segments   int
	}{
		{german("Grüße + mehr & so"), "Grüße + mehr & so", "+15005550006", 1},
		{german(strings.Repeat("0123456789", 20)), strings.Repeat("0123456789", 20), "+15005550006", 2},
		{content, "By content", "+15005550006", 1},
		{named, "By name", "Sandbox", 1},
		{media, "", "+15005550006", 1},
	} {
		r, err := c.Send(t.Context(), tc.m)
		if err != nil {
			t.Fatalf("%s: %v", tc.text, err)
		}
		taken := d.entries()
		last := taken[len(taken)-1]
		if last.To != "+4917612345678" || last.Text != tc.text || last.From != tc.from || last.ProviderID != r.ProviderID() ||
			r.Segments != tc.segments || last.Reference != "77" {
			t.Errorf("the provider has %+v, the receipt is %+v", last, r)
		}
	}
	service := twilioConfig(serveProvider(t, double.New(newDesk())))
	service.From, service.MessagingServiceSID, service.AuthToken = "", sid("MG"), ""
	service.APIKeySID, service.APIKeySecret = sid("SK"), "sandboxsecret"
	if r, err := twilio.Open(service).Send(t.Context(), german("x")); err != nil || r.Segments != 0 {
		t.Errorf("by a service and an API key: %+v, %v", r, err)
	}
}

func TestTwilioCallbacks(t *testing.T) {
	d, p, c := newTwilio(t)
	r, err := c.Send(t.Context(), german("Hello"))
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[desk.ReceiptStatus]sdk.ReceiptStatus{
		desk.Delivered: sdk.Delivered, desk.Undelivered: sdk.Undelivered, desk.Progress: sdk.Progress,
	} {
		callback := d.receipt(t, r.ProviderID(), status)
		first, again := handle(t, c, callback, callbackBase), handle(t, c, callback, callbackBase)
		got := first.Receipts[0]
		if got.ProviderID != r.ProviderID() || got.AttemptID != "77.1" || got.Status != want || got.Recipient != "+4917612345678" ||
			got.DedupeKey == "" || got.DedupeKey != again.Receipts[0].DedupeKey || (got.Err != nil) != (want == sdk.Undelivered) {
			t.Errorf("receipt %+v", got)
		}
	}
	stranger := d.callbacks[r.ProviderID()](desk.Receipt{ProviderID: "SM-unknown"})
	if got := handle(t, c, stranger, callbackBase).Receipts[0]; got.AttemptID != "" || got.ProviderID != "SM-unknown" {
		t.Errorf("a receipt of nothing: %+v", got)
	}
	callback := d.event(t, p, `{"type":"message","from":"+4917612345678","to":"+15005550006","text":"Grüße","media":["https://example.com/a.jpg"]}`)
	in := handle(t, c, callback, callbackBase).Inbound[0]
	if in.From != "+4917612345678" || in.To != "+15005550006" || in.Text != "Grüße" || in.ProviderID == "" || in.DedupeKey == "" ||
		len(in.Attachments) != 1 || in.Attachments[0].URL != "https://example.com/a.jpg" || in.Attachments[0].ContentType != "image/jpeg" {
		t.Errorf("inbound %+v", in)
	}
	good := callbackRequest(t, callback, callbackBase)
	answer, _, _ := c.HandleCallback(t.Context(), good)
	if answer.Header.Get("Content-Type") != "text/xml; charset=utf-8" || string(answer.Body) != `<?xml version="1.0" encoding="UTF-8"?><Response></Response>` {
		t.Errorf("a user would be answered %s", answer.Body)
	}
	for name, change := range map[string]func(*sdk.CallbackRequest){
		"another body":  func(r *sdk.CallbackRequest) { r.Body = []byte(string(r.Body) + "&a=b") },
		"another query": func(r *sdk.CallbackRequest) { r.Query, r.URL = "attempt=1.1", r.URL+"?attempt=1.1" },
		"no signature":  func(r *sdk.CallbackRequest) { r.Header = nil },
	} {
		request := *good
		change(&request)
		answer, events, err := c.HandleCallback(t.Context(), &request)
		if err != nil || answer.Status != 401 || !events.Empty() {
			t.Errorf("%s: %+v, %+v, %v", name, answer, events, err)
		}
	}
	request := *good
	request.URL = "http://10.0.0.7:8080/callbacks/sms/main" // behind a proxy: callback_url counts
	if answer, _, _ := c.HandleCallback(t.Context(), &request); answer.Status == 401 {
		t.Error("behind a proxy, a good signature is refused")
	}
	request.Body = []byte("%zz")
	if answer, _, _ := c.HandleCallback(t.Context(), &request); answer.Status != 400 {
		t.Errorf("no form: %d", answer.Status)
	}
}

func TestTwilioOutcomes(t *testing.T) {
	d, _, c := newTwilio(t)
	for decision, want := range map[desk.Decision]string{
		{Answer: desk.Fail}:                  "retryable provider_unavailable provider",
		{Answer: desk.Throttle}:              "throttled throttled provider",
		{Answer: desk.Refuse}:                "rejected invalid_recipient message",
		{Answer: desk.HangUp}:                "uncertain uncertain provider",
		{Answer: desk.Refuse, Code: "21610"}: "rejected unsubscribed message",
		{Answer: desk.Refuse, Code: "21614"}: "rejected invalid_recipient message",
		{Answer: desk.Refuse, Code: "20500"}: "uncertain provider_error provider",
		{Answer: desk.Refuse, Code: "21611"}: "throttled queue_full provider",
		{Answer: desk.Refuse, Code: "30034"}: "rejected invalid_sender config",
		{Answer: desk.Refuse, Code: "12345"}: "rejected http_status message",
	} {
		d.decide(decision)
		if _, err := c.Send(t.Context(), german("Hello")); outcomeOf(err) != want {
			t.Errorf("%+v: %s, want %s", decision, outcomeOf(err), want)
		}
	}
	to := func(number string) *sdk.Message {
		m := german("Hello")
		m.Recipient = number
		return m
	}
	file := german("Hello")
	file.Attachments = []sdk.Attachment{{Name: "a.jpg", Data: []byte("x")}}
	many := german("Hello")
	for range 11 {
		many.Attachments = append(many.Attachments, sdk.Attachment{URL: "https://example.com/a.jpg"})
	}
	const failed = `{"sid":"SM1","status":"failed","error_code":30007,"error_message":"filtered","num_segments":"1"}`
	for name, tc := range map[string]struct {
		change func(*twilio.Config)
		m      *sdk.Message
		want   string
	}{
		"magic: invalid":     {func(*twilio.Config) {}, to("+15005550001"), "rejected invalid_recipient message"},
		"magic: unreachable": {func(*twilio.Config) {}, to("+15005550002"), "rejected undeliverable message"},
		"magic: region":      {func(*twilio.Config) {}, to("+15005550003"), "rejected permission_denied message"},
		"magic: opted out":   {func(*twilio.Config) {}, to("+15005550004"), "rejected unsubscribed message"},
		"magic: landline":    {func(*twilio.Config) {}, to("+15005550009"), "rejected invalid_recipient message"},
		"magic: queue full":  {func(c *twilio.Config) { c.From = "+15005550008" }, german("x"), "throttled queue_full provider"},
		"wrong token":        {func(c *twilio.Config) { c.AuthToken = "othersecret" }, german("x"), "rejected auth_failed config"},
		"wrong account":      {func(c *twilio.Config) { c.AccountSID, c.APIKeySID, c.APIKeySecret = "AC1", sid("SK"), "sandboxsecret" }, german("x"), "rejected auth_failed config"},
		"no server":          {func(c *twilio.Config) { c.BaseURL = nobody(t) }, german("x"), "retryable connect_failed provider"},
		"no answer":          {func(c *twilio.Config) { c.BaseURL, c.Timeout = silent(t), 100*time.Millisecond }, german("x"), "uncertain timeout provider"},
		"no JSON":            {func(c *twilio.Config) { c.BaseURL = scripted(t, 201, "<html>") }, german("x"), "uncertain no_response provider"},
		"a proxy":            {func(c *twilio.Config) { c.BaseURL = scripted(t, 502, "bad gateway") }, german("x"), "uncertain http_status provider"},
		"failed at once":     {func(c *twilio.Config) { c.BaseURL = scripted(t, 201, failed) }, german("x"), "rejected content_refused message"},
		"no sender":          {func(c *twilio.Config) { c.From = "" }, german("x"), "rejected invalid_sender config"},
		"another's sender":   {func(c *twilio.Config) { c.From = "+4930123456" }, german("x"), "rejected invalid_sender config"},
		"unknown service":    {func(c *twilio.Config) { c.From, c.MessagingServiceSID = "", "MG1" }, german("x"), "rejected invalid_sender config"},
		"unknown content":    {func(*twilio.Config) {}, templated("+4917612345678", "HX1", nil), "rejected template_invalid config"},
		"no text":            {func(*twilio.Config) {}, german(""), "rejected empty_text message"},
		"too long":           {func(*twilio.Config) {}, german(strings.Repeat("x", 1601)), "rejected payload_too_large message"},
		"a file":             {func(*twilio.Config) {}, file, "rejected invalid_parameter message"},
		"too many files":     {func(*twilio.Config) {}, many, "rejected payload_too_large message"},
		"no number":          {func(*twilio.Config) {}, to("shop"), "rejected invalid_recipient message"},
	} {
		t.Run(name, func(t *testing.T) {
			config := twilioConfig(serveProvider(t, double.New(newDesk())))
			tc.change(&config)
			if _, err := twilio.Open(config).Send(t.Context(), tc.m); outcomeOf(err) != tc.want {
				t.Errorf("%s, want %s: %v", outcomeOf(err), tc.want, err)
			}
		})
	}
}

func TestTwilioQuery(t *testing.T) {
	d, _, c := newTwilio(t)
	sent, err := c.Send(t.Context(), german("Hello"))
	if err != nil {
		t.Fatal(err)
	}
	lost, err := c.Send(t.Context(), german("Hello again"))
	if err != nil {
		t.Fatal(err)
	}
	handle(t, c, d.receipt(t, sent.ProviderID(), desk.Delivered), callbackBase)
	handle(t, c, d.receipt(t, lost.ProviderID(), desk.Undelivered), callbackBase)
	results, err := c.Query(t.Context(), []sdk.Attempt{
		{AttemptID: "1.1", ProviderIDs: sent.ProviderIDs},
		{AttemptID: "2.1", ProviderIDs: lost.ProviderIDs},
		{AttemptID: "3.1"},
		{AttemptID: "4.1", ProviderIDs: []string{"SM-unknown"}},
	})
	if err != nil || len(results) != 2 {
		t.Fatalf("%+v, %v", results, err)
	}
	if r := results[0]; r.Err != nil || r.Receipt.Cost != (sdk.Cost{Amount: "0.00790", Currency: "USD"}) || r.Receipt.Segments != 1 {
		t.Errorf("the delivered one: %+v", r)
	}
	if r := results[1]; outcomeOf(r.Err) != "rejected undeliverable message" {
		t.Errorf("the other: %+v", r)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	suspended := twilio.Open(twilioConfig(scripted(t, 200, `{"sid":"AC1","status":"suspended"}`)))
	if err := suspended.Check(t.Context()); outcomeOf(err) != "rejected permission_denied config" {
		t.Errorf("Check of a suspended account: %v", err)
	}
	if _, err := suspended.Query(t.Context(), []sdk.Attempt{{AttemptID: "1.1", ProviderIDs: []string{"SM1"}}}); err != nil {
		t.Errorf("Query: %v", err)
	}
	away := twilio.Open(twilioConfig(nobody(t)))
	if _, err := away.Query(t.Context(), []sdk.Attempt{{AttemptID: "1.1", ProviderIDs: []string{"SM1"}}}); err == nil {
		t.Error("a question without an answer has a result")
	}
}

func TestTwilioDoubleChecksRequests(t *testing.T) {
	p := double.New(newDesk())
	for _, settings := range []string{`{"unknown":1}`, `{"incoming_url":"nowhere"}`, `[]`} {
		if err := p.Set([]byte(settings)); err == nil {
			t.Errorf("%s: no error", settings)
		}
	}
	for _, event := range []string{`{"type":"up"}`, `{"type":"message","from":"x"}`, `{"type":"message","from":"+49176"}`, `1`} {
		if err := p.Play(t.Context(), []byte(event)); err == nil {
			t.Errorf("%s: no error", event)
		}
	}
}
