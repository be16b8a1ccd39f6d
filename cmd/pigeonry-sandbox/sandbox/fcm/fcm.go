// Package fcm plays Firebase Cloud Messaging: its HTTP v1 API, and the OAuth 2.0 server of Google that gives out access tokens to
// service accounts (https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages,
// https://developers.google.com/identity/protocols/oauth2/service-account).
//
// Without any settings it knows the project "sandbox" and the service account whose key file is [ServiceAccount]; its token_uri is
// that of a sandbox at 127.0.0.1:8025. A registration token that begins with "unregistered", "foreign" or "invalid" is one of an
// app that is gone, of another project, or none; every other one is good.
package fcm

import (
	"context"
	"crypto/rsa"
	_ "embed" // the key file
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// ServiceAccount is the key file of the default service account, as the Firebase console would give it out.
//
//go:embed service-account.json
var ServiceAccount string

// Settings are what the Firebase console would show.
type Settings struct {
	// ProjectID is the project that the service account belongs to.
	ProjectID string `json:"project_id"`
	// ClientEmail is the service account.
	ClientEmail string `json:"client_email"`
	// PublicKey (PEM) is that of the service account.
	PublicKey string `json:"public_key"`
	// TokenSeconds is how long an access token is good.
	TokenSeconds int `json:"token_seconds"`
	// Unregistered are registration tokens of apps that are gone.
	Unregistered []string `json:"unregistered"`
}

// fcm is the provider.
type fcm struct {
	desk desk.Desk

	mu       sync.Mutex
	settings Settings
	key      *rsa.PublicKey
	tokens   map[string]time.Time // when each access token ends
}

// New returns the provider with its default settings.
func New(d desk.Desk) desk.Provider {
	f := &fcm{desk: d, tokens: map[string]time.Time{}}
	var account struct {
		ProjectID   string `json:"project_id"`
		PrivateKey  string `json:"private_key"`
		ClientEmail string `json:"client_email"`
	}
	if err := json.Unmarshal([]byte(ServiceAccount), &account); err != nil {
		panic("fcm: the key file is no JSON: " + err.Error()) // it is part of the program
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(account.PrivateKey))
	if err != nil {
		panic("fcm: the key file has no key: " + err.Error()) // it is part of the program
	}
	f.key = &key.PublicKey
	f.settings = Settings{
		ProjectID: account.ProjectID, ClientEmail: account.ClientEmail, PublicKey: publicPEM(f.key), TokenSeconds: 3599,
	}
	return f
}

// Name is that of the provider.
func (f *fcm) Name() string { return "fcm" }

// Channel is that of its messages.
func (f *fcm) Channel() string { return "app" }

// Register adds FCM's path, and those under which Google's OAuth 2.0 server has been known.
func (f *fcm) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/projects/{project}/messages:send", f.send)
	for _, path := range []string{"/token", "/o/oauth2/token", "/oauth2/v4/token"} {
		mux.HandleFunc("POST "+path, f.token)
	}
}

// Settings returns the settings.
func (f *fcm) Settings() any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.settings
}

// Set changes those settings that are given.
func (f *fcm) Set(settings json.RawMessage) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.settings
	if err := json.Unmarshal(settings, &next); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	key, err := jwt.ParseRSAPublicKeyFromPEM([]byte(next.PublicKey))
	switch {
	case err != nil:
		return fmt.Errorf("public_key: %w", err)
	case next.ProjectID == "" || next.ClientEmail == "":
		return errors.New("project_id and client_email must not be empty")
	case next.TokenSeconds <= 0:
		return fmt.Errorf("token_seconds: %d is not positive", next.TokenSeconds)
	}
	f.settings, f.key = next, key
	return nil
}

// Play knows one event: {"event": "expire_tokens"} ends all access tokens at once.
func (f *fcm) Play(_ context.Context, event json.RawMessage) error {
	var e struct {
		Event string `json:"event"`
	}
	if err := json.Unmarshal(event, &e); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	if e.Event != "expire_tokens" {
		return fmt.Errorf("event: want expire_tokens, got %q", e.Event)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.tokens)
	return nil
}

// known returns the settings, and whether the access token of a request is good.
func (f *fcm) known(r *http.Request) (Settings, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ends, ok := f.tokens[bearer(r)]
	return f.settings, ok && time.Now().Before(ends)
}

