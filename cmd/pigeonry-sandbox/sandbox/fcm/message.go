package fcm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const (
	maxRequest = 1 << 20
	// maxPayload bounds keys and values of notification and data together.
	maxPayload = 4096
	// maxTTL is four weeks, in seconds.
	maxTTL = 2_419_200
)

// message is a request, as the API has it: unknown fields are refused. The parts for platforms are looked at as far as a
// sandbox without phones can.
type message struct {
	ValidateOnly bool

	Name         string            `json:"name"`
	Data         map[string]string `json:"data"`
	Notification *notification     `json:"notification"`
	Android      *android          `json:"android"`
	Webpush      *webpush          `json:"webpush"`
	APNs         *apple            `json:"apns"`
	Options      map[string]any    `json:"fcm_options"`
	Token        string            `json:"token"`
	Topic        string            `json:"topic"`
	Condition    string            `json:"condition"`
}

type notification struct {
	Title string `json:"title"`
	Body  string `json:"body"`
	Image string `json:"image"`
}

type android struct {
	CollapseKey         string               `json:"collapse_key"`
	Priority            string               `json:"priority"`
	TTL                 string               `json:"ttl"`
	RestrictedPackage   string               `json:"restricted_package_name"`
	Data                map[string]string    `json:"data"`
	Notification        *androidNotification `json:"notification"`
	Options             map[string]any       `json:"fcm_options"`
	DirectBoot          bool                 `json:"direct_boot_ok"`
	BandwidthConstraint bool                 `json:"bandwidth_constrained_ok"`
}

type androidNotification struct {
	Title             string          `json:"title"`
	Body              string          `json:"body"`
	Icon              string          `json:"icon"`
	Color             string          `json:"color"`
	Sound             string          `json:"sound"`
	Tag               string          `json:"tag"`
	ClickAction       string          `json:"click_action"`
	BodyLocKey        string          `json:"body_loc_key"`
	BodyLocArgs       []string        `json:"body_loc_args"`
	TitleLocKey       string          `json:"title_loc_key"`
	TitleLocArgs      []string        `json:"title_loc_args"`
	ChannelID         string          `json:"channel_id"`
	Ticker            string          `json:"ticker"`
	Sticky            bool            `json:"sticky"`
	EventTime         string          `json:"event_time"`
	LocalOnly         bool            `json:"local_only"`
	Priority          string          `json:"notification_priority"`
	DefaultSound      bool            `json:"default_sound"`
	DefaultVibrate    bool            `json:"default_vibrate_timings"`
	DefaultLight      bool            `json:"default_light_settings"`
	VibrateTimings    []string        `json:"vibrate_timings"`
	Visibility        string          `json:"visibility"`
	NotificationCount int             `json:"notification_count"`
	LightSettings     json.RawMessage `json:"light_settings"`
	Image             string          `json:"image"`
	Proxy             string          `json:"proxy"`
}

type webpush struct {
	Headers      map[string]string `json:"headers"`
	Data         map[string]string `json:"data"`
	Notification map[string]any    `json:"notification"`
	Options      *struct {
		Link           string `json:"link"`
		AnalyticsLabel string `json:"analytics_label"`
	} `json:"fcm_options"`
}

type apple struct {
	Headers           map[string]string `json:"headers"`
	Payload           map[string]any    `json:"payload"`
	Options           map[string]any    `json:"fcm_options"`
	LiveActivityToken string            `json:"live_activity_token"`
}

// opaque are the fields whose keys are the sender's own.
var opaque = []string{"data", "headers", "payload", "webpush.notification"}

