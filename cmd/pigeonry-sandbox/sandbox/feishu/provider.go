// Package feishu plays Feishu (and Lark, its edition outside China) for the sandbox: custom bots, and an app with a bot
// whose events are encrypted and signed.
//
// Without any set-up there is the app cli_sandbox with the secret sandbox-secret, and there are two custom bots: the
// token sandbox-hook-signed with the signing key sandbox-secret, and sandbox-hook-open without one. Events are for the
// Verification Token sandbox-token and the Encrypt Key sandbox-encrypt-key; they go out once callback_url is set. Any user and any
// group exist. The rates are those of Feishu; a rate of 0 in the settings is none.
package feishu

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// Settings are what the developer console and the security settings of the bots say.
type Settings struct {
	Hooks []Hook `json:"hooks"`

	AppID             string `json:"app_id"`
	AppSecret         string `json:"app_secret"`
	TokenSeconds      int    `json:"token_seconds"` // how long a tenant_access_token lives; Feishu: 7200
	VerificationToken string `json:"verification_token"`
	EncryptKey        string `json:"encrypt_key"`  // "": events go out in clear, and not signed
	CallbackURL       string `json:"callback_url"` // "": no events

	// Refuse has recipients whom Feishu refuses, and the code that it does so with, e.g. {"ou_gone": 230029}.
	Refuse map[string]int `json:"refuse"`
	// RevokeTokens makes every token that was given until now invalid. It is always false when it is read.
	RevokeTokens bool `json:"revoke_tokens"`

	HookPerSecond      int `json:"hook_per_second"`
	HookPerMinute      int `json:"hook_per_minute"`
	AppPerSecond       int `json:"app_per_second"`
	AppPerMinute       int `json:"app_per_minute"`
	RecipientPerSecond int `json:"recipient_per_second"`
}

// Hook is a custom bot.
type Hook struct {
	Token    string   `json:"token"`
	Secret   string   `json:"secret"`   // "": it takes messages without a signature
	Keywords []string `json:"keywords"` // a message must have one of them, if there are any
}

func defaults() Settings {
	return Settings{
		Hooks: []Hook{{Token: "sandbox-hook-signed", Secret: "sandbox-secret"}, {Token: "sandbox-hook-open"}},
		AppID: "cli_sandbox", AppSecret: "sandbox-secret", TokenSeconds: 7200,
		VerificationToken: "sandbox-token", EncryptKey: "sandbox-encrypt-key",
		HookPerSecond: 5, HookPerMinute: 100, AppPerSecond: 50, AppPerMinute: 1000, RecipientPerSecond: 5,
	}
}

// provider is Feishu.
type provider struct {
	desk desk.Desk
	now  func() time.Time

	mu       sync.Mutex
	settings Settings
	tokens   map[string]time.Time // each token that is valid, and until when
	latest   string               // the token that was given last
	rates    rates
	messages messages
}

// New returns Feishu, with the settings of the package's documentation.
func New(d desk.Desk) desk.Provider {
	return &provider{
		desk: d, now: time.Now, settings: defaults(), tokens: map[string]time.Time{},
		rates: rates{}, messages: newMessages(),
	}
}

// Name implements desk.Provider.
func (p *provider) Name() string { return "feishu" }

// Channel implements desk.Provider.
func (p *provider) Channel() string { return "feishu" }

// Register implements desk.Provider.
func (p *provider) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /open-apis/bot/v2/hook/{token}", p.hook)
	mux.HandleFunc("POST /open-apis/auth/v3/tenant_access_token/internal", p.giveToken)
	mux.HandleFunc("GET /open-apis/bot/v3/info", p.withToken(p.botInfo))
	mux.HandleFunc("POST /open-apis/im/v1/messages", p.withToken(p.create))
	mux.HandleFunc("GET /open-apis/im/v1/messages/{id}", p.withToken(p.get))
	mux.HandleFunc("GET /open-apis/im/v1/messages/{id}/read_users", p.withToken(p.readUsers))
	mux.HandleFunc("POST /open-apis/im/v1/images", p.withToken(p.upload))
	mux.HandleFunc("/open-apis/", func(rw http.ResponseWriter, _ *http.Request) {
		refuse(rw, http.StatusNotFound, 99991201, "resource not find")
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
	s.Hooks = nil // or else a hook that is given would inherit what it leaves out
	decoder := json.NewDecoder(bytes.NewReader(settings))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return fmt.Errorf("read the settings of feishu: %w", err)
	}
	if s.Hooks == nil {
		s.Hooks = defaults().Hooks
	}
	if err := s.check(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.RevokeTokens {
		clear(p.tokens)
		p.latest, s.RevokeTokens = "", false
	}
	p.settings = s
	p.rates = rates{}
	return nil
}

func (s Settings) check() error {
	var errs []error
	for i, h := range s.Hooks {
		if h.Token == "" {
			errs = append(errs, fmt.Errorf("hooks[%d].token: is empty", i))
		}
	}
	for field, value := range map[string]string{"app_id": s.AppID, "app_secret": s.AppSecret} {
		if value == "" {
			errs = append(errs, fmt.Errorf("%s: is empty", field))
		}
	}
	if s.TokenSeconds < 1 {
		errs = append(errs, fmt.Errorf("token_seconds: want at least 1, got %d", s.TokenSeconds))
	}
	if u, err := url.Parse(s.CallbackURL); s.CallbackURL != "" && (err != nil || u.Host == "") {
		errs = append(errs, fmt.Errorf("callback_url: %q is no URL", s.CallbackURL))
	}
	for field, n := range map[string]int{
		"hook_per_second": s.HookPerSecond, "hook_per_minute": s.HookPerMinute, "app_per_second": s.AppPerSecond,
		"app_per_minute": s.AppPerMinute, "recipient_per_second": s.RecipientPerSecond,
	} {
		if n < 0 {
			errs = append(errs, fmt.Errorf("%s: want 0 (no limit) or more, got %d", field, n))
		}
	}
	return errors.Join(errs...)
}

// bot finds a custom bot by its token.
func (s Settings) bot(token string) (Hook, bool) {
	for _, h := range s.Hooks {
		if h.Token == token {
			return h, true
		}
	}
	return Hook{}, false
}
