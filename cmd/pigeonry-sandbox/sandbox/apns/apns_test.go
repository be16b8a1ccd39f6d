package apns

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk/desktest"
)

const device = "740f4707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eaf61bb78ad"

// start serves the provider in clear, over HTTP/1 and HTTP/2.
func start(t *testing.T) (*desktest.Desk, desk.Provider, *httptest.Server) {
	t.Helper()
	d := &desktest.Desk{}
	p := New(d)
	mux := http.NewServeMux()
	p.Register(mux)
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return d, p, server
}

// token makes a provider token.
func token(t *testing.T, kid, team string, issued time.Time) string {
	t.Helper()
	key, err := jwt.ParseECPrivateKeyFromPEM([]byte(PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	made := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": team, "iat": issued.Unix()})
	made.Header["kid"] = kid
	signed, err := made.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// push sends one, and returns the reason of its refusal.
func push(t *testing.T, server *httptest.Server, method, device, body string, header map[string]string) (status int, reason string) {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/3/device/"+device, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Reason string }
	text, err := io.ReadAll(resp.Body)
	if err != nil || len(text) > 0 && json.Unmarshal(text, &answer) != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if resp.Header.Get("Apns-Id") == "" {
		t.Error("no apns-id")
	}
	return resp.StatusCode, answer.Reason
}

func TestPushes(t *testing.T) {
	d, p, server := start(t)
	if err := p.Set(json.RawMessage(`{"unregistered": ["` + strings.Repeat("ab", 32) + `"]}`)); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	good := map[string]string{"Authorization": "bearer " + token(t, KeyID, TeamID, now), "Apns-Topic": Topic, "Apns-Push-Type": "alert"}
	but := func(name, value string) map[string]string {
		out := maps.Clone(good)
		if value == "" {
			delete(out, name)
		} else {
			out[name] = value
		}
		return out
	}
	const alert = `{"aps":{"alert":"Hello"},"pigeonry_id":"m"}`
	for name, tt := range map[string]struct {
		device, body string
		header       map[string]string
		want         string
	}{
		"good":                     {device, alert, good, ""},
		"data":                     {device, `{"aps":{"content-available":1}}`, but("Apns-Push-Type", "background"), ""},
		"without a type":           {device, alert, but("Apns-Push-Type", ""), ""},
		"a call":                   {device, `{"aps":{},"x":"` + strings.Repeat("x", 5000) + `"}`, map[string]string{"Authorization": good["Authorization"], "Apns-Topic": Topic + ".voip", "Apns-Push-Type": "voip"}, ""},
		"no login":                 {device, alert, but("Authorization", ""), "MissingProviderToken"},
		"another scheme":           {device, alert, but("Authorization", "Basic eA=="), "MissingProviderToken"},
		"no token":                 {device, alert, but("Authorization", "bearer a.b.c"), "InvalidProviderToken"},
		"another key":              {device, alert, but("Authorization", "bearer "+token(t, "OTHERKEYID", TeamID, now)), "InvalidProviderToken"},
		"another team":             {device, alert, but("Authorization", "bearer "+token(t, KeyID, "OTHERTEAMX", now)), "InvalidProviderToken"},
		"an old token":             {device, alert, but("Authorization", "bearer "+token(t, KeyID, TeamID, now.Add(-61*time.Minute))), "ExpiredProviderToken"},
		"no topic":                 {device, alert, but("Apns-Topic", ""), "MissingTopic"},
		"another topic":            {device, alert, but("Apns-Topic", "com.example.other"), "TopicDisallowed"},
		"a type":                   {device, alert, but("Apns-Push-Type", "shout"), "InvalidPushType"},
		"an id":                    {device, alert, but("Apns-Id", "1"), "BadMessageId"},
		"a priority":               {device, alert, but("Apns-Priority", "7"), "BadPriority"},
		"a collapse id":            {device, alert, but("Apns-Collapse-Id", strings.Repeat("x", 65)), "BadCollapseId"},
		"an expiry":                {device, alert, but("Apns-Expiration", "soon"), "BadExpirationDate"},
		"a device":                 {"xyz", alert, good, "BadDeviceToken"},
		"zeros":                    {strings.Repeat("0", 64), alert, good, "BadDeviceToken"},
		"gone":                     {"dead" + device[4:], alert, good, "Unregistered"},
		"gone by the settings":     {strings.Repeat("ab", 32), alert, good, "Unregistered"},
		"nothing":                  {device, "", good, "PayloadEmpty"},
		"no aps":                   {device, "{}", good, "PayloadEmpty"},
		"an alert that is none":    {device, `{"aps":{"alert":7}}`, good, "PayloadEmpty"},
		"too large":                {device, `{"aps":{},"x":"` + strings.Repeat("x", 4096) + `"}`, good, "PayloadTooLarge"},
		"background in high haste": {device, alert, map[string]string{"Authorization": good["Authorization"], "Apns-Topic": Topic, "Apns-Push-Type": "background", "Apns-Priority": "10"}, "BadPriority"},
	} {
		status, reason := push(t, server, http.MethodPost, tt.device, tt.body, tt.header)
		if reason != tt.want || tt.want == "" && status != 200 || tt.want != "" && status != statuses[tt.want] {
			t.Errorf("%s: %d %s, want %s", name, status, reason, tt.want)
		}
	}
	if _, reason := push(t, server, http.MethodGet, device, "", good); reason != "MethodNotAllowed" {
		t.Errorf("GET: %s", reason)
	}
	for answer, want := range map[desk.Answer]string{desk.Fail: "ServiceUnavailable", desk.Throttle: "TooManyRequests", desk.Refuse: "BadDeviceToken"} {
		d.Decision = desk.Decision{Answer: answer}
		if _, reason := push(t, server, http.MethodPost, device, alert, good); reason != want {
			t.Errorf("%d: %s", answer, reason)
		}
	}
	if m := d.Taken[len(d.Taken)-1]; m.Text != "Hello" || m.Reference != "m" || m.To != device || m.From != Topic {
		t.Errorf("taken %+v", m)
	}
}

// A sender that makes a token for each push is told so.
func TestTooManyTokens(t *testing.T) {
	_, p, server := start(t)
	var reason string
	for i := range maxTokens + 1 {
		header := map[string]string{"Authorization": "bearer " + token(t, KeyID, TeamID, time.Now().Add(time.Duration(-i)*time.Second)), "Apns-Topic": Topic}
		_, reason = push(t, server, http.MethodPost, device, `{"aps":{"alert":"x"}}`, header)
		if i < maxTokens && reason != "" {
			t.Fatalf("token %d: %s", i, reason)
		}
	}
	if reason != "TooManyProviderTokenUpdates" {
		t.Errorf("got %q", reason)
	}
	if err := p.Play(t.Context(), json.RawMessage(`{"event":"expire_tokens"}`)); err != nil {
		t.Fatal(err)
	}
}

func TestHTTP1(t *testing.T) {
	_, _, server := start(t)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/3/device/x", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusHTTPVersionNotSupported {
		t.Fatalf("got %v, %v", resp, err)
	}
	resp.Body.Close()
}

func TestSettings(t *testing.T) {
	_, p, _ := start(t)
	if p.Name() != "apns" || p.Channel() != "app" {
		t.Errorf("%s of %s", p.Name(), p.Channel())
	}
	for _, given := range []string{`[]`, `{"public_key": "x"}`, `{"team_id": ""}`, `{"topics": []}`} {
		if err := p.Set(json.RawMessage(given)); err == nil {
			t.Errorf("%s is taken", given)
		}
	}
	if got, ok := p.Settings().(Settings); !ok || got.KeyID != KeyID {
		t.Errorf("settings %+v", got)
	}
	for _, event := range []string{`[]`, `{"event":"x"}`} {
		if err := p.Play(t.Context(), json.RawMessage(event)); err == nil {
			t.Errorf("%s is played", event)
		}
	}
}