// read reads a request. JSON of protocol buffers may write a field as camelCase or as snake_case.
func read(rw http.ResponseWriter, r *http.Request) (*message, *failure) {
	var whole map[string]any
	decoder := json.NewDecoder(http.MaxBytesReader(rw, r.Body, maxRequest))
	decoder.UseNumber()
	if err := decoder.Decode(&whole); err != nil {
		return nil, &failure{invalid, "Invalid JSON payload received. " + err.Error(), ""}
	}
	inner, ok := whole["message"].(map[string]any)
	if !ok {
		return nil, &failure{invalid, "Recipient of the message is not set.", "message"}
	}
	text, err := json.Marshal(snakeKeys(inner, ""))
	if err != nil {
		return nil, &failure{invalid, err.Error(), ""}
	}
	m := &message{}
	m.ValidateOnly, _ = whole["validate_only"].(bool)
	if camel, ok := whole["validateOnly"].(bool); ok {
		m.ValidateOnly = camel
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(m); err != nil && !errors.Is(err, io.EOF) {
		return nil, &failure{invalid, "Invalid JSON payload received. " + err.Error(), "message"}
	}
	return m, nil
}

// snakeKeys writes the API's own fields, wherever they stand, as snake_case.
func snakeKeys(in map[string]any, path string) map[string]any {
	out := make(map[string]any, len(in))
	for key, value := range in {
		key = snake(key)
		inner, isObject := value.(map[string]any)
		at := strings.TrimPrefix(path+"."+key, ".")
		if isObject && !slices.Contains(opaque, key) && !slices.Contains(opaque, at) {
			value = snakeKeys(inner, at)
		}
		out[key] = value
	}
	return out
}

func snake(key string) string {
	var b strings.Builder
	for _, r := range key {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// ttl is a duration of protocol buffers.
var ttl = regexp.MustCompile(`^(\d+)(\.\d{1,9})?s$`)

// check returns what FCM would refuse in a message.
func (m *message) check(s Settings) *failure {
	targets := 0
	for _, t := range []string{m.Token, m.Topic, m.Condition} {
		if t != "" {
			targets++
		}
	}
	switch {
	case targets != 1:
		return &failure{invalid, "Recipient of the message is not set.", "message"}
	case slices.Contains(s.Unregistered, m.Token) || strings.HasPrefix(m.Token, "unregistered"):
		return &failure{gone, "Requested entity was not found.", ""}
	case strings.HasPrefix(m.Token, "foreign"):
		return &failure{foreign, "SenderId mismatch", ""}
	case strings.HasPrefix(m.Token, "invalid") || strings.ContainsAny(m.Token, " \t\r\n"):
		return &failure{invalid, "The registration token is not a valid FCM registration token", "message.token"}
	}
	return m.checkPayload()
}

func (m *message) checkPayload() *failure {
	size := 0
	for key, value := range m.Data {
		size += len(key) + len(value)
		if key == "from" || key == "message_type" || strings.HasPrefix(key, "google.") || strings.HasPrefix(key, "gcm.") {
			return &failure{invalid, "Invalid data payload key: " + key, "message.data"}
		}
	}
	if n := m.Notification; n != nil {
		size += len(n.Title) + len(n.Body) + len(n.Image)
		if u, err := url.Parse(n.Image); n.Image != "" && (err != nil || u.Host == "") {
			return &failure{invalid, "Invalid value at 'message.notification.image'", "message.notification.image"}
		}
	}
	if size > maxPayload {
		return &failure{invalid, "Android message is too big", "message"}
	}
	if a := m.Android; a != nil {
		if a.TTL != "" && !goodTTL(a.TTL) {
			return &failure{invalid, fmt.Sprintf("Invalid value at 'message.android.ttl' (type.googleapis.com/google.protobuf.Duration), %q", a.TTL), "message.android.ttl"}
		}
		if a.Priority != "" && !slices.Contains([]string{"NORMAL", "HIGH"}, strings.ToUpper(a.Priority)) {
			return &failure{invalid, fmt.Sprintf("Invalid value at 'message.android.priority', %q", a.Priority), "message.android.priority"}
		}
	}
	if w := m.Webpush; w != nil && w.Options != nil && w.Options.Link != "" && !strings.HasPrefix(w.Options.Link, "https://") {
		return &failure{invalid, "Link in webpush.fcm_options must be https", "message.webpush.fcm_options.link"}
	}
	return nil
}

func goodTTL(text string) bool {
	parts := ttl.FindStringSubmatch(text)
	if parts == nil {
		return false
	}
	n, err := strconv.ParseInt(parts[1], 10, 64)
	return err == nil && n <= maxTTL
}

func (m *message) title() string {
	if m.Notification == nil {
		return ""
	}
	return m.Notification.Title
}

// body is what the user sees, or the data of a message that shows nothing.
func (m *message) body() string {
	if m.Notification != nil {
		return m.Notification.Body
	}
	text, err := json.Marshal(m.Data)
	if err != nil {
		return "" // texts are always JSON
	}
	return string(text)
}
