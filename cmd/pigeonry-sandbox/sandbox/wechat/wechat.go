// Package wechat plays WeChat's API of Official Accounts: access tokens, template messages, subscription notices,
// one-time subscription messages, customer-service messages, temporary media, and what WeChat pushes to the customer's server.
//
// Without any set-up the account is this, and its callbacks go nowhere:
//
//	app_id            wx5a9db0c5a9db0c00
//	app_secret        sandbox-secret-of-wechat-00000000
//	token             sandboxtoken
//	encoding_aes_key  sandboxsandboxsandboxsandboxsandboxsandbox0
//
// Any OpenID and any template is taken until the settings name those that there are.
package wechat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// name of the provider and of its channel.
const name = "wechat"

// How WeChat encrypts what it pushes.
const (
	modePlain      = "plain"
	modeCompatible = "compatible"
	modeSafe       = "safe"
)

// Settings are what stands in WeChat's console, and what has happened to the account.
type Settings struct {
	AppID     string `json:"app_id"`
	AppSecret string `json:"app_secret"`
	// Account is the original id of the account, the ToUserName of what it gets.
	Account string `json:"account"`
	// CallbackURL, Token, EncodingAESKey and Mode ("plain", "compatible" or "safe") say how pushes come. No address, no pushes.
	CallbackURL    string `json:"callback_url"`
	Token          string `json:"token"`
	EncodingAESKey string `json:"encoding_aes_key"`
	Mode           string `json:"mode"`
	// TokenSeconds is how long an access token is valid.
	TokenSeconds int `json:"token_seconds"`
	// TokensRevoked makes every access token invalid that was given out before the settings were set.
	TokensRevoked bool `json:"tokens_revoked,omitempty"`
	// Templates are those of the account, with the parameters that they need. None: any template is one of the account.
	Templates map[string][]string `json:"templates,omitempty"`
	// Strangers are users who do not follow the account; Refusers follow it and do not want its messages.
	Strangers []string `json:"strangers,omitempty"`
	Refusers  []string `json:"refusers,omitempty"`
	// ReplyWindow takes customer-service messages only to users who have written within 48 hours, and five after each of theirs.
	ReplyWindow bool `json:"reply_window,omitempty"`
}

func defaults() Settings {
	return Settings{
		AppID: "wx5a9db0c5a9db0c00", AppSecret: "sandbox-secret-of-wechat-00000000", Account: "gh_5a9db0c5a9db",
		Token: "sandboxtoken", EncodingAESKey: "sandboxsandboxsandboxsandboxsandboxsandbox0", Mode: modeSafe, TokenSeconds: 7200,
	}
}

// Provider is WeChat. Its methods may be called from any goroutine.
type Provider struct {
	desk desk.Desk
	// ids are those of messages: int64 in WeChat, and here below 2^53, as JavaScript reads no larger number exactly. They begin
	// at the time in microseconds, so that none comes again in a later run.
	ids atomic.Int64

	mu       sync.Mutex
	settings Settings
	tokens   tokens
	media    map[string]bool
	repeats  map[string]*repeat
	taken    []*repeat // those in repeats that are settled, the oldest first
	windows  map[string]*window
}

// New returns the provider with its default settings.
func New(d desk.Desk) desk.Provider {
	p := &Provider{
		desk: d, settings: defaults(), media: map[string]bool{}, repeats: map[string]*repeat{}, windows: map[string]*window{},
	}
	p.ids.Store(time.Now().UnixMicro())
	return p
}

// Name implements desk.Provider.
func (p *Provider) Name() string { return name }

// Channel implements desk.Provider.
func (p *Provider) Channel() string { return name }

// Register implements desk.Provider.
func (p *Provider) Register(mux *http.ServeMux) {
	mux.HandleFunc("/cgi-bin/token", p.token)
	mux.HandleFunc("/cgi-bin/stable_token", p.stableToken)
	mux.HandleFunc("/cgi-bin/get_api_domain_ip", p.authorized(http.MethodGet, p.addresses))
	mux.HandleFunc("/cgi-bin/getcallbackip", p.authorized(http.MethodGet, p.addresses))
	mux.HandleFunc("/cgi-bin/template/get_all_private_template", p.authorized(http.MethodGet, p.listTemplates))
	mux.HandleFunc("/cgi-bin/media/upload", p.authorized(http.MethodPost, p.upload))
	mux.HandleFunc("/cgi-bin/message/template/send", p.authorized(http.MethodPost, p.sendTemplate))
	mux.HandleFunc("/cgi-bin/message/template/subscribe", p.authorized(http.MethodPost, p.sendOnce))
	mux.HandleFunc("/cgi-bin/message/subscribe/bizsend", p.authorized(http.MethodPost, p.sendNotice))
	mux.HandleFunc("/cgi-bin/message/custom/send", p.authorized(http.MethodPost, p.sendCustom))
}

