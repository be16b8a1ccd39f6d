// Package huawei plays Huawei Push Kit: its downlink API version 1, the OAuth 2.0 server of client credentials, and receipts
// (https://developer.huawei.com/consumer/cn/doc/HMSCore-References/https-send-api-0000001050986197).
//
// Without any settings it knows the app [ClientID] with the secret [ClientSecret], and sends no receipts, as there is no callback
// address; those that it sends are signed with [CallbackUser] and [CallbackKey]. A push token that begins with "unregistered" is
// one of an app that is gone; every other one is good.
package huawei

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
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

// The default credentials.
const (
	ClientID     = "100000001"
	ClientSecret = "sandbox-secret-of-huawei"
	CallbackUser = "sandbox"
	CallbackKey  = "sandbox-callback-key-of-huawei"
)

// Settings are what AppGallery Connect would show.
type Settings struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	// TokenSeconds is how long an access token is good.
	TokenSeconds int `json:"token_seconds"`
	// CallbackURL is where receipts go; empty: nowhere.
	CallbackURL  string `json:"callback_url"`
	CallbackUser string `json:"callback_user"`
	CallbackKey  string `json:"callback_key"`
	// ReceiptVersion is that of receipts: 1 or 2.
	ReceiptVersion int `json:"receipt_version"`
	// Unregistered are push tokens of apps that are gone.
	Unregistered []string `json:"unregistered"`
}

// huawei is the provider.
type huawei struct {
	desk desk.Desk

	mu       sync.Mutex
	settings Settings
	tokens   map[string]time.Time // when each access token ends
}

// New returns the provider with its default settings.
func New(d desk.Desk) desk.Provider {
	return &huawei{desk: d, tokens: map[string]time.Time{}, settings: Settings{
		ClientID: ClientID, ClientSecret: ClientSecret, TokenSeconds: 3600,
		CallbackUser: CallbackUser, CallbackKey: CallbackKey, ReceiptVersion: 2,
	}}
}

// Name is that of the provider.
func (h *huawei) Name() string { return "huawei" }

// Channel is that of its messages.
func (h *huawei) Channel() string { return "app" }

// Register adds the paths of Push Kit and of the OAuth 2.0 server.
func (h *huawei) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/{client}/messages:send", h.send)
	mux.HandleFunc("POST /oauth2/v3/token", h.token)
	mux.HandleFunc("POST /oauth2/v2/token", h.token)
}

// Settings returns the settings.
func (h *huawei) Settings() any { return h.now() }

func (h *huawei) now() Settings {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.settings
}

// Set changes those settings that are given.
func (h *huawei) Set(settings json.RawMessage) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := h.settings
	if err := json.Unmarshal(settings, &next); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	u, err := url.Parse(next.CallbackURL)
	switch {
	case next.ClientID == "" || next.ClientSecret == "":
		return errors.New("client_id and client_secret must not be empty")
	case next.TokenSeconds <= 0:
		return fmt.Errorf("token_seconds: %d is not positive", next.TokenSeconds)
	case next.ReceiptVersion != 1 && next.ReceiptVersion != 2:
		return fmt.Errorf("receipt_version: want 1 or 2, got %d", next.ReceiptVersion)
	case err != nil || next.CallbackURL != "" && u.Host == "":
		return fmt.Errorf("callback_url: %q is no address", next.CallbackURL)
	}
	h.settings = next
	return nil
}

