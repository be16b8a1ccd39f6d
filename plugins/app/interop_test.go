package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	webpushgo "github.com/SherClockHolmes/webpush-go"
	"github.com/sideshow/apns2"
	apnstoken "github.com/sideshow/apns2/token"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	apnsdouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/apns"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	fcmdouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/fcm"
	webpushdouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/webpush"
	"github.com/pigeonry/pigeonry/plugins/app/encrypt"
	"github.com/pigeonry/pigeonry/sdk"
)

// The sandbox's doubles and this plugin must not merely agree with each other: libraries that this project did not write send to
// the doubles, and read what the plugin writes. Those of npm are installed, as testdata/package-lock.json pins them, into the
// user's cache.

// node runs a script of testdata and reads the JSON that it prints. Where node, npm or the packages cannot be had, the test is left
// out, or fails if CI=true.
func node(t *testing.T, out any, env []string, script string, args ...string) {
	t.Helper()
	dir, err := installPeers(t.Context())
	if err != nil {
		leftOut := "left out: the peers of npm: " + err.Error()
		if os.Getenv("CI") == "true" {
			t.Fatal(leftOut)
		}
		t.Skip(leftOut)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	source, err := filepath.Abs(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	// Node looks for packages beside the script first; NODE_PATH is where it looks else.
	command := exec.CommandContext(ctx, "node", append([]string{source}, args...)...)
	command.Env = append(append(os.Environ(), "NODE_PATH="+filepath.Join(dir, "node_modules")), env...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	printed, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, stderr.String())
	}
	if err := json.Unmarshal(printed, out); err != nil {
		t.Fatalf("%s printed %q: %v", script, printed, err)
	}
}

// installPeers installs the packages once for each content of the lock file, and gives their folder.
func installPeers(ctx context.Context) (string, error) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%s is not installed", tool)
		}
	}
	lock, err := os.ReadFile("testdata/package-lock.json")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(lock)
	root := filepath.Join(cache, "pigeonry-test")
	dir := filepath.Join(root, "npm-app-"+hex.EncodeToString(sum[:6]))
	if isThere(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(root, ".npm-app-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	if err := npmInstall(ctx, fresh); err != nil {
		return "", err
	}
	// Whoever renames first wins: the others find the same packages there.
	if err := os.Rename(fresh, dir); err != nil && !isThere(dir) {
		return "", err
	}
	return dir, nil
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func npmInstall(ctx context.Context, dir string) error {
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		content, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund")
	command.Dir = dir
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w: %s", err, bytes.TrimSpace(output))
	}
	return nil
}

// port of the doubles, and a file with their authority.
func (d *doubles) port() string { return d.server.URL[strings.LastIndexByte(d.server.URL, ':')+1:] }

