// Package twilio plays Twilio's Messages API (2010-04-01) for the sandbox: messages are created, fetched and listed, status
// callbacks and messages of users are signed with X-Twilio-Signature.
//
// Without any set-up the account is AC and 32 zeros with the auth token sandboxsecret (Twilio's own client takes letters and digits alone), and there is an API key, SK and 32 zeros, with
// the secret sandboxsecret. The account has the number +15005550006, the name Sandbox, the messaging service MG and 32 zeros, and the
// content HX and 32 zeros ({{1}}). Twilio's magic numbers mean here what they mean with test credentials
// (https://www.twilio.com/docs/iam/test-credentials): +15005550001 is invalid, +15005550004 has opted out, and so on.
//
// A status callback goes where its message says. A user writes, to incoming_url, with the event
// {"type": "message", "from": "+4917612345678", "to": "+15005550006", "text": "Hello", "media": ["https://example.com/a.jpg"]}.
package twilio

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Twilio signs with HMAC-SHA1
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// Settings are what the console has.
type Settings struct {
	AccountSID   string            `json:"account_sid"`
	AuthToken    string            `json:"auth_token"`
	APIKeySID    string            `json:"api_key_sid"`
	APIKeySecret string            `json:"api_key_secret"`
	Senders      []string          `json:"senders"`  // numbers and names that messages may come from
	Services     []string          `json:"services"` // messaging services
	Contents     map[string]string `json:"contents"` // content templates, with {{variables}}
	IncomingURL  string            `json:"incoming_url"`
	// Refuse has numbers that are refused, and the code that it is done with, e.g. {"+8613800000002": 21211}.
	Refuse map[string]int `json:"refuse"`
}

func defaults() Settings {
	zeros := strings.Repeat("0", 32)
	return Settings{
		AccountSID: "AC" + zeros, AuthToken: "sandboxsecret", APIKeySID: "SK" + zeros, APIKeySecret: "sandboxsecret",
		Senders: []string{"+15005550006", "Sandbox"}, Services: []string{"MG" + zeros},
		Contents: map[string]string{"HX" + zeros: "{{1}}"},
	}
}

// provider is Twilio.
type provider struct {
	desk desk.Desk
	now  func() time.Time

	mu       sync.Mutex
	settings Settings
	messages messages
}

// New returns Twilio, with the settings of the package's documentation.
func New(d desk.Desk) desk.Provider {
	return &provider{desk: d, now: time.Now, settings: defaults(), messages: newMessages()}
}

// Name implements desk.Provider.
func (p *provider) Name() string { return "twilio" }

// Channel implements desk.Provider.
func (p *provider) Channel() string { return "sms" }

// Register implements desk.Provider.
func (p *provider) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /2010-04-01/Accounts/{account}/Messages.json", p.signedIn(p.create))
	mux.HandleFunc("GET /2010-04-01/Accounts/{account}/Messages.json", p.signedIn(p.list))
	mux.HandleFunc("GET /2010-04-01/Accounts/{account}/Messages/{message}", p.signedIn(p.fetch))
	mux.HandleFunc("GET /2010-04-01/Accounts/{account}", p.signedIn(p.account))
	mux.HandleFunc("/2010-04-01/", func(rw http.ResponseWriter, r *http.Request) {
		refuse(rw, 20404, "The requested resource "+r.URL.Path+" was not found")
	})
}

// Settings implements desk.Provider.
func (p *provider) Settings() any { return p.current() }

func (p *provider) current() Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings
}

// Set implements desk.Provider. A field that is left out has its default.
func (p *provider) Set(settings json.RawMessage) error {
	s := defaults()
	decoder := json.NewDecoder(bytes.NewReader(settings))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return fmt.Errorf("read the settings of twilio: %w", err)
	}
	if u, err := url.Parse(s.IncomingURL); s.IncomingURL != "" && (err != nil || u.Host == "") {
		return fmt.Errorf("incoming_url: %q is no URL", s.IncomingURL)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings = s
	return nil
}

// incoming is the event of a user who writes.
type incoming struct {
	Type  string   `json:"type"`
	From  string   `json:"from"`
	To    string   `json:"to"`
	Text  string   `json:"text"`
	Media []string `json:"media"`
}

