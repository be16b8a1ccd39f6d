package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/sdk"
)

// What a message becomes: for an app its type and content, for a custom bot the whole request but for the signature.
func TestCompose(t *testing.T) {
	template := func(m *sdk.Message) {
		m.Template = &sdk.Template{ID: "AAq1", Parameters: map[string]string{"name": "Ann"}}
	}
	for name, c := range map[string]struct {
		edits     []func(*sdk.Message)
		kind, app string
		hook      string // empty: refused
	}{
		"text": {
			nil, "text", `{"text":"say \"hi\"\n短信 & <more>"}`,
			`{"msg_type":"text","content":{"text":"say \"hi\"\n短信 & <more>"}}`,
		},
		"a subject makes a post": {
			[]func(*sdk.Message){titled("News"), saying("one\r\n\ntwo")},
			"post",
			`{"zh_cn":{"title":"News","content":[[{"tag":"text","text":"one"}],[{"tag":"text","text":""}],[{"tag":"text","text":"two"}]]}}`,
			`{"msg_type":"post","content":{"post":{"zh_cn":{"title":"News","content":[[{"tag":"text","text":"one"}],[{"tag":"text","text":""}],[{"tag":"text","text":"two"}]]}}}}`,
		},
		"a post in English": {
			[]func(*sdk.Message){saying("one"), attributes("msg_type", "post", "language", "en_us")},
			"post",
			`{"en_us":{"title":"","content":[[{"tag":"text","text":"one"}]]}}`,
			`{"msg_type":"post","content":{"post":{"en_us":{"title":"","content":[[{"tag":"text","text":"one"}]]}}}}`,
		},
		"a whole post": {
			[]func(*sdk.Message){attributes("post", ` {"zh_cn": {"title": "T", "content": [[{"tag": "hr"}]]}} `)},
			"post",
			`{"zh_cn":{"title":"T","content":[[{"tag":"hr"}]]}}`,
			`{"msg_type":"post","content":{"post":{"zh_cn":{"title":"T","content":[[{"tag":"hr"}]]}}}}`,
		},
		"a post as the text": {
			[]func(*sdk.Message){saying(`{"zh_cn":{"content":[]}}`), attributes("msg_type", "post")},
			"post",
			`{"zh_cn":{"content":[]}}`, `{"msg_type":"post","content":{"post":{"zh_cn":{"content":[]}}}}`,
		},
		"a card": {
			[]func(*sdk.Message){attributes("card", `{"elements":[{"tag":"hr"}]}`)},
			"interactive",
			`{"elements":[{"tag":"hr"}]}`, `{"msg_type":"interactive","card":{"elements":[{"tag":"hr"}]}}`,
		},
		"a card as the text": {
			[]func(*sdk.Message){saying(`{"elements":[]}`), attributes("msg_type", "interactive")},
			"interactive",
			`{"elements":[]}`, `{"msg_type":"interactive","card":{"elements":[]}}`,
		},
		"a plain card": {
			[]func(*sdk.Message){titled("News"), saying("**one**"), attributes("msg_type", "interactive")},
			"interactive",
			`{"header":{"title":{"tag":"plain_text","content":"News"}},"elements":[{"tag":"markdown","content":"**one**"}]}`,
			`{"msg_type":"interactive","card":{"header":{"title":{"tag":"plain_text","content":"News"}},"elements":[{"tag":"markdown","content":"**one**"}]}}`,
		},
		"a card that Feishu keeps": {
			[]func(*sdk.Message){attributes("template_version", "1.0.2"), template},
			"interactive",
			`{"type":"template","data":{"template_id":"AAq1","template_variable":{"name":"Ann"},"template_version_name":"1.0.2"}}`,
			`{"msg_type":"interactive","card":{"type":"template","data":{"template_id":"AAq1","template_variable":{"name":"Ann"},"template_version_name":"1.0.2"}}}`,
		},
		"an image": {
			[]func(*sdk.Message){attributes("image_key", "img_1")},
			"image",
			`{"image_key":"img_1"}`, `{"msg_type":"image","content":{"image_key":"img_1"}}`,
		},
		"a group": {
			[]func(*sdk.Message){attributes("share_chat_id", "oc_1")},
			"share_chat",
			`{"chat_id":"oc_1"}`, `{"msg_type":"share_chat","content":{"share_chat_id":"oc_1"}}`,
		},
		"a user": {[]func(*sdk.Message){attributes("share_user_id", "ou_1")}, "share_user", `{"user_id":"ou_1"}`, ""},
		"a file": {[]func(*sdk.Message){attributes("msg_type", "file", "file_key", "file_1")}, "file", `{"file_key":"file_1"}`, ""},
		"a video": {
			[]func(*sdk.Message){attributes("msg_type", "media", "file_key", "file_1", "image_key", "img_1")},
			"media",
			`{"file_key":"file_1","image_key":"img_1"}`, "",
		},
		"whatever else": {
			[]func(*sdk.Message){attributes("msg_type", "sticker", "content", `{"file_key": "f"}`)}, "sticker", `{"file_key":"f"}`, "",
		},
		"a group, its content given": {
			[]func(*sdk.Message){attributes("msg_type", "share_chat", "content", `{"share_chat_id": "oc_1"}`)},
			"share_chat",
			`{"share_chat_id":"oc_1"}`, `{"msg_type":"share_chat","content":{"share_chat_id":"oc_1"}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := compose(message("ou_1", c.edits...))
			if err != nil {
				t.Fatal(err)
			}
			text, err := got.text()
			if err != nil || got.kind != c.kind || !sameJSON(t, text, c.app) {
				t.Errorf("app: %s %s, %v; want %s %s", got.kind, text, err, c.kind, c.app)
			}
			posted, err := got.forHook()
			if c.hook == "" {
				if told(err) != "rejected invalid_parameter  message" {
					t.Errorf("hook: %v, %s", posted, told(err))
				}
				return
			}
			body, marshalErr := marshal(posted)
			if err != nil || marshalErr != nil || !sameJSON(t, string(body), c.hook) {
				t.Errorf("hook: %s, %v; want %s", body, err, c.hook)
			}
		})
	}
}

func sameJSON(t *testing.T, got, want string) bool {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Errorf("%s: %v", got, err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	return reflect.DeepEqual(g, w)
}

// What cannot be sent says why.
func TestComposeRefuses(t *testing.T) {
	for want, edits := range map[string][]func(*sdk.Message){
		"empty_text: the message has no text":                                                {saying("")},
		"empty_text: the message has neither":                                                {saying(""), attributes("msg_type", "post")},
		"empty_text: the card has no text":                                                   {saying(""), attributes("msg_type", "interactive")},
		`invalid_parameter: the attribute msg_type is "video": want text`:                    {attributes("msg_type", "video")},
		"invalid_parameter: the attribute content needs msg_type":                            {attributes("content", "{}")},
		"invalid_parameter: a message of type image needs the attribute image_key":           {attributes("msg_type", "image")},
		"invalid_parameter: the content of a message of type interactive: is no JSON object": {attributes("card", "[]")},
		"invalid_parameter: the content of a message of type post: is no JSON object":        {attributes("post", "{")},
	} {
		_, err := compose(message("ou_1", edits...))
		code, text, _ := strings.Cut(want, ": ")
		if told(err) != "rejected "+code+"  message" || !strings.HasPrefix(err.Error(), text) {
			t.Errorf("got %s: %v, want %s", told(err), err, want)
		}
	}
}

func TestReceiver(t *testing.T) {
	for recipient, want := range map[string]string{
		"ou_1": "open_id ou_1", "on_1": "union_id on_1", "oc_1": "chat_id oc_1", "ann@example.com": "email ann@example.com",
		"e33ggbyz": "user_id e33ggbyz", "user_id:ou_1": "user_id ou_1", "chat_id:x": "chat_id x", "email:a@b": "email a@b",
		"": "rejected invalid_recipient  message", "open_id:": "rejected invalid_recipient  message",
	} {
		got, err := receiverOf(message(recipient))
		if text := got.kind + " " + got.id; text != want && told(err) != want {
			t.Errorf("%q: got %s, %v, want %s", recipient, text, err, want)
		}
	}
	if got, err := receiverOf(message("ou_1", attributes("receive_id_type", "user_id"))); got != (receiver{"ou_1", "user_id"}) || err != nil {
		t.Errorf("the attribute does not decide: %v, %v", got, err)
	}
	for _, m := range []*sdk.Message{
		message("ou_1", attributes("receive_id_type", "phone")),
		message("chat_id:oc_1", attributes("receive_id_type", "email")),
	} {
		if _, err := receiverOf(m); told(err) != "rejected invalid_parameter  message" {
			t.Errorf("%v", err)
		}
	}
}
