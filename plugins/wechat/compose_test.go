package main

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"reflect"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/sdk"
)

// sends checks what a message becomes: the path and the body, as WeChat's documentation shows it.
func sends(t *testing.T, c config, m *sdk.Message, path, want string) {
	t.Helper()
	p := newProvider(t)
	c.BaseURL = p.URL
	if _, err := openAt(t, c).Send(t.Context(), m); err != nil {
		t.Fatalf("Send: %v", err)
	}
	sent := p.only(t, path)
	var wanted map[string]any
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatal(err)
	}
	if got := sent.json(t); !reflect.DeepEqual(got, wanted) {
		t.Errorf("sent\n%s, want\n%s", sent.body, want)
	}
	if bytes.Contains(sent.body, []byte(`\u`)) {
		t.Errorf("WeChat refuses characters that are escaped: %s", sent.body)
	}
}

func with(m *sdk.Message, attributes ...string) *sdk.Message {
	m.Attributes = map[string]string{}
	for i := 0; i < len(attributes); i += 2 {
		m.Attributes[attributes[i]] = attributes[i+1]
	}
	return m
}

func subject(m *sdk.Message, subject string) *sdk.Message {
	m.Subject = subject
	return m
}

func TestCompose(t *testing.T) {
	parameters := map[string]string{"thing1": "黄先生 <&>", "amount2": "39.80元"}
	long := templated("T1", nil)
	long.IdempotencyKey = strings.Repeat("k", 65)
	keyless := templated("T1", nil)
	keyless.IdempotencyKey = ""
	for name, tc := range map[string]struct {
		m          *sdk.Message
		path, want string
	}{
		"a template message": {
			with(templated("T1", parameters), "url", "http://weixin.qq.com/download?a=1&b=2"), pathTemplate,
			`{"touser":"` + testUser + `","template_id":"T1","url":"http://weixin.qq.com/download?a=1&b=2","client_msg_id":"key-1",
			  "data":{"thing1":{"value":"黄先生 <&>"},"amount2":{"value":"39.80元"}}}`,
		},
		"with a mini program": {
			with(templated("T1", nil), "miniprogram_appid", "xiaochengxuappid12345", "miniprogram_page", "index?foo=bar"), pathTemplate,
			`{"touser":"` + testUser + `","template_id":"T1","client_msg_id":"key-1","data":{},"miniprogram":{"appid":"xiaochengxuappid12345","pagepath":"index?foo=bar"}}`,
		},
		"with a long key": {
			long, pathTemplate,
			`{"touser":"` + testUser + `","template_id":"T1","client_msg_id":"` + repeatID(strings.Repeat("k", 65)) + `","data":{}}`,
		},
		"without a key": {keyless, pathTemplate, `{"touser":"` + testUser + `","template_id":"T1","data":{}}`},
		"a subscription notice": {
			with(templated("T1", parameters), "type", "subscribe", "page", "https://example.com", "miniprogram_state", "formal", "lang", "zh_CN", "miniprogram_appid", "wx1"), pathSubscribe,
			`{"touser":"` + testUser + `","template_id":"T1","page":"https://example.com","miniprogram_state":"formal","lang":"zh_CN","miniprogram":{"appid":"wx1"},
			  "data":{"thing1":{"value":"黄先生 <&>"},"amount2":{"value":"39.80元"}}}`,
		},
		"a one-time message": {
			with(subject(func() *sdk.Message { m := templated("T1", nil); m.Plain = "VALUE"; return m }(), "TITLE"), "type", "subscribe_once", "scene", "1000", "color", "#FF0000", "url", "https://example.com"),
			pathSubscribeOnce,
			`{"touser":"` + testUser + `","template_id":"T1","url":"https://example.com","scene":"1000","title":"TITLE","data":{"content":{"value":"VALUE","color":"#FF0000"}}}`,
		},
		"a text": {text("Hello \"World\" <a href=\"https://example.com\">&</a>\n你好😀"), pathCustom, `{"touser":"` + testUser + `","msgtype":"text","text":{"content":"Hello \"World\" <a href=\"https://example.com\">&</a>\n你好😀"}}`},
		"a text of an account": {
			with(text("hi"), "kf_account", "anna@shop"), pathCustom,
			`{"touser":"` + testUser + `","msgtype":"text","text":{"content":"hi"},"customservice":{"kf_account":"anna@shop"}}`,
		},
		"characters that JSON escapes": {text("a\x00\x1b\u2028b\xff\tc\u007f"), pathCustom, `{"touser":"` + testUser + `","msgtype":"text","text":{"content":"a\nb\tc"}}`},
		"an image":                     {with(text(""), "type", "image", "media_id", "MEDIA"), pathCustom, `{"touser":"` + testUser + `","msgtype":"image","image":{"media_id":"MEDIA"}}`},
		"a voice":                      {with(text(""), "type", "voice", "media_id", "MEDIA"), pathCustom, `{"touser":"` + testUser + `","msgtype":"voice","voice":{"media_id":"MEDIA"}}`},
		"a video": {
			with(subject(text("d"), "t"), "type", "video", "media_id", "MEDIA", "thumb_media_id", "THUMB"), pathCustom,
			`{"touser":"` + testUser + `","msgtype":"video","video":{"media_id":"MEDIA","thumb_media_id":"THUMB","title":"t","description":"d"}}`,
		},
		"music": {
			with(text("d"), "type", "music", "title", "t", "music_url", "https://example.com/1", "thumb_media_id", "THUMB"), pathCustom,
			`{"touser":"` + testUser + `","msgtype":"music","music":{"title":"t","description":"d","musicurl":"https://example.com/1","hqmusicurl":"https://example.com/1","thumb_media_id":"THUMB"}}`,
		},
		"news": {
			with(subject(text("Is Really A Happy Day"), "Happy Day"), "type", "news", "url", "https://example.com", "pic_url", "https://example.com/p"), pathCustom,
			`{"touser":"` + testUser + `","msgtype":"news","news":{"articles":[{"title":"Happy Day","description":"Is Really A Happy Day","url":"https://example.com","picurl":"https://example.com/p"}]}}`,
		},
		"mpnews":        {with(text(""), "type", "mpnews", "media_id", "MEDIA"), pathCustom, `{"touser":"` + testUser + `","msgtype":"mpnews","mpnews":{"media_id":"MEDIA"}}`},
		"mpnewsarticle": {with(text(""), "type", "mpnewsarticle", "article_id", "A"), pathCustom, `{"touser":"` + testUser + `","msgtype":"mpnewsarticle","mpnewsarticle":{"article_id":"A"}}`},
		"wxcard":        {with(text(""), "type", "wxcard", "card_id", "123dsdajkasd231jhksad"), pathCustom, `{"touser":"` + testUser + `","msgtype":"wxcard","wxcard":{"card_id":"123dsdajkasd231jhksad"}}`},
		"a menu": {
			with(text("您对本次服务是否满意呢?"), "type", "msgmenu", "menu", `[{"id":"101","content":"满意"},{"id":"102","content":"不满意"}]`, "tail", "欢迎再次光临"), pathCustom,
			`{"touser":"` + testUser + `","msgtype":"msgmenu","msgmenu":{"head_content":"您对本次服务是否满意呢?","list":[{"id":"101","content":"满意"},{"id":"102","content":"不满意"}],"tail_content":"欢迎再次光临"}}`,
		},
		"a mini program": {
			with(subject(text(""), "t"), "type", "miniprogrampage", "miniprogram_appid", "wx1", "miniprogram_page", "p", "thumb_media_id", "THUMB"), pathCustom,
			`{"touser":"` + testUser + `","msgtype":"miniprogrampage","miniprogrampage":{"title":"t","appid":"wx1","pagepath":"p","thumb_media_id":"THUMB"}}`,
		},
	} {
		t.Run(name, func(t *testing.T) { sends(t, settings(""), tc.m, tc.path, tc.want) })
	}
}

