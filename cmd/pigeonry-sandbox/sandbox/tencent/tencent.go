// Package tencent plays Tencent Cloud SMS (2021-01-11) for the sandbox: SendSms and PullSmsSendStatusByPhoneNumber, signed with
// TC3-HMAC-SHA256, and the callbacks of receipts and replies.
//
// Without any set-up the SecretId is sandbox and the SecretKey sandbox-secret; the application is 1400000000; the signatures Sandbox and
// 腾讯云 are approved, and the templates 1000 ({1}) and 1001 (Your code is {1}, valid for {2} minutes.). Callbacks go out once
// report_url and reply_url are set; write the secret of the connector into them, as in
// http://127.0.0.1:8080/callbacks/sms/tencent?token=<callback_token>.
//
// A user replies with the event {"type": "reply", "from": "+8613800138000", "text": "Hello", "sign": "Sandbox", "extend": "12"}.
package tencent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// zone is that of all dates.
var zone = time.FixedZone("Asia/Shanghai", 8*60*60) //nolint:gochecknoglobals // never changes

// Settings are what the console has.
type Settings struct {
	SecretID  string            `json:"secret_id"`
	SecretKey string            `json:"secret_key"`
	AppID     string            `json:"app_id"`
	Signs     []string          `json:"signs"`      // approved signatures
	Templates map[string]string `json:"templates"`  // approved templates, with {1}, {2} …
	ReportURL string            `json:"report_url"` // of receipts; "": none
	ReplyURL  string            `json:"reply_url"`  // of replies; "": none
	// Refuse has numbers that are refused, and the code that it is done with, e.g.
	// {"+8613800000002": "FailedOperation.PhoneNumberInBlacklist"}.
	Refuse map[string]string `json:"refuse"`
}

func defaults() Settings {
	return Settings{
		SecretID: "sandbox", SecretKey: "sandbox-secret", AppID: "1400000000",
		Signs:     []string{"Sandbox", "腾讯云"},
		Templates: map[string]string{"1000": "{1}", "1001": "Your code is {1}, valid for {2} minutes."},
	}
}

// provider is Tencent Cloud SMS.
type provider struct {
	desk desk.Desk
	now  func() time.Time

	mu       sync.Mutex
	settings Settings
	reports  reports
}

// New returns Tencent Cloud SMS, with the settings of the package's documentation.
func New(d desk.Desk) desk.Provider {
	return &provider{desk: d, now: time.Now, settings: defaults(), reports: newReports()}
}

// Name implements desk.Provider.
func (p *provider) Name() string { return "tencent" }

// Channel implements desk.Provider.
func (p *provider) Channel() string { return "sms" }

// Register implements desk.Provider. All requests go to /.
func (p *provider) Register(*http.ServeMux) {}

// Owns implements desk.Rooted.
func (p *provider) Owns(r *http.Request) bool { return r.Header.Get("X-Tc-Action") != "" }

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
		return fmt.Errorf("read the settings of tencent: %w", err)
	}
	for name, address := range map[string]string{"report_url": s.ReportURL, "reply_url": s.ReplyURL} {
		if u, err := url.Parse(address); address != "" && (err != nil || u.Host == "") {
			return fmt.Errorf("%s: %q is no URL", name, address)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings = s
	return nil
}

// reply is the event of a user who answers.
type reply struct {
	Type   string `json:"type"`
	From   string `json:"from"`
	Text   string `json:"text"`
	Sign   string `json:"sign"`
	Extend string `json:"extend"`
}

// Play implements desk.Provider.
func (p *provider) Play(_ context.Context, event json.RawMessage) error {
	var e reply
	if err := json.Unmarshal(event, &e); err != nil {
		return fmt.Errorf("read the event: %w", err)
	}
	if e.Type != "reply" {
		return fmt.Errorf("type: %q is not known; use reply", e.Type)
	}
	country, mobile, ok := split(e.From)
	if !ok {
		return fmt.Errorf("from: %q is no number", e.From)
	}
	s := p.current()
	if s.ReplyURL == "" {
		return errors.New("reply_url is not set")
	}
	p.desk.Send(callback(s.ReplyURL, map[string]any{
		"extend": e.Extend, "mobile": mobile, "nationcode": country, "sign": e.Sign, "text": e.Text, "time": p.now().Unix(),
	}))
	return nil
}

// callback brings a body, and is taken when the answer says so.
func callback(address string, content any) desk.Callback {
	return desk.Callback{
		Request: func(ctx context.Context) (*http.Request, error) {
			body, err := json.Marshal(content)
			if err != nil {
				return nil, fmt.Errorf("write a callback: %w", err)
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
			if err != nil {
				return nil, fmt.Errorf("make a callback: %w", err)
			}
			req.Header.Set("Content-Type", "application/json")
			return req, nil
		},
		Taken: func(status int, body []byte) bool {
			var answer struct {
				Result *int `json:"result"`
			}
			return status == http.StatusOK && json.Unmarshal(body, &answer) == nil && answer.Result != nil && *answer.Result == 0
		},
	}
}

// split cuts an E.164 number into country code and the rest: one digit for North America, else two, which does for a double.
func split(number string) (country, mobile string, ok bool) {
	digits := strings.TrimPrefix(strings.TrimPrefix(number, "+"), "00")
	if len(digits) == 11 && digits[0] == '1' && digits[1] >= '3' && !strings.HasPrefix(number, "+") {
		digits = "86" + digits // without a code it is of mainland China
	}
	if strings.Trim(digits, "0123456789") != "" || len(digits) < 7 || len(digits) > 15 {
		return "", "", false
	}
	if digits[0] == '1' {
		return digits[:1], digits[1:], true
	}
	if strings.HasPrefix(digits, "86") && (len(digits) != 13 || digits[2] != '1') {
		return "", "", false
	}
	return digits[:2], digits[2:], true
}
