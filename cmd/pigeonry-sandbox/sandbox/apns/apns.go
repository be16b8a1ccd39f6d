// Package apns plays the Apple Push Notification service: HTTP/2 and nothing else, provider tokens
// (https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).
//
// Without any settings it knows the key [PrivateKey] with the id [KeyID] of the team [TeamID], and the app [Topic]. Device tokens
// are hexadecimal, 64 digits or more. One that begins with "dead" is of a device that has the app no more, one of zeros alone is
// none; every other one is good.
package apns

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	_ "embed" // the key
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// The default credentials.
const (
	KeyID  = "SANDBOXKEY"
	TeamID = "SANDBOXTEA"
	Topic  = "com.example.sandbox"
)

// PrivateKey (PEM) is the default signing key, as the Apple developer account would give it out.
//
//go:embed AuthKey_SANDBOXKEY.p8
var PrivateKey string

const (
	maxPayload     = 4096
	maxCallPayload = 5120
	maxCollapseID  = 64
	// tokenLife is how old a provider token may be, and tokenWindow the time in which maxTokens different ones are taken: more
	// says that somebody makes a new one for each push.
	tokenLife   = time.Hour
	tokenWindow = 20 * time.Minute
	maxTokens   = 10
)

// Settings are what the developer account would show.
type Settings struct {
	TeamID string `json:"team_id"`
	KeyID  string `json:"key_id"`
	// PublicKey (PEM) is that of the signing key.
	PublicKey string `json:"public_key"`
	// Topics are the bundle ids of the team's apps.
	Topics []string `json:"topics"`
	// Unregistered are device tokens that have the app no more.
	Unregistered []string `json:"unregistered"`
}

// apns is the provider.
type apns struct {
	desk desk.Desk

	mu       sync.Mutex
	settings Settings
	key      *ecdsa.PublicKey
	seen     map[string]time.Time // provider tokens, and when each came first
	ended    map[string]bool      // those that count as expired before their time
}

// New returns the provider with its default settings.
func New(d desk.Desk) desk.Provider {
	key, err := jwt.ParseECPrivateKeyFromPEM([]byte(PrivateKey))
	if err != nil {
		panic("apns: the key cannot be read: " + err.Error()) // it is part of the program
	}
	return &apns{
		desk: d, key: &key.PublicKey, seen: map[string]time.Time{}, ended: map[string]bool{},
		settings: Settings{TeamID: TeamID, KeyID: KeyID, PublicKey: publicPEM(&key.PublicKey), Topics: []string{Topic}},
	}
}

func publicPEM(key *ecdsa.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic("apns: the key cannot be written: " + err.Error()) // one of P-256 can
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// Name is that of the provider.
func (a *apns) Name() string { return "apns" }

// Channel is that of its messages.
func (a *apns) Channel() string { return "app" }

// Register adds the path of APNs.
func (a *apns) Register(mux *http.ServeMux) { mux.HandleFunc("/3/device/{token}", a.push) }

// Settings returns the settings.
func (a *apns) Settings() any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.settings
}

// Set changes those settings that are given.
func (a *apns) Set(settings json.RawMessage) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := a.settings
	if err := json.Unmarshal(settings, &next); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	key, err := jwt.ParseECPublicKeyFromPEM([]byte(next.PublicKey))
	switch {
	case err != nil:
		return fmt.Errorf("public_key: %w", err)
	case next.TeamID == "" || next.KeyID == "" || len(next.Topics) == 0:
		return errors.New("team_id, key_id and topics must not be empty")
	}
	a.settings, a.key = next, key
	return nil
}