// Play knows one event: {"event": "expire_tokens"} ends all access tokens at once.
func (h *huawei) Play(_ context.Context, event json.RawMessage) error {
	var e struct {
		Event string `json:"event"`
	}
	if err := json.Unmarshal(event, &e); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	if e.Event != "expire_tokens" {
		return fmt.Errorf("event: want expire_tokens, got %q", e.Event)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for token := range h.tokens {
		h.tokens[token] = time.Time{}
	}
	return nil
}

// token answers a request for an access token,
// https://developer.huawei.com/consumer/cn/doc/HMSCore-Guides/open-platform-oauth-0000001053629189.
func (h *huawei) token(rw http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(rw, r.Body, maxRequest)
	if err := r.ParseForm(); err != nil {
		refuseLogin(rw, 20001, err.Error())
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch f := r.PostForm; {
	case f.Get("grant_type") != "client_credentials":
		refuseLogin(rw, 20181, "unsupported grant_type")
		return
	case f.Get("client_id") != h.settings.ClientID:
		refuseLogin(rw, 20003, "appid doesnt exist")
		return
	case f.Get("client_secret") == "":
		refuseLogin(rw, 20171, "client_secret is empty")
		return
	case f.Get("client_secret") != h.settings.ClientSecret:
		refuseLogin(rw, 12304, "app secret is not correct")
		return
	}
	now := time.Now()
	for value, ends := range h.tokens {
		if now.Sub(ends) > time.Hour && !ends.IsZero() {
			delete(h.tokens, value)
		}
	}
	value := "CF/" + rand.Text() + "=="
	h.tokens[value] = now.Add(time.Duration(h.settings.TokenSeconds) * time.Second)
	write(rw, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": h.settings.TokenSeconds, "access_token": value})
}

// refuseLogin writes an error of the OAuth 2.0 server, whose codes are numbers.
func refuseLogin(rw http.ResponseWriter, code int, why string) {
	write(rw, http.StatusBadRequest, map[string]any{"sub_error": code, "error_description": why, "error": 1101})
}

// authorize returns the code of what is wrong with the access token of a request.
func (h *huawei) authorize(r *http.Request) string {
	value, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	h.mu.Lock()
	defer h.mu.Unlock()
	ends, known := h.tokens[value]
	switch {
	case !ok || !known || r.PathValue("client") != h.settings.ClientID:
		return "80200001"
	case time.Now().After(ends):
		return "80200003"
	}
	return ""
}

// send answers POST /v1/{client}/messages:send.
func (h *huawei) send(rw http.ResponseWriter, r *http.Request) {
	if code := h.authorize(r); code != "" {
		h.answer(rw, code, "")
		return
	}
	m, code, why := read(rw, r)
	if code != "" {
		h.answer(rw, code, why)
		return
	}
	if m.ValidateOnly {
		h.answer(rw, success, "")
		return
	}
	settings := h.now()
	var good, bad []string
	for _, token := range m.Message.Token {
		if slices.Contains(settings.Unregistered, token) || strings.HasPrefix(token, "unregistered") {
			bad = append(bad, token)
		} else {
			good = append(good, token)
		}
	}
	if len(m.Message.Token) == 1 {
		h.take(rw, r, m, settings, len(bad) == 1)
		return
	}
	h.takeMany(rw, r, m, settings, good, bad)
}

// take brings the one message to the desk and answers as that decides.
func (h *huawei) take(rw http.ResponseWriter, r *http.Request, m *request, s Settings, gone bool) {
	id := h.newRequestID()
	message := m.arrived(m.Message.Token[0], id)
	if gone {
		message.Refused = invalidTokens
	}
	decision, err := h.desk.Take(r.Context(), h, message, h.receipts(s, id, m.Message.Token[0], m.tag()))
	switch {
	case err != nil:
		h.answer(rw, internalError, err.Error())
	case decision.Answer == desk.HangUp:
		desk.HangUpNow()
	case gone:
		h.answer(rw, invalidTokens, "")
	case decision.Answer == desk.Accept && decision.Code == "":
		write(rw, http.StatusOK, answer{success, "Success", id})
	case decision.Code == "" && decision.Answer == desk.Throttle, decision.Code == "503":
		http.Error(rw, "flow control", http.StatusServiceUnavailable)
	default:
		h.answer(rw, codeOf(decision), "as the fault of the sandbox asks for")
	}
}

// takeMany brings a message to several devices; the desk's faults are for requests of one.
func (h *huawei) takeMany(rw http.ResponseWriter, r *http.Request, m *request, s Settings, good, bad []string) {
	id := h.newRequestID()
	for _, token := range good {
		if _, err := h.desk.Take(r.Context(), h, m.arrived(token, id), h.receipts(s, id, token, m.tag())); err != nil {
			h.answer(rw, internalError, err.Error())
			return
		}
	}
	switch {
	case len(bad) == 0:
		write(rw, http.StatusOK, answer{success, "Success", id})
	case len(good) == 0:
		h.answer(rw, invalidTokens, "")
	default:
		result, err := json.Marshal(map[string]any{"success": len(good), "failure": len(bad), "illegal_tokens": bad})
		if err != nil {
			result = nil // numbers and texts are always JSON
		}
		write(rw, http.StatusOK, answer{partly, string(result), id})
	}
}

func codeOf(d desk.Decision) string {
	switch {
	case codes[d.Code] != nil:
		return d.Code
	case d.Answer == desk.Fail:
		return oauthFailed
	default:
		return badMessage
	}
}

// newRequestID is a number, as Push Kit's are: the time and what the desk has not given before.
func (h *huawei) newRequestID() string {
	return strconv.FormatInt(time.Now().UnixMicro(), 10) + h.desk.NewID()
}

// receipts returns what makes the receipts of a message. One for another id is about no message of the sender's.
func (h *huawei) receipts(s Settings, id, token, tag string) func(desk.Receipt) desk.Callback {
	if s.CallbackURL == "" {
		return nil
	}
	return func(r desk.Receipt) desk.Callback {
		tag := tag
		if r.ProviderID != id {
			tag = ""
		}
		body, err := json.Marshal(map[string]any{"statuses": []any{status(s, r, token, tag)}})
		if err != nil {
			body = nil // texts and numbers are always JSON
		}
		return desk.Callback{
			Request: func(ctx context.Context) (*http.Request, error) { return signed(ctx, s, body, time.Now()) },
			Taken:   taken,
		}
	}
}

// status is one receipt: 0 is delivered, 10 a device that is not in use, 27 a push that waits for the app to run.
func status(s Settings, r desk.Receipt, token, tag string) map[string]any {
	result := map[desk.ReceiptStatus]int{desk.Delivered: 0, desk.Undelivered: 10, desk.Progress: 27}[r.Status]
	out := map[string]any{"biTag": tag, "token": token, "requestId": r.ProviderID}
	if s.ReceiptVersion == 1 {
		out["appid"], out["status"], out["timestamp"] = s.ClientID, result, r.At.UnixMilli()
		return out
	}
	out["appPackageName"], out["pushType"] = "com.example.sandbox", 0
	out["deliveryStatus"] = map[string]any{"result": result, "timestamp": r.At.UnixMilli()}
	return out
}

// signed makes the request of a receipt.
func signed(ctx context.Context, s Settings, body []byte, now time.Time) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.CallbackURL, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make the receipt: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	timestamp, nonce := strconv.FormatInt(now.UnixMilli(), 10), rand.Text()
	mac := hmac.New(sha256.New, []byte(s.CallbackKey))
	mac.Write([]byte(timestamp + nonce + s.CallbackUser)) // never fails
	req.Header.Set("X-HUAWEI-CALLBACK-ID", fmt.Sprintf("timestamp=%s; nonce=%s; value=%s",
		timestamp, nonce, base64.StdEncoding.EncodeToString(mac.Sum(nil))))
	return req, nil
}

// taken reads the customer's answer: 200 and the code "0".
func taken(status int, body []byte) bool {
	var a struct {
		Code string `json:"code"`
	}
	return status == http.StatusOK && json.Unmarshal(body, &a) == nil && a.Code == "0"
}

func write(rw http.ResponseWriter, status int, body any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(body) //nolint:errchkjson // the client is gone, or not; nobody else is to be told
}
