package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pigeonry/pigeonry/sdk"
)

// Attributes of a message that this plugin reads.
const (
	attrType     = "msg_type"
	attrContent  = "content"
	attrCard     = "card"
	attrPost     = "post"
	attrImage    = "image_key"
	attrFile     = "file_key"
	attrChat     = "share_chat_id"
	attrUser     = "share_user_id"
	attrLanguage = "language"
	attrVersion  = "template_version"
	attrIDType   = "receive_id_type"
)

// Types of messages.
const (
	typeText  = "text"
	typePost  = "post"
	typeImage = "image"
	typeChat  = "share_chat"
	typeUser  = "share_user"
	typeCard  = "interactive"
)

// content is what a message says, in the words of Feishu: a type, and an object that depends on it as an app sends it.
// https://open.feishu.cn/document/server-docs/im-v1/message-content-description/create_json
type content struct {
	kind string
	body any
}

// compose says m in the words of Feishu. An error is Permanent.
func compose(m *sdk.Message) (content, error) {
	kind, err := kindOf(m)
	if err != nil {
		return content{}, err
	}
	given := m.Attributes[attrContent]
	if given == "" {
		given = m.Attributes[map[string]string{typePost: attrPost, typeCard: attrCard}[kind]]
	}
	if given != "" {
		body, err := object(given)
		if err != nil {
			return content{}, invalid("the content of a message of type %s: %w", kind, err)
		}
		return content{kind, body}, nil
	}
	switch kind {
	case typeText:
		return text(m)
	case typePost:
		return post(m)
	case typeCard:
		return card(m)
	default:
		return reference(kind, m.Attributes)
	}
}

// kindOf is the type that the message asks for, or that what it has suggests.
func kindOf(m *sdk.Message) (string, error) {
	asked := m.Attributes[attrType]
	switch {
	case asked != "":
		switch asked {
		case typeText, typePost, typeImage, typeChat, typeUser, typeCard, "file", "audio", "media", "sticker":
			return asked, nil
		}
		return "", invalid("the attribute %s is %q: want text, post, image, share_chat, share_user, interactive, file, audio, media or sticker", attrType, asked)
	case m.Attributes[attrContent] != "":
		return "", invalid("the attribute %s needs %s beside it", attrContent, attrType)
	case m.Template != nil, m.Attributes[attrCard] != "":
		return typeCard, nil
	case m.Attributes[attrPost] != "":
		return typePost, nil
	case m.Attributes[attrImage] != "":
		return typeImage, nil
	case m.Attributes[attrChat] != "":
		return typeChat, nil
	case m.Attributes[attrUser] != "":
		return typeUser, nil
	case m.Subject != "":
		return typePost, nil
	default:
		return typeText, nil
	}
}

// object reads a JSON object and keeps it as it is.
func object(given string) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(given), &fields); err != nil {
		return nil, fmt.Errorf("is no JSON object: %w", err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(given)); err != nil {
		return nil, fmt.Errorf("is no JSON object: %w", err)
	}
	return compact.Bytes(), nil
}

// looksLikeObject says whether a text is meant as JSON: the text of a template may be a whole card.
func looksLikeObject(given string) bool {
	trimmed := strings.TrimSpace(given)
	return strings.HasPrefix(trimmed, "{") && json.Valid([]byte(trimmed))
}

func text(m *sdk.Message) (content, error) {
	if m.Text() == "" {
		return content{}, sdk.Permanent(errors.New("the message has no text"), sdk.Code("empty_text"))
	}
	return content{typeText, map[string]any{"text": m.Text()}}, nil
}

// post is the subject as a title, and each line of the text as a paragraph.
func post(m *sdk.Message) (content, error) {
	if looksLikeObject(m.Text()) {
		body, err := object(m.Text())
		return content{typePost, body}, err
	}
	if m.Text() == "" && m.Subject == "" {
		return content{}, sdk.Permanent(errors.New("the message has neither subject nor text"), sdk.Code("empty_text"))
	}
	var paragraphs [][]map[string]any
	for line := range strings.SplitSeq(m.Text(), "\n") {
		paragraphs = append(paragraphs, []map[string]any{{"tag": "text", "text": strings.TrimSuffix(line, "\r")}})
	}
	language := cmp.Or(m.Attributes[attrLanguage], "zh_cn")
	return content{typePost, map[string]any{language: map[string]any{"title": m.Subject, "content": paragraphs}}}, nil
}