// Play knows one event: {"event": "expire_tokens"} makes the provider tokens that have come so far expired.
func (a *apns) Play(_ context.Context, event json.RawMessage) error {
	var e struct {
		Event string `json:"event"`
	}
	if err := json.Unmarshal(event, &e); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	if e.Event != "expire_tokens" {
		return fmt.Errorf("event: want expire_tokens, got %q", e.Event)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for token := range a.seen {
		a.ended[token] = true
	}
	return nil
}

// statuses of the reasons, as
// https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns has them.
var statuses = map[string]int{
	"BadCollapseId": 400, "BadDeviceToken": 400, "BadExpirationDate": 400, "BadMessageId": 400, "BadPriority": 400, "BadTopic": 400,
	"DeviceTokenNotForTopic": 400, "DuplicateHeaders": 400, "IdleTimeout": 400, "InvalidPushType": 400, "MissingDeviceToken": 400,
	"MissingTopic": 400, "PayloadEmpty": 400, "TopicDisallowed": 400,
	"BadCertificate": 403, "BadCertificateEnvironment": 403, "ExpiredProviderToken": 403, "Forbidden": 403, "InvalidProviderToken": 403,
	"MissingProviderToken": 403, "UnrelatedKeyIdInToken": 403, "BadEnvironmentKeyIdInToken": 403,
	"BadPath": 404, "MethodNotAllowed": 405, "ExpiredToken": 410, "Unregistered": 410, "PayloadTooLarge": 413,
	"TooManyProviderTokenUpdates": 429, "TooManyRequests": 429, "InternalServerError": 500, "ServiceUnavailable": 503, "Shutdown": 503,
}

// push answers POST /3/device/{token}.
func (a *apns) push(rw http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 2 {
		http.Error(rw, "APNs speaks HTTP/2 alone", http.StatusHTTPVersionNotSupported)
		return
	}
	id := r.Header.Get("Apns-Id")
	if id == "" {
		id = newUUID()
	}
	rw.Header().Set("Apns-Id", id)
	if r.Method != http.MethodPost {
		refuse(rw, "MethodNotAllowed")
		return
	}
	if reason := a.login(r); reason != "" {
		refuse(rw, reason)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxCallPayload+1))
	if err != nil {
		refuse(rw, "IdleTimeout")
		return
	}
	a.take(rw, r, id, body)
}

// take brings a push to the desk and answers as that decides.
func (a *apns) take(rw http.ResponseWriter, r *http.Request, id string, body []byte) {
	p, reason := readPayload(body, r.Header.Get("Apns-Push-Type"))
	if wrong := a.check(r, id); wrong != "" {
		reason = wrong
	}
	decision, err := a.desk.Take(r.Context(), a, desk.Message{
		To: r.PathValue("token"), From: r.Header.Get("Apns-Topic"), Subject: p.title, Text: p.text, Reference: p.reference,
		ProviderID: id, Refused: reason,
	}, nil)
	switch {
	case err != nil:
		refuse(rw, "InternalServerError")
	case decision.Answer == desk.HangUp:
		desk.HangUpNow()
	case reason != "":
		refuse(rw, reason)
	case decision.Answer == desk.Accept && decision.Code == "":
		rw.WriteHeader(http.StatusOK)
	default:
		refuse(rw, reasonOf(decision))
	}
}

// reasonOf is the reason that a decision stands for.
func reasonOf(d desk.Decision) string {
	if statuses[d.Code] != 0 {
		return d.Code
	}
	switch d.Answer {
	case desk.Fail:
		return "ServiceUnavailable"
	case desk.Throttle:
		return "TooManyRequests"
	default:
		return "BadDeviceToken"
	}
}

