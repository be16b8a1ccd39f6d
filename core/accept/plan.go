package accept

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/template"
)

const (
	// maxAhead is how far in the future a message may be scheduled.
	maxAhead = 366 * 24 * time.Hour
	// clockSlack forgives a caller's clock that is a little behind.
	clockSlack = time.Minute
	// maxText bounds a rendered part of the content, in bytes.
	maxText = 100 << 10
	// maxAttachments bounds the attachments of a message, in bytes of content.
	maxAttachments = 10 << 20
	maxMetadata    = 50
	maxKeyLength   = 64
	maxValueLength = 1024
)

// plan is a checked draft: everything that the messages of a request share.
type plan struct {
	channel   string
	parts     parts
	blueprint core.Message
	address   func(string) (string, error)
	segments  int // the most an SMS may have
}

// parts are the parsed texts of a draft.
type parts struct {
	subject, text, html *template.Template
	provider            map[core.ConnectorID]providerParts
}

// providerParts are the parsed parameters of a provider's template.
type providerParts struct {
	id         string
	parameters map[string]*template.Template
}

// problems gathers all that is wrong with a request, so that the caller learns of everything at once.
type problems []core.FieldError

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, core.FieldError{Field: field, Reason: fmt.Sprintf(format, args...)})
}

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	message := p[0].Field + ": " + p[0].Reason
	if more := len(p) - 1; more > 0 {
		message += fmt.Sprintf(" (and %d more, see errors)", more)
	}
	return &core.Error{Kind: core.KindUnprocessable, Code: core.CodeInvalidField, Message: message, Fields: p}
}

// plan checks what the recipients share and parses the texts.
func (s *Service) plan(ctx context.Context, r Request, now time.Time) (*plan, error) {
	if n := len(r.Recipients); n > MaxRecipients {
		return nil, &core.Error{
			Kind: core.KindTooLarge, Code: core.CodeTooLarge,
			Message: fmt.Sprintf("%d recipients; a batch takes at most %d: split it", n, MaxRecipients),
			Fields:  []core.FieldError{{Field: "/recipients", Reason: fmt.Sprintf("at most %d", MaxRecipients)}},
		}
	}
	var wrong problems
	if len(r.Recipients) == 0 {
		wrong.add("/recipients", "is empty; name at least one recipient")
	}
	texts, err := s.texts(ctx, r, &wrong)
	if err != nil {
		return nil, err
	}
	p := &plan{channel: texts.Channel, segments: s.o.MaxSegments, address: addressOf(texts.Channel, r.Account.DefaultRegion)}
	p.parts = parse(texts, r.Draft.Template == 0, &wrong)
	p.blueprint = s.blueprint(r, texts.Channel, now, &wrong)
	checkExtras(r.Draft, &wrong)
	s.checkProviderTemplates(r, texts.Channel, &wrong)
	return p, wrong.err()
}

// texts returns the template of the draft, or the draft's own content in its form.
func (s *Service) texts(ctx context.Context, r Request, wrong *problems) (core.Template, error) {
	d := r.Draft
	if d.Template == 0 {
		switch {
		case d.Channel == "":
			wrong.add("/channel", "is missing; give template_id, or channel and content")
		case !s.o.Channels.Serves(d.Channel):
			return core.Template{}, unknownChannel(d.Channel)
		}
		if d.Content == "" && d.HTML == "" && len(d.ProviderTemplates) == 0 {
			wrong.add("/content", "is missing; give template_id, or channel and content")
		}
		return core.Template{
			Channel: d.Channel, Subject: d.Subject, Content: d.Content, HTML: d.HTML, ProviderTemplates: d.ProviderTemplates,
		}, nil
	}
	if d.Content != "" || d.HTML != "" || d.Subject != "" || len(d.ProviderTemplates) > 0 {
		wrong.add("/content", "cannot be given together with template_id; leave out one of them")
	}
	t, err := s.o.Templates.Template(ctx, r.Account.ID, d.Template)
	if err != nil {
		if core.KindOf(err) == core.KindNotFound {
			return t, &core.Error{
				Kind: core.KindUnprocessable, Code: core.CodeTemplateNotFound, Message: "template not found",
				Fields: []core.FieldError{{Field: "/template_id", Reason: "names no template of this account"}},
			}
		}
		return t, unavailable(err)
	}
	if t.Status != core.TemplateActive {
		return t, &core.Error{
			Kind: core.KindUnprocessable, Code: core.CodeTemplateDisabled, Message: "the template is disabled",
			Fields: []core.FieldError{{Field: "/template_id", Reason: "is disabled; set its status to active first"}},
		}
	}
	if d.Channel != "" && d.Channel != t.Channel {
		wrong.add("/channel", "is %q but the template is for %q; leave channel out", d.Channel, t.Channel)
	}
	if !s.o.Channels.Serves(t.Channel) {
		return t, unknownChannel(t.Channel)
	}
	return t, nil
}

func unknownChannel(channel string) error {
	return &core.Error{
		Kind: core.KindUnprocessable, Code: core.CodeChannelUnknown,
		Message: fmt.Sprintf("no connector is configured for channel %q", channel),
		Fields:  []core.FieldError{{Field: "/channel", Reason: "is served by no connector; GET /api/connectors lists them"}},
	}
}