// send answers POST /v1/projects/{project}/messages:send.
func (f *fcm) send(rw http.ResponseWriter, r *http.Request) {
	settings, ok := f.known(r)
	switch project := r.PathValue("project"); {
	case !ok:
		unauthenticated.answer(rw, "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.")
		return
	case project != settings.ProjectID:
		denied.answer(rw, "Permission 'cloudmessaging.messages.create' denied on resource '//cloudresourcemanager.googleapis.com/projects/"+project+"' (or it may not exist).")
		return
	}
	m, wrong := read(rw, r)
	if wrong != nil {
		wrong.answer(rw)
		return
	}
	refusal := m.check(settings)
	if m.ValidateOnly {
		if refusal != nil {
			refusal.answer(rw)
			return
		}
		write(rw, http.StatusOK, map[string]string{"name": "projects/" + settings.ProjectID + "/messages/fake_message_id"})
		return
	}
	f.take(rw, r, m, refusal)
}

// take brings a message to the desk and answers as that decides.
func (f *fcm) take(rw http.ResponseWriter, r *http.Request, m *message, refusal *failure) {
	id := fmt.Sprintf("projects/%s/messages/0:%s", r.PathValue("project"), f.desk.NewID())
	arrived := desk.Message{
		To: m.Token, From: r.PathValue("project"), Subject: m.title(), Text: m.body(), Reference: m.Data["pigeonry_id"], ProviderID: id,
	}
	if refusal != nil {
		arrived.Refused = refusal.code.name
	}
	decision, err := f.desk.Take(r.Context(), f, arrived, nil)
	switch {
	case err != nil:
		internal.answer(rw, err.Error())
	case decision.Answer == desk.HangUp:
		desk.HangUpNow()
	case refusal != nil:
		refusal.answer(rw)
	case decision.Answer == desk.Accept && decision.Code == "":
		write(rw, http.StatusOK, map[string]string{"name": id})
	default:
		codeOf(decision).answer(rw, "as the fault of the sandbox asks for")
	}
}

// codeOf is the code that a decision stands for.
func codeOf(d desk.Decision) code {
	for _, c := range codes {
		if c.name == d.Code {
			return c
		}
	}
	switch d.Answer {
	case desk.Fail:
		return unavailable
	case desk.Throttle:
		return quota
	default:
		return invalid
	}
}

// code is an error code, with the status that goes with it.
type code struct {
	name   string // of FCM, or of google.rpc.Code where the request does not come as far
	http   int
	status string // of google.rpc.Code
}

//nolint:gochecknoglobals // they never change
var (
	unauthenticated = code{"UNAUTHENTICATED", http.StatusUnauthorized, "UNAUTHENTICATED"}
	denied          = code{"PERMISSION_DENIED", http.StatusForbidden, "PERMISSION_DENIED"}
	invalid         = code{"INVALID_ARGUMENT", http.StatusBadRequest, "INVALID_ARGUMENT"}
	gone            = code{"UNREGISTERED", http.StatusNotFound, "NOT_FOUND"}
	foreign         = code{"SENDER_ID_MISMATCH", http.StatusForbidden, "PERMISSION_DENIED"}
	quota           = code{"QUOTA_EXCEEDED", http.StatusTooManyRequests, "RESOURCE_EXHAUSTED"}
	unavailable     = code{"UNAVAILABLE", http.StatusServiceUnavailable, "UNAVAILABLE"}
	internal        = code{"INTERNAL", http.StatusInternalServerError, "INTERNAL"}
	thirdParty      = code{"THIRD_PARTY_AUTH_ERROR", http.StatusUnauthorized, "UNAUTHENTICATED"}
	codes           = []code{unauthenticated, denied, invalid, gone, foreign, quota, unavailable, internal, thirdParty}
)

// answer writes the error model of Google's APIs.
func (c code) answer(rw http.ResponseWriter, message string, details ...map[string]any) {
	if c.name != c.status || c == invalid || c == unavailable || c == internal { // FCM's own
		details = append([]map[string]any{{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": c.name}}, details...)
	}
	if c == quota || c == unavailable {
		rw.Header().Set("Retry-After", strconv.Itoa(1))
	}
	write(rw, c.http, map[string]any{"error": map[string]any{
		"code": c.http, "message": message, "status": c.status, "details": details,
	}})
}

// failure is what is wrong with a message.
type failure struct {
	code    code
	message string
	field   string // of the request, where one is to blame
}

func (f *failure) answer(rw http.ResponseWriter) {
	if f.field == "" {
		f.code.answer(rw, f.message)
		return
	}
	f.code.answer(rw, f.message, map[string]any{
		"@type":           "type.googleapis.com/google.rpc.BadRequest",
		"fieldViolations": []map[string]string{{"field": f.field, "description": f.message}},
	})
}

func write(rw http.ResponseWriter, status int, body any) {
	rw.Header().Set("Content-Type", "application/json; charset=UTF-8")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(body) //nolint:errchkjson // the client is gone, or not; nobody else is to be told
}
