package feishu_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/feishu"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// office is a desk that takes every message unless it is told otherwise.
type office struct {
	decision desk.Decision
	err      error

	mu        sync.Mutex
	ids       int
	taken     []desk.Message
	callbacks []desk.Callback
}

// NewID implements desk.Desk.
func (o *office) NewID() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ids++
	return strconv.Itoa(o.ids)
}

// Send implements desk.Desk.
func (o *office) Send(c desk.Callback) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.callbacks = append(o.callbacks, c)
}

// Take implements desk.Desk.
func (o *office) Take(_ context.Context, _ desk.Provider, m desk.Message, callback func(desk.Receipt) desk.Callback) (desk.Decision, error) {
	d := o.decision
	if m.Refused != "" {
		d = desk.Decision{Answer: desk.Refuse, Code: m.Refused}
	}
	o.mu.Lock()
	o.taken = append(o.taken, m)
	o.mu.Unlock()
	if callback != nil && d.Answer == desk.Accept {
		for _, r := range []desk.Receipt{
			{Status: desk.Delivered, ProviderID: m.ProviderID},
			{Status: desk.Progress, ProviderID: m.ProviderID},
			{Status: desk.Undelivered, ProviderID: m.ProviderID},
			{Status: desk.Undelivered, ProviderID: "om_forged"},
		} {
			if c := callback(r); c.Request != nil {
				o.Send(c)
			}
		}
	}
	return d, o.err
}

// double is the provider behind a server.
type double struct {
	*httptest.Server
	*office

	provider desk.Provider
}

func start(t *testing.T) *double {
	t.Helper()
	d := &double{office: &office{}}
	d.provider = feishu.New(d.office)
	mux := http.NewServeMux()
	d.provider.Register(mux)
	d.Server = httptest.NewServer(mux)
	t.Cleanup(d.Close)
	return d
}

func (d *double) set(t *testing.T, settings string) {
	t.Helper()
	if err := d.provider.Set([]byte(settings)); err != nil {
		t.Fatal(err)
	}
}

// post makes a request and returns its status, and the code in the answer.
func (d *double) call(t *testing.T, method, path, token, contentType, body string) (string, map[string]any, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, d.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Header.Set("Content-Type", contentType)
	answer, err := d.Client().Do(r)
	if err != nil {
		return err.Error(), nil, nil
	}
	text, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // of the codes
	_ = decoder.Decode(&fields)
	return fmt.Sprintf("%d %v", answer.StatusCode, fields["code"]), fields, answer.Header
}

func (d *double) post(t *testing.T, path, token, body string) string {
	t.Helper()
	got, _, _ := d.call(t, http.MethodPost, path, token, "application/json", body)
	return got
}

const tokenPath = "/open-apis/auth/v3/tenant_access_token/internal"

func (d *double) token(t *testing.T) string {
	t.Helper()
	_, fields, _ := d.call(t, http.MethodPost, tokenPath, "", "application/json", `{"app_id":"cli_sandbox","app_secret":"sandbox-secret"}`)
	token, ok := fields["tenant_access_token"].(string)
	if !ok {
		t.Fatalf("%v", fields)
	}
	return token
}

