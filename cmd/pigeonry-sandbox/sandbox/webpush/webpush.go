// Package webpush plays a push service (RFC 8030) with VAPID (RFC 8292) and, as nobody else could read the messages, the browsers
// behind it (RFC 8291).
//
// Everybody has a subscription: GET /webpush/subscriptions/{name} returns that of the browser called name, as the browser's
// PushSubscription.toJSON() would. Subscriptions are made for the VAPID key [PublicKey], whose other half is [PrivateKey]. One of
// a name that begins with "gone" has ended.
package webpush

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// The VAPID key pair that subscriptions are made for by default.
const (
	PublicKey  = "BMICcb0Epbw8wc9X0DuIjnAE4YO3OnpkjdevJz20wfuUhWrqhipBZ3KPJiwLMD1njP8gt0Q1YOLy5Q0Bhm-S8d0"
	PrivateKey = "2Nbd38wxhXuvcWrcMADky6XnHEi3g7zn9-W5I8-SsWg"
)

// maxBody bounds the body of a push (RFC 8030 section 7.2).
const maxBody = 4096

// Settings are what the site's own code would say when it subscribes.
type Settings struct {
	// PublicKey is the VAPID key that subscriptions are made for: a point of P-256 in base64url.
	PublicKey string `json:"public_key"`
	// Gone are names of browsers whose subscriptions have ended.
	Gone []string `json:"gone"`
}

// webpush is the provider.
type webpush struct {
	desk desk.Desk

	mu       sync.Mutex
	settings Settings
}

// New returns the provider with its default settings.
func New(d desk.Desk) desk.Provider {
	return &webpush{desk: d, settings: Settings{PublicKey: PublicKey}}
}

// Name is that of the provider.
func (w *webpush) Name() string { return "webpush" }

// Channel is that of its messages.
func (w *webpush) Channel() string { return "app" }

// Register adds the paths of the push service. RFC 8030 leaves them to the service.
func (w *webpush) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /webpush/subscriptions/{name}", w.subscribe)
	mux.HandleFunc("POST /webpush/push/{name}", w.push)
}

// Settings returns the settings.
func (w *webpush) Settings() any { return w.now() }

func (w *webpush) now() Settings {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settings
}

// Set changes those settings that are given.
func (w *webpush) Set(settings json.RawMessage) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.settings
	if err := json.Unmarshal(settings, &next); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if _, err := readPoint(next.PublicKey); err != nil {
		return fmt.Errorf("public_key: %w", err)
	}
	w.settings = next
	return nil
}

// Play knows no event: a browser that has subscribed tells its sender nothing.
func (w *webpush) Play(context.Context, json.RawMessage) error {
	return errors.New("event: a push service tells nothing by itself")
}

// subscribe answers GET /webpush/subscriptions/{name}.
func (w *webpush) subscribe(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(rw, Subscription(origin(r), r.PathValue("name")))
}

