package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

func TestAppSends(t *testing.T) {
	f := serve(t, nil)
	c := connect(t, appSettings(f.URL))
	receipt, err := c.Send(t.Context(), message("ann+shop@example.com"))
	if err != nil || receipt.ProviderID() != "om_1" {
		t.Fatalf("%v, %v", receipt, err)
	}
	got := f.requests(messagesPath)
	if len(got) != 1 || got[0].uri != messagesPath+"?receive_id_type=email" || got[0].header.Get("Authorization") != "Bearer t-token-1" {
		t.Fatalf("%+v", got)
	}
	want := `{"receive_id":"ann+shop@example.com","msg_type":"text","content":"{\"text\":\"say \\\"hi\\\"\\n短信 & <more>\"}","uuid":"msg_1"}`
	if !sameJSON(t, got[0].body, want) {
		t.Errorf("got %s, want %s", got[0].body, want)
	}
	asked := f.requests(tokenPath)
	if len(asked) != 1 || !sameJSON(t, asked[0].body, `{"app_id":"cli_test","app_secret":"s3cret-of-the-app"}`) {
		t.Errorf("%+v", asked)
	}
	if _, err := c.Send(t.Context(), message("oc_1")); err != nil || len(f.requests(tokenPath)) != 1 {
		t.Errorf("%v; the token was asked for %d times", err, len(f.requests(tokenPath)))
	}
}

// The key by which Feishu drops repeats is the gateway's, or a hash of it where that is too long for Feishu.
func TestUUID(t *testing.T) {
	long := strings.Repeat("k", 51)
	for key, want := range map[string]string{"": "", "msg_1": "msg_1", strings.Repeat("k", 50): strings.Repeat("k", 50)} {
		if got := uuid(key); got != want {
			t.Errorf("%q: got %q", key, got)
		}
	}
	if got := uuid(long); len(got) != 50 || got != uuid(long) || got == uuid(long+"k") {
		t.Errorf("got %q", got)
	}
}

// A message that Feishu refuses for its token goes out again with a new one, and no more than that.
func TestStaleToken(t *testing.T) {
	for code := range staleTokens {
		var good atomic.Value
		f := serve(t, map[string]http.HandlerFunc{messagesPath: func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != good.Load() {
				says(400, `{"code":`+code+`,"msg":"Invalid access token for authorization."}`)(w, r)
				return
			}
			says(200, `{"code":0,"msg":"success","data":{"message_id":"om_1"}}`)(w, r)
		}})
		c := connect(t, appSettings(f.URL))
		good.Store("Bearer t-token-2")
		if receipt, err := c.Send(t.Context(), message("ou_1")); err != nil || receipt.ProviderID() != "om_1" {
			t.Errorf("%s: %v, %v", code, receipt, err)
		}
		good.Store("Bearer t-none")
		if _, err := c.Send(t.Context(), message("ou_2")); told(err) != "rejected auth_failed "+code+" config" {
			t.Errorf("%s: %s", code, told(err))
		}
		if got := len(f.requests(messagesPath)); got != 4 {
			t.Errorf("%s: %d requests, want 4", code, got)
		}
	}
}

// A new token that cannot be had leaves the message unsent.
func TestStaleTokenAndNoOther(t *testing.T) {
	var given atomic.Int64
	f := serve(t, map[string]http.HandlerFunc{
		messagesPath: says(400, `{"code":99991663,"msg":"Invalid access token"}`),
		tokenPath: func(w http.ResponseWriter, r *http.Request) {
			if given.Add(1) > 1 {
				says(503, "<html>")(w, r)
				return
			}
			says(200, `{"code":0,"tenant_access_token":"t-1","expire":7200}`)(w, r)
		},
	})
	if _, err := connect(t, appSettings(f.URL)).Send(t.Context(), message("ou_1")); told(err) != "retryable unavailable 503 provider" {
		t.Errorf("got %s (%v)", told(err), err)
	}
}

