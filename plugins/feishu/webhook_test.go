package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// The values are of the Python program on the provider's page, run as it stands there.
// https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
func TestHookSignature(t *testing.T) {
	for _, c := range []struct{ timestamp, secret, want string }{
		{"100", "demo", "jquNHnVOwmDRfw+vqTIrY5dooJAgi5EcRtLsQE4wfXg="},
		{"1599360473", "sandbox-secret", "6MJoQqkf7FLfQ2eRXJUA01AtLQFSPJyhlkMi872tyPw="},
	} {
		if got := hookSignature(c.timestamp, c.secret); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.timestamp, c.secret, got, c.want)
		}
	}
}

func TestHookSends(t *testing.T) {
	f := serve(t, map[string]http.HandlerFunc{opsPath: says(200, `{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}`)})
	c := connect(t, hookSettings(f.URL+"/"))
	c.webhook.now = func() time.Time { return at }
	receipt, err := c.Send(t.Context(), message("ops"))
	if err != nil || len(receipt.ProviderIDs) != 0 {
		t.Fatalf("%v, %v", receipt, err)
	}
	got := f.requests(opsPath)
	if len(got) != 1 || got[0].method != http.MethodPost || got[0].header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Fatalf("%+v", got)
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(got[0].body), &body); err != nil {
		t.Fatal(err)
	}
	if body["timestamp"] != "1795773600" || body["sign"] != hookSignature("1795773600", testSigning) || body["msg_type"] != "text" {
		t.Errorf("%v", body)
	}
	// A bot without a key is not signed to, nor one whose token is the recipient.
	for _, to := range []string{"open-hook-000000001", "another-hook-0000001"} {
		recipient := to
		if to == "open-hook-000000001" {
			recipient = "open"
		}
		if _, err := c.Send(t.Context(), message(recipient)); err != nil {
			t.Fatal(err)
		}
		got := f.requests("/open-apis/bot/v2/hook/" + to)
		if len(got) != 1 || strings.Contains(got[0].body, "sign") {
			t.Errorf("%s: %+v", to, got)
		}
	}
}

// A key for bots that are not in the config.
func TestHookSecretForTokens(t *testing.T) {
	f := serve(t, nil)
	c := connect(t, settings{"base_url": f.URL, "webhook": settings{"secret": testSigning}})
	if _, err := c.Send(t.Context(), message(testHook)); err != nil {
		t.Fatal(err)
	}
	if got := f.requests(opsPath); len(got) != 1 || !strings.Contains(got[0].body, `"sign"`) {
		t.Errorf("%+v", got)
	}
}

func TestHookRefuses(t *testing.T) {
	f := serve(t, map[string]http.HandlerFunc{
		opsPath: says(200, `{"code":19001,"msg":"param invalid: incoming webhook access token invalid"}`),
		"/open-apis/bot/v2/hook/unknown-hook-0000001": says(200, `{"code":19001,"msg":"param invalid: incoming webhook access token invalid"}`),
	})
	c := connect(t, hookSettings(f.URL))
	image := func(m *sdk.Message) {
		m.Attachments = []sdk.Attachment{{Name: "a.png", ContentType: "image/png", Data: []byte("x")}}
	}
	for want, m := range map[string]*sdk.Message{
		"rejected invalid_recipient  message":       message("oops"),
		"rejected auth_failed 19001 config":         message("ops"),
		"rejected invalid_recipient 19001 message":  message("unknown-hook-0000001"),
		"rejected attachments_unsupported  message": message("open", image),
		"rejected invalid_parameter  message":       message("open", attributes("share_user_id", "ou_1")),
		"rejected payload_too_large  message":       message("open", saying(strings.Repeat("短", 7000))),
		"rejected empty_text  message":              message("open", saying("")),
	} {
		if _, err := c.Send(t.Context(), m); told(err) != want {
			t.Errorf("got %s (%v), want %s", told(err), err, want)
		}
	}
	if got := f.requests("/open-apis/bot/v2/hook/open-hook-000000001"); len(got) != 0 {
		t.Errorf("sent: %+v", got)
	}
	_, err := c.Send(t.Context(), message("oops"))
	if want := `"oops" is neither a hook of the config (open, ops) nor the token of a custom bot`; err.Error() != want {
		t.Errorf("got %q", err)
	}
	_, err = connect(t, settings{"base_url": f.URL, "webhook": settings{}}).Send(t.Context(), message("oops"))
	if !strings.Contains(err.Error(), "(which has none)") {
		t.Errorf("got %q", err)
	}
}

// What Feishu throttles holds up the messages behind it, of the same bot alone.
func TestHookIsThrottled(t *testing.T) {
	f := serve(t, map[string]http.HandlerFunc{opsPath: says(200, `{"code":11232,"msg":"frequency limited"}`)})
	c := connect(t, hookSettings(f.URL))
	if _, err := c.Send(t.Context(), message("ops")); told(err) != "throttled throttled 11232 provider 5s" {
		t.Errorf("got %s", told(err))
	}
	m := message("ops", func(m *sdk.Message) { m.NotAfter = time.Now().Add(time.Second) })
	if _, err := c.Send(t.Context(), m); !strings.HasPrefix(told(err), "throttled throttled  provider 4.9") {
		t.Errorf("got %s", told(err))
	}
	if _, err := c.Send(t.Context(), message("open")); err != nil {
		t.Errorf("another bot: %v", err)
	}
	if got := f.requests(opsPath); len(got) != 1 {
		t.Errorf("%d requests", len(got))
	}
}

// Check finds a token that is not known and a wrong key, and sends nothing.
func TestHookCheck(t *testing.T) {
	for answer, want := range map[string]string{
		`{"code":19002,"msg":"params error, msg_type need"}`: "accepted",
		`{"code":9499,"msg":"Bad Request"}`:                  "accepted",
		`{"code":0,"msg":"success"}`:                         "accepted",
		`{"code":19001,"msg":"token"}`:                       "rejected auth_failed 19001 config",
		`{"code":19021,"msg":"sign match fail"}`:             "rejected sign_invalid 19021 config",
		`{"code":19022,"msg":"Ip Not Allowed"}`:              "rejected permission_denied 19022 config",
	} {
		f := serve(t, map[string]http.HandlerFunc{opsPath: says(200, answer)})
		err := connect(t, hookSettings(f.URL)).Check(t.Context())
		if told(err) != want || (err != nil && !strings.HasPrefix(err.Error(), "hook ops: ")) {
			t.Errorf("%s: got %s (%v)", answer, told(err), err)
		}
		if got := f.requests(opsPath); len(got) != 1 || strings.Contains(got[0].body, "msg_type") {
			t.Errorf("%+v", got)
		}
	}
}

// Nobody can tell what became of a message that a bot was to post.
func TestHookQueryAndCallback(t *testing.T) {
	c := connect(t, hookSettings("http://127.0.0.1:1"))
	results, err := c.Query(t.Context(), []sdk.Attempt{{AttemptID: "7:1", IdempotencyKey: "msg_1", SentAt: time.Now()}})
	if len(results) != 0 || err != nil {
		t.Errorf("%v, %v", results, err)
	}
	answer, events, err := c.HandleCallback(t.Context(), &sdk.CallbackRequest{Method: http.MethodPost})
	if answer.Status != http.StatusNotFound || !events.Empty() || err != nil {
		t.Errorf("%+v, %+v, %v", answer, events, err)
	}
}
