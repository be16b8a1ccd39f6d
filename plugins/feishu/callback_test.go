package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// The example of the provider's page, which it has in six languages.
// https://open.feishu.cn/document/event-subscription-guide/event-subscription-configure-/encrypt-key-encryption-configuration-case
func TestDecrypt(t *testing.T) {
	got, err := decrypt("P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk=", "test key")
	if string(got) != "hello world" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for name, text := range map[string]string{
		"no base64": "!", "nothing": "", "no text": base64.StdEncoding.EncodeToString(make([]byte, 16)),
		"half a block": base64.StdEncoding.EncodeToString(make([]byte, 40)), "no padding": base64.StdEncoding.EncodeToString(make([]byte, 32)),
	} {
		if got, err := decrypt(text, "test key"); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got, err := decrypt("P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk=", "another key"); err == nil {
		t.Errorf("with another key: %q", got)
	}
}

// encrypt is the other way round, for tests.
func encrypt(text []byte, key string) []byte {
	sum := sha256.Sum256([]byte(key))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		panic(err)
	}
	padding := aes.BlockSize - len(text)%aes.BlockSize
	padded := append(bytes.Clone(text), bytes.Repeat([]byte{byte(padding)}, padding)...)
	vector := []byte("0123456789abcdef")
	cipher.NewCBCEncrypter(block, vector).CryptBlocks(padded, padded)
	out, err := json.Marshal(map[string]string{"encrypt": base64.StdEncoding.EncodeToString(append(vector, padded...))})
	if err != nil {
		panic(err)
	}
	return out
}

// called is a request of Feishu with that event, encrypted and signed at a time.
func called(event string, when time.Time) *sdk.CallbackRequest {
	body := encrypt([]byte(event), testKey)
	timestamp := strconv.FormatInt(when.Unix(), 10)
	return &sdk.CallbackRequest{Method: http.MethodPost, Body: body, Header: http.Header{
		"X-Lark-Request-Timestamp": {timestamp}, "X-Lark-Request-Nonce": {"n0nce"},
		"X-Lark-Signature": {eventSignature(timestamp, "n0nce", testKey, body)},
	}}
}