// What Feishu throttles holds up the recipient, or all of the app's messages where the code is about them.
func TestAppIsThrottled(t *testing.T) {
	for _, c := range []struct {
		answer  http.HandlerFunc
		want    string
		another string
	}{
		{says(400, `{"code":230020,"msg":"frequency"}`), "throttled throttled 230020 provider 1s", "accepted"},
		{says(429, `{"code":99991400,"msg":"frequency"}`, "x-ogw-ratelimit-reset", "9"), "throttled throttled 99991400 provider 9s", "throttled throttled  provider"},
	} {
		var begun atomic.Bool
		f := serve(t, map[string]http.HandlerFunc{messagesPath: func(w http.ResponseWriter, r *http.Request) {
			if begun.CompareAndSwap(false, true) {
				c.answer(w, r)
				return
			}
			says(200, `{"code":0,"data":{"message_id":"om_1"}}`)(w, r)
		}})
		connector := connect(t, appSettings(f.URL))
		if _, err := connector.Send(t.Context(), message("ou_1")); told(err) != c.want {
			t.Errorf("got %s, want %s", told(err), c.want)
		}
		soon := func(m *sdk.Message) { m.NotAfter = time.Now().Add(900 * time.Millisecond) }
		if _, err := connector.Send(t.Context(), message("ou_1", soon)); !strings.HasPrefix(told(err), "throttled throttled  provider") {
			t.Errorf("the same recipient: %s", told(err))
		}
		if _, err := connector.Send(t.Context(), message("ou_2", soon)); !strings.HasPrefix(told(err), c.another) {
			t.Errorf("another recipient: %s", told(err))
		}
	}
}

func TestAppRefuses(t *testing.T) {
	f := serve(t, nil)
	c := connect(t, appSettings(f.URL))
	for want, m := range map[string]*sdk.Message{
		"rejected invalid_recipient  message": message(""),
		"rejected empty_text  message":        message("ou_1", saying("")),
		"rejected payload_too_large  message": message("ou_1", saying(strings.Repeat("x", 150<<10))),
	} {
		if _, err := c.Send(t.Context(), m); told(err) != want {
			t.Errorf("got %s (%v), want %s", told(err), err, want)
		}
	}
	card := message("ou_1", saying(strings.Repeat("x", 30<<10)), attributes("msg_type", "interactive"))
	if _, err := c.Send(t.Context(), card); told(err) != "rejected payload_too_large  message" {
		t.Errorf("a card of 30 KB: %s", told(err))
	}
	if got := f.requests(messagesPath); len(got) != 0 {
		t.Errorf("sent: %+v", got)
	}
}

// A message that was taken without an id was taken all the same.
func TestNoMessageID(t *testing.T) {
	f := serve(t, map[string]http.HandlerFunc{messagesPath: says(200, `{"code":0,"msg":"success","data":{}}`)})
	if receipt, err := connect(t, appSettings(f.URL)).Send(t.Context(), message("ou_1")); err != nil || len(receipt.ProviderIDs) != 0 {
		t.Errorf("%v, %v", receipt, err)
	}
}

func pictures(names ...string) func(*sdk.Message) {
	return func(m *sdk.Message) {
		for _, name := range names {
			m.Attachments = append(m.Attachments, sdk.Attachment{Name: name, ContentType: "image/png", Data: []byte("png of " + name)})
		}
	}
}