func (d *doubles) authorityFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, []byte(d.authority), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// client trusts the doubles.
func (d *doubles) client(t *testing.T) *http.Client {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if d.authority != "" {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(d.authority))
		transport.TLSClientConfig.RootCAs = pool
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// firebase-admin of npm sends to the double of FCM.
func TestPeerFirebaseAdmin(t *testing.T) {
	d := startDoubles(t, true)
	account := filepath.Join(t.TempDir(), "service-account.json")
	if err := os.WriteFile(account, []byte(fcmdouble.ServiceAccount), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []struct{ Name, Code string }
	node(t, &got, []string{"NODE_EXTRA_CA_CERTS=" + d.authorityFile(t)}, "fcm.js", d.port(), account, `["token-1", "unregistered-1", "invalid-1", "foreign-1"]`)
	want := []string{
		"projects/sandbox/messages/0:1", "messaging/registration-token-not-registered", "messaging/invalid-argument", "messaging/mismatched-credential",
		"projects/sandbox/messages/0:", "messaging/registration-token-not-registered",
	}
	if len(got) != len(want) {
		t.Fatalf("firebase-admin says %+v", got)
	}
	for i, g := range got {
		if !strings.HasPrefix(g.Name+g.Code, want[i]) {
			t.Errorf("token %d: got %+v, want %s", i, g, want[i])
		}
	}
	if m := d.messages()[0]; m.To != "token-1" || m.Subject != "Order" || m.Text != "Your order is on its way" || m.Reference != "msg_of_firebase" {
		t.Errorf("the double has %+v", m)
	}
	d.decide(desk.Decision{Answer: desk.Throttle})
	node(t, &got, []string{"NODE_EXTRA_CA_CERTS=" + d.authorityFile(t)}, "fcm.js", d.port(), account, `[]`)
	if got[0].Code != "messaging/message-rate-exceeded" {
		t.Errorf("a quota: %+v", got)
	}
}

// Google's own library gets an access token from the double, and what this plugin sends by hand the double takes with it.
func TestPeerGoogleOAuth(t *testing.T) {
	d := startDoubles(t, false)
	account := strings.Replace(fcmdouble.ServiceAccount, "http://127.0.0.1:8025", d.server.URL, 1)
	config, err := google.JWTConfigFromJSON([]byte(account), fcmScope)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, d.client(t))
	token, err := config.TokenSource(ctx).Token()
	if err != nil || token.TokenType != "Bearer" || time.Until(token.Expiry) < 50*time.Minute {
		t.Fatalf("got %+v, %v", token, err)
	}
	resp, err := config.Client(ctx).Post(d.server.URL+fcmPath, "application/json", strings.NewReader(`{"message":{"token":"t","notification":{"body":"hi"}}}`))
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %v, %v", resp, err)
	}
	resp.Body.Close()
	config.Email = "other@example.com"
	failed, isRetrieve := errors.AsType[*oauth2.RetrieveError](second(config.TokenSource(ctx).Token()))
	if !isRetrieve || failed.Response.StatusCode != 400 || !strings.Contains(string(failed.Body), "invalid_grant") {
		t.Errorf("another account: %v", failed)
	}
}

func second[T any](_ T, err error) error { return err }

