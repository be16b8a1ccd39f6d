package main

import (
	"errors"
	"fmt"
	"net/textproto"
	"strings"

	gomail "github.com/wneessen/go-mail"

	"github.com/pigeonry/pigeonry/sdk"
)

// Attributes of a message that this channel knows.
const (
	attributeReplyTo = "reply_to"
	// attributeUnsubscribe says whether a mail can be unsubscribed from with one click: "true" or "false".
	attributeUnsubscribe = "unsubscribe"
	// attributeHeader begins the name of an attribute that becomes a header: header.X-Campaign.
	attributeHeader = "header."
)

// allowedHeader tells whether a message may set a header. Those that say who sent a mail, to whom,
// and how it is built are the connector's.
func allowedHeader(name string) bool {
	switch name {
	case "List-Unsubscribe", "List-Unsubscribe-Post", "List-Id", "List-Help", "List-Archive",
		"Auto-Submitted", "Precedence", "Feedback-Id", "In-Reply-To", "References", "Importance":
		return true
	}
	return strings.HasPrefix(name, "X-") && !strings.HasPrefix(name, "X-Pigeonry-")
}

// setList writes the headers of lists: what the connector has for all mails. Where a message brings its own
// List-Unsubscribe, what belongs to it is the message's, too.
func setList(msg *gomail.Msg, id *identity, m *sdk.Message) error {
	if id.listID != "" {
		msg.SetGenHeader("List-Id", id.listID)
	}
	if id.feedbackID != "" {
		msg.SetGenHeader("Feedback-Id", id.feedbackID)
	}
	wanted, err := id.unsubscriber.wanted(m)
	if err != nil || !wanted || sets(m.Attributes, headerUnsubscribe) {
		return err
	}
	value, err := id.unsubscriber.header(m)
	if err != nil {
		return err
	}
	msg.SetGenHeader(headerUnsubscribe, value)
	msg.SetGenHeader(headerUnsubscribePost, oneClickName+"="+oneClickValue)
	return nil
}

// sets says whether a message sets a header by itself.
func sets(attributes map[string]string, header string) bool {
	for key := range attributes {
		if name, ok := strings.CutPrefix(key, attributeHeader); ok && strings.EqualFold(name, header) {
			return true
		}
	}
	return false
}

// setAttributes turns the attributes of a message into headers; others are not for this channel.
func setAttributes(msg *gomail.Msg, attributes map[string]string) error {
	for key, value := range attributes {
		if key == attributeReplyTo {
			replyTo, err := parseSender(value)
			if err != nil {
				return unfit("invalid_header", "attribute reply_to "+err.Error())
			}
			msg.ReplyToMailAddress(replyTo)
			continue
		}
		raw, ok := strings.CutPrefix(key, attributeHeader)
		if !ok {
			continue
		}
		name := textproto.CanonicalMIMEHeaderKey(raw)
		if !validHeaderName(raw) || !allowedHeader(name) {
			return unfit("invalid_header", "attribute "+key+": a message may not set this header; it may set X-… and List-…")
		}
		if err := headerText(value); err != nil {
			return unfit("invalid_header", "attribute "+key+" "+err.Error())
		}
		msg.SetGenHeader(gomail.Header(name), value)
	}
	return nil
}

// maxHeaderWord bounds what cannot be folded, so that no line exceeds the 998 bytes of RFC 5322
// section 2.1.1.
const maxHeaderWord = 800

// headerText refuses what cannot stand in a header.
func headerText(s string) error {
	if !printable(s) {
		return errors.New("has a line break or another control character")
	}
	for word := range strings.SplitSeq(s, " ") {
		if len(word) > maxHeaderWord {
			return fmt.Errorf("has more than %d bytes without a space", maxHeaderWord)
		}
	}
	return nil
}

// validHeaderName checks the form of RFC 5322 section 3.6.8, with letters, digits and dashes alone.
func validHeaderName(s string) bool {
	if s == "" || len(s) > 70 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