// Images are uploaded first, and become a message or the end of a post.
func TestImages(t *testing.T) {
	for _, c := range []struct {
		m    *sdk.Message
		want string
	}{
		{message("ou_1", saying(""), pictures("a.png")), `{"receive_id":"ou_1","msg_type":"image","content":"{\"image_key\":\"img_1\"}","uuid":"msg_1"}`},
		{
			message("ou_1", saying("Hi"), titled("T"), pictures("a.png", "b.png"), attributes("language", "en_us")),
			`{"receive_id":"ou_1","msg_type":"post","uuid":"msg_1","content":"{\"en_us\":{\"content\":[[{\"tag\":\"text\",\"text\":\"Hi\"}],[{\"image_key\":\"img_1\",\"tag\":\"img\"}],[{\"image_key\":\"img_1\",\"tag\":\"img\"}]],\"title\":\"T\"}}"}`,
		},
		{
			message("ou_1", saying(""), pictures("a.png", "b.png")),
			`{"receive_id":"ou_1","msg_type":"post","uuid":"msg_1","content":"{\"zh_cn\":{\"content\":[[{\"tag\":\"text\",\"text\":\" \"}],[{\"image_key\":\"img_1\",\"tag\":\"img\"}],[{\"image_key\":\"img_1\",\"tag\":\"img\"}]],\"title\":\"\"}}"}`,
		},
	} {
		f := serve(t, nil)
		if _, err := connect(t, appSettings(f.URL)).Send(t.Context(), c.m); err != nil {
			t.Fatal(err)
		}
		if got := f.requests(messagesPath); len(got) != 1 || !sameJSON(t, got[0].body, c.want) {
			t.Errorf("got %+v, want %s", got, c.want)
		}
		uploads := f.requests(imagesPath)
		if len(uploads) != len(c.m.Attachments) {
			t.Fatalf("%d uploads", len(uploads))
		}
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(uploads[0].body))
		r.Header = uploads[0].header
		file, head, err := r.FormFile("image")
		if err != nil || r.FormValue("image_type") != "message" || head.Filename != "a.png" || head.Header.Get("Content-Type") != "image/png" {
			t.Fatalf("%v, %+v", err, head)
		}
		if data, err := io.ReadAll(file); string(data) != "png of a.png" || err != nil {
			t.Errorf("%s, %v", data, err)
		}
	}
}

func TestImagesRefused(t *testing.T) {
	attach := func(at sdk.Attachment) func(*sdk.Message) {
		return func(m *sdk.Message) { m.Attachments = []sdk.Attachment{at} }
	}
	big := sdk.Attachment{Name: "a.png", ContentType: "image/png", Data: make([]byte, maxImageBytes+1)}
	card := func(m *sdk.Message) { m.Template = &sdk.Template{ID: "AAq1"} }
	for _, c := range []struct {
		want  string
		edits []func(*sdk.Message)
	}{
		{"rejected attachments_unsupported  message", []func(*sdk.Message){attach(sdk.Attachment{Name: "a.png", ContentType: "image/png", URL: "https://example.com/a.png"})}},
		{"rejected attachments_unsupported  message", []func(*sdk.Message){attach(sdk.Attachment{Name: "a.pdf", ContentType: "application/pdf", Data: []byte("x")})}},
		{"rejected attachments_unsupported  message", []func(*sdk.Message){attach(sdk.Attachment{Name: "a.png", ContentType: "image/png"})}},
		{"rejected payload_too_large  message", []func(*sdk.Message){attach(big)}},
		{"rejected attachments_unsupported  message", []func(*sdk.Message){pictures("a.png"), attributes("msg_type", "interactive")}},
		{"rejected attachments_unsupported  message", []func(*sdk.Message){pictures("a.png"), card}},
		{"rejected attachments_unsupported  message", []func(*sdk.Message){pictures("a.png"), attributes("post", "{}")}},
		{"rejected attachments_unsupported  message", []func(*sdk.Message){pictures("a.png"), saying(`{"zh_cn":{}}`)}},
	} {
		f := serve(t, nil)
		if _, err := connect(t, appSettings(f.URL)).Send(t.Context(), message("ou_1", c.edits...)); told(err) != c.want {
			t.Errorf("got %s (%v), want %s", told(err), err, c.want)
		}
	}
	// An upload that nobody knows the end of has sent nothing.
	for body, want := range map[string]string{
		`<html>`:               "retryable unreadable_answer  provider",
		`{"code":0,"data":{}}`: "retryable unreadable_answer  provider",
		`{"code":234011,"msg":"Can't regonnize the"}`: "rejected invalid_parameter 234011 message",
	} {
		f := serve(t, map[string]http.HandlerFunc{imagesPath: says(200, body)})
		_, err := connect(t, appSettings(f.URL)).Send(t.Context(), message("ou_1", pictures("a.png")))
		if told(err) != want || !strings.HasPrefix(err.Error(), "upload a.png: ") || len(f.requests(messagesPath)) != 0 {
			t.Errorf("%s: %s (%v)", body, told(err), err)
		}
	}
}

