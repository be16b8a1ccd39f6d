package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/pigeonry/pigeonry/sdk"
)

// outgoing is a message as WeChat wants it.
type outgoing struct {
	path string
	body any
}

// invalid refuses a message that WeChat would refuse as well.
func invalid(format string, args ...any) error {
	return sdk.Permanent(fmt.Errorf(format, args...), sdk.Code(codeInvalidField))
}

// compose makes the request of a message. The attribute type says what it is; without it a message with a template of WeChat's is
// what the connector says, one with an attachment is the media, any other a text.
func (c *connector) compose(ctx context.Context, m *sdk.Message) (outgoing, error) {
	if m.Recipient == "" {
		return outgoing{}, sdk.Permanent(errors.New("the recipient is empty; it is a user's OpenID"), sdk.Code(codeInvalidRecipient))
	}
	kind := c.kind(m)
	switch kind {
	case typeTemplate:
		return templateMessage(m)
	case typeSubscribe:
		return subscriptionNotice(m)
	case typeSubscribeOnce:
		return oneTimeMessage(m)
	}
	build, known := customKinds[kind]
	if !known {
		return outgoing{}, invalid("the type %q is not known", kind)
	}
	m, err := c.upload(ctx, m, kind)
	if err != nil {
		return outgoing{}, err
	}
	content, err := build(m)
	if err != nil {
		return outgoing{}, err
	}
	body := map[string]any{"touser": m.Recipient, "msgtype": kind, kind: content}
	if account := attribute(m, "kf_account", c.config.KfAccount); account != "" {
		body["customservice"] = map[string]string{"kf_account": account}
	}
	return outgoing{pathCustom, body}, nil
}

func (c *connector) kind(m *sdk.Message) string {
	if kind := m.Attributes["type"]; kind != "" {
		return kind
	}
	if m.Template != nil {
		return c.config.TemplateType
	}
	if len(m.Attachments) > 0 {
		return mediaKind(m.Attachments[0].ContentType)
	}
	return "text"
}

// mediaKind is what a file of a MIME type is sent as.
func mediaKind(contentType string) string {
	switch kind, _, _ := strings.Cut(contentType, "/"); kind {
	case "audio":
		return "voice"
	case "image", "video":
		return kind
	default:
		return contentType // is no kind of message, and said so
	}
}

// attribute returns an attribute of m, or else.
func attribute(m *sdk.Message, name, otherwise string) string {
	if value := m.Attributes[name]; value != "" {
		return clean(value)
	}
	return clean(otherwise)
}

// require returns attributes that a kind of message cannot do without, by WeChat's names for them.
func require(m *sdk.Message, kind string, names map[string]string) (map[string]string, error) {
	out := make(map[string]string, len(names))
	for field, name := range names {
		if out[field] = attribute(m, name, ""); out[field] == "" {
			return nil, invalid("a message of type %s needs the attribute %s", kind, name)
		}
	}
	return out, nil
}

// values are the parameters of a template.
func values(m *sdk.Message) (map[string]any, error) {
	if m.Template == nil || m.Template.ID == "" {
		return nil, sdk.Permanent(errors.New("the message has no template of WeChat's"), sdk.Code(codeTemplateMissing))
	}
	data := make(map[string]any, len(m.Template.Parameters))
	for name, value := range m.Template.Parameters {
		data[name] = map[string]string{"value": clean(value)}
	}
	return data, nil
}

// withMiniProgram adds the Mini Program that opens when a user taps the message.
func withMiniProgram(m *sdk.Message, body map[string]any) map[string]any {
	if id := attribute(m, "miniprogram_appid", ""); id != "" {
		program := map[string]string{"appid": id}
		if page := attribute(m, "miniprogram_page", ""); page != "" {
			program["pagepath"] = page
		}
		body["miniprogram"] = program
	}
	return body
}

// templateMessage is of https://developers.weixin.qq.com/doc/service/api/notify/template/api_sendtemplatemessage.html
func templateMessage(m *sdk.Message) (outgoing, error) {
	data, err := values(m)
	if err != nil {
		return outgoing{}, err
	}
	body := map[string]any{"touser": m.Recipient, "template_id": m.Template.ID, "data": data}
	if key := m.IdempotencyKey; key != "" {
		body["client_msg_id"] = repeatID(key)
	}
	if link := attribute(m, "url", ""); link != "" {
		body["url"] = link
	}
	return outgoing{pathTemplate, withMiniProgram(m, body)}, nil
}