// apns2 sends to the double of APNs over TLS.
func TestPeerAPNs2(t *testing.T) {
	d := startDoubles(t, true)
	key, err := apnstoken.AuthKeyFromBytes([]byte(apnsdouble.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	client := apns2.NewTokenClient(&apnstoken.Token{AuthKey: key, KeyID: apnsdouble.KeyID, TeamID: apnsdouble.TeamID})
	client.Host, client.HTTPClient = d.server.URL, d.client(t)
	note := &apns2.Notification{
		DeviceToken: device, Topic: apnsdouble.Topic, ApnsID: "123E4567-E89B-12D3-A456-42665544000A", CollapseID: "order", Priority: apns2.PriorityHigh,
		Expiration: time.Now().Add(time.Hour), PushType: apns2.PushTypeAlert,
		Payload: []byte(`{"aps":{"alert":{"title":"Order","body":"Your order is on its way"},"badge":3},"pigeonry_id":"msg_of_apns2"}`),
	}
	got, err := client.Push(note)
	if err != nil || !got.Sent() || got.ApnsID != note.ApnsID {
		t.Fatalf("got %+v, %v", got, err)
	}
	if m := d.last(t); m.To != device || m.Subject != "Order" || m.Text != "Your order is on its way" || m.Reference != "msg_of_apns2" {
		t.Errorf("the double has %+v", m)
	}
	for edit, want := range map[string]string{
		"gone": apns2.ReasonUnregistered, "device": apns2.ReasonBadDeviceToken, "topic": apns2.ReasonTopicDisallowed, "payload": apns2.ReasonPayloadEmpty,
	} {
		n := *note
		switch edit {
		case "gone":
			n.DeviceToken = "dead" + device[4:]
		case "device":
			n.DeviceToken = "nobody"
		case "topic":
			n.Topic = "com.example.other"
		case "payload":
			n.Payload = []byte("{}")
		}
		if got, err := client.Push(&n); err != nil || got.Reason != want {
			t.Errorf("%s: got %+v, %v", edit, got, err)
		}
	}
	client.Token = &apnstoken.Token{AuthKey: key, KeyID: "OTHERKEYID", TeamID: apnsdouble.TeamID}
	if got, err := client.Push(note); err != nil || got.Reason != apns2.ReasonInvalidProviderToken {
		t.Errorf("another key: got %+v, %v", got, err)
	}
}

// @parse/node-apn of npm sends to the double of APNs.
func TestPeerNodeAPN(t *testing.T) {
	d := startDoubles(t, true)
	devices, err := json.Marshal([]string{device, "dead" + device[4:], strings.Repeat("0", 64)})
	if err != nil {
		t.Fatal(err)
	}
	var got []struct {
		Sent, Status int
		Reason       string
	}
	node(t, &got, nil, "apns.js", d.port(), d.authorityFile(t), apnsdouble.PrivateKey, apnsdouble.KeyID, apnsdouble.TeamID, apnsdouble.Topic, string(devices))
	if len(got) != 3 || got[0].Sent != 1 || got[1].Status != 410 || got[1].Reason != "Unregistered" || got[2].Status != 400 || got[2].Reason != "BadDeviceToken" {
		t.Fatalf("node-apn says %+v", got)
	}
	if m := d.messages()[0]; m.To != device || m.Subject != "Order" || m.Text != "Your order is on its way" || m.Reference != "msg_of_apn" {
		t.Errorf("the double has %+v", m)
	}
}

// webpush-go sends to the double of a push service, and the double's browser reads it.
func TestPeerWebPushGo(t *testing.T) {
	d := startDoubles(t, false)
	push := func(name, public, private string) (status int, location string) {
		t.Helper()
		var s webpushgo.Subscription
		if err := json.Unmarshal([]byte(d.subscription(name)), &s); err != nil {
			t.Fatal(err)
		}
		resp, err := webpushgo.SendNotification([]byte(`{"notification":{"title":"Order","body":"on its way","data":{"pigeonry_id":"msg_of_go"}}}`), &s, &webpushgo.Options{
			HTTPClient: d.client(t), Subscriber: "ops@example.com", VAPIDPublicKey: public, VAPIDPrivateKey: private, TTL: 60, Topic: "order", Urgency: webpushgo.UrgencyHigh,
		})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("Location")
	}
	if status, location := push("ann", webpushdouble.PublicKey, webpushdouble.PrivateKey); status != 201 || location == "" {
		t.Fatalf("got %d, %q", status, location)
	}
	if m := d.last(t); m.To != "ann" || m.Subject != "Order" || m.Text != "on its way" || m.Reference != "msg_of_go" {
		t.Errorf("the browser sees %+v", m)
	}
	if status, _ := push("gone-1", webpushdouble.PublicKey, webpushdouble.PrivateKey); status != 410 {
		t.Errorf("a subscription that has ended: %d", status)
	}
	private, public, err := webpushgo.GenerateVAPIDKeys()
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := push("ann", public, private); status != 403 {
		t.Errorf("another's key: %d", status)
	}
	// This plugin reads the keys that the library makes.
	if _, err := newVAPID(&webPushConfig{PrivateKey: sdk.Secret(private), PublicKey: public, Subject: "mailto:a@b.example"}); err != nil {
		t.Errorf("a pair of the library's: %v", err)
	}
}

// web-push of npm sends to the double of a push service over TLS.
func TestPeerWebPushNPM(t *testing.T) {
	d := startDoubles(t, true)
	var got []struct {
		Status         int
		Location, Body string
	}
	node(t, &got, []string{"NODE_EXTRA_CA_CERTS=" + d.authorityFile(t)}, "webpush.js", webpushdouble.PublicKey, webpushdouble.PrivateKey,
		"["+d.subscription("ann")+","+d.subscription("gone-1")+"]")
	if len(got) != 2 || got[0].Status != 201 || got[0].Location != d.server.URL+"/webpush/message/1" || got[1].Status != 410 {
		t.Fatalf("web-push says %+v", got)
	}
	if m := d.messages()[0]; m.To != "ann" || m.Subject != "Order" || m.Text != "Your order is on its way" || m.Reference != "msg_of_web_push" {
		t.Errorf("the browser sees %+v", m)
	}
}

// http_ece of npm reads what this plugin encrypts, as a browser would: keys are those of the browser of RFC 8291, appendix A.
func TestPeerECE(t *testing.T) {
	const key, point, auth = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94", "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4", "BTBZMqHH6r4Tts7J_aSIgg"
	s, err := parseSubscription(`{"endpoint":"https://push.example.com/1","keys":{"p256dh":"` + point + `","auth":"` + auth + `"}}`)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{"", "When I grow up, I want to be a watermelon", "您的订单已发货 🚚", strings.Repeat("x", encrypt.MaxText)}
	var bodies []string
	for _, text := range texts {
		body, err := s.receiver.Encrypt([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, base64.RawURLEncoding.EncodeToString(body))
	}
	given, err := json.Marshal(bodies)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	node(t, &got, nil, "ece.js", key, auth, string(given))
	if len(got) != len(texts) {
		t.Fatalf("http_ece reads %q", got)
	}
	for i := range texts {
		if got[i] != texts[i] {
			t.Errorf("text %d is %q, want %q", i, got[i], texts[i])
		}
	}
}

// The provider token of this plugin is of the same make as that of apns2, and its assertion as that of Google's library: read by
// libraries that know nothing of each other, they hold the same claims.
func TestTokensLikeThoseOfOthers(t *testing.T) {
	own, err := newAPNsIdentity(&apnsConfig{PrivateKey: sdk.Secret(apnsdouble.PrivateKey), KeyID: apnsdouble.KeyID, TeamID: apnsdouble.TeamID})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	token, err := own.token(now)
	if err != nil {
		t.Fatal(err)
	}
	key, err := apnstoken.AuthKeyFromBytes([]byte(apnsdouble.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	theirs := &apnstoken.Token{AuthKey: key, KeyID: apnsdouble.KeyID, TeamID: apnsdouble.TeamID}
	bearer := theirs.GenerateIfExpired()
	for part := range 2 {
		got, want := jwtPart(t, token.Value, part), jwtPart(t, bearer, part)
		delete(want, "typ")
		if part == 1 { // the second of signing
			if got["iat"] == nil || want["iat"] == nil {
				t.Errorf("claims %v and %v", got, want)
			}
			delete(got, "iat")
			delete(want, "iat")
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("part %d is %v, that of apns2 %v", part, got, want)
		}
	}
}

func jwtPart(t *testing.T, token string, part int) map[string]any {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[part])
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// What the assertion of Google's library says, that of this plugin says, too.
func TestAssertionLikeGoogles(t *testing.T) {
	var theirs string
	d := startDoubles(t, false)
	d.instead(func(rw http.ResponseWriter, r *http.Request) bool {
		_, body := d.lastRequest(t, r.URL.Path)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if r.ParseForm() == nil {
			theirs = r.PostForm.Get("assertion")
		}
		return false
	})
	config, err := google.JWTConfigFromJSON([]byte(strings.Replace(fcmdouble.ServiceAccount, "http://127.0.0.1:8025", d.server.URL, 1)), fcmScope)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.TokenSource(context.WithValue(t.Context(), oauth2.HTTPClient, d.client(t))).Token(); err != nil {
		t.Fatal(err)
	}
	id, err := newFCMIdentity(&fcmConfig{ServiceAccount: sdk.Secret(fcmdouble.ServiceAccount), TokenURL: d.server.URL + "/token"})
	if err != nil {
		t.Fatal(err)
	}
	issued, err := strconv.ParseInt(fmt.Sprintf("%.0f", jwtPart(t, theirs, 1)["iat"]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	own, err := id.assertion(time.Unix(issued, 0))
	if err != nil {
		t.Fatal(err)
	}
	for part := range 2 {
		if got, want := fmt.Sprint(jwtPart(t, own, part)), fmt.Sprint(jwtPart(t, theirs, part)); got != want {
			t.Errorf("part %d is %s, that of Google's library %s", part, got, want)
		}
	}
}
