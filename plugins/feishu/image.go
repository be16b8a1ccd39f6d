package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/pigeonry/pigeonry/sdk"
)

// maxImageBytes is how large an image may be.
// https://open.feishu.cn/document/server-docs/im-v1/image/create
const maxImageBytes = 10 << 20

// plan is a message that is ready but for the images that are to be uploaded first.
type plan struct {
	content content
	images  []sdk.Attachment
}

// planOf composes m. Images make it a post with the text above them, or an image if there is nothing else.
func planOf(m *sdk.Message) (plan, error) {
	if len(m.Attachments) == 0 {
		c, err := compose(m)
		return plan{content: c}, err
	}
	for i := range m.Attachments {
		if err := checkImage(&m.Attachments[i]); err != nil {
			return plan{}, err
		}
	}
	switch asked := m.Attributes[attrType]; {
	case asked != "" && asked != typePost && asked != typeImage, m.Template != nil, m.Attributes[attrContent] != "", m.Attributes[attrPost] != "",
		looksLikeObject(m.Text()):
		return plan{}, sdk.Permanent(errors.New("attachments go with a text alone: they become a post of text and images"), sdk.Code("attachments_unsupported"))
	case m.Text() == "" && m.Subject == "" && len(m.Attachments) == 1:
		return plan{content{kind: typeImage}, m.Attachments}, nil
	}
	around := *m
	around.Attributes = map[string]string{attrType: typePost, attrLanguage: m.Attributes[attrLanguage]}
	if around.Subject == "" && around.Plain == "" {
		around.Plain = " " // a post of images alone
	}
	c, err := compose(&around)
	return plan{c, m.Attachments}, err
}

func checkImage(at *sdk.Attachment) error {
	refuse := func(format string, args ...any) error {
		return sdk.Permanent(fmt.Errorf("attachment %s "+format, append([]any{at.Name}, args...)...), sdk.Code("attachments_unsupported"))
	}
	switch {
	case len(at.Data) == 0 && at.URL != "":
		return refuse("is given by its address: give its content")
	case !strings.HasPrefix(at.ContentType, "image/"):
		return refuse("is of type %s: Feishu takes images here", at.ContentType)
	case len(at.Data) == 0:
		return refuse("is empty")
	case len(at.Data) > maxImageBytes:
		return tooLarge("Feishu takes of an image", len(at.Data), maxImageBytes)
	default:
		return nil
	}
}

// finish uploads what the message needs and returns the whole of it.
func (a *app) finish(ctx context.Context, p plan) (content, error) {
	var keys []string
	for i := range p.images {
		key, err := a.upload(ctx, &p.images[i])
		if err != nil {
			return content{}, fmt.Errorf("upload %s: %w", p.images[i].Name, unsent(err))
		}
		keys = append(keys, key)
	}
	switch {
	case len(keys) == 0:
		return p.content, nil
	case p.content.kind == typeImage:
		return content{typeImage, map[string]any{"image_key": keys[0]}}, nil
	default:
		return content{typePost, withImages(p.content.body, keys)}, nil
	}
}

// withImages adds a paragraph for each image to a post, in each of its languages.
func withImages(body any, keys []string) any {
	languages, ok := body.(map[string]any)
	if !ok {
		return body
	}
	for _, language := range languages {
		post, ok := language.(map[string]any)
		if !ok {
			continue
		}
		paragraphs, _ := post["content"].([][]map[string]any)
		for _, key := range keys {
			paragraphs = append(paragraphs, []map[string]any{{"tag": "img", "image_key": key}})
		}
		post["content"] = paragraphs
	}
	return languages
}

// upload gives an image to Feishu and returns its key. What is uploaded and then not used is forgotten there.
func (a *app) upload(ctx context.Context, at *sdk.Attachment) (string, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	header := textproto.MIMEHeader{
		"Content-Disposition": {multipart.FileContentDisposition("image", at.Name)},
		"Content-Type":        {at.ContentType},
	}
	err := form.WriteField("image_type", "message")
	part, partErr := form.CreatePart(header)
	if err = errors.Join(err, partErr); err != nil {
		return "", sdk.Permanent(fmt.Errorf("write the form: %w", err), sdk.Code(codeInvalidParameter))
	}
	_, err = part.Write(at.Data)
	if err = errors.Join(err, form.Close()); err != nil {
		return "", sdk.Permanent(fmt.Errorf("write the form: %w", err), sdk.Code(codeInvalidParameter))
	}
	var given struct {
		Key string `json:"image_key"`
	}
	var unreadable error
	err = a.call(ctx, request{
		method: http.MethodPost, path: "/open-apis/im/v1/images", contentType: form.FormDataContentType(), body: body.Bytes(),
	}, func(data json.RawMessage) { unreadable = json.Unmarshal(data, &given) })
	switch {
	case err != nil:
		return "", err
	case unreadable != nil || given.Key == "":
		return "", sdk.Retryable(errors.New("the answer has no image_key in it"), sdk.Code("unreadable_answer"))
	default:
		return given.Key, nil
	}
}