// repeatID is by what WeChat drops repeats of a template message to one user, for ten minutes. It has at most 64 bytes, what WeChat
// allows where it says so (45067).
func repeatID(key string) string {
	if len(key) <= 64 {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// subscriptionNotice is of https://developers.weixin.qq.com/doc/service/api/notify/notify/api_sendnewsubscribemsg.html
func subscriptionNotice(m *sdk.Message) (outgoing, error) {
	data, err := values(m)
	if err != nil {
		return outgoing{}, err
	}
	body := map[string]any{"touser": m.Recipient, "template_id": m.Template.ID, "data": data}
	for _, name := range []string{"page", "miniprogram_state", "lang"} {
		if value := attribute(m, name, ""); value != "" {
			body[name] = value
		}
	}
	return outgoing{pathSubscribe, withMiniProgram(m, body)}, nil
}

// oneTimeMessage is the one message that a user agreed to on a page of WeChat's, in a scene:
// https://developers.weixin.qq.com/doc/offiaccount/Message_Management/One-time_subscription_info.html
func oneTimeMessage(m *sdk.Message) (outgoing, error) {
	if m.Template == nil || m.Template.ID == "" {
		return outgoing{}, sdk.Permanent(errors.New("the message has no template of WeChat's"), sdk.Code(codeTemplateMissing))
	}
	required, err := require(m, typeSubscribeOnce, map[string]string{"scene": "scene"})
	if err != nil {
		return outgoing{}, err
	}
	content := map[string]string{"value": clean(m.Text())}
	if color := attribute(m, "color", ""); color != "" {
		content["color"] = color
	}
	body := map[string]any{
		"touser": m.Recipient, "template_id": m.Template.ID, "scene": required["scene"],
		"title": attribute(m, "title", m.Subject), "data": map[string]any{"content": content},
	}
	if link := attribute(m, "url", ""); link != "" {
		body["url"] = link
	}
	return outgoing{pathSubscribeOnce, withMiniProgram(m, body)}, nil
}

// customKinds make the content of customer-service messages, by their msgtype:
// https://developers.weixin.qq.com/doc/service/api/customer/message/api_sendcustommessage.html
var customKinds = map[string]func(m *sdk.Message) (any, error){
	"text":            textContent,
	"image":           mediaContent("image"),
	"voice":           mediaContent("voice"),
	"video":           videoContent,
	"music":           musicContent,
	"news":            newsContent,
	"mpnews":          mediaContent("mpnews"),
	"mpnewsarticle":   fieldContent("mpnewsarticle", map[string]string{"article_id": "article_id"}),
	"msgmenu":         menuContent,
	"wxcard":          fieldContent("wxcard", map[string]string{"card_id": "card_id"}),
	"miniprogrampage": miniProgramContent,
}

func textContent(m *sdk.Message) (any, error) {
	text := clean(m.Text())
	if text == "" {
		return nil, sdk.Permanent(errors.New("the message has no text"), sdk.Code(codeEmptyText))
	}
	return map[string]string{"content": text}, nil
}

// fieldContent is content of required attributes alone, by WeChat's names for them.
func fieldContent(kind string, names map[string]string) func(m *sdk.Message) (any, error) {
	return func(m *sdk.Message) (any, error) { return require(m, kind, names) }
}

func mediaContent(kind string) func(m *sdk.Message) (any, error) {
	return fieldContent(kind, map[string]string{"media_id": "media_id"})
}

// described adds title and description, which are optional, to content.
func described(m *sdk.Message, content map[string]string) map[string]string {
	if title := attribute(m, "title", m.Subject); title != "" {
		content["title"] = title
	}
	if text := clean(m.Text()); text != "" {
		content["description"] = text
	}
	return content
}

func videoContent(m *sdk.Message) (any, error) {
	content, err := require(m, "video", map[string]string{"media_id": "media_id"})
	if err != nil {
		return nil, err
	}
	if thumb := attribute(m, "thumb_media_id", ""); thumb != "" {
		content["thumb_media_id"] = thumb
	}
	return described(m, content), nil
}

func musicContent(m *sdk.Message) (any, error) {
	content, err := require(m, "music", map[string]string{"musicurl": "music_url", "thumb_media_id": "thumb_media_id"})
	if err != nil {
		return nil, err
	}
	content["hqmusicurl"] = attribute(m, "hq_music_url", content["musicurl"])
	return described(m, content), nil
}

// newsContent is one article behind a link: WeChat takes no more in a message.
func newsContent(m *sdk.Message) (any, error) {
	article, err := require(m, "news", map[string]string{"url": "url"})
	if err != nil {
		return nil, err
	}
	if picture := attribute(m, "pic_url", ""); picture != "" {
		article["picurl"] = picture
	}
	if described(m, article)["title"] == "" {
		return nil, invalid("a message of type news needs a subject, or the attribute title")
	}
	return map[string]any{"articles": []any{article}}, nil
}

func miniProgramContent(m *sdk.Message) (any, error) {
	content, err := require(m, "miniprogrampage", map[string]string{
		"appid": "miniprogram_appid", "pagepath": "miniprogram_page", "thumb_media_id": "thumb_media_id",
	})
	if err != nil {
		return nil, err
	}
	content["title"] = attribute(m, "title", m.Subject)
	return content, nil
}

// menuContent is a question with answers to tap. What the user taps comes back as a text with bizmsgmenuid.
func menuContent(m *sdk.Message) (any, error) {
	type item struct {
		ID      string `json:"id"`
		Content string `json:"content"`
	}
	var items []item
	if err := json.Unmarshal([]byte(m.Attributes["menu"]), &items); err != nil || len(items) == 0 {
		return nil, invalid(`a message of type msgmenu needs the attribute menu: [{"id": "101", "content": "Yes"}, …]`)
	}
	for i := range items {
		items[i].ID, items[i].Content = clean(items[i].ID), clean(items[i].Content)
		if items[i].ID == "" || items[i].Content == "" {
			return nil, invalid("entry %d of the attribute menu needs id and content", i+1)
		}
	}
	return map[string]any{"head_content": clean(m.Text()), "list": items, "tail_content": attribute(m, "tail", "")}, nil
}

// upload gives an attachment to WeChat, which keeps it for three days, and returns m with its id as the attribute media_id:
// https://developers.weixin.qq.com/doc/service/api/material/temporary/api_uploadtempmedia.html
func (c *connector) upload(ctx context.Context, m *sdk.Message, kind string) (*sdk.Message, error) {
	switch {
	case len(m.Attachments) == 0:
		return m, nil
	case kind != "image" && kind != "voice" && kind != "video":
		return nil, invalid("a message of type %s has no attachments", kind)
	case len(m.Attachments) > 1:
		return nil, invalid("a message has one attachment, and not %d", len(m.Attachments))
	case len(m.Attachments[0].Data) == 0:
		return nil, sdk.Permanent(errors.New("the attachment is empty, or given by its address alone"), sdk.Code(codeMediaInvalid))
	}
	contentType, body, err := form(m.Attachments[0])
	if err != nil {
		return nil, err
	}
	a, err := c.call(ctx, request{
		path: pathUpload, query: url.Values{"type": {kind}}, contentType: contentType, body: body,
		ok: func(a *answer) bool { return a.MediaID != "" },
	})
	if err != nil {
		return nil, notSent(fmt.Errorf("upload the attachment: %w", err))
	}
	uploaded := *m
	uploaded.Attributes = map[string]string{}
	maps.Copy(uploaded.Attributes, m.Attributes)
	uploaded.Attributes["media_id"] = a.MediaID
	return &uploaded, nil
}

// form is a file as a browser would send it.
func form(file sdk.Attachment) (contentType string, body []byte, err error) {
	name := strings.NewReplacer(`"`, "_", `\`, "_", "\r", "_", "\n", "_").Replace(file.Name)
	if name == "" {
		name = "file"
	}
	kind := file.ContentType
	if _, _, err := mime.ParseMediaType(kind); err != nil {
		kind = "application/octet-stream"
	}
	header := textproto.MIMEHeader{
		"Content-Disposition": {fmt.Sprintf(`form-data; name="media"; filename="%s"`, name)}, "Content-Type": {kind},
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreatePart(header)
	if err == nil {
		_, err = part.Write(file.Data)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return "", nil, sdk.Permanent(fmt.Errorf("write the attachment: %w", err), sdk.Blame(sdk.FaultPlugin))
	}
	return w.FormDataContentType(), b.Bytes(), nil
}
