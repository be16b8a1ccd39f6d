package aliyun

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

// item is a message in the words of the provider.
type item struct {
	index      int // in the batch of the gateway
	attempt    string
	phone      string // as the provider writes numbers
	sign       string
	template   string
	parameters json.RawMessage // an object of strings
	extend     string
	segments   int // 0: the text is not known here
}

// Index implements batch.Item.
func (it item) Index() int { return it.index }

// compose turns a message into an item. An error has an outcome: nothing was sent.
func (c *Channel) compose(index int, m *sdk.Message) (item, error) {
	it := item{
		index: index, attempt: m.AttemptID, sign: c.config.SignName, extend: c.config.ExtendCode,
	}
	if sign := m.Attributes[attributeSign]; sign != "" {
		it.sign = sign
	}
	if extend := m.Attributes[attributeExtend]; extend != "" {
		it.extend = extend
	}
	var err error
	if it.phone, err = phoneOf(m.Recipient); err != nil {
		return it, sdk.Permanent(err, sdk.Code(verdict.InvalidRecipient))
	}
	if it.sign == "" && isDomestic(it.phone) {
		return it, sdk.Permanent(errors.New("no signature: set sign_name in the config or as an attribute of the message"),
			sdk.Code(verdict.SignInvalid), sdk.Blame(sdk.FaultConfig))
	}
	parameters := map[string]string{}
	switch {
	case m.Template != nil && m.Template.ID != "":
		it.template = m.Template.ID
		if m.Template.Parameters != nil {
			parameters = m.Template.Parameters
		}
	case c.config.Template == "":
		return it, sdk.Permanent(errors.New("the provider sends approved templates only, and the message names none"),
			sdk.Code(verdict.TemplateMissing))
	case m.Text() == "":
		return it, sdk.Permanent(errors.New("the message has neither a template nor a text"), sdk.Code(verdict.EmptyText))
	default:
		it.template = c.config.Template
		parameters[c.config.TemplateText] = m.Text()
	}
	it.segments = segments(it.sign, m.Text())
	it.parameters, err = json.Marshal(parameters)
	if err != nil {
		return it, sdk.Permanent(fmt.Errorf("write the parameters: %w", err), sdk.Blame(sdk.FaultPlugin))
	}
	return it, nil
}

// phoneOf writes an E.164 number as the provider does: numbers of mainland China without their country code, others with
// it and without a plus sign. The provider cannot be told about a number of another country that then looks like a mobile
// number of mainland China, as those of North America do: it would send to a stranger.
func phoneOf(number string) (string, error) {
	digits := strings.TrimPrefix(number, "+")
	if len(digits) < 6 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return "", fmt.Errorf("%q is no phone number: expected + and 6 to 15 digits", number)
	}
	if national, ok := strings.CutPrefix(digits, "86"); ok && isDomestic(national) {
		return national, nil
	}
	if isDomestic(digits) {
		return "", fmt.Errorf("the provider would take %s for a mobile number of mainland China, +86%s: send it over another connector", number, digits)
	}
	return digits, nil
}

// isDomestic tells whether digits are a mobile number of mainland China without its country code.
func isDomestic(digits string) bool {
	return len(digits) == 11 && digits[0] == '1' && digits[1] >= '3'
}

// numberOf is the E.164 form of a number that the provider wrote.
func numberOf(phone string) string {
	digits := strings.TrimPrefix(strings.TrimPrefix(phone, "+"), "00")
	if isDomestic(digits) {
		return "+86" + digits
	}
	return "+" + digits
}

// segments is what the provider bills for a text with its signature before it: one up to 70 characters, then one for
// every 67 (https://help.aliyun.com/document_detail/55324.html). 0 when the text is not known here.
func segments(sign, text string) int {
	if text == "" {
		return 0
	}
	if sign != "" {
		text = "【" + sign + "】" + text
	}
	n := len(utf16.Encode([]rune(text)))
	if n <= 70 {
		return 1
	}
	return (n + 66) / 67
}
