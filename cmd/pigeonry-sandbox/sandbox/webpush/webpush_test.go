package webpush

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
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

// The example of RFC 8291 section 5, with the values of its appendix A: https://www.rfc-editor.org/rfc/rfc8291#appendix-A.
func TestVectorOfRFC8291(t *testing.T) {
	read := func(text string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	key, err := ecdh.P256().NewPrivateKey(read("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"))
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{key: key, auth: read("BTBZMqHH6r4Tts7J_aSIgg")}
	body := read("DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN")
	if text, err := b.decrypt(body); err != nil || string(text) != "When I grow up, I want to be a watermelon" {
		t.Errorf("got %q, %v", text, err)
	}
	for name, damaged := range map[string][]byte{
		"short": body[:10], "without a key": body[:30], "of another key": append(append(append([]byte{}, body[:21]...), make([]byte, 65)...), body[86:]...),
		"changed": append(append([]byte{}, body[:len(body)-1]...), body[len(body)-1]^1), "of several records": append(append(append([]byte{}, body[:16]...), 0, 0, 0, 18), body[20:]...),
	} {
		if text, err := b.decrypt(damaged); err == nil {
			t.Errorf("%s: %q", name, text)
		}
	}
	if seen := newBrowser("ann").see(body); !strings.Contains(seen.text, "cannot decrypt") {
		t.Errorf("another browser sees %+v", seen)
	}
}

// vapid makes an Authorization header.
func vapid(t *testing.T, audience string, until time.Duration, public string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"aud": audience, "exp": time.Now().Add(until).Unix(), "sub": "mailto:a@example.com"}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return "vapid t=" + signed + ", k=" + public
}

func TestPushes(t *testing.T) {
	d, p, server := start(t)
	if err := p.Set(json.RawMessage(`{"gone": ["bob"]}`)); err != nil {
		t.Fatal(err)
	}
	good := map[string]string{"Authorization": vapid(t, server.URL, time.Hour, PublicKey), "Ttl": "60", "Content-Encoding": "aes128gcm", "Topic": "a", "Urgency": "low"}
	but := func(name, value string) map[string]string {
		out := maps.Clone(good)
		out[name] = value
		return out
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	push := func(name, body string, header map[string]string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/webpush/push/"+name, strings.NewReader(body))
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
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	for name, tt := range map[string]struct {
		to, body string
		header   map[string]string
		status   int
		want     string
	}{
		"good":            {"ann", "x", good, 201, ""},
		"gone":            {"gone-1", "x", good, 410, `"errno":106`},
		"gone, as set":    {"bob", "x", good, 410, `"errno":106`},
		"no ttl":          {"ann", "x", but("Ttl", ""), 400, `"errno":111`},
		"a ttl":           {"ann", "x", but("Ttl", "soon"), 400, `"errno":112`},
		"a topic":         {"ann", "x", but("Topic", "with space"), 400, `"errno":113`},
		"an urgency":      {"ann", "x", but("Urgency", "now"), 400, `"errno":112`},
		"an encoding":     {"ann", "x", but("Content-Encoding", "aesgcm"), 400, `"errno":110`},
		"too large":       {"ann", strings.Repeat("x", 4097), good, 413, `"errno":104`},
		"no login":        {"ann", "x", but("Authorization", ""), 401, `"errno":109`},
		"no key":          {"ann", "x", but("Authorization", "vapid t=a.b.c"), 401, `"errno":109`},
		"a key":           {"ann", "x", but("Authorization", vapid(t, server.URL, time.Hour, "AAAA")), 401, `"errno":109`},
		"another service": {"ann", "x", but("Authorization", vapid(t, "https://example.com", time.Hour, PublicKey)), 401, `"errno":109`},
		"over":            {"ann", "x", but("Authorization", vapid(t, server.URL, -time.Hour, PublicKey)), 401, `"errno":109`},
		"too long":        {"ann", "x", but("Authorization", vapid(t, server.URL, 25*time.Hour, PublicKey)), 401, `"errno":109`},
	} {
		if status, body := push(tt.to, tt.body, tt.header); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	for decision, want := range map[desk.Decision]int{
		{Answer: desk.Fail}: 503, {Answer: desk.Throttle}: 429, {Answer: desk.Refuse}: 410, {Answer: desk.Refuse, Code: "413"}: 413, {Answer: desk.Refuse, Code: "110"}: 400,
	} {
		d.Decision = decision
		if status, body := push("ann", "x", good); status != want {
			t.Errorf("%+v: %d %s", decision, status, body)
		}
	}
}

func TestSettings(t *testing.T) {
	_, p, server := start(t)
	if p.Name() != "webpush" || p.Channel() != "app" {
		t.Errorf("%s of %s", p.Name(), p.Channel())
	}
	for _, given := range []string{`[]`, `{"public_key": "%"}`, `{"public_key": "AAAA"}`} {
		if err := p.Set(json.RawMessage(given)); err == nil {
			t.Errorf("%s is taken", given)
		}
	}
	if got, ok := p.Settings().(Settings); !ok || got.PublicKey != PublicKey {
		t.Errorf("settings %+v", got)
	}
	if err := p.Play(t.Context(), nil); err == nil {
		t.Error("an event is played")
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/webpush/subscriptions/ann", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != Subscription(server.URL, "ann") {
		t.Errorf("got %s, %v", text, err)
	}
}

func FuzzDecrypt(f *testing.F) {
	f.Add([]byte("short"))
	f.Add(make([]byte, 200))
	b := newBrowser("ann")
	f.Fuzz(func(t *testing.T, body []byte) {
		if text, err := b.decrypt(body); err == nil {
			t.Errorf("%x was decrypted as %q", body, text)
		}
	})
}