// Subscription is that of a browser, at a sandbox whose HTTP address is base, e.g. http://127.0.0.1:8025. The keys are made of the
// name, so that they are the same in every run.
func Subscription(base, name string) string {
	b := newBrowser(name)
	text, err := json.Marshal(map[string]any{
		"endpoint": base + "/webpush/push/" + name, "expirationTime": nil,
		"keys": map[string]string{"p256dh": encode(b.key.PublicKey().Bytes()), "auth": encode(b.auth)},
	})
	if err != nil {
		return "" // texts are always JSON
	}
	return string(text)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// origin is where a request was made to (RFC 6454).
func origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// refusal is an error in the form of Mozilla's push service,
// https://mozilla-services.github.io/autopush-rs/errors.html.
type refusal struct {
	status int
	errno  int
	word   string
	why    string
}

// refusals by errno.
var refusals = map[int]refusal{
	101: {400, 101, "Bad Request", "Missing necessary crypto keys"},
	102: {404, 102, "Not Found", "Endpoint not found"},
	103: {410, 103, "Gone", "Expired URL endpoint"},
	104: {413, 104, "Payload Too Large", "This message is intended for a constrained device and is limited in size"},
	105: {410, 105, "Gone", "Endpoint became unavailable during request"},
	106: {410, 106, "Gone", "Invalid subscription"},
	109: {401, 109, "Unauthorized", "Invalid authentication"},
	110: {400, 110, "Bad Request", "Invalid aes128gcm Crypto Keys"},
	111: {400, 111, "Bad Request", "Missing TTL value"},
	112: {400, 112, "Bad Request", "Invalid TTL header value"},
	113: {400, 113, "Bad Request", "Invalid Topic header value"},
	201: {503, 201, "Service Unavailable", "Use exponential back-off for retries"},
	202: {429, 202, "Too Many Requests", "Too many requests, try again later"},
	403: {403, 109, "Forbidden", "the VAPID credentials in the authorization header do not correspond to the credentials used to create the subscriptions."},
	999: {500, 999, "Internal Server Error", "Unknown error"},
}

// push answers POST /webpush/push/{name}.
func (w *webpush) push(rw http.ResponseWriter, r *http.Request) {
	settings, name := w.now(), r.PathValue("name")
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody+1))
	errno := check(r, settings, name)
	if err != nil || len(body) > maxBody {
		errno = 104
	}
	seen := newBrowser(name).see(body)
	id := w.desk.NewID()
	message := desk.Message{
		To: name, From: settings.PublicKey, Subject: seen.title, Text: seen.text, Reference: seen.reference,
		ProviderID: origin(r) + "/webpush/message/" + id,
	}
	if errno != 0 {
		message.Refused = strconv.Itoa(errno)
	}
	decision, err := w.desk.Take(r.Context(), w, message, nil)
	switch {
	case err != nil:
		refuse(rw, 999)
	case decision.Answer == desk.HangUp:
		desk.HangUpNow()
	case errno != 0:
		refuse(rw, errno)
	case decision.Answer == desk.Accept && decision.Code == "":
		rw.Header().Set("Location", message.ProviderID)
		rw.Header().Set("Ttl", r.Header.Get("Ttl"))
		rw.WriteHeader(http.StatusCreated)
	default:
		refuse(rw, errnoOf(decision))
	}
}

// errnoOf is the number that a decision stands for. A code may also be a status of HTTP.
func errnoOf(d desk.Decision) int {
	n, err := strconv.Atoi(d.Code)
	if _, known := refusals[n]; err == nil && known {
		return n
	}
	for errno, r := range refusals {
		if err == nil && r.status == n {
			return errno
		}
	}
	switch d.Answer {
	case desk.Fail:
		return 201
	case desk.Throttle:
		return 202
	default:
		return 106
	}
}

func refuse(rw http.ResponseWriter, errno int) {
	r := refusals[errno]
	rw.Header().Set("Content-Type", "application/json")
	if r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable {
		rw.Header().Set("Retry-After", "1")
	}
	rw.WriteHeader(r.status)
	_ = json.NewEncoder(rw).Encode(map[string]any{ //nolint:errchkjson // the client is gone, or not; nobody else is to be told
		"code": r.status, "errno": r.errno, "error": r.word, "message": r.why, "more_info": "https://mozilla-services.github.io/autopush-rs/errors.html",
	})
}

var topic = regexp.MustCompile(`^[A-Za-z0-9_-]{0,32}$`)

// check returns the number of what a push service would refuse in a request; 0: nothing.
func check(r *http.Request, s Settings, name string) int {
	ttl := r.Header.Get("Ttl")
	_, ttlErr := strconv.ParseUint(ttl, 10, 31)
	switch {
	case slices.Contains(s.Gone, name) || strings.HasPrefix(name, "gone"):
		return 106
	case ttl == "":
		return 111
	case ttlErr != nil:
		return 112
	case !topic.MatchString(r.Header.Get("Topic")):
		return 113
	case !slices.Contains([]string{"", "very-low", "low", "normal", "high"}, r.Header.Get("Urgency")):
		return 112
	case r.Header.Get("Content-Encoding") != "aes128gcm":
		return 110
	}
	return authorize(r, s.PublicKey)
}
