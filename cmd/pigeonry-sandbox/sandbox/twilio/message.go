package twilio

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

const (
	maxText     = 1600
	maxValidity = 36000
	// maxMessages is how many messages are kept.
	maxMessages = 100_000
)

var (
	number   = regexp.MustCompile(`^\+[1-9]\d{6,14}$`)
	variable = regexp.MustCompile(`\{\{([A-Za-z0-9_]+)\}\}`)
)

// message is the resource.
type message struct {
	sid, to, from, service, body, status string
	segments                             int
	errorCode                            int
	created, updated                     time.Time
}

// messages keeps the last ones.
type messages struct {
	bySID map[string]*message
	order []string // oldest first
}

func newMessages() messages { return messages{bySID: map[string]*message{}} }

func (ms *messages) add(m *message) {
	ms.bySID[m.sid] = m
	ms.order = append(ms.order, m.sid)
	if len(ms.order) > maxMessages {
		delete(ms.bySID, ms.order[0])
		ms.order = ms.order[1:]
	}
}

// create answers the creation of a message.
func (p *provider) create(rw http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		refuse(rw, 20001, "The form cannot be read")
		return
	}
	s, form := p.current(), r.PostForm
	m := &message{
		sid: p.newSID("SM"), to: form.Get("To"), from: form.Get("From"), service: form.Get("MessagingServiceSid"),
		body: form.Get("Body"), created: p.now(), updated: p.now(),
	}
	if content := form.Get("ContentSid"); content != "" {
		m.body = render(s.Contents[content], form.Get("ContentVariables"))
	}
	entry := desk.Message{To: m.to, From: m.from, Text: m.body, ProviderID: m.sid, Reference: reference(form.Get("StatusCallback"))}
	if code := m.check(s, form); code != 0 {
		entry.Refused = strconv.Itoa(code)
	}
	m.segments = segments(m.body)
	if m.service != "" {
		m.segments = 0 // the sender is chosen later
	}
	p.settle(m, "queued")
	decision, err := p.desk.Take(r.Context(), p, entry, p.report(m, form.Get("StatusCallback")))
	if err != nil {
		refuse(rw, 20500, "Internal server error")
		return
	}
	p.tell(rw, m, decision)
}

// tell answers what became of a message.
func (p *provider) tell(rw http.ResponseWriter, m *message, d desk.Decision) {
	code, _ := strconv.Atoi(d.Code)
	switch {
	case d.Answer == desk.Accept || d.Answer == desk.HangUp:
		p.mu.Lock()
		p.messages.add(m)
		body := p.resource(m)
		p.mu.Unlock()
		if d.Answer == desk.HangUp {
			desk.HangUpNow()
		}
		body["status"] = "queued"
		if m.service != "" {
			body["status"] = "accepted"
		}
		answer(rw, http.StatusCreated, body)
		return
	case code != 0:
	case d.Answer == desk.Throttle:
		code = 20429
	case d.Answer == desk.Fail:
		code = 20503
	default:
		code = 21211
	}
	refuse(rw, code, text(code, m))
}

// check finds out why a message is refused; 0 if it is not.
func (m *message) check(s Settings, form url.Values) int {
	validity, err := strconv.Atoi(form.Get("ValidityPeriod"))
	content, isContent := form.Get("ContentSid"), form.Has("ContentSid")
	switch {
	case m.to == "":
		return 21604
	case magicTo(m.to) != 0:
		return magicTo(m.to)
	case !number.MatchString(m.to):
		return 21211
	case s.Refuse[m.to] != 0:
		return s.Refuse[m.to]
	case m.from == "" && m.service == "":
		return 21603
	case m.service != "" && !slices.Contains(s.Services, m.service):
		return 21701
	case magicFrom(m.from) != 0:
		return magicFrom(m.from)
	case m.from != "" && !slices.Contains(s.Senders, m.from):
		return 21606
	case isContent && s.Contents[content] == "":
		return 21655
	case isContent && form.Get("ContentVariables") != "" && !json.Valid([]byte(form.Get("ContentVariables"))):
		return 21656
	case m.body == "" && !form.Has("MediaUrl"):
		return 21619
	case utf8.RuneCountInString(m.body) > maxText:
		return 21617
	case form.Has("ValidityPeriod") && (err != nil || validity < 1 || validity > maxValidity):
		return 90007
	}
	if u, err := url.Parse(form.Get("StatusCallback")); form.Has("StatusCallback") && (err != nil || u.Host == "") {
		return 21609
	}
	return 0
}

// magicTo and magicFrom are the numbers that Twilio's test credentials refuse.
func magicTo(to string) int {
	switch to {
	case "+15005550001":
		return 21211
	case "+15005550002":
		return 21612
	case "+15005550003":
		return 21408
	case "+15005550004":
		return 21610
	case "+15005550009":
		return 21614
	}
	return 0
}

func magicFrom(from string) int {
	switch from {
	case "+15005550001":
		return 21212
	case "+15005550007":
		return 21606
	case "+15005550008":
		return 21611
	}
	return 0
}

func text(code int, m *message) string {
	switch code {
	case 20429:
		return "Too Many Requests"
	case 20503:
		return "Service Unavailable"
	case 21211:
		return "The 'To' number " + m.to + " is not a valid phone number."
	case 21606:
		return "The From phone number " + m.from + " is not a valid, SMS-capable inbound phone number or short code for your account."
	case 21610:
		return "Attempt to send to unsubscribed recipient"
	case 21614:
		return "'To' number: " + m.to + ", is not a valid mobile number"
	default:
		return fmt.Sprintf("Error %d", code)
	}
}