// Settings implements desk.Provider.
func (p *Provider) Settings() any { return p.current() }

func (p *Provider) current() Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings
}

// Set implements desk.Provider. What is left out has its default.
func (p *Provider) Set(raw json.RawMessage) error {
	s := defaults()
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("settings of %s: %w", name, err)
	}
	var wrong error
	switch {
	case s.AppID == "":
		wrong = errors.New("app_id: is empty")
	case s.AppSecret == "":
		wrong = errors.New("app_secret: is empty")
	case s.TokenSeconds <= 0:
		wrong = errors.New("token_seconds: must be more than 0")
	case s.Mode != modePlain && s.Mode != modeCompatible && s.Mode != modeSafe:
		wrong = fmt.Errorf("mode: want plain, compatible or safe, got %q", s.Mode)
	default:
		_, wrong = s.key()
	}
	if wrong != nil {
		return wrong
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.TokensRevoked || s.AppSecret != p.settings.AppSecret {
		p.tokens = tokens{}
	}
	s.TokensRevoked = false
	p.settings = s
	return nil
}

// Event is something that WeChat pushes of its own accord.
type Event struct {
	// From is the OpenID of a user.
	From string `json:"from"`
	// Type of what the user sends: text (the default), image, voice, video, shortvideo, location, link or event.
	Type string `json:"type"`
	// Text of a text.
	Text string `json:"text"`
	// Event and EventKey of an event, e.g. subscribe, unsubscribe, CLICK, VIEW, SCAN, LOCATION.
	Event    string `json:"event"`
	EventKey string `json:"event_key"`
	// Fields are further elements of the push, by their names, e.g. {"PicUrl": "https://…", "MediaId": "…"}.
	Fields map[string]string `json:"fields"`
	// Verify makes WeChat check the callback address instead, as when it is saved in the console.
	Verify bool `json:"verify"`
	// ExpireTokens ends every access token instead.
	ExpireTokens bool `json:"expire_tokens"`
}

// Play implements desk.Provider: the event is an Event.
func (p *Provider) Play(ctx context.Context, raw json.RawMessage) error {
	var e Event
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("event of %s: %w", name, err)
	}
	if e.ExpireTokens {
		p.mu.Lock()
		p.tokens = tokens{}
		p.mu.Unlock()
		return nil
	}
	s := p.current()
	if s.CallbackURL == "" {
		return errors.New("callback_url: is not set, so there is nobody to tell")
	}
	if e.Verify {
		return verify(ctx, s)
	}
	if !openID.MatchString(e.From) {
		return fmt.Errorf("from: %q is no OpenID", e.From)
	}
	fields := p.fields(s, &e)
	p.desk.Send(p.push(fields))
	return nil
}

// fields are the elements of a push, in WeChat's order, and what the event means for the reply window.
func (p *Provider) fields(s Settings, e *Event) []field {
	kind := e.Type
	if kind == "" {
		kind = "text"
		if e.Event != "" {
			kind = "event"
		}
	}
	fields := []field{
		{"ToUserName", s.Account}, {"FromUserName", e.From}, {"CreateTime", fmt.Sprint(time.Now().Unix())}, {"MsgType", kind},
	}
	add := func(name, value string) {
		if value != "" {
			fields = append(fields, field{name, value})
		}
	}
	if kind == "event" {
		add("Event", e.Event)
		add("EventKey", e.EventKey)
	} else {
		add("Content", e.Text)
	}
	for _, name := range sortedKeys(e.Fields) {
		add(name, e.Fields[name])
	}
	if kind != "event" {
		add("MsgId", fmt.Sprint(p.ids.Add(1)))
	}
	p.opened(e.From, kind, e.Event)
	return fields
}