// parse reads the texts. A template's variables were checked when it was saved.
func parse(t core.Template, inline bool, wrong *problems) parts {
	read := func(field, text string) *template.Template {
		if text == "" {
			return nil
		}
		parsed, err := template.Parse(text)
		if err != nil {
			if !inline {
				field = "/template_id"
			}
			wrong.add(field, "%v", err)
		}
		return parsed
	}
	p := parts{
		subject: read("/subject", t.Subject),
		text:    read("/content", t.Content),
		html:    read("/html", t.HTML),
	}
	for connector, own := range t.ProviderTemplates {
		if p.provider == nil {
			p.provider = make(map[core.ConnectorID]providerParts, len(t.ProviderTemplates))
		}
		parameters := make(map[string]*template.Template, len(own.Parameters))
		for name, text := range own.Parameters {
			parameters[name] = read(core.ProviderTemplateField(connector, "parameters", name), text)
		}
		p.provider[connector] = providerParts{id: own.ID, parameters: parameters}
	}
	return p
}

// blueprint is the message that every recipient's is a copy of.
func (s *Service) blueprint(r Request, channel string, now time.Time, wrong *problems) core.Message {
	d := r.Draft
	m := core.Message{
		Account: r.Account.ID, Template: d.Template, Channel: channel, Priority: core.DefaultPriority,
		Pinned: d.Connector, Metadata: d.Metadata, Status: core.StatusQueued, Budget: s.o.Budget,
		Content:   core.Content{Attributes: d.Attributes, Attachments: d.Attachments},
		CreatedAt: now, UpdatedAt: now,
	}
	if d.Priority != nil {
		m.Priority = core.Priority(*d.Priority)
		if m.Priority < core.MinPriority || m.Priority > core.MaxPriority {
			wrong.add("/priority", "is %d; give a whole number from %d to %d", *d.Priority, core.MinPriority, core.MaxPriority)
		}
	}
	if d.Connector != "" && (d.Connector.Channel() != channel || !s.o.Channels.Has(d.Connector, r.Account.Name)) {
		wrong.add("/connector", "%q is no connector of channel %q; GET /api/connectors lists them", d.Connector, channel)
	}
	m.NextAttempt = startTime(d, now, wrong)
	if !m.NextAttempt.IsZero() {
		m.Status = core.StatusScheduled
	}
	if d.ExpireAt != nil {
		m.ExpireAt = *d.ExpireAt
		if !m.ExpireAt.After(now) {
			wrong.add("/expire_at", "is in the past; the message would never be sent")
		} else if !m.ExpireAt.After(m.NextAttempt) {
			wrong.add("/expire_at", "is not after the time of sending; the message would never be sent")
		}
	}
	return m
}

// startTime is when a message may first be sent, zero for at once.
func startTime(d Draft, now time.Time, wrong *problems) time.Time {
	switch {
	case d.DelayMS != nil && d.SendAt != nil:
		wrong.add("/delay_ms", "cannot be given together with send_at; leave out one of them")
	case d.DelayMS != nil && (*d.DelayMS < 0 || *d.DelayMS > maxAhead.Milliseconds()):
		wrong.add("/delay_ms", "is %d; give milliseconds from 0 to %d", *d.DelayMS, maxAhead.Milliseconds())
	case d.DelayMS != nil && *d.DelayMS > 0:
		return now.Add(time.Duration(*d.DelayMS) * time.Millisecond)
	case d.SendAt != nil && d.SendAt.Before(now.Add(-clockSlack)):
		wrong.add("/send_at", "is in the past; leave it out to send at once")
	case d.SendAt != nil && d.SendAt.After(now.Add(maxAhead)):
		wrong.add("/send_at", "is more than a year ahead")
	case d.SendAt != nil && d.SendAt.After(now):
		return *d.SendAt
	}
	return time.Time{}
}

func checkExtras(d Draft, wrong *problems) {
	checkMap("/metadata", d.Metadata, wrong)
	checkMap("/attributes", d.Attributes, wrong)
	total := 0
	for i, a := range d.Attachments {
		field := fmt.Sprintf("/attachments/%d", i)
		total += len(a.Data)
		if a.Name == "" {
			wrong.add(field+"/name", "is missing")
		}
		if (len(a.Data) == 0) == (a.URL == "") {
			wrong.add(field, "needs either data or url")
		}
	}
	if total > maxAttachments {
		wrong.add("/attachments", "are %d bytes together; at most %d", total, maxAttachments)
	}
}

// checkProviderTemplates checks those of a draft; a template's were checked when it was saved.
func (s *Service) checkProviderTemplates(r Request, channel string, wrong *problems) {
	d := r.Draft
	*wrong = append(*wrong, core.CheckProviderTemplates(d.ProviderTemplates)...)
	for connector := range d.ProviderTemplates {
		if connector != core.AnyConnector && (connector.Channel() != channel || !s.o.Channels.Has(connector, r.Account.Name)) {
			wrong.add(core.ProviderTemplateField(connector), "%q is no connector of channel %q; GET /api/connectors lists them, * stands for all", connector, channel)
		}
	}
}

func checkMap(field string, m map[string]string, wrong *problems) {
	if len(m) > maxMetadata {
		wrong.add(field, "has %d entries; at most %d", len(m), maxMetadata)
	}
	for k, v := range m {
		if len(k) > maxKeyLength || len(v) > maxValueLength {
			wrong.add(field+"/"+pointerEscape(k[:min(len(k), maxKeyLength)]),
				"is too long; keys may have %d bytes and values %d", maxKeyLength, maxValueLength)
		}
	}
}

// missing turns the variables that a text lacks into field errors.
func missing(err error, wrong *problems) bool {
	var m *template.MissingError
	if !errors.As(err, &m) {
		return false
	}
	for _, name := range m.Names {
		wrong.add("/variables/"+pointerEscape(name), "missing; the text uses {{%s}}", name)
	}
	return true
}