func TestAppCheck(t *testing.T) {
	for _, c := range []struct {
		path, answer, want string
	}{
		{infoPath, `{"code":0,"msg":"ok","bot":{"activate_status":2}}`, "accepted"},
		{infoPath, `{"code":11205,"msg":"app do not have bot"}`, "rejected permission_denied 11205 config"},
		{tokenPath, `{"code":10003,"msg":"invalid param"}`, "rejected auth_failed 10003 config"},
	} {
		f := serve(t, map[string]http.HandlerFunc{c.path: says(200, c.answer)})
		if err := connect(t, appSettings(f.URL)).Check(t.Context()); told(err) != c.want {
			t.Errorf("%s: %s", c.answer, told(err))
		}
		if len(f.requests(messagesPath)) != 0 {
			t.Error("a check sends")
		}
	}
}

// What is known by its id is asked for; what is not may go out again, as Feishu drops it if it has it; later nobody knows.
func TestAppQuery(t *testing.T) {
	f := serve(t, map[string]http.HandlerFunc{
		messagesPath + "/om_there":   says(200, `{"code":0,"data":{"items":[{"message_id":"om_there"}]}}`),
		messagesPath + "/om_deleted": says(400, `{"code":230110,"msg":"Action unavailable as the message has been deleted."}`),
		messagesPath + "/om_none":    says(400, `{"code":230001,"msg":"invalid message_id"}`),
		messagesPath + "/om_odd":     says(200, `{"code":0,"data":[]}`),
	})
	c := connect(t, appSettings(f.URL))
	recent, old := time.Now().Add(-time.Minute), time.Now().Add(-11*time.Minute)
	results, err := c.Query(t.Context(), []sdk.Attempt{
		{AttemptID: "1:1", ProviderIDs: []string{"om_there"}},
		{AttemptID: "2:1", ProviderIDs: []string{"om_deleted"}},
		{AttemptID: "3:1", ProviderIDs: []string{"om_none"}},
		{AttemptID: "4:1", ProviderIDs: []string{"om_odd"}},
		{AttemptID: "5:1", IdempotencyKey: "msg_5", SentAt: recent},
		{AttemptID: "6:1", IdempotencyKey: "msg_6", SentAt: old},
		{AttemptID: "7:1", SentAt: recent},
	})
	got := map[string]string{}
	for _, r := range results {
		got[r.AttemptID] = told(r.Err) + " " + r.Receipt.ProviderID()
	}
	text, _ := json.Marshal(got)
	if want := `{"1:1":"accepted om_there","2:1":"accepted om_deleted","5:1":"uncertain repeat_is_safe  provider "}`; err != nil || string(text) != want {
		t.Errorf("got %s, %v, want %s", text, err, want)
	}
	f = serve(t, map[string]http.HandlerFunc{messagesPath + "/om_1": says(503, "<html>")})
	if _, err := connect(t, appSettings(f.URL)).Query(t.Context(), []sdk.Attempt{{AttemptID: "1:1", ProviderIDs: []string{"om_1"}}}); err == nil {
		t.Error("a question that Feishu does not answer passes for an answer")
	}
}