func hookSign(timestamp, secret string) string {
	mac := hmac.New(sha256.New, []byte(timestamp+"\n"+secret))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func TestHook(t *testing.T) {
	d := start(t)
	now, old := strconv.FormatInt(time.Now().Unix(), 10), strconv.FormatInt(time.Now().Add(-2*time.Hour).Unix(), 10)
	text := func(timestamp, sign string) string {
		return fmt.Sprintf(`{"timestamp":%q,"sign":%q,"msg_type":"text","content":{"text":"hi"}}`, timestamp, sign)
	}
	d.set(t, `{"hook_per_second":0,"hook_per_minute":0,"hooks":[{"token":"open"},{"token":"signed","secret":"s"},{"token":"words","keywords":["alarm"]}]}`)
	for _, c := range []struct{ hook, body, want string }{
		{"open", `{"msg_type":"text","content":{"text":"hi"}}`, "200 0"},
		{"none", `{"msg_type":"text","content":{"text":"hi"}}`, "200 19001"},
		{"open", `not json`, "200 9499"},
		{"open", `{"msg_type":"text","content":{"text":"` + strings.Repeat("x", 20<<10) + `"}}`, "200 9499"},
		{"open", `{}`, "200 19002"},
		{"open", `{"msg_type":"text","content":{}}`, "200 19002"},
		{"open", `{"msg_type":"file","content":{"file_key":"f"}}`, "200 19002"},
		{"open", `{"msg_type":"post","content":{"post":{"zh_cn":{"title":"T","content":[[{"tag":"text","text":"one"}]]}}}}`, "200 0"},
		{"open", `{"msg_type":"post","content":{"zh_cn":{"title":"T","content":[[{"tag":"text","text":"one"}]]}}}`, "200 19002"},
		{"open", `{"msg_type":"post","content":{"post":{"en_us":{"content":[[{"text":"no tag"}]]}}}}`, "200 19002"},
		{"open", `{"msg_type":"image","content":{"image_key":"img_1"}}`, "200 0"},
		{"open", `{"msg_type":"share_chat","content":{"share_chat_id":"oc_1"}}`, "200 0"},
		{"open", `{"msg_type":"interactive","card":{"header":{"title":{"content":"T"}},"elements":[{"tag":"markdown","content":"body"}]}}`, "200 0"},
		{"open", `{"msg_type":"interactive","card":{"type":"template","data":{"template_id":"AA","template_variable":{"a":"b"}}}}`, "200 0"},
		{"open", `{"msg_type":"interactive","card":{}}`, "200 19002"},
		{"open", `{"msg_type":"interactive"}`, "200 19002"},
		{"signed", text(now, hookSign(now, "s")), "200 0"},
		{"signed", strings.Replace(text(now, hookSign(now, "s")), `"`+now+`"`, now, 1), "200 0"},
		{"signed", text(now, hookSign(now, "x")), "200 19021"},
		{"signed", text(old, hookSign(old, "s")), "200 19021"},
		{"signed", text("", ""), "200 19021"},
		{"words", `{"msg_type":"text","content":{"text":"hi"}}`, "200 19024"},
		{"words", `{"msg_type":"text","content":{"text":"an alarm"}}`, "200 0"},
	} {
		if got := d.post(t, "/open-apis/bot/v2/hook/"+c.hook, "", c.body); got != c.want {
			t.Errorf("%s %.100s: got %s, want %s", c.hook, c.body, got, c.want)
		}
	}
	var said []string
	for _, m := range d.taken {
		said = append(said, m.To+": "+m.Subject+"/"+m.Text)
	}
	want := "open: /hi open: T/one open: /img_1 open: /oc_1 open: T/body open: /AA\na=b signed: /hi signed: /hi words: /an alarm"
	if got := strings.Join(said, " "); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Five a second, and a hundred a minute, for each bot.
func TestHookRate(t *testing.T) {
	d := start(t)
	const body = `{"msg_type":"text","content":{"text":"hi"}}`
	d.set(t, `{"hooks":[{"token":"a"},{"token":"b"}],"hook_per_second":2,"hook_per_minute":100}`)
	for i, want := range []string{"200 0", "200 0", "200 11232"} {
		if got := d.post(t, "/open-apis/bot/v2/hook/a", "", body); got != want {
			t.Errorf("%d: %s", i, got)
		}
	}
	if got := d.post(t, "/open-apis/bot/v2/hook/b", "", body); got != "200 0" {
		t.Errorf("another bot: %s", got)
	}
	d.set(t, `{"hooks":[{"token":"a"}],"hook_per_second":0,"hook_per_minute":1}`)
	for i, want := range []string{"200 0", "200 11232"} {
		if got := d.post(t, "/open-apis/bot/v2/hook/a", "", body); got != want {
			t.Errorf("%d: %s", i, got)
		}
	}
}

func TestDecisions(t *testing.T) {
	const hook, sent = `{"msg_type":"text","content":{"text":"hi"}}`, `{"receive_id":"ou_1","msg_type":"text","content":"{\"text\":\"hi\"}"}`
	for _, c := range []struct {
		d         desk.Decision
		hook, app string
	}{
		{desk.Decision{Answer: desk.Fail}, "503 <nil>", "503 <nil>"},
		{desk.Decision{Answer: desk.Fail, Code: "5000"}, "200 5000", "500 5000"},
		{desk.Decision{Answer: desk.Refuse}, "200 19024", "400 230013"},
		{desk.Decision{Answer: desk.Refuse, Code: "230053"}, "200 230053", "400 230053"},
		{desk.Decision{Answer: desk.Throttle}, "200 11232", "429 99991400"},
		{desk.Decision{Answer: desk.HangUp}, "EOF", "EOF"},
	} {
		d := start(t)
		d.decision = c.d
		if got := d.post(t, "/open-apis/bot/v2/hook/sandbox-hook-open", "", hook); !strings.HasSuffix(got, c.hook) {
			t.Errorf("%+v: hook: %s", c.d, got)
		}
		got, _, header := d.call(t, http.MethodPost, "/open-apis/im/v1/messages?receive_id_type=open_id", d.token(t), "application/json", sent)
		if !strings.HasSuffix(got, c.app) || (strings.HasPrefix(c.app, "429") && header.Get("X-Ogw-Ratelimit-Reset") != "1") {
			t.Errorf("%+v: app: %s, %v", c.d, got, header)
		}
	}
	d := start(t)
	d.err = errors.New("the ledger is full")
	if got := d.post(t, "/open-apis/bot/v2/hook/sandbox-hook-open", "", hook); got != "500 10500" {
		t.Errorf("hook: %s", got)
	}
	if got := d.post(t, "/open-apis/im/v1/messages?receive_id_type=open_id", d.token(t), sent); got != "500 10500" {
		t.Errorf("app: %s", got)
	}
}

func TestTokens(t *testing.T) {
	d := start(t)
	for body, want := range map[string]string{
		`{"app_id":"cli_sandbox","app_secret":"x"}`: "200 10014", `{"app_id":"x","app_secret":"sandbox-secret"}`: "200 10003",
		`{}`: "400 10003", `x`: "400 10003",
	} {
		if got := d.post(t, tokenPath, "", body); got != want {
			t.Errorf("%s: %s", body, got)
		}
	}
	token := d.token(t)
	if again := d.token(t); again != token {
		t.Errorf("a token with two hours to live is not given again: %s, %s", token, again)
	}
	check := func(token, want string) {
		t.Helper()
		if got, _, _ := d.call(t, http.MethodGet, "/open-apis/bot/v3/info", token, "", ""); got != want {
			t.Errorf("%q: %s, want %s", token, got, want)
		}
	}
	check(token, "200 0")
	check("", "400 99991661")
	check("x-1", "400 99991671")
	check("t-1000", "400 99991663")
	d.set(t, `{"revoke_tokens":true}`)
	check(token, "400 99991663")
	check(d.token(t), "200 0")
	if s, ok := d.provider.Settings().(feishu.Settings); !ok || s.RevokeTokens || s.AppID != "cli_sandbox" {
		t.Errorf("%+v", d.provider.Settings())
	}
	if got := d.post(t, "/open-apis/elsewhere", token, ""); got != "404 99991201" {
		t.Errorf("an unknown path: %s", got)
	}
}

func TestMessages(t *testing.T) {
	d := start(t)
	d.set(t, `{"refuse":{"ou_gone":230029},"recipient_per_second":0,"app_per_second":0}`)
	token := d.token(t)
	send := func(idType, body string) (string, map[string]any) {
		got, fields, _ := d.call(t, http.MethodPost, "/open-apis/im/v1/messages?receive_id_type="+idType, token, "application/json", body)
		data, _ := fields["data"].(map[string]any)
		return got, data
	}
	message := func(to, kind, content, uuid string) string {
		text, _ := json.Marshal(map[string]string{"receive_id": to, "msg_type": kind, "content": content, "uuid": uuid})
		return string(text)
	}
	for _, c := range []struct{ idType, body, want string }{
		{"open_id", message("ou_1", "text", `{"text":"hi"}`, ""), "200 0"},
		{"chat_id", message("oc_1", "post", `{"zh_cn":{"title":"T","content":[[{"tag":"text","text":"x"}]]}}`, ""), "200 0"},
		{"email", message("a@b", "image", `{"image_key":"img"}`, ""), "200 0"},
		{"user_id", message("any", "share_user", `{"user_id":"ou_1"}`, ""), "200 0"},
		{"union_id", message("on_1", "file", `{"file_key":"f"}`, ""), "200 0"},
		{"chat_id", message("oc_1", "share_chat", `{"chat_id":"oc_2"}`, ""), "200 0"},
		{"open_id", message("ou_1", "interactive", `{"body":{"elements":[{"tag":"markdown","content":"x"}]}}`, ""), "200 0"},
		{"open_id", `x`, "400 9499"},
		{"", message("ou_1", "text", `{"text":"hi"}`, ""), "400 99992402"},
		{"phone", message("ou_1", "text", `{"text":"hi"}`, ""), "400 99992402"},
		{"open_id", message("", "text", `{"text":"hi"}`, ""), "400 99992402"},
		{"open_id", message("ou_1", "text", `{"text":"hi"}`, strings.Repeat("u", 51)), "400 99992402"},
		{"open_id", message("oc_1", "text", `{"text":"hi"}`, ""), "400 230001"},
		{"email", message("ann", "text", `{"text":"hi"}`, ""), "400 230001"},
		{"open_id", message("ou_1", "text", `{"text":""}`, ""), "400 230001"},
		{"open_id", message("ou_1", "video", `{}`, ""), "400 230001"},
		{"open_id", message("ou_1", "text", `{"text":"`+strings.Repeat("x", 150<<10)+`"}`, ""), "400 230025"},
		{"open_id", message("ou_1", "interactive", `{"elements":[{"content":"`+strings.Repeat("x", 30<<10)+`"}]}`, ""), "400 230025"},
		{"open_id", message("ou_gone", "text", `{"text":"hi"}`, ""), "400 230029"},
	} {
		if got, _ := send(c.idType, c.body); got != c.want {
			t.Errorf("%s %.100s: got %s, want %s", c.idType, c.body, got, c.want)
		}
	}
	before := len(d.taken)
	_, first := send("open_id", message("ou_1", "text", `{"text":"hi"}`, "u-1"))
	got, second := send("open_id", message("ou_1", "text", `{"text":"hi"}`, "u-1"))
	if got != "200 0" || first["message_id"] != second["message_id"] || len(d.taken) != before+1 {
		t.Errorf("the same uuid: %s %v %v", got, first, second)
	}
	// A uuid of a message that was refused may be used again.
	if got, _ := send("open_id", message("ou_gone", "text", `{"text":"hi"}`, "u-2")); got != "400 230029" {
		t.Errorf("refused: %s", got)
	}
	if got, _ := send("open_id", message("ou_1", "text", `{"text":"hi"}`, "u-2")); got != "200 0" {
		t.Errorf("its uuid again: %s", got)
	}
	id, _ := first["message_id"].(string)
	for path, want := range map[string]string{"/" + id: "200 0", "/" + id + "/read_users?user_id_type=open_id": "200 0", "/om_none": "400 230001", "/om_none/read_users": "400 230001"} {
		if got, _, _ := d.call(t, http.MethodGet, "/open-apis/im/v1/messages"+path, token, "", ""); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}

func TestAppRates(t *testing.T) {
	d := start(t)
	token := d.token(t)
	send := func(to string) string {
		got, _, header := d.call(t, http.MethodPost, "/open-apis/im/v1/messages?receive_id_type=open_id", token, "application/json",
			`{"receive_id":"`+to+`","msg_type":"text","content":"{\"text\":\"hi\"}"}`)
		return got + " " + header.Get("X-Ogw-Ratelimit-Reset")
	}
	d.set(t, `{"recipient_per_second":1}`)
	if a, b, c := send("ou_1"), send("ou_1"), send("ou_2"); a != "200 0 " || b != "400 230020 " || c != "200 0 " {
		t.Errorf("%s, %s, %s", a, b, c)
	}
	d.set(t, `{"app_per_second":1}`)
	if a, b := send("ou_3"), send("ou_4"); a != "200 0 " || b != "429 99991400 1" {
		t.Errorf("%s, %s", a, b)
	}
	d.set(t, `{"app_per_minute":1}`)
	if a, b := send("ou_5"), send("ou_6"); a != "200 0 " || b != "429 99991400 60" {
		t.Errorf("%s, %s", a, b)
	}
}

func TestImages(t *testing.T) {
	d := start(t)
	token := d.token(t)
	upload := func(kind string, size int) string {
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		_ = form.WriteField("image_type", kind)
		part, _ := form.CreateFormFile("image", "a.png")
		_, _ = part.Write(make([]byte, size))
		_ = form.Close()
		got, _, _ := d.call(t, http.MethodPost, "/open-apis/im/v1/images", token, form.FormDataContentType(), body.String())
		return got
	}
	for _, c := range []struct {
		kind string
		size int
		want string
	}{{"message", 10, "200 0"}, {"message", 0, "400 234010"}, {"other", 10, "400 234001"}, {"message", 10<<20 + 1, "400 234006"}, {"message", 11 << 20, "400 234006"}} {
		if got := upload(c.kind, c.size); got != c.want {
			t.Errorf("%s of %d: %s, want %s", c.kind, c.size, got, c.want)
		}
	}
}

// requests are the callbacks as they go out.
func (d *double) requests(t *testing.T) []*http.Request {
	t.Helper()
	var out []*http.Request
	for _, c := range d.callbacks {
		r, err := c.Request(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// Receipts are of what is written to a user, and say that it was read.
func TestReceipts(t *testing.T) {
	d := start(t)
	token := d.token(t)
	send := func(idType, to string) string {
		_, fields, _ := d.call(t, http.MethodPost, "/open-apis/im/v1/messages?receive_id_type="+idType, token, "application/json",
			`{"receive_id":"`+to+`","msg_type":"text","content":"{\"text\":\"hi\"}"}`)
		data, _ := fields["data"].(map[string]any)
		id, _ := data["message_id"].(string)
		return id
	}
	send("open_id", "ou_1")
	if n := len(d.callbacks); n != 0 {
		t.Errorf("%d callbacks without a callback_url", n)
	}
	d.set(t, `{"callback_url":"http://gateway.example/callbacks/feishu/app","encrypt_key":""}`)
	send("chat_id", "oc_1")
	if n := len(d.callbacks); n != 0 {
		t.Errorf("%d callbacks of a group", n)
	}
	id := send("email", "ann@example.com")
	got := d.requests(t)
	if len(got) != 2 || got[0].URL.String() != "http://gateway.example/callbacks/feishu/app" || got[0].Header.Get("X-Lark-Signature") != "" {
		t.Fatalf("%+v", got)
	}
	for i, want := range []string{id, "om_forged"} {
		var event struct {
			Schema string `json:"schema"`
			Header struct {
				ID, Type, Token string `json:"-"`
				EventType       string `json:"event_type"`
				EventID         string `json:"event_id"`
			} `json:"header"`
			Event struct {
				IDs []string `json:"message_id_list"`
			} `json:"event"`
		}
		if err := json.NewDecoder(got[i].Body).Decode(&event); err != nil {
			t.Fatal(err)
		}
		if event.Schema != "2.0" || event.Header.EventType != "im.message.message_read_v1" || event.Header.EventID == "" || len(event.Event.IDs) != 1 || event.Event.IDs[0] != want {
			t.Errorf("%+v, want %s", event, want)
		}
	}
	_, fields, _ := d.call(t, http.MethodGet, "/open-apis/im/v1/messages/"+id+"/read_users?user_id_type=open_id", token, "", "")
	if text := fmt.Sprint(fields["data"]); !strings.Contains(text, "ou_of_ann@example.com") {
		t.Errorf("%s", text)
	}
}

func TestPlay(t *testing.T) {
	d := start(t)
	if err := d.provider.Play(t.Context(), []byte(`{"type":"message"}`)); err == nil {
		t.Error("an event has nowhere to go, and goes")
	}
	d.set(t, `{"callback_url":"http://gateway.example/"}`)
	for event, want := range map[string]string{
		`{"type":"message","text":"hi"}`: "", `{"type":"message","chat_id":"oc_1","message_type":"image","content":{"image_key":"k"}}`: "",
		`{"type":"read","message_ids":["om_1"]}`: "", `{"type":"bot_added"}`: "", `{"type":"bot_deleted","chat_id":"oc_1"}`: "",
		`{"type":"event","event_type":"x_v1","event":{"a":1}}`: "", `{"type":"challenge"}`: "",
		`{"type":"read"}`: "message_ids", `{"type":"event"}`: "event_type", `{"type":"x"}`: "type:", `{"typ":"x"}`: "unknown field", `x`: "invalid character",
	} {
		err := d.provider.Play(t.Context(), []byte(event))
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", event, err)
		}
	}
	for _, r := range d.requests(t) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !bytes.HasPrefix(body, []byte(`{"encrypt":"`)) {
			t.Errorf("%s, %v", body, err)
		}
		sum := sha256.Sum256([]byte(r.Header.Get("X-Lark-Request-Timestamp") + r.Header.Get("X-Lark-Request-Nonce") + "sandbox-encrypt-key" + string(body)))
		if r.Header.Get("X-Lark-Signature") != hex.EncodeToString(sum[:]) {
			t.Errorf("the signature is wrong: %v", r.Header)
		}
	}
	last := d.callbacks[0]
	if last.Taken(http.StatusAccepted, nil) || last.Taken(http.StatusInternalServerError, nil) {
		t.Error("taken with another status than 200")
	}
}

func TestSet(t *testing.T) {
	d := start(t)
	for settings, want := range map[string]string{
		`{"hook":1}`: "unknown field", `{"hooks":[{}]}`: "hooks[0].token", `{"app_id":""}`: "app_id: is empty", `{"app_secret":""}`: "app_secret: is empty",
		`{"token_seconds":0}`: "token_seconds: want", `{"callback_url":"x"}`: "callback_url:", `{"hook_per_second":-1}`: "hook_per_second: want 0", `x`: "invalid character",
	} {
		if err := d.provider.Set([]byte(settings)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", settings, err, want)
		}
	}
	if s, ok := d.provider.Settings().(feishu.Settings); !ok || s.AppSecret != "sandbox-secret" || len(s.Hooks) != 2 {
		t.Errorf("a refused setting changed something: %+v", s)
	}
	if d.provider.Name() != "feishu" || d.provider.Channel() != "feishu" {
		t.Error("another name")
	}
}