func TestComposeByTheConnector(t *testing.T) {
	c := settings("")
	c.TemplateType, c.KfAccount = typeSubscribe, "shop@shop"
	sends(t, c, templated("T1", nil), pathSubscribe, `{"touser":"`+testUser+`","template_id":"T1","data":{}}`)
	sends(t, c, text("hi"), pathCustom, `{"touser":"`+testUser+`","msgtype":"text","text":{"content":"hi"},"customservice":{"kf_account":"shop@shop"}}`)
}

func TestMessagesThatAreNone(t *testing.T) {
	file := func(attachments ...sdk.Attachment) *sdk.Message {
		m := text("")
		m.Attachments = attachments
		return m
	}
	picture := sdk.Attachment{Name: "a.png", ContentType: "image/png", Data: []byte("png")}
	nobody := text("hi")
	nobody.Recipient = ""
	for name, tc := range map[string]struct {
		m    *sdk.Message
		code string
	}{
		"nobody":                        {nobody, "invalid_recipient"},
		"an unknown type":               {with(text("hi"), "type", "fax"), "invalid_field"},
		"a template message of none":    {with(text("hi"), "type", "template"), "template_missing"},
		"a template without an id":      {templated("", nil), "template_missing"},
		"a notice of none":              {with(text("hi"), "type", "subscribe"), "template_missing"},
		"a one-time message of none":    {with(text("hi"), "type", "subscribe_once"), "template_missing"},
		"a one-time message of nowhere": {with(templated("T1", nil), "type", "subscribe_once"), "invalid_field"},
		"an empty text":                 {text("\x00"), "empty_text"},
		"an image of none":              {with(text("hi"), "type", "image"), "invalid_field"},
		"a video of none":               {with(text("hi"), "type", "video"), "invalid_field"},
		"music of none":                 {with(text("hi"), "type", "music"), "invalid_field"},
		"news of nowhere":               {with(text("hi"), "type", "news"), "invalid_field"},
		"news without a title":          {with(text("hi"), "type", "news", "url", "https://example.com"), "invalid_field"},
		"a mini program of none":        {with(text("hi"), "type", "miniprogrampage"), "invalid_field"},
		"a menu of nothing":             {with(text("hi"), "type", "msgmenu", "menu", "[]"), "invalid_field"},
		"a menu that is none":           {with(text("hi"), "type", "msgmenu", "menu", "yes"), "invalid_field"},
		"a menu with a gap":             {with(text("hi"), "type", "msgmenu", "menu", `[{"id":"1"}]`), "invalid_field"},
		"two files":                     {file(picture, picture), "invalid_field"},
		"a file by its address":         {file(sdk.Attachment{ContentType: "image/png", URL: "https://example.com/a.png"}), "media_invalid"},
		"a file of another kind":        {file(sdk.Attachment{ContentType: "application/pdf", Data: []byte("pdf")}), "invalid_field"},
		"a file with a text":            {with(file(picture), "type", "text"), "invalid_field"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			_, err := openAt(t, settings(p.URL)).Send(t.Context(), tc.m)
			wantOutcome(t, err, sdk.OutcomeRejected, tc.code)
			if len(p.to(pathCustom))+len(p.to(pathTemplate))+len(p.to(pathUpload)) > 0 {
				t.Error("it was sent nevertheless")
			}
		})
	}
}

