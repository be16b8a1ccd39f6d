package huawei

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

const (
	maxRequest = 1 << 20
	maxTokens  = 1000
	// maxBody bounds a request without its tokens.
	maxBody = 4096
	// maxTTL is 15 days, in seconds.
	maxTTL = 1_296_000
	// maxGroup bounds collapse_key.
	maxGroup = 100
)

// Codes that are given more than once.
const (
	success       = "80000000"
	partly        = "80100000"
	badMessage    = "80100003"
	badTTL        = "80100004"
	badGroup      = "80100013"
	invalidTokens = "80300007"
	tooLarge      = "80300008"
	tooManyTokens = "80300010"
	oauthFailed   = "80600003"
	internalError = "81000001"
)

// meaning of a code.
type meaning struct {
	status int
	text   string
}

// codes with the status that goes with each.
var codes = map[string]*meaning{
	success: {200, "Success"}, "80100001": {400, "Some request parameters are incorrect"}, badMessage: {400, "Incorrect message structure"},
	badTTL: {400, "The message expiration time is earlier than the current time"}, badGroup: {400, "The collapse_key message field is invalid"},
	"80100016": {400, "The message contains sensitive information"}, "80100017": {400, "A maximum of 100 topic-based messages can be sent at the same time"},
	"80100018": {400, "The message body failed the signature verification"}, "80200001": {401, "Oauth authentication error"},
	"80200003": {401, "Oauth Token expired"}, "80200005": {401, "JWT expired"}, "80300002": {400, "There is no permission to send the message to these tokens"},
	invalidTokens: {400, "All the tokens are invalid"}, tooLarge: {400, "The message body size exceeds the default value (4096 bytes)"},
	tooManyTokens: {400, "The number of tokens in the message body exceeds the default value"}, "80300011": {400, "No permission to send high-priority notification messages"},
	"80300013": {400, "Invalid receipt URL"}, oauthFailed: {500, "Failed to request the OAuth service"}, internalError: {500, "An internal error of the system occurs"},
}

// answer is that of Push Kit.
type answer struct {
	Code      string `json:"code"`
	Message   string `json:"msg"`
	RequestID string `json:"requestId"`
}

func (h *huawei) answer(rw http.ResponseWriter, code, why string) {
	m := codes[code]
	text := m.text
	if why != "" {
		text += ": " + why
	}
	write(rw, m.status, answer{code, text, h.newRequestID()})
}

// request is one, as the API has it: unknown fields are refused.
type request struct {
	ValidateOnly bool    `json:"validate_only"`
	Message      message `json:"message"`
}

type message struct {
	Data         string          `json:"data"`
	Notification *notification   `json:"notification"`
	Android      *android        `json:"android"`
	APNs         json.RawMessage `json:"apns"`
	Webpush      json.RawMessage `json:"webpush"`
	Token        []string        `json:"token"`
	Topic        string          `json:"topic"`
	Condition    string          `json:"condition"`
}

type android struct {
	Tag            string        `json:"bi_tag"`
	Category       string        `json:"category"`
	CollapseKey    *int          `json:"collapse_key"`
	Data           string        `json:"data"`
	FastApp        int           `json:"fast_app_target"`
	Notification   *notification `json:"notification"`
	ReceiptID      string        `json:"receipt_id"`
	TargetUserType int           `json:"target_user_type"`
	TTL            string        `json:"ttl"`
	Urgency        string        `json:"urgency"`
}

// notification is that of Android; the one outside has title, body and image alone.
type notification struct {
	Title             string          `json:"title"`
	Body              string          `json:"body"`
	Icon              string          `json:"icon"`
	Color             string          `json:"color"`
	Sound             string          `json:"sound"`
	DefaultSound      *bool           `json:"default_sound"`
	Tag               string          `json:"tag"`
	ClickAction       *clickAction    `json:"click_action"`
	BodyLocKey        string          `json:"body_loc_key"`
	BodyLocArgs       []string        `json:"body_loc_args"`
	TitleLocKey       string          `json:"title_loc_key"`
	TitleLocArgs      []string        `json:"title_loc_args"`
	MultiLangKey      json.RawMessage `json:"multi_lang_key"`
	ChannelID         string          `json:"channel_id"`
	NotifySummary     string          `json:"notify_summary"`
	Image             string          `json:"image"`
	Style             int             `json:"style"`
	BigTitle          string          `json:"big_title"`
	BigBody           string          `json:"big_body"`
	AutoClear         int             `json:"auto_clear"`
	NotifyID          int             `json:"notify_id"`
	Group             string          `json:"group"`
	Badge             json.RawMessage `json:"badge"`
	Ticker            string          `json:"ticker"`
	AutoCancel        *bool           `json:"auto_cancel"`
	When              string          `json:"when"`
	Importance        string          `json:"importance"`
	UseDefaultVibrate *bool           `json:"use_default_vibrate"`
	UseDefaultLight   *bool           `json:"use_default_light"`
	VibrateConfig     []string        `json:"vibrate_config"`
	Visibility        string          `json:"visibility"`
	LightSettings     json.RawMessage `json:"light_settings"`
	ForegroundShow    *bool           `json:"foreground_show"`
	ProfileID         string          `json:"profile_id"`
	InboxContent      []string        `json:"inbox_content"`
	Buttons           json.RawMessage `json:"buttons"`
}