// hear hands a request to a connector with an app, at the time at.
func hear(t *testing.T, given settings, r *sdk.CallbackRequest) (string, sdk.Events) {
	t.Helper()
	c := connect(t, given)
	c.app.callbacks.now = func() time.Time { return at }
	answer, events, err := c.HandleCallback(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status == 0 {
		answer.Status = http.StatusOK
	}
	return strings.TrimSpace(strconv.Itoa(answer.Status) + " " + string(answer.Body)), events
}

// event is one of version 2.0.
func event(kind, content string) string {
	return `{"schema":"2.0","header":{"event_id":"ev_1","event_type":"` + kind + `","create_time":"1795773600000","token":"` + testToken +
		`","app_id":"` + testAppID + `","tenant_key":"736588c9260f175e"},"event":` + content + `}`
}

// The example of the provider's page, with two messages.
// https://open.feishu.cn/document/server-docs/im-v1/message/events/message_read
const readExample = `{"reader":{"reader_id":{"union_id":"on_8ed6aa67826108097d9ee143816345","user_id":"e33ggbyz",
	"open_id":"ou_84aad35d084aa403a838cf73ee18467"},"read_time":"1609484183000","tenant_key":"736588c9260f175e"},
	"message_id_list":["om_dc13264520392913993dd051dba21dcf","","om_2"]}`

func TestReadReceipts(t *testing.T) {
	got, events := hear(t, appSettings("http://127.0.0.1:1"), called(event("im.message.message_read_v1", readExample), at))
	when := time.Date(2021, 1, 1, 6, 56, 23, 0, time.UTC)
	const reader = "ou_84aad35d084aa403a838cf73ee18467"
	want := sdk.Events{Receipts: []sdk.DeliveryReceipt{
		{DedupeKey: "read/om_dc13264520392913993dd051dba21dcf/" + reader, ProviderID: "om_dc13264520392913993dd051dba21dcf", Status: sdk.Read, At: when, Recipient: reader},
		{DedupeKey: "read/om_2/" + reader, ProviderID: "om_2", Status: sdk.Read, At: when, Recipient: reader},
	}}
	if got != "200 {}" || fmt.Sprintf("%+v", events) != fmt.Sprintf("%+v", want) {
		t.Errorf("got %s, %+v, want %+v", got, events, want)
	}
}

// received is the event of a message that a user writes.
func received(kind, content, more string) string {
	text, err := json.Marshal(content)
	if err != nil {
		panic(err)
	}
	return event("im.message.receive_v1", `{"sender":{"sender_id":{"union_id":"on_1","user_id":"e33ggbyz","open_id":"ou_1"},"sender_type":"user","tenant_key":"t"},
		"message":{"message_id":"om_in","create_time":"1609073151345","chat_id":"oc_1","chat_type":"group","message_type":"`+kind+`","content":`+string(text)+more+`}}`)
}

func TestInbound(t *testing.T) {
	base := map[string]string{
		"event_id": "ev_1", "tenant_key": "736588c9260f175e", "chat_id": "oc_1", "chat_type": "group", "user_id": "e33ggbyz", "union_id": "on_1",
	}
	post := `{"title":"T","content":[[{"tag":"text","text":"one "},{"tag":"a","href":"http://x.cn","text":"link"},{"tag":"at","user_id":"@_user_1"}],[{"tag":"img","image_key":"img_1"}],[{"tag":"text","text":"two"}]]}`
	for name, c := range map[string]struct {
		event, text string
		attributes  map[string]string
	}{
		"text": {received("text", `{"text":"hello"}`, ""), "hello", map[string]string{"message_type": "text"}},
		"mentions": {
			received("text", `{"text":"@_user_1 and @_user_10"}`, `,"mentions":[{"key":"@_user_1","name":"Tom"},{"key":"@_user_10","name":"@_user_1"}]`),
			"@Tom and @@_user_1",
			map[string]string{"message_type": "text"},
		},
		"a reply": {
			received("text", `{"text":"yes"}`, `,"root_id":"om_r","parent_id":"om_p","thread_id":"omt_1"`), "yes",
			map[string]string{"message_type": "text", "root_id": "om_r", "parent_id": "om_p", "thread_id": "omt_1"},
		},
		"a text that is none": {received("text", `hello`, ""), "hello", map[string]string{"message_type": "text"}},
		"post": {
			received("post", post, `,"mentions":[{"key":"@_user_1","name":"Tom"}]`), "T\none [link](http://x.cn)@Tom\ntwo",
			map[string]string{"message_type": "post", "content": post},
		},
		"a long post": {
			received("post", `{"title":"`+strings.Repeat("x", 2<<10)+`"}`, ""), strings.Repeat("x", 2<<10), map[string]string{"message_type": "post"},
		},
		"a post that is none": {received("post", `[]`, ""), "", map[string]string{"message_type": "post", "content": "[]"}},
		"image": {
			received("image", `{"image_key":"img_1"}`, ""), "", map[string]string{"message_type": "image", "content": `{"image_key":"img_1"}`, "image_key": "img_1"},
		},
		"file": {
			received("file", `{"file_key":"f","file_name":"a.txt"}`, ""), "",
			map[string]string{"message_type": "file", "content": `{"file_key":"f","file_name":"a.txt"}`, "file_key": "f", "file_name": "a.txt"},
		},
		"group": {
			received("share_chat", `{"chat_id":"oc_9"}`, ""), "", map[string]string{"message_type": "share_chat", "content": `{"chat_id":"oc_9"}`, "share_chat_id": "oc_9"},
		},
		"user": {
			received("share_user", `{"user_id":"ou_9"}`, ""), "", map[string]string{"message_type": "share_user", "content": `{"user_id":"ou_9"}`, "share_user_id": "ou_9"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, events := hear(t, appSettings("http://127.0.0.1:1"), called(c.event, at))
			kind := c.attributes["message_type"]
			if kind == "text" {
				kind = ""
			}
			maps.Copy(c.attributes, base)
			want := sdk.Events{Inbound: []sdk.Inbound{{
				DedupeKey: "om_in", ProviderID: "om_in", From: "ou_1", To: testAppID, Text: c.text,
				At: time.UnixMilli(1609073151345).UTC(), Attributes: c.attributes,
				Kind: kind, ReplyToProviderID: c.attributes["parent_id"],
			}}}
			if got != "200 {}" || fmt.Sprintf("%+v", events) != fmt.Sprintf("%+v", want) {
				t.Errorf("got %s, %+v, want %+v", got, events, want)
			}
		})
	}
}

// What says nothing about messages is taken and dropped: Feishu would repeat it, and at last give the URL up.
func TestOtherEvents(t *testing.T) {
	for name, body := range map[string]string{
		"the bot is added":   event("im.chat.member.bot.added_v1", `{"chat_id":"oc_1"}`),
		"the bot is removed": event("im.chat.member.bot.deleted_v1", `{"chat_id":"oc_1"}`),
		"an app's message":   strings.Replace(received("text", `{"text":"x"}`, ""), `"sender_type":"user"`, `"sender_type":"app"`, 1),
		"of another app":     strings.Replace(received("text", `{"text":"x"}`, ""), testAppID, "cli_other", 1),
		"of version 1.0":     `{"uuid":"1","token":"` + testToken + `","ts":"1550038209.428520","type":"event_callback","event":{"type":"message_read"}}`,
	} {
		if got, events := hear(t, appSettings("http://127.0.0.1:1"), called(body, at)); got != "200 {}" || !events.Empty() {
			t.Errorf("%s: %s, %+v", name, got, events)
		}
	}
	for name, body := range map[string]string{
		"a reader who is none":  event("im.message.message_read_v1", `[]`),
		"a message who is none": event("im.message.receive_v1", `[]`),
	} {
		if got, events := hear(t, appSettings("http://127.0.0.1:1"), called(body, at)); got != "400" || !events.Empty() {
			t.Errorf("%s: %s, %+v", name, got, events)
		}
	}
}

const challenge = `{"challenge":"ajls384kdjxxxx","token":"` + testToken + `","type":"url_verification"}`

// Feishu asks whether the URL is ours: encrypted if it has a key, and not signed.
func TestChallenge(t *testing.T) {
	const yes = `200 {"challenge":"ajls384kdjxxxx"}`
	plain := appSettings("http://127.0.0.1:1")
	plain["app"] = settings{"app_id": testAppID, "app_secret": testSecret, "verification_token": testToken}
	keyAlone := appSettings("http://127.0.0.1:1")
	keyAlone["app"] = settings{"app_id": testAppID, "app_secret": testSecret, "encrypt_key": testKey}
	sealed := encrypt([]byte(challenge), testKey)
	post := func(body []byte) *sdk.CallbackRequest {
		return &sdk.CallbackRequest{Method: http.MethodPost, Body: body}
	}
	for name, c := range map[string]struct {
		given settings
		r     *sdk.CallbackRequest
		want  string
	}{
		"in clear":         {plain, post([]byte(challenge)), yes},
		"encrypted":        {appSettings("http://127.0.0.1:1"), post(sealed), yes},
		"signed as well":   {appSettings("http://127.0.0.1:1"), called(challenge, at), yes},
		"with a key alone": {keyAlone, post(sealed), yes},
		"another token":    {plain, post([]byte(strings.Replace(challenge, testToken, "x", 1))), "401"},
		"not encrypted":    {appSettings("http://127.0.0.1:1"), post([]byte(challenge)), "401"},
		"another key":      {appSettings("http://127.0.0.1:1"), post(encrypt([]byte(challenge), "x")), "401"},
	} {
		if got, events := hear(t, c.given, c.r); got != c.want || !events.Empty() {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// What is not from Feishu changes nothing.
func TestForgeries(t *testing.T) {
	good := event("im.message.message_read_v1", readExample)
	edit := func(change func(r *sdk.CallbackRequest)) *sdk.CallbackRequest {
		r := called(good, at)
		change(r)
		return r
	}
	header := func(name, value string) *sdk.CallbackRequest {
		return edit(func(r *sdk.CallbackRequest) { r.Header.Set(name, value) })
	}
	resigned := func(event string) *sdk.CallbackRequest { return called(event, at) }
	plainly := &sdk.CallbackRequest{Method: http.MethodPost, Body: []byte(good)}
	none := settings{"base_url": "http://127.0.0.1:1", "app": settings{"app_id": testAppID, "app_secret": testSecret}}
	token := settings{"base_url": "http://127.0.0.1:1", "app": settings{"app_id": testAppID, "app_secret": testSecret, "verification_token": testToken}}
	full := appSettings("http://127.0.0.1:1")
	for name, c := range map[string]struct {
		given settings
		r     *sdk.CallbackRequest
		want  string
	}{
		"good":                  {full, called(good, at), "200 {}"},
		"a wrong signature":     {full, header("X-Lark-Signature", strings.Repeat("0", 64)), "401"},
		"another time":          {full, header("X-Lark-Request-Timestamp", "1795773601"), "401"},
		"another nonce":         {full, header("X-Lark-Request-Nonce", "x"), "401"},
		"another body":          {full, edit(func(r *sdk.CallbackRequest) { r.Body = append(r.Body, ' ') }), "401"},
		"no signature":          {full, edit(func(r *sdk.CallbackRequest) { r.Header = http.Header{} }), "401"},
		"in clear":              {full, plainly, "401"},
		"no JSON":               {full, edit(func(r *sdk.CallbackRequest) { r.Body, r.Header = []byte("x"), http.Header{} }), "401"},
		"no object inside":      {full, resigned("[]"), "401"},
		"old":                   {full, called(good, at.Add(-9*time.Hour)), "401"},
		"of the future":         {full, called(good, at.Add(9*time.Hour)), "401"},
		"a repeat of hours ago": {full, called(good, at.Add(-7*time.Hour)), "200 {}"},
		"another token":         {full, resigned(strings.Replace(good, testToken, "x", 1)), "401"},
		"no token":              {full, resigned(strings.Replace(good, testToken, "", 1)), "401"},
		"GET":                   {full, edit(func(r *sdk.CallbackRequest) { r.Method = http.MethodGet }), "405"},
		"the token alone":       {token, plainly, "200 {}"},
		"encrypted, no key":     {token, called(good, at), "401"},
		"nothing to check by":   {none, plainly, "404"},
	} {
		got, events := hear(t, c.given, c.r)
		if got != c.want || events.Empty() != (c.want != "200 {}") {
			t.Errorf("%s: got %s, %+v, want %s", name, got, events, c.want)
		}
	}
}

func FuzzCallback(f *testing.F) {
	f.Add([]byte(challenge), "", "")
	f.Add([]byte(event("im.message.message_read_v1", readExample)), "1", "n")
	f.Add([]byte(received("post", `{"content":[[{"tag":"at"}]]}`, `,"mentions":[{"key":"@_user_1","name":"Tom"}]`)), "", "")
	f.Add(encrypt([]byte(challenge), testKey), "x", "")
	c := &callbacks{token: testToken, encryptKey: testKey, appID: testAppID, tolerance: time.Hour, now: func() time.Time { return at }}
	plain := &callbacks{token: testToken, appID: testAppID, tolerance: time.Hour, now: func() time.Time { return at }}
	f.Fuzz(func(t *testing.T, body []byte, timestamp, nonce string) {
		header := http.Header{
			"X-Lark-Request-Timestamp": {timestamp}, "X-Lark-Request-Nonce": {nonce},
			"X-Lark-Signature": {eventSignature(timestamp, nonce, testKey, body)},
		}
		for _, r := range []*sdk.CallbackRequest{
			{Method: http.MethodPost, Body: body, Header: header},
			{Method: http.MethodPost, Body: encrypt(body, testKey)},
		} {
			for _, c := range []*callbacks{c, plain} {
				answer, events, err := c.handle(context.Background(), r)
				if err != nil || answer == nil || (answer.Status != 0 && !events.Empty()) {
					t.Errorf("%+v, %+v, %v", answer, events, err)
				}
			}
		}
	})
}

func FuzzCompose(f *testing.F) {
	f.Add("text", "", `{"a":1}`, "")
	f.Add("T", "post", "a\nb", "x")
	f.Add("", "interactive", `{"elements":[`, "{}")
	f.Fuzz(func(t *testing.T, subject, kind, text, content string) {
		m := message("ou_1", saying(text), titled(subject), attributes("msg_type", kind, "content", content))
		c, err := compose(m)
		if err != nil {
			return
		}
		body, err := c.text()
		if err != nil || !json.Valid([]byte(body)) {
			t.Errorf("%q, %v", body, err)
		}
		if posted, err := c.forHook(); err == nil {
			if _, err := marshal(posted); err != nil {
				t.Error(err)
			}
		}
	})
}