// Play implements desk.Provider.
func (p *provider) Play(_ context.Context, event json.RawMessage) error {
	var e incoming
	if err := json.Unmarshal(event, &e); err != nil {
		return fmt.Errorf("read the event: %w", err)
	}
	s := p.current()
	switch {
	case e.Type != "message":
		return fmt.Errorf("type: %q is not known; use message", e.Type)
	case !strings.HasPrefix(e.From, "+"):
		return fmt.Errorf("from: %q is no number", e.From)
	case s.IncomingURL == "":
		return errors.New("incoming_url is not set")
	}
	sid := p.newSID("SM")
	form := url.Values{
		"ToCountry": {"US"}, "MessageSid": {sid}, "SmsMessageSid": {sid}, "SmsSid": {sid}, "SmsStatus": {"received"},
		"AccountSid": {s.AccountSID}, "From": {e.From}, "To": {e.To}, "Body": {e.Text},
		"NumMedia": {strconv.Itoa(len(e.Media))}, "NumSegments": {"1"}, "ApiVersion": {"2010-04-01"},
	}
	for i, address := range e.Media {
		form.Set(fmt.Sprintf("MediaUrl%d", i), address)
		form.Set(fmt.Sprintf("MediaContentType%d", i), "image/jpeg")
	}
	p.desk.Send(webhook(s, s.IncomingURL, form))
	return nil
}

// newSID is an id as Twilio writes them.
func (p *provider) newSID(prefix string) string {
	sum := sha256.Sum256([]byte(p.desk.NewID()))
	return prefix + hex.EncodeToString(sum[:16])
}

// webhook is a signed request with a form.
func webhook(s Settings, address string, form url.Values) desk.Callback {
	return desk.Callback{Request: func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
		if err != nil {
			return nil, fmt.Errorf("make a webhook: %w", err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
		req.Header.Set("X-Twilio-Signature", sign(s.AuthToken, address, form))
		req.Header.Set("User-Agent", "TwilioProxy/1.1")
		return req, nil
	}}
}

// sign makes X-Twilio-Signature: of the URL and all parameters, sorted by name.
func sign(token, address string, form url.Values) string {
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write([]byte(address))
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		mac.Write([]byte(name + form.Get(name)))
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// signedIn answers only those who know the account.
func (p *provider) signedIn(next http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		s := p.current()
		user, password, _ := r.BasicAuth()
		known := user == s.AccountSID && password == s.AuthToken || user == s.APIKeySID && password == s.APIKeySecret
		account := strings.TrimSuffix(r.PathValue("account"), ".json")
		switch {
		case !known:
			refuse(rw, 20003, "Authenticate")
		case account != s.AccountSID:
			refuse(rw, 20404, "The requested resource "+r.URL.Path+" was not found")
		default:
			next(rw, r)
		}
	}
}

// account answers who is signed in.
func (p *provider) account(rw http.ResponseWriter, _ *http.Request) {
	s := p.current()
	answer(rw, http.StatusOK, map[string]any{
		"sid": s.AccountSID, "friendly_name": "Sandbox", "status": "active", "type": "Full", "owner_account_sid": s.AccountSID,
		"uri": "/2010-04-01/Accounts/" + s.AccountSID + ".json",
	})
}

func answer(rw http.ResponseWriter, status int, body any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(body) //nolint:errchkjson // an error means that the client is gone
}

// refuse answers with an error.
func refuse(rw http.ResponseWriter, code int, message string) {
	status := http.StatusBadRequest
	switch code {
	case 20003:
		status = http.StatusUnauthorized
		rw.Header().Set("WWW-Authenticate", `Basic realm="Twilio API"`)
	case 20404:
		status = http.StatusNotFound
	case 20429:
		status = http.StatusTooManyRequests
		rw.Header().Set("Retry-After", "1")
	case 20500:
		status = http.StatusInternalServerError
	case 20503:
		status = http.StatusServiceUnavailable
	}
	answer(rw, status, map[string]any{
		"code": code, "message": message, "more_info": fmt.Sprintf("https://www.twilio.com/docs/errors/%d", code), "status": status,
	})
}