func TestAttachmentsAreUploaded(t *testing.T) {
	for contentType, kind := range map[string]string{"image/png": "image", "audio/amr": "voice", "video/mp4": "video", "image/png\r\nX: y": "image"} {
		t.Run(contentType, func(t *testing.T) {
			p := newProvider(t)
			p.on(pathUpload, inTurn(says(`{"errcode":42001,"errmsg":"access_token expired"}`), says(`{"type":"image","media_id":"M1","created_at":123456789}`)))
			m := text("")
			m.Attachments = []sdk.Attachment{{Name: "a\"b\r\n.png", ContentType: contentType, Data: []byte("\x89PNG")}}
			if _, err := openAt(t, settings(p.URL)).Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if m.Attributes != nil {
				t.Error("the message was changed")
			}
			uploads := p.to(pathUpload)
			if len(uploads) != 2 || uploads[1].kind != kind || uploads[1].token != "token-2" {
				t.Fatalf("uploads %+v", uploads)
			}
			_, parameters, err := mime.ParseMediaType(uploads[1].contentType)
			if err != nil {
				t.Fatal(err)
			}
			form := multipart.NewReader(bytes.NewReader(uploads[1].body), parameters["boundary"])
			part, err := form.NextPart()
			if err != nil {
				t.Fatal(err)
			}
			data, _ := io.ReadAll(part)
			if part.FormName() != "media" || part.FileName() != "a_b__.png" || string(data) != "\x89PNG" || part.Header.Get("X") != "" {
				t.Errorf("part %v with %q", part.Header, data)
			}
			sent := p.only(t, pathCustom).json(t)
			if sent["msgtype"] != kind || sent[kind].(map[string]any)["media_id"] != "M1" {
				t.Errorf("sent %v", sent)
			}
		})
	}
}

// An upload that fails has sent nothing.
func TestUploadsThatFail(t *testing.T) {
	for answer, want := range map[string]sdk.Outcome{
		`{"errcode":40004,"errmsg":"invalid media type"}`: sdk.OutcomeRejected,
		`{"errcode":0}`: sdk.OutcomeRetryable,
		`oops`:          sdk.OutcomeRetryable,
	} {
		p := newProvider(t)
		p.on(pathUpload, says(answer))
		m := text("")
		m.Attachments = []sdk.Attachment{{ContentType: "image/png", Data: []byte("png")}}
		_, err := openAt(t, settings(p.URL)).Send(t.Context(), m)
		if got := sdk.OutcomeOf(err); got != want {
			t.Errorf("%s: outcome %s (%v), want %s", answer, got, err, want)
		}
		if len(p.to(pathCustom)) > 0 {
			t.Error("the message was sent without its attachment")
		}
	}
}