// reference is the sender's own id of a message, which stands in its status callback, without the attempt.
func reference(callback string) string {
	u, err := url.Parse(callback)
	if err != nil {
		return ""
	}
	id, _, _ := strings.Cut(u.Query().Get("attempt"), ".")
	return id
}

// render fills a content template.
func render(template, variables string) string {
	values := map[string]string{}
	_ = json.Unmarshal([]byte(variables), &values) // check refuses what cannot be read
	return variable.ReplaceAllStringFunc(template, func(place string) string { return values[place[2:len(place)-2]] })
}

// segments is what a text is billed as, near enough for a double.
func segments(text string) int {
	single, part, n := 160, 153, 0
	for _, r := range text {
		if r > 0x7F {
			single, part = 70, 67
		}
		n++
	}
	if n <= single {
		return 1
	}
	return (n + part - 1) / part
}

// settle notes the status of a message.
func (p *provider) settle(m *message, status string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m.status, m.updated = status, p.now()
	if status == "undelivered" {
		m.errorCode = 30003
	}
}

// report makes the status callback of a message.
func (p *provider) report(m *message, callback string) func(desk.Receipt) desk.Callback {
	return func(r desk.Receipt) desk.Callback {
		status := map[desk.ReceiptStatus]string{desk.Delivered: "delivered", desk.Undelivered: "undelivered", desk.Progress: "sent"}[r.Status]
		address := callback
		if r.ProviderID == m.sid {
			p.settle(m, status)
		} else { // of a message that was never given, and so of no attempt
			address, _, _ = strings.Cut(callback, "?")
		}
		if callback == "" {
			return desk.Callback{}
		}
		s := p.current()
		form := url.Values{
			"SmsSid": {r.ProviderID}, "SmsStatus": {status}, "MessageStatus": {status}, "To": {m.to}, "MessageSid": {r.ProviderID},
			"AccountSid": {s.AccountSID}, "From": {m.from}, "ApiVersion": {"2010-04-01"},
		}
		if m.service != "" {
			form.Set("MessagingServiceSid", m.service)
		}
		switch r.Status {
		case desk.Undelivered:
			form.Set("ErrorCode", "30003")
			form.Set("RawDlrDoneDate", r.At.UTC().Format("0601021504"))
		case desk.Delivered:
			form.Set("RawDlrDoneDate", r.At.UTC().Format("0601021504"))
		default:
		}
		return webhook(s, address, form)
	}
}

// resource is a message as JSON, with mu held.
func (p *provider) resource(m *message) map[string]any {
	account := p.settings.AccountSID
	uri := "/2010-04-01/Accounts/" + account + "/Messages/" + m.sid
	body := map[string]any{
		"sid": m.sid, "account_sid": account, "api_version": "2010-04-01", "body": m.body, "direction": "outbound-api",
		"to": m.to, "from": nil, "messaging_service_sid": nil, "status": m.status, "error_code": nil, "error_message": nil,
		"num_segments": strconv.Itoa(m.segments), "num_media": "0", "price": nil, "price_unit": "USD",
		"date_created": m.created.UTC().Format(time.RFC1123Z), "date_updated": m.updated.UTC().Format(time.RFC1123Z), "date_sent": nil,
		"uri": uri + ".json", "subresource_uris": map[string]string{"media": uri + "/Media.json"},
	}
	if m.from != "" {
		body["from"] = m.from
	}
	if m.service != "" {
		body["messaging_service_sid"] = m.service
	}
	if m.errorCode != 0 {
		body["error_code"] = m.errorCode
	}
	if m.status != "queued" {
		body["date_sent"] = m.updated.UTC().Format(time.RFC1123Z)
		body["num_segments"] = strconv.Itoa(segments(m.body))
		body["price"] = fmt.Sprintf("-%.5f", 0.0079*float64(segments(m.body)))
	}
	return body
}

// fetch answers what became of one message.
func (p *provider) fetch(rw http.ResponseWriter, r *http.Request) {
	sid := strings.TrimSuffix(r.PathValue("message"), ".json")
	p.mu.Lock()
	m := p.messages.bySID[sid]
	var body map[string]any
	if m != nil {
		body = p.resource(m)
	}
	p.mu.Unlock()
	if m == nil {
		refuse(rw, 20404, "The requested resource "+r.URL.Path+" was not found")
		return
	}
	answer(rw, http.StatusOK, body)
}

// list answers the messages to a number, newest first, on one page.
func (p *provider) list(rw http.ResponseWriter, r *http.Request) {
	size, err := strconv.Atoi(r.URL.Query().Get("PageSize"))
	if err != nil || size < 1 || size > 1000 {
		size = 50
	}
	to := r.URL.Query().Get("To")
	found := []map[string]any{}
	p.mu.Lock()
	for i := len(p.messages.order) - 1; i >= 0 && len(found) < size; i-- {
		if m := p.messages.bySID[p.messages.order[i]]; to == "" || m.to == to {
			found = append(found, p.resource(m))
		}
	}
	p.mu.Unlock()
	answer(rw, http.StatusOK, map[string]any{
		"messages": found, "page": 0, "page_size": size, "start": 0, "end": max(0, len(found)-1),
		"uri": r.URL.Path, "first_page_uri": r.URL.Path, "next_page_uri": nil, "previous_page_uri": nil,
	})
}
