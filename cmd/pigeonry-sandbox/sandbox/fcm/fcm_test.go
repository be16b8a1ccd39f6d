package fcm

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

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

func ask(t *testing.T, req *http.Request) (status int, body string) {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
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

// login gets an access token for an assertion with some claims changed.
func login(t *testing.T, server *httptest.Server, edit func(jwt.MapClaims)) (status int, body string) {
	t.Helper()
	var account struct {
		Key string `json:"private_key"`
	}
	if err := json.Unmarshal([]byte(ServiceAccount), &account); err != nil {
		t.Fatal(err)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(account.Key))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": "pigeonry@sandbox.iam.gserviceaccount.com", "scope": scopes[0], "aud": server.URL + "/token", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	if edit != nil {
		edit(claims)
	}
	assertion, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"grant_type": {jwtBearer}, "assertion": {assertion}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return ask(t, req)
}

func TestAssertions(t *testing.T) {
	_, _, server := start(t)
	for name, tt := range map[string]struct {
		edit func(jwt.MapClaims)
		want string
	}{
		"good":              {nil, `"token_type":"Bearer"`},
		"Google's audience": {func(c jwt.MapClaims) { c["aud"] = "https://oauth2.googleapis.com/token" }, `"token_type":"Bearer"`},
		"another account":   {func(c jwt.MapClaims) { c["iss"] = "x@example.com" }, "account not found"},
		"another audience":  {func(c jwt.MapClaims) { c["aud"] = "https://example.com/token" }, "audience"},
		"another scope":     {func(c jwt.MapClaims) { c["scope"] = "https://www.googleapis.com/auth/drive" }, "invalid_scope"},
		"too long":          {func(c jwt.MapClaims) { c["exp"] = time.Now().Add(2 * time.Hour).Unix() }, "short-lived"},
		"over":              {func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-2 * time.Minute).Unix() }, "short-lived"},
		"without an end":    {func(c jwt.MapClaims) { delete(c, "exp") }, "invalid_grant"},
	} {
		status, body := login(t, server, tt.edit)
		if !strings.Contains(body, tt.want) || (status == 200) != strings.Contains(body, "access_token") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	for name, form := range map[string]string{
		"unsupported_grant_type": "grant_type=password", "Invalid JWT Signature": "grant_type=" + url.QueryEscape(jwtBearer) + "&assertion=a.b.c",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/o/oauth2/token", strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if status, body := ask(t, req); status != 400 || !strings.Contains(body, name) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

func TestMessages(t *testing.T) {
	d, p, server := start(t)
	_, body := login(t, server, nil)
	var token struct {
		Value string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &token); err != nil {
		t.Fatal(err)
	}
	if err := p.Set(json.RawMessage(`{"unregistered": ["old"]}`)); err != nil {
		t.Fatal(err)
	}
	send := func(project, value, message string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/projects/"+project+"/messages:send", strings.NewReader(message))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+value)
		return ask(t, req)
	}
	for name, tt := range map[string]struct {
		project, token, message string
		status                  int
		want                    string
	}{
		"good":             {"sandbox", token.Value, `{"message":{"token":"t","data":{"pigeonry_id":"m"},"android":{"ttl":"3.5s","collapseKey":"x"}}}`, 200, `"name":"projects/sandbox/messages/0:`},
		"validated":        {"sandbox", token.Value, `{"validateOnly":true,"message":{"token":"t"}}`, 200, "fake_message_id"},
		"validated, wrong": {"sandbox", token.Value, `{"validate_only":true,"message":{}}`, 400, "Recipient of the message is not set."},
		"another project":  {"other", token.Value, `{}`, 403, "PERMISSION_DENIED"},
		"no token":         {"sandbox", "x", `{}`, 401, "UNAUTHENTICATED"},
		"no JSON":          {"sandbox", token.Value, `[`, 400, "INVALID_ARGUMENT"},
		"no message":       {"sandbox", token.Value, `{}`, 400, "Recipient of the message is not set."},
		"two recipients":   {"sandbox", token.Value, `{"message":{"token":"t","topic":"news"}}`, 400, "Recipient of the message is not set."},
		"a field unknown":  {"sandbox", token.Value, `{"message":{"token":"t","priority":"high"}}`, 400, "unknown field"},
		"a number as data": {"sandbox", token.Value, `{"message":{"token":"t","data":{"a":1}}}`, 400, "INVALID_ARGUMENT"},
		"a key of FCM":     {"sandbox", token.Value, `{"message":{"token":"t","data":{"google.x":"1"}}}`, 400, "Invalid data payload key"},
		"an image":         {"sandbox", token.Value, `{"message":{"token":"t","notification":{"image":"a.png"}}}`, 400, "message.notification.image"},
		"a ttl":            {"sandbox", token.Value, `{"message":{"token":"t","android":{"ttl":"5"}}}`, 400, "message.android.ttl"},
		"a long ttl":       {"sandbox", token.Value, `{"message":{"token":"t","android":{"ttl":"2419201s"}}}`, 400, "message.android.ttl"},
		"a priority":       {"sandbox", token.Value, `{"message":{"token":"t","android":{"priority":"urgent"}}}`, 400, "message.android.priority"},
		"a link":           {"sandbox", token.Value, `{"message":{"token":"t","webpush":{"fcm_options":{"link":"http://example.com"}}}}`, 400, "must be https"},
		"too big":          {"sandbox", token.Value, `{"message":{"token":"t","data":{"a":"` + strings.Repeat("x", 4096) + `"}}}`, 400, "too big"},
		"gone":             {"sandbox", token.Value, `{"message":{"token":"old"}}`, 404, "UNREGISTERED"},
		"another's":        {"sandbox", token.Value, `{"message":{"token":"foreign"}}`, 403, "SENDER_ID_MISMATCH"},
		"none":             {"sandbox", token.Value, `{"message":{"token":"in valid"}}`, 400, "message.token"},
	} {
		if status, body := send(tt.project, tt.token, tt.message); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	for _, m := range d.Taken {
		if m.To == "t" && m.Refused == "" && m.Reference != "m" {
			t.Errorf("taken %+v", m)
		}
	}
	for answer, want := range map[desk.Answer]string{desk.Fail: "UNAVAILABLE", desk.Throttle: "QUOTA_EXCEEDED", desk.Refuse: "INVALID_ARGUMENT"} {
		d.Decision = desk.Decision{Answer: answer}
		if _, body := send("sandbox", token.Value, `{"message":{"token":"t"}}`); !strings.Contains(body, want) {
			t.Errorf("%d: %s", answer, body)
		}
	}
	if err := p.Play(t.Context(), json.RawMessage(`{"event":"expire_tokens"}`)); err != nil {
		t.Fatal(err)
	}
	if status, _ := send("sandbox", token.Value, `{"message":{"token":"t"}}`); status != 401 {
		t.Errorf("after the end of the token: %d", status)
	}
}

func TestSettings(t *testing.T) {
	_, p, _ := start(t)
	if p.Name() != "fcm" || p.Channel() != "app" {
		t.Errorf("%s of %s", p.Name(), p.Channel())
	}
	for _, given := range []string{`[]`, `{"public_key": "x"}`, `{"project_id": ""}`, `{"token_seconds": 0}`} {
		if err := p.Set(json.RawMessage(given)); err == nil {
			t.Errorf("%s is taken", given)
		}
	}
	if got, ok := p.Settings().(Settings); !ok || got.ProjectID != "sandbox" || got.TokenSeconds != 3599 {
		t.Errorf("settings %+v", got)
	}
	for _, event := range []string{`[]`, `{"event":"x"}`} {
		if err := p.Play(t.Context(), json.RawMessage(event)); err == nil {
			t.Errorf("%s is played", event)
		}
	}
}
