package tencent

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

// content is what messages of one request share.
type content struct {
	template, sign, extend, sender string
	parameters                     []string
	mainland                       bool // recipients of mainland China and others go apart
}

// key is equal for equal contents.
func (c content) key() string {
	return fmt.Sprintf("%q", append([]string{c.template, c.sign, c.extend, c.sender, strconv.FormatBool(c.mainland)}, c.parameters...))
}

// item is a message in the words of the provider.
type item struct {
	index   int // in the batch of the gateway
	attempt string
	phone   string // E.164
	content content
}

// Index implements batch.Item.
func (it item) Index() int { return it.index }

// compose turns a message into an item. An error has an outcome: nothing was sent.
func (c *Channel) compose(index int, m *sdk.Message) (item, error) {
	it := item{index: index, attempt: m.AttemptID, phone: "+" + strings.TrimPrefix(m.Recipient, "+")}
	if digits := it.phone[1:]; len(digits) < 6 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return it, sdk.Permanent(fmt.Errorf("%q is no phone number: expected + and 6 to 15 digits", m.Recipient), sdk.Code(verdict.InvalidRecipient))
	}
	it.content = content{
		sign: c.config.SignName, extend: c.config.ExtendCode, sender: c.config.SenderID,
		mainland: strings.HasPrefix(it.phone, "+86"),
	}
	for name, field := range map[string]*string{
		attributeSign: &it.content.sign, attributeExtend: &it.content.extend, attributeSender: &it.content.sender,
	} {
		if value := m.Attributes[name]; value != "" {
			*field = value
		}
	}
	if it.content.sign == "" && it.content.mainland {
		return it, sdk.Permanent(errors.New("no signature: set sign_name in the config or as an attribute of the message"),
			sdk.Code(verdict.SignInvalid), sdk.Blame(sdk.FaultConfig))
	}
	return it, c.fill(&it.content, m)
}

// fill sets template and parameters.
func (c *Channel) fill(to *content, m *sdk.Message) error {
	switch {
	case m.Template != nil && m.Template.ID != "":
		parameters, err := c.ordered(m.Template)
		if err != nil {
			return sdk.Permanent(err, sdk.Code(verdict.TemplateInvalid))
		}
		to.template, to.parameters = m.Template.ID, parameters
	case c.config.Template == "":
		return sdk.Permanent(errors.New("the provider sends approved templates only, and the message names none"),
			sdk.Code(verdict.TemplateMissing))
	case m.Text() == "":
		return sdk.Permanent(errors.New("the message has neither a template nor a text"), sdk.Code(verdict.EmptyText))
	default:
		to.template, to.parameters = c.config.Template, []string{m.Text()}
	}
	return nil
}

// ordered puts parameters into the order of the template's variables, which have numbers and no names.
func (c *Channel) ordered(t *sdk.Template) ([]string, error) {
	names := c.config.Parameters[t.ID]
	if names == nil {
		for i := range len(t.Parameters) {
			names = append(names, strconv.Itoa(i+1))
		}
	}
	values := make([]string, len(names))
	for i, name := range names {
		value, ok := t.Parameters[name]
		if !ok {
			return nil, fmt.Errorf("template %s has no parameter %q: name them 1, 2, 3, or give their order in the config (parameters)", t.ID, name)
		}
		values[i] = value
	}
	if len(names) != len(t.Parameters) {
		return nil, fmt.Errorf("template %s has %d parameters, of which %d have a place: see parameters in the config", t.ID, len(t.Parameters), len(names))
	}
	return values, nil
}