type clickAction struct {
	Type         int    `json:"type"`
	Intent       string `json:"intent"`
	URL          string `json:"url"`
	Action       string `json:"action"`
	RichResource string `json:"rich_resource"`
}

// read reads a request; a code says why it is refused.
func read(rw http.ResponseWriter, r *http.Request) (m *request, code, why string) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxRequest))
	if err != nil {
		return nil, tooLarge, err.Error()
	}
	m = &request{}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(m); err != nil {
		return nil, badMessage, err.Error()
	}
	size := len(body)
	for _, t := range m.Message.Token {
		size -= len(t) + len(`"",`)
	}
	switch err := m.Message.check(); {
	case size > maxBody:
		return nil, tooLarge, ""
	case len(m.Message.Token) > maxTokens:
		return nil, tooManyTokens, ""
	case err != nil:
		return nil, badMessage, err.Error()
	case m.Message.Android != nil:
		return m, m.Message.Android.check(), ""
	}
	return m, "", ""
}

// check returns what Push Kit would refuse in a message.
func (m *message) check() error {
	if len(m.Token) == 0 || m.Topic != "" || m.Condition != "" {
		return errors.New("token is empty; the sandbox knows no topics")
	}
	shown := m.Notification
	if m.Android != nil && m.Android.Notification != nil {
		shown = m.Android.Notification
		if shown.ClickAction == nil {
			return errors.New("click_action is empty")
		}
		if err := shown.ClickAction.check(); err != nil {
			return err
		}
		if !slices.Contains([]string{"", "LOW", "NORMAL", "HIGH"}, shown.Importance) {
			return fmt.Errorf("importance %q", shown.Importance)
		}
	}
	switch {
	case shown == nil && m.Data == "" && (m.Android == nil || m.Android.Data == ""):
		return errors.New("there is neither data nor a notification")
	case shown != nil && (m.title() == "" || m.body() == ""):
		return errors.New("title and body must not be empty")
	case shown != nil && shown.Image != "" && !strings.HasPrefix(shown.Image, "https://"):
		return errors.New("the image must be at an https address")
	}
	return nil
}

func (c *clickAction) check() error {
	switch {
	case c.Type == 1 && c.Intent == "" && c.Action == "":
		return errors.New("click_action needs intent or action")
	case c.Type == 2 && !strings.HasPrefix(c.URL, "https://"):
		return errors.New("click_action needs an https url")
	case c.Type < 1 || c.Type > 3:
		return fmt.Errorf("click_action has the type %d", c.Type)
	}
	return nil
}

var ttl = regexp.MustCompile(`^(\d+)(\.\d+)?s?$`)

// check returns the code of what Push Kit would refuse.
func (a *android) check() string {
	if a.TTL != "" {
		parts := ttl.FindStringSubmatch(strings.ToLower(a.TTL))
		if parts == nil {
			return badTTL
		}
		if n, err := strconv.ParseInt(parts[1], 10, 64); err != nil || n > maxTTL {
			return badTTL
		}
	}
	if k := a.CollapseKey; k != nil && (*k < -1 || *k > maxGroup) {
		return badGroup
	}
	return ""
}

func (m *message) title() string {
	return m.first(func(n *notification) string { return n.Title })
}

func (m *message) body() string {
	return m.first(func(n *notification) string { return n.Body })
}

// first returns a text of the notification for Android or, where that has none, of the one outside.
func (m *message) first(of func(*notification) string) string {
	if m.Android != nil && m.Android.Notification != nil {
		if text := of(m.Android.Notification); text != "" {
			return text
		}
	}
	if m.Notification != nil {
		return of(m.Notification)
	}
	return ""
}

func (r *request) tag() string {
	if r.Message.Android == nil {
		return ""
	}
	return r.Message.Android.Tag
}

// arrived is the message to one device as the desk sees it.
func (r *request) arrived(token, id string) desk.Message {
	out := desk.Message{To: token, Subject: r.Message.title(), Text: r.Message.body(), ProviderID: id}
	if out.Text == "" {
		out.Text = r.Message.Data
	}
	var data struct {
		Reference string `json:"pigeonry_id"`
	}
	if json.Unmarshal([]byte(r.Message.Data), &data) == nil {
		out.Reference = data.Reference
	}
	return out
}
