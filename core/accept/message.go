package accept

import (
	"fmt"
	"strings"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/template"
)

// Channels whose recipients and texts the gateway itself understands. Any other channel's recipients
// are opaque, and its texts are taken as they are.
const (
	channelSMS   = "sms"
	channelEmail = "email"
)

// lot is what became of the recipients of a request.
type lot struct {
	messages []core.Message
	indexes  []int // of the messages' recipients in the request; only of a batch
	rejected []Rejection
}

// messages makes a message for each recipient. In a batch, a recipient that cannot be served is
// rejected; of a single send, its faults are the request's.
func (p *plan) messages(r Request) (lot, error) {
	l := lot{messages: make([]core.Message, 0, len(r.Recipients))}
	for i, recipient := range r.Recipients {
		m, wrong := p.message(recipient)
		switch {
		case len(wrong) > 0 && r.Batch:
			l.rejected = append(l.rejected, Rejection{Index: i, Recipient: recipient.Address, Reason: reason(wrong)})
			continue
		case len(wrong) > 0:
			return lot{}, wrong.err()
		case r.Batch:
			l.indexes = append(l.indexes, i)
		}
		l.messages = append(l.messages, m)
	}
	return l, nil
}

// message is the blueprint with a recipient and the text for them.
func (p *plan) message(r Recipient) (core.Message, problems) {
	var wrong problems
	m := p.blueprint
	address, err := p.address(r.Address)
	if err != nil {
		wrong.add("/recipient", "%v", err)
	}
	m.Recipient = address
	if address != r.Address {
		m.RecipientGiven = r.Address
	}
	p.render(&m, r.Variables, &wrong)
	return m, wrong
}

func (p *plan) render(m *core.Message, variables map[string]string, wrong *problems) {
	bounded := func(t *template.Template, field string, escape template.Escape, limit int) string {
		if t == nil {
			return ""
		}
		s, err := t.Render(variables, escape, limit)
		if err != nil && !missing(err, wrong) {
			wrong.add(field, "%v", err)
		}
		return s
	}
	text := func(t *template.Template, field string, escape template.Escape) string {
		return bounded(t, field, escape, maxText)
	}
	// The template's own text may break lines as well as a variable; in a header neither may.
	m.Content.Subject = template.Header(text(p.parts.subject, "/subject", template.Header))
	m.Content.Text = text(p.parts.text, "/content", template.Plain)
	m.Content.HTML = text(p.parts.html, "/html", template.HTML)
	for connector, own := range p.parts.provider {
		if m.Content.ProviderTemplates == nil {
			m.Content.ProviderTemplates = make(map[core.ConnectorID]core.ProviderTemplate, len(p.parts.provider))
		}
		values := make(map[string]string, len(own.parameters))
		for name, t := range own.parameters {
			field := core.ProviderTemplateField(connector, "parameters", name)
			values[name] = bounded(t, field, template.Plain, core.MaxProviderParameter)
		}
		m.Content.ProviderTemplates[connector] = core.ProviderTemplate{ID: own.id, Parameters: values}
	}
	if p.channel == channelSMS && len(*wrong) == 0 {
		m.Segments = template.Segments(m.Content.Text).Segments
		if m.Segments > p.segments {
			wrong.add("/content", "needs %d SMS segments; at most %d are allowed: shorten the text", m.Segments, p.segments)
		}
	}
}

func reason(wrong problems) string {
	reasons := make([]string, len(wrong))
	for i, w := range wrong {
		reasons[i] = fmt.Sprintf("%s: %s", w.Field, w.Reason)
	}
	return strings.Join(reasons, "; ")
}

// pointerEscape escapes a step of a JSON pointer (RFC 6901).
func pointerEscape(s string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
}
