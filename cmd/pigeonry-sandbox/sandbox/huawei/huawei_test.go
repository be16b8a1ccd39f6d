package huawei

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk/desktest"
)

// start serves the provider.
func start(t *testing.T) (*desktest.Desk, desk.Provider, *httptest.Server) {
	t.Helper()
	d := &desktest.Desk{}
	p := New(d)
	mux := http.NewServeMux()
	p.Register(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return d, p, server
}

func post(t *testing.T, address, kind, authorization, body string) (status int, answer string) {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Authorization", authorization)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func login(t *testing.T, server *httptest.Server, form url.Values) (status int, answer string) {
	t.Helper()
	return post(t, server.URL+"/oauth2/v3/token", "application/x-www-form-urlencoded", "", form.Encode())
}

var good = url.Values{"grant_type": {"client_credentials"}, "client_id": {ClientID}, "client_secret": {ClientSecret}}

func TestLogin(t *testing.T) {
	_, _, server := start(t)
	but := func(field, value string) url.Values {
		out := maps.Clone(good)
		out.Set(field, value)
		return out
	}
	for name, tt := range map[string]struct {
		form url.Values
		want string
	}{
		"good": {good, `"token_type":"Bearer"`}, "grant": {but("grant_type", "password"), "20181"}, "id": {but("client_id", "1"), "20003"},
		"no secret": {but("client_secret", ""), "20171"}, "secret": {but("client_secret", "x"), "12304"},
	} {
		if status, body := login(t, server, tt.form); !strings.Contains(body, tt.want) || (status == 200) != (name == "good") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

func TestMessages(t *testing.T) {
	d, p, server := start(t)
	if err := p.Set(json.RawMessage(`{"unregistered": ["old"], "callback_url": "https://gateway.example.com/callbacks/app/huawei"}`)); err != nil {
		t.Fatal(err)
	}
	_, body := login(t, server, good)
	var token struct {
		Value string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &token); err != nil {
		t.Fatal(err)
	}
	send := func(authorization, message string) (int, string) {
		t.Helper()
		return post(t, server.URL+"/v1/"+ClientID+"/messages:send", "application/json", authorization, message)
	}
	bearer := "Bearer " + token.Value
	const shown = `"android":{"notification":{"title":"a","body":"b","click_action":{"type":3}}}`
	for name, tt := range map[string]struct {
		authorization, message string
		want                   string
	}{
		"good":               {bearer, `{"message":{"token":["t"],"data":"{\"pigeonry_id\":\"m\"}",` + shown + `}}`, success},
		"titled outside":     {bearer, `{"message":{"token":["t"],"notification":{"title":"a","body":"b"},"android":{"notification":{"click_action":{"type":1,"intent":"#"}}}}}`, success},
		"validated":          {bearer, `{"validate_only":true,"message":{"token":["t"],"data":"x"}}`, success},
		"two":                {bearer, `{"message":{"token":["t","u"],"data":"x"}}`, success},
		"one of two":         {bearer, `{"message":{"token":["t","old"],"data":"x"}}`, `illegal_tokens\":[\"old\"]`},
		"none of two":        {bearer, `{"message":{"token":["old","unregistered-1"],"data":"x"}}`, invalidTokens},
		"gone":               {bearer, `{"message":{"token":["old"],"data":"x"}}`, invalidTokens},
		"no login":           {"", `{}`, "80200001"},
		"a login":            {"Bearer x", `{}`, "80200001"},
		"no JSON":            {bearer, `[`, badMessage},
		"a field unknown":    {bearer, `{"message":{"token":["t"],"data":"x","priority":1}}`, badMessage},
		"nobody":             {bearer, `{"message":{"data":"x"}}`, badMessage},
		"nothing":            {bearer, `{"message":{"token":["t"]}}`, badMessage},
		"no title":           {bearer, `{"message":{"token":["t"],"android":{"notification":{"body":"b","click_action":{"type":3}}}}}`, badMessage},
		"no click":           {bearer, `{"message":{"token":["t"],"android":{"notification":{"title":"a","body":"b"}}}}`, badMessage},
		"a click":            {bearer, `{"message":{"token":["t"],"android":{"notification":{"title":"a","body":"b","click_action":{"type":9}}}}}`, badMessage},
		"a click to nowhere": {bearer, `{"message":{"token":["t"],"android":{"notification":{"title":"a","body":"b","click_action":{"type":2}}}}}`, badMessage},
		"a page":             {bearer, `{"message":{"token":["t"],"android":{"notification":{"title":"a","body":"b","click_action":{"type":1}}}}}`, badMessage},
		"an importance":      {bearer, `{"message":{"token":["t"],"android":{"notification":{"title":"a","body":"b","importance":"X","click_action":{"type":3}}}}}`, badMessage},
		"an image":           {bearer, `{"message":{"token":["t"],"android":{"notification":{"title":"a","body":"b","image":"http://x/","click_action":{"type":3}}}}}`, badMessage},
		"a ttl":              {bearer, `{"message":{"token":["t"],"data":"x","android":{"ttl":"1296001s"}}}`, badTTL},
		"a ttl in words":     {bearer, `{"message":{"token":["t"],"data":"x","android":{"ttl":"soon"}}}`, badTTL},
		"a group":            {bearer, `{"message":{"token":["t"],"data":"x","android":{"collapse_key":101}}}`, badGroup},
		"too large":          {bearer, `{"message":{"token":["t"],"data":"` + strings.Repeat("x", 4096) + `"}}`, tooLarge},
		"too many":           {bearer, `{"message":{"data":"x","token":["t"` + strings.Repeat(`,"t"`, 1000) + `]}}`, tooManyTokens},
	} {
		if _, body := send(tt.authorization, tt.message); !strings.Contains(body, tt.want) {
			t.Errorf("%s: %s, want %s", name, body, tt.want)
		}
	}
	if len(d.Callbacks) == 0 || d.Callbacks[0].Taken(200, []byte(`{"code":"1"}`)) || !d.Callbacks[0].Taken(200, []byte(`{"code":"0"}`)) {
		t.Error("receipts are not taken as Push Kit does")
	}
	for decision, want := range map[desk.Decision]string{
		{Answer: desk.Fail}: oauthFailed, {Answer: desk.Throttle}: "flow control", {Answer: desk.Refuse}: badMessage, {Answer: desk.Refuse, Code: "80100016"}: "80100016",
	} {
		d.Decision = decision
		if _, body := send(bearer, `{"message":{"token":["t"],"data":"x"}}`); !strings.Contains(body, want) {
			t.Errorf("%+v: %s", decision, body)
		}
	}
	if err := p.Play(t.Context(), json.RawMessage(`{"event":"expire_tokens"}`)); err != nil {
		t.Fatal(err)
	}
	if _, body := send(bearer, `{}`); !strings.Contains(body, "80200003") {
		t.Errorf("after the end of the token: %s", body)
	}
}

// The plugin's tests check the signature itself, with a value that openssl made.
func TestReceipt(t *testing.T) {
	_, p, _ := start(t)
	s, ok := p.Settings().(Settings)
	if !ok {
		t.Fatal("no settings")
	}
	s.CallbackURL = "https://gateway.example.com/callbacks/app/huawei"
	body := []byte(`{"statuses":[]}`)
	req, err := signed(t.Context(), s, body, time.UnixMilli(1_563_105_451_261))
	if err != nil {
		t.Fatal(err)
	}
	header := req.Header.Get("X-HUAWEI-CALLBACK-ID")
	if !strings.HasPrefix(header, "timestamp=1563105451261; nonce=") || !strings.Contains(header, "; value=") {
		t.Errorf("the header is %q", header)
	}
	for version, want := range map[int]string{1: `"status":10`, 2: `"deliveryStatus":{"result":10`} {
		s.ReceiptVersion = version
		text, err := json.Marshal(status(s, desk.Receipt{Status: desk.Undelivered, ProviderID: "1", At: time.UnixMilli(1)}, "t", "tag"))
		if err != nil || !strings.Contains(string(text), want) || !strings.Contains(string(text), `"biTag":"tag"`) {
			t.Errorf("version %d: %s, %v", version, text, err)
		}
	}
}

func TestSettings(t *testing.T) {
	_, p, _ := start(t)
	if p.Name() != "huawei" || p.Channel() != "app" {
		t.Errorf("%s of %s", p.Name(), p.Channel())
	}
	for _, given := range []string{`[]`, `{"client_id": ""}`, `{"token_seconds": 0}`, `{"receipt_version": 3}`, `{"callback_url": "gateway"}`} {
		if err := p.Set(json.RawMessage(given)); err == nil {
			t.Errorf("%s is taken", given)
		}
	}
	for _, event := range []string{`[]`, `{"event":"x"}`} {
		if err := p.Play(t.Context(), json.RawMessage(event)); err == nil {
			t.Errorf("%s is played", event)
		}
	}
}
