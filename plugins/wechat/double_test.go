package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/wechat"
	"github.com/pigeonry/pigeonry/sdk"
)

// double is the sandbox's WeChat over HTTP, at a desk that keeps what there is.
type double struct {
	desk.Provider
	url      string
	settings wechat.Settings

	mu       sync.Mutex
	ids      int
	taken    []desk.Message
	receipts []desk.Callback
	sent     []desk.Callback
	decision desk.Decision
}

func newDouble(t *testing.T, edit func(*wechat.Settings)) *double {
	t.Helper()
	d := &double{}
	d.Provider = wechat.New(d)
	d.settings = d.Settings().(wechat.Settings)
	// A secret of its own: one of the peers keeps its access tokens in a file, by AppID and secret.
	d.settings.AppSecret = "secret-of-" + t.Name() + strconv.FormatInt(time.Now().UnixNano(), 36)
	d.settings.Templates = map[string][]string{"T1": {"thing1", "amount2"}, "ONCE": nil}
	d.settings.Strangers, d.settings.Refusers = []string{"zoe"}, []string{"bob"}
	d.change(t, edit)
	mux := http.NewServeMux()
	d.Register(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	d.url = server.URL
	return d
}

func (d *double) change(t *testing.T, edit func(*wechat.Settings)) {
	t.Helper()
	if edit != nil {
		edit(&d.settings)
	}
	raw, err := json.Marshal(d.settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Set(raw); err != nil {
		t.Fatal(err)
	}
}

// account is what the peers are told.
func (d *double) account(t *testing.T) string {
	t.Helper()
	raw, err := json.Marshal(d.settings)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// Take implements desk.Desk.
func (d *double) Take(_ context.Context, _ desk.Provider, m desk.Message, callback func(desk.Receipt) desk.Callback) (desk.Decision, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.Refused != "" {
		return desk.Decision{Answer: desk.Refuse, Code: m.Refused}, nil
	}
	if d.decision.Answer != desk.Accept && d.decision.Answer != desk.HangUp {
		return d.decision, nil
	}
	d.taken = append(d.taken, m)
	if callback != nil {
		d.receipts = append(d.receipts, callback(desk.Receipt{Status: desk.Delivered, ProviderID: m.ProviderID, At: time.Now()}))
	}
	return d.decision, nil
}

// Send implements desk.Desk.
func (d *double) Send(c desk.Callback) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent = append(d.sent, c)
}

// NewID implements desk.Desk.
func (d *double) NewID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ids++
	return "id" + strconv.Itoa(d.ids)
}

func (d *double) messages() []desk.Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]desk.Message(nil), d.taken...)
}

// post makes the request of a callback and checks that the answer counts as taken.
func post(t *testing.T, c desk.Callback) {
	t.Helper()
	req, err := c.Request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !c.Taken(resp.StatusCode, body) {
		t.Errorf("the push was answered %s %q, %v", resp.Status, body, err)
	}
}

// given hands the request of a callback to a connector, as the gateway does.
func given(t *testing.T, c *connector, callback desk.Callback) sdk.Events {
	t.Helper()
	req, err := callback.Request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	answer, events, err := c.HandleCallback(t.Context(), &sdk.CallbackRequest{
		Method: req.Method, Path: "/", Query: req.URL.RawQuery, Header: req.Header, Body: body,
	})
	if err != nil || answer.Status != http.StatusOK || !callback.Taken(answer.Status, answer.Body) {
		t.Fatalf("answer %+v, %v", answer, err)
	}
	return events
}

// of is a connector for the double's account.
func (d *double) of(t *testing.T) *connector {
	t.Helper()
	c := settings(d.url)
	c.AppID, c.AppSecret, c.Token = d.settings.AppID, sdk.Secret(d.settings.AppSecret), sdk.Secret(d.settings.Token)
	c.EncodingAESKey = sdk.Secret(d.settings.EncodingAESKey)
	return openAt(t, c)
}

