package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// Attributes of a message that this channel reads; README.md says what each provider makes of them.
const (
	attrPayload  = "payload"      // notification or data
	attrData     = "data."        // begins a key of the data
	attrCollapse = "collapse_key" // of several pushes to a device that is off, the last one alone is kept
	attrImage    = "image"
	attrLink     = "link"
	attrSound    = "sound"
	attrBadge    = "badge"
	attrSubtitle = "subtitle"
	attrCategory = "category"
	attrChannel  = "channel_id"
	attrThread   = "thread_id"
	attrTag      = "tag"
	attrPushType = "push_type" // of APNs
	attrTopic    = "topic"     // of APNs
	attrExtra    = "extra"
)

const (
	payloadNotification = "notification"
	payloadData         = "data"
	// dataLink is where apps find the link among the data.
	dataLink = "link"
)

// push is a message as every provider of this channel understands it.
type push struct {
	to          string
	key         string // the same for every attempt of the message
	attempt     string
	title, body string
	subtitle    string
	image, link string
	sound       string
	badge       *int
	category    string
	channel     string // notification channel of Android
	thread, tag string
	collapse    string
	apnsType    string
	apnsTopic   string
	silent      bool // no notification: data alone
	high        bool
	expires     time.Time
	ttl         time.Duration // full seconds until expires
	data        map[string]string
	extra       object // goes over what a provider writes
}

// object is a JSON object that is being written.
type object map[string]any

// put sets a key, unless the value is empty.
func (o object) put(key, value string) {
	if value != "" {
		o[key] = value
	}
}

// under sets a key to an object, unless that is empty.
func (o object) under(key string, value object) {
	if len(value) > 0 {
		o[key] = value
	}
}

// merge lays other over o: objects are merged, null takes a key away, anything else replaces (RFC 7396).
func (o object) merge(other object) {
	for key, value := range other {
		inner, isObject := asObject(value)
		switch {
		case value == nil:
			delete(o, key)
		case isObject:
			into, there := asObject(o[key])
			if !there {
				into = object{}
			}
			into.merge(inner)
			o[key] = into
		default:
			o[key] = value
		}
	}
}

func asObject(value any) (object, bool) {
	switch v := value.(type) {
	case object:
		return v, true
	case map[string]any:
		return v, true
	default:
		return nil, false
	}
}

// newPush reads a message. An error is an outcome: the message cannot be pushed as it is.
func newPush(c *config, m *sdk.Message, now time.Time) (*push, error) {
	a := m.Attributes
	p := &push{
		to: m.Recipient, key: m.IdempotencyKey, attempt: m.AttemptID, title: cmp.Or(m.Subject, c.Title), body: m.Text(),
		subtitle: a[attrSubtitle], link: a[attrLink], sound: a[attrSound], category: a[attrCategory],
		channel: a[attrChannel], thread: a[attrThread], tag: a[attrTag], collapse: a[attrCollapse],
		apnsType: a[attrPushType], apnsTopic: a[attrTopic], high: m.Priority >= c.HighPriority,
		image: imageOf(m), data: map[string]string{},
	}
	p.expire(m.NotAfter, now, c.TTL)
	for name, value := range a {
		if key, ok := strings.CutPrefix(name, attrData); ok && key != "" {
			p.data[key] = value
		}
	}
	if p.link != "" {
		p.data[dataLink] = p.link
	}
	if c.IDKey != "" {
		p.data[c.IDKey] = m.ID
	}
	if err := errors.Join(p.readKind(a[attrPayload]), p.readBadge(a[attrBadge]), p.readExtra(a[attrExtra]), checkURL(attrImage, p.image)); err != nil {
		return nil, sdk.Permanent(err, sdk.Code(codeInvalidContent))
	}
	return p, nil
}

// expire sets when the provider is to give up.
func (p *push) expire(notAfter, now time.Time, ttl time.Duration) {
	p.expires = notAfter
	if notAfter.IsZero() {
		p.expires = now.Add(ttl)
	}
	p.ttl = max(0, p.expires.Sub(now)).Truncate(time.Second)
}

func (p *push) readKind(kind string) error {
	switch kind {
	case payloadData:
		p.silent = true
	case payloadNotification, "":
		if p.title == "" && p.body == "" {
			return errors.New("a notification needs a text or a subject; give the attribute payload=data for data alone")
		}
	default:
		return fmt.Errorf("the attribute %s is %q; use %s or %s", attrPayload, kind, payloadNotification, payloadData)
	}
	return nil
}

func (p *push) readBadge(text string) error {
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return fmt.Errorf("the attribute %s is %q; give a number from 0", attrBadge, text)
	}
	p.badge = &n
	return nil
}

func (p *push) readExtra(text string) error {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &p.extra); err != nil || p.extra == nil {
		return fmt.Errorf(`the attribute %s is no JSON object; write it as {"key": "value"}`, attrExtra)
	}
	return nil
}

// imageOf returns the address of the image: the attribute, or the first attachment that is one.
func imageOf(m *sdk.Message) string {
	if image := m.Attributes[attrImage]; image != "" {
		return image
	}
	for _, a := range m.Attachments {
		if a.URL != "" && strings.HasPrefix(a.ContentType, "image/") {
			return a.URL
		}
	}
	return ""
}

func checkURL(attribute, text string) error {
	if text == "" {
		return nil
	}
	if u, err := url.Parse(text); err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return fmt.Errorf("the attribute %s is no web address; write it as https://example.com/picture.png", attribute)
	}
	return nil
}

// seconds is the time to live in full seconds.
func (p *push) seconds() int64 { return int64(p.ttl / time.Second) }

// dataObject is the data as an object that may be merged into.
func (p *push) dataObject() object {
	out := make(object, len(p.data))
	for key, value := range maps.All(p.data) {
		out[key] = value
	}
	return out
}

// encode writes what a provider is sent, with extra over it. It refuses more than limit bytes; 0 is no limit.
func (p *push) encode(into, whole object, limit int) ([]byte, error) {
	into.merge(p.extra)
	body, err := json.Marshal(whole)
	if err != nil {
		return nil, sdk.Permanent(fmt.Errorf("write the push as JSON: %w", err), sdk.Code(codeInvalidContent))
	}
	if limit > 0 && len(body) > limit {
		return nil, tooLarge(len(body), limit)
	}
	return body, nil
}

// tooLarge refuses a push that the provider would refuse.
func tooLarge(size, limit int) error {
	return sdk.Permanent(fmt.Errorf("the push has %d bytes; the provider takes %d", size, limit), sdk.Code(codePayloadTooLarge))
}