// card is a card that Feishu keeps (the template of the message), the text if that is a whole card, or a plain card of
// subject and text.
func card(m *sdk.Message) (content, error) {
	if m.Template != nil {
		data := map[string]any{"template_id": m.Template.ID}
		if len(m.Template.Parameters) > 0 {
			data["template_variable"] = m.Template.Parameters
		}
		if version := m.Attributes[attrVersion]; version != "" {
			data["template_version_name"] = version
		}
		return content{typeCard, map[string]any{"type": "template", "data": data}}, nil
	}
	if looksLikeObject(m.Text()) {
		body, err := object(m.Text())
		return content{typeCard, body}, err
	}
	if m.Text() == "" {
		return content{}, sdk.Permanent(errors.New("the card has no text"), sdk.Code("empty_text"))
	}
	simple := map[string]any{"elements": []map[string]any{{"tag": "markdown", "content": m.Text()}}}
	if m.Subject != "" {
		simple["header"] = map[string]any{"title": map[string]any{"tag": "plain_text", "content": m.Subject}}
	}
	return content{typeCard, simple}, nil
}

// reference is a message that consists of something that Feishu keeps.
func reference(kind string, attributes map[string]string) (content, error) {
	needs := map[string]map[string]string{ // by type: what stands in the content, and the attribute it comes from
		typeImage: {"image_key": attrImage},
		typeChat:  {"chat_id": attrChat},
		typeUser:  {"user_id": attrUser},
		"file":    {"file_key": attrFile},
		"audio":   {"file_key": attrFile},
		"media":   {"file_key": attrFile},
		"sticker": {"file_key": attrFile},
	}[kind]
	body := map[string]any{}
	for _, field := range slices.Sorted(maps.Keys(needs)) {
		value := attributes[needs[field]]
		if value == "" {
			return content{}, invalid("a message of type %s needs the attribute %s", kind, needs[field])
		}
		body[field] = value
	}
	if cover := attributes[attrImage]; kind == "media" && cover != "" {
		body["image_key"] = cover
	}
	return content{kind, body}, nil
}

// forHook is the message as a custom bot posts it. Its content is an object and not a text that holds one, a post stands
// one level deeper, a card stands in a field of its own and a group is called by another name.
// https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
func (c content) forHook() (map[string]any, error) {
	out := map[string]any{"msg_type": c.kind}
	switch c.kind {
	case typeCard:
		out["card"] = c.body
	case typePost:
		out["content"] = map[string]any{"post": c.body}
	case typeChat:
		out["content"] = c.body
		if fields, ok := c.body.(map[string]any); ok {
			out["content"] = map[string]any{"share_chat_id": fields["chat_id"]}
		}
	case typeText, typeImage:
		out["content"] = c.body
	default:
		return nil, invalid("a custom bot cannot send the type %s", c.kind)
	}
	return out, nil
}

// text is the content as an app sends it: JSON within JSON.
func (c content) text() (string, error) {
	body, err := marshal(c.body)
	if err != nil {
		return "", invalid("write the content: %w", err)
	}
	return string(body), nil
}

// limit is how large the request of an app with such a content may be.
// https://open.feishu.cn/document/server-docs/im-v1/message/create
func (c content) limit() int {
	if c.kind == typePost || c.kind == typeCard {
		return 30 << 10
	}
	return 150 << 10
}

func invalid(format string, args ...any) error {
	return sdk.Permanent(fmt.Errorf(format, args...), sdk.Code(codeInvalidParameter))
}

func tooLarge(who string, size, limit int) error {
	return sdk.Permanent(fmt.Errorf("the request has %d bytes; %s %d", size, who, limit), sdk.Code(codeTooLarge))
}