func TestWithTheDouble(t *testing.T) {
	d := newDouble(t, func(s *wechat.Settings) { s.CallbackURL = "https://gateway.example/callbacks/wechat/main" })
	c := d.of(t)
	if err := c.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	full := map[string]string{"thing1": "黄先生 <&>", "amount2": "39.80元"}
	receipt, err := c.Send(t.Context(), templated("T1", full))
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Send(t.Context(), templated("T1", full))
	if err != nil || again.ProviderID() != receipt.ProviderID() || len(d.messages()) != 1 {
		t.Errorf("a repeat got the receipt %+v, %v, and the double has %d messages", again, err, len(d.messages()))
	}
	if got := d.messages()[0]; got.To != testUser || got.Text != "amount2: 39.80元\nthing1: 黄先生 <&>" || got.Reference != "key-1" || got.ProviderID != receipt.ProviderID() {
		t.Errorf("the double has %+v", got)
	}
	events := given(t, c, d.receipts[0])
	if len(events.Receipts) != 1 || events.Receipts[0].ProviderID != receipt.ProviderID() || events.Receipts[0].Status != sdk.Delivered {
		t.Errorf("events %+v", events)
	}

	notice := with(templated("T1", full), "type", "subscribe")
	if receipt, err = c.Send(t.Context(), notice); err != nil {
		t.Fatal(err)
	}
	events = given(t, c, d.receipts[1])
	if len(events.Receipts) != 1 || events.Receipts[0].ProviderID != receipt.ProviderID() || events.Receipts[0].Status != sdk.Delivered {
		t.Errorf("events %+v", events)
	}
	for name, m := range map[string]*sdk.Message{
		"text":  text("hello"),
		"once":  with(func() *sdk.Message { m := templated("ONCE", nil); m.Plain, m.Subject = "v", "t"; return m }(), "type", "subscribe_once", "scene", "1"),
		"image": with(text(""), "type", "image", "media_id", "M"),
		"menu":  with(text("?"), "type", "msgmenu", "menu", `[{"id":"1","content":"a"}]`),
		"news":  with(subject(text("d"), "t"), "type", "news", "url", "https://example.com"),
	} {
		if _, err := c.Send(t.Context(), m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	file := text("")
	file.Attachments = []sdk.Attachment{{Name: "a.png", ContentType: "image/png", Data: []byte("png")}}
	if _, err := c.Send(t.Context(), file); err != nil {
		t.Error(err)
	}
}

func TestTheDoubleRefuses(t *testing.T) {
	d := newDouble(t, func(s *wechat.Settings) { s.CallbackURL = "https://gateway.example/" })
	c := d.of(t)
	to := func(m *sdk.Message, user string) *sdk.Message {
		m.Recipient = user
		m.IdempotencyKey = "to-" + user
		return m
	}
	full := map[string]string{"thing1": "a", "amount2": "b"}
	for name, tc := range map[string]struct {
		m    *sdk.Message
		code string
	}{
		"a stranger":          {to(templated("T1", full), "zoe"), "unsubscribed"},
		"a refuser's notice":  {to(with(templated("T1", full), "type", "subscribe"), "bob"), "unsubscribed"},
		"a refuser's text":    {to(text("hi"), "bob"), "reply_window_closed"},
		"no OpenID":           {to(text("hi"), "not an id"), "invalid_recipient"},
		"an unknown template": {templated("T9", full), "template_missing"},
		"a parameter missing": {templated("T1", map[string]string{"thing1": "a"}), "template_invalid"},
	} {
		_, err := c.Send(t.Context(), tc.m)
		if err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		wantOutcome(t, err, sdk.OutcomeRejected, tc.code)
	}
	// Who refuses template messages is known only afterwards.
	if _, err := c.Send(t.Context(), to(templated("T1", full), "bob")); err != nil {
		t.Fatal(err)
	}
	events := given(t, c, d.receipts[len(d.receipts)-1])
	if len(events.Receipts) != 1 || events.Receipts[0].Status != sdk.Undelivered {
		t.Fatalf("events %+v", events)
	}
	wantOutcome(t, events.Receipts[0].Err, sdk.OutcomeRejected, "recipient_blocked")

	for code, want := range map[string]sdk.Outcome{"45009": sdk.OutcomeThrottled, "-1": sdk.OutcomeUncertain, "43019": sdk.OutcomeRejected} {
		d.decision = desk.Decision{Answer: desk.Refuse, Code: code}
		if _, err := c.Send(t.Context(), text("hi")); sdk.OutcomeOf(err) != want {
			t.Errorf("%s: %v, want %s", code, err, want)
		}
	}
	d.decision = desk.Decision{Answer: desk.HangUp}
	if _, err := c.Send(t.Context(), text("hi")); sdk.OutcomeOf(err) != sdk.OutcomeUncertain {
		t.Errorf("an answer that never came: %v", err)
	}
}

// Tokens that have ended are replaced by themselves.
func TestTheDoublesTokensEnd(t *testing.T) {
	d := newDouble(t, nil)
	c := d.of(t)
	for range 2 {
		if _, err := c.Send(t.Context(), text("hi")); err != nil {
			t.Fatal(err)
		}
		d.change(t, func(s *wechat.Settings) { s.TokensRevoked = true })
	}
	if n := len(d.messages()); n != 2 {
		t.Errorf("%d messages arrived", n)
	}
	d.change(t, func(s *wechat.Settings) { s.AppSecret = "another" })
	_, err := c.Send(t.Context(), text("hi"))
	wantOutcome(t, err, sdk.OutcomeRejected, "auth_failed")
}

func TestTheDoublesUsers(t *testing.T) {
	for _, mode := range []string{"safe", "compatible", "plain"} {
		t.Run(mode, func(t *testing.T) {
			d := newDouble(t, func(s *wechat.Settings) { s.CallbackURL, s.Mode = "https://gateway.example/?x=1", mode })
			c := d.of(t)
			if mode == "plain" {
				c.keys = nil
			}
			for _, event := range []string{
				`{"from":"ann","text":"你好 <b>]]>"}`,
				`{"from":"ann","event":"subscribe","event_key":"qrscene_1"}`,
				`{"from":"ann","type":"image","fields":{"PicUrl":"https://example.com/p","MediaId":"M"}}`,
			} {
				if err := d.Play(t.Context(), json.RawMessage(event)); err != nil {
					t.Fatal(err)
				}
			}
			var got []sdk.Inbound
			for _, callback := range d.sent {
				got = append(got, given(t, c, callback).Inbound...)
			}
			if len(got) != 3 || got[0].Text != "你好 <b>]]>" || got[0].From != "ann" || got[0].To != d.settings.Account || got[0].ProviderID == "" ||
				got[1].Attributes["event_key"] != "qrscene_1" || got[2].Attachments[0].URL != "https://example.com/p" {
				t.Errorf("inbound %+v", got)
			}
		})
	}
}
