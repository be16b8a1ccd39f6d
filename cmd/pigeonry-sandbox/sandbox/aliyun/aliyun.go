// Package aliyun plays Alibaba Cloud Short Message Service (dysmsapi, 2017-05-25) for the sandbox: SendSms, SendBatchSms and
// QuerySendDetails, signed with ACS3-HMAC-SHA256, and the HTTP pushes SmsReport and SmsUp.
//
// Without any set-up the AccessKey ID is sandbox and its secret sandbox-secret; the signatures Sandbox and 阿里云 are approved, and the
// templates SMS_SANDBOX (${content}) and SMS_CODE (${code}). Pushes go out once report_url and up_url are set; write the secret
// of the connector into them, as in http://127.0.0.1:8080/callbacks/sms/aliyun?token=<callback_token>.
//
// A message's provider id is "<BizId>/<number>", as one BizId stands for all messages of a request. A user writes with the event
// {"type": "up", "from": "+8613800138000", "text": "Hello", "sign": "Sandbox", "dest_code": "1234"}.
package aliyun

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

const timeLayout = "2006-01-02 15:04:05"

// Settings are what the console has.
type Settings struct {
	AccessKeyID     string            `json:"access_key_id"`
	AccessKeySecret string            `json:"access_key_secret"`
	Signs           []string          `json:"signs"`      // approved signatures
	Templates       map[string]string `json:"templates"`  // approved templates, with ${variables}
	ReportURL       string            `json:"report_url"` // of SmsReport; "": none
	UpURL           string            `json:"up_url"`     // of SmsUp; "": none
	// Refuse has numbers that are refused, and the code that it is done with, e.g. {"+8613800000002": "isv.MOBILE_NUMBER_ILLEGAL"}.
	Refuse map[string]string `json:"refuse"`
}

func defaults() Settings {
	return Settings{
		AccessKeyID: "sandbox", AccessKeySecret: "sandbox-secret",
		Signs:     []string{"Sandbox", "阿里云"},
		Templates: map[string]string{"SMS_SANDBOX": "${content}", "SMS_CODE": "Your code is ${code}."},
	}
}

// provider is Alibaba Cloud SMS.
type provider struct {
	desk desk.Desk
	now  func() time.Time

	mu       sync.Mutex
	settings Settings
	nonces   nonces
	sent     history
	sequence int64
}

// New returns Alibaba Cloud SMS, with the settings of the package's documentation.
func New(d desk.Desk) desk.Provider {
	return &provider{desk: d, now: time.Now, settings: defaults(), nonces: nonces{}, sent: newHistory()}
}

// Name implements desk.Provider.
func (p *provider) Name() string { return "aliyun" }

// Channel implements desk.Provider.
func (p *provider) Channel() string { return "sms" }

// Register implements desk.Provider. All requests go to /.
func (p *provider) Register(*http.ServeMux) {}

// Owns implements desk.Rooted.
func (p *provider) Owns(r *http.Request) bool { return r.Header.Get("X-Acs-Action") != "" }

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
		return fmt.Errorf("read the settings of aliyun: %w", err)
	}
	for name, address := range map[string]string{"report_url": s.ReportURL, "up_url": s.UpURL} {
		if u, err := url.Parse(address); address != "" && (err != nil || u.Host == "") {
			return fmt.Errorf("%s: %q is no URL", name, address)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings = s
	return nil
}

// up is the event of a user who writes.
type up struct {
	Type     string `json:"type"`
	From     string `json:"from"`
	Text     string `json:"text"`
	Sign     string `json:"sign"`
	DestCode string `json:"dest_code"`
}

// Play implements desk.Provider.
func (p *provider) Play(_ context.Context, event json.RawMessage) error {
	var e up
	if err := json.Unmarshal(event, &e); err != nil {
		return fmt.Errorf("read the event: %w", err)
	}
	if e.Type != "up" {
		return fmt.Errorf("type: %q is not known; use up", e.Type)
	}
	phone, ok := normal(e.From)
	if !ok {
		return fmt.Errorf("from: %q is no number", e.From)
	}
	s := p.current()
	if s.UpURL == "" {
		return errors.New("up_url is not set")
	}
	p.mu.Lock()
	p.sequence++
	sequence := p.sequence
	p.mu.Unlock()
	p.desk.Send(push(s.UpURL, map[string]any{
		"phone_number": phone, "send_time": p.now().In(zone).Format(timeLayout), "content": e.Text,
		"sign_name": e.Sign, "dest_code": e.DestCode, "sequence_id": sequence,
	}))
	return nil
}

// push is a callback with an array of one element. Any answer with status 200 means that it is taken.
func push(address string, element map[string]any) desk.Callback {
	return desk.Callback{
		Request: func(ctx context.Context) (*http.Request, error) {
			body, err := json.Marshal([]any{element})
			if err != nil {
				return nil, fmt.Errorf("write a push: %w", err)
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
			if err != nil {
				return nil, fmt.Errorf("make a push: %w", err)
			}
			req.Header.Set("Content-Type", "application/json;charset=UTF-8")
			return req, nil
		},
		Taken: func(status int, _ []byte) bool { return status == http.StatusOK },
	}
}

// normal writes a number without plus sign, and one of mainland China without its country code.
func normal(number string) (string, bool) {
	digits := strings.TrimPrefix(strings.TrimPrefix(number, "+"), "00")
	if len(digits) == 13 && strings.HasPrefix(digits, "861") {
		digits = digits[2:]
	}
	if strings.Trim(digits, "0123456789") != "" || len(digits) < 7 || len(digits) > 15 {
		return "", false
	}
	if len(digits) == 11 && digits[0] == '1' && digits[1] < '2' {
		return "", false
	}
	return digits, true
}

// international is the E.164 form of a number that normal wrote.
func international(phone string) string {
	if len(phone) == 11 && phone[0] == '1' && phone[1] >= '3' {
		return "+86" + phone
	}
	return "+" + phone
}