func refuse(rw http.ResponseWriter, reason string) {
	answer := map[string]any{"reason": reason}
	if statuses[reason] == http.StatusGone {
		answer["timestamp"] = time.Now().UnixMilli()
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(statuses[reason])
	_ = json.NewEncoder(rw).Encode(answer) //nolint:errchkjson // the client is gone, or not; nobody else is to be told
}

// login returns why a provider token is not taken.
func (a *apns) login(r *http.Request) string {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if text == "" || !strings.EqualFold(scheme, "bearer") {
		return "MissingProviderToken"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var claims jwt.RegisteredClaims
	token, err := jwt.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return a.key, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuedAt(), jwt.WithLeeway(time.Minute))
	now := time.Now()
	switch {
	case err != nil || token.Header["kid"] != a.settings.KeyID || claims.Issuer != a.settings.TeamID || claims.IssuedAt == nil:
		return "InvalidProviderToken"
	case a.ended[text] || now.Sub(claims.IssuedAt.Time) > tokenLife:
		return "ExpiredProviderToken"
	}
	return a.remember(text, now)
}

// remember counts the provider tokens of late, with mu held.
func (a *apns) remember(text string, now time.Time) string {
	if _, known := a.seen[text]; known {
		return ""
	}
	fresh := 0
	for token, since := range a.seen {
		switch {
		case now.Sub(since) < tokenWindow:
			fresh++
		case now.Sub(since) > tokenLife:
			delete(a.seen, token)
			delete(a.ended, token)
		}
	}
	if fresh >= maxTokens {
		return "TooManyProviderTokenUpdates"
	}
	a.seen[text] = now
	return ""
}

// pushTypes with what the topic ends with.
var pushTypes = map[string]string{
	"alert": "", "background": "", "mdm": "", "location": ".location-query", "voip": ".voip", "complication": ".complication",
	"fileprovider": ".pushkit.fileprovider", "liveactivity": ".push-type.liveactivity", "pushtotalk": ".voip-ptt",
	"widgets": ".push-type.widgets", "controls": ".push-type.controls",
}

var (
	uuid        = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	deviceToken = regexp.MustCompile(`^([0-9a-fA-F]{2}){32,100}$`)
	noDevice    = regexp.MustCompile(`^0+$`)
)

// check returns what APNs would refuse in headers and path.
func (a *apns) check(r *http.Request, id string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	device, kind, topic := r.PathValue("token"), r.Header.Get("Apns-Push-Type"), r.Header.Get("Apns-Topic")
	suffix, known := pushTypes[kind]
	priority := r.Header.Get("Apns-Priority")
	switch {
	case !uuid.MatchString(id):
		return "BadMessageId"
	case kind != "" && !known:
		return "InvalidPushType"
	case topic == "":
		return "MissingTopic"
	case !slices.Contains(a.settings.Topics, strings.TrimSuffix(topic, suffix)):
		return "TopicDisallowed"
	case !slices.Contains([]string{"", "1", "5", "10"}, priority) || kind == "background" && priority == "10":
		return "BadPriority"
	case len(r.Header.Get("Apns-Collapse-Id")) > maxCollapseID:
		return "BadCollapseId"
	case !isNumber(r.Header.Get("Apns-Expiration")):
		return "BadExpirationDate"
	case !deviceToken.MatchString(device) || noDevice.MatchString(device):
		return "BadDeviceToken"
	case slices.Contains(a.settings.Unregistered, device) || strings.HasPrefix(device, "dead"):
		return "Unregistered"
	}
	return ""
}

func isNumber(text string) bool {
	if text == "" {
		return true
	}
	_, err := strconv.ParseUint(text, 10, 64)
	return err == nil
}

// payload is what of a push the sandbox shows.
type payload struct{ title, text, reference string }

// readPayload reads the body of a push, and returns why it is refused.
func readPayload(body []byte, kind string) (payload, string) {
	limit := maxPayload
	if kind == "voip" {
		limit = maxCallPayload
	}
	var given struct {
		APS *struct {
			Alert json.RawMessage `json:"alert"`
		} `json:"aps"`
		Reference string `json:"pigeonry_id"`
	}
	switch {
	case len(body) > limit:
		return payload{}, "PayloadTooLarge"
	case json.Unmarshal(body, &given) != nil || given.APS == nil:
		return payload{}, "PayloadEmpty"
	}
	p := payload{text: string(body), reference: given.Reference}
	var alert struct{ Title, Body string }
	switch {
	case len(given.APS.Alert) == 0: // a push that shows nothing: its text is the data
	case json.Unmarshal(given.APS.Alert, &alert) == nil:
		p.title, p.text = alert.Title, alert.Body
	default: // an alert may be a text alone
		if json.Unmarshal(given.APS.Alert, &p.text) != nil {
			return payload{}, "PayloadEmpty"
		}
	}
	return p, ""
}

// newUUID is of RFC 9562 version 4.
func newUUID() string {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	text := strings.ToUpper(hex.EncodeToString(id))
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}
