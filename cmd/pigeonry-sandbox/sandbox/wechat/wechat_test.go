package wechat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// table is a desk that takes everything, unless a test says otherwise.
type table struct {
	mu       sync.Mutex
	taken    []desk.Message
	receipt  func(desk.Receipt) desk.Callback
	sent     []desk.Callback
	decision desk.Decision
	err      error
	wait     chan struct{} // nil: nothing to wait for
}

func (d *table) Take(_ context.Context, _ desk.Provider, m desk.Message, callback func(desk.Receipt) desk.Callback) (desk.Decision, error) {
	if d.wait != nil {
		<-d.wait
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken, d.receipt = append(d.taken, m), callback
	if m.Refused != "" {
		return desk.Decision{Answer: desk.Refuse, Code: m.Refused}, nil
	}
	return d.decision, d.err
}

func (d *table) Send(c desk.Callback) { d.sent = append(d.sent, c) }

func (d *table) NewID() string { return "id" }

// open is a provider at a table, with its paths.
func open(t *testing.T, edit func(*Settings)) (*table, *Provider, *http.ServeMux) {
	t.Helper()
	d := &table{}
	p := New(d).(*Provider)
	mux := http.NewServeMux()
	p.Register(mux)
	if edit != nil {
		set(t, p, edit)
	}
	return d, p, mux
}

func set(t *testing.T, p *Provider, edit func(*Settings)) {
	t.Helper()
	s := p.current()
	edit(&s)
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Set(raw); err != nil {
		t.Fatal(err)
	}
}

// answers makes a request and decodes what comes back. The path gets the token, unless it has one.
func answers(t *testing.T, mux http.Handler, method, path, body string) map[string]any {
	t.Helper()
	rw := httptest.NewRecorder()
	mux.ServeHTTP(rw, httptest.NewRequest(method, path, strings.NewReader(body)))
	if rw.Code != http.StatusOK {
		t.Fatalf("%s answers %d %q", path, rw.Code, rw.Body)
	}
	var out map[string]any
	if err := json.Unmarshal(rw.Body.Bytes(), &out); err != nil {
		t.Fatalf("%s answers %q: %v", path, rw.Body, err)
	}
	return out
}

// code is the error code of an answer; 0 where there is none.
func code(out map[string]any) int {
	n, _ := out["errcode"].(float64)
	return int(n)
}

func tokenOf(t *testing.T, mux http.Handler, force bool) string {
	t.Helper()
	s := defaults()
	out := answers(t, mux, http.MethodPost, "/cgi-bin/stable_token",
		fmt.Sprintf(`{"grant_type":"client_credential","appid":%q,"secret":%q,"force_refresh":%t}`, s.AppID, s.AppSecret, force))
	token, ok := out["access_token"].(string)
	if !ok || token == "" {
		t.Fatalf("token: %v", out)
	}
	return token
}

func TestDefaultsAreASetting(t *testing.T) {
	_, p, _ := open(t, func(*Settings) {})
	if p.Name() != "wechat" || p.Channel() != "wechat" {
		t.Errorf("%s of %s", p.Name(), p.Channel())
	}
	if got := p.Settings().(Settings); got.AppID != defaults().AppID || got.Mode != modeSafe {
		t.Errorf("settings %+v", got)
	}
}

func TestSetRefuses(t *testing.T) {
	for raw, field := range map[string]string{
		`{"app_id":""}`: "app_id", `{"app_secret":""}`: "app_secret", `{"token_seconds":0}`: "token_seconds", `{"mode":"secret"}`: "mode",
		`{"encoding_aes_key":"abc"}`: "encoding_aes_key", `{"token_seconds":"x"}`: "settings", `[]`: "settings",
	} {
		_, p, _ := open(t, nil)
		if err := p.Set(json.RawMessage(raw)); err == nil || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("%s: %v, want a fault of %s", raw, err, field)
		}
		if p.current().AppID != defaults().AppID {
			t.Errorf("%s changed the settings", raw)
		}
	}
}

func TestTokenRequestsThatAreWrong(t *testing.T) {
	_, _, mux := open(t, nil)
	s := defaults()
	good := fmt.Sprintf("grant_type=client_credential&appid=%s&secret=%s", s.AppID, s.AppSecret)
	if out := answers(t, mux, http.MethodGet, "/cgi-bin/token?"+good, ""); out["access_token"] == "" || out["expires_in"] != 7200.0 {
		t.Errorf("token %v", out)
	}
	for query, want := range map[string]int{
		"": errGrantType, "grant_type=client_credential": errNoAppID, "grant_type=client_credential&appid=wx1": errAppID,
		"grant_type=client_credential&appid=" + s.AppID: errNoSecret, strings.Replace(good, s.AppSecret, "no", 1): errSecret,
	} {
		if got := code(answers(t, mux, http.MethodGet, "/cgi-bin/token?"+query, "")); got != want {
			t.Errorf("%q: code %d, want %d", query, got, want)
		}
	}
	for body, want := range map[string]int{"": errEmpty, "{": errFormat, "{}": errGrantType} {
		if got := code(answers(t, mux, http.MethodPost, "/cgi-bin/stable_token", body)); got != want {
			t.Errorf("%q: code %d, want %d", body, got, want)
		}
	}
	if got := code(answers(t, mux, http.MethodGet, "/cgi-bin/stable_token", "")); got != errNeedPost {
		t.Errorf("GET: code %d", got)
	}
}

// The life of stable tokens: the same until five minutes before its end, then both, and a forced one ends the others.
func TestStableTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p, mux := open(t, nil)
		valid := func(token string) bool {
			return code(answers(t, mux, http.MethodGet, "/cgi-bin/get_api_domain_ip?access_token="+token, "")) == 0
		}
		first := tokenOf(t, mux, false)
		advance(2*time.Hour - 6*time.Minute)
		if again := tokenOf(t, mux, false); again != first || !valid(first) {
			t.Error("a stable token does not stay")
		}
		advance(2 * time.Minute)
		second := tokenOf(t, mux, false)
		if second == first || !valid(first) || !valid(second) {
			t.Error("the last five minutes of a token are not shared with its successor")
		}
		advance(5 * time.Minute)
		if valid(first) || !valid(second) {
			t.Error("a token outlives its time")
		}
		third := tokenOf(t, mux, true)
		if third == second || valid(second) || !valid(third) {
			t.Error("a forced token leaves the one before")
		}
		if again := tokenOf(t, mux, true); again != third {
			t.Error("a token can be forced within 30 seconds")
		}
		for range forcedADay - 1 {
			advance(time.Minute)
			tokenOf(t, mux, true)
		}
		advance(time.Minute)
		s := p.current()
		out := answers(t, mux, http.MethodPost, "/cgi-bin/stable_token",
			fmt.Sprintf(`{"grant_type":"client_credential","appid":%q,"secret":%q,"force_refresh":true}`, s.AppID, s.AppSecret))
		if code(out) != errDailyQuota {
			t.Errorf("the 21st forced token of a day: %v", out)
		}
		set(t, p, func(s *Settings) { s.TokensRevoked = true })
		if valid(tokenOf(t, mux, false)) != true || valid(third) {
			t.Error("a revoked token is taken")
		}
	})
}

// advance lets time pass, of the bubble that a test plays in.
func advance(d time.Duration) { <-time.After(d) }

func TestPlainTokensEndEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, mux := open(t, nil)
		s := defaults()
		get := func() string {
			out := answers(t, mux, http.MethodGet, fmt.Sprintf("/cgi-bin/token?grant_type=client_credential&appid=%s&secret=%s", s.AppID, s.AppSecret), "")
			return out["access_token"].(string)
		}
		valid := func(token string) bool {
			return code(answers(t, mux, http.MethodGet, "/cgi-bin/getcallbackip?access_token="+token, "")) == 0
		}
		first, stable := get(), tokenOf(t, mux, false)
		second := get()
		if first == second || !valid(first) || !valid(second) || !valid(stable) {
			t.Error("a token does not last five minutes beside its successor")
		}
		advance(renewal + time.Second)
		if valid(first) || !valid(second) || !valid(stable) {
			t.Error("a token outlives its successor by more than five minutes")
		}
	})
}

const full = `{"touser":"ann","template_id":"T1","data":{"a":{"value":"1"}}}`

func TestRequestsThatAreWrong(t *testing.T) {
	_, _, mux := open(t, func(s *Settings) {
		s.Templates, s.Strangers, s.Refusers = map[string][]string{"T1": {"a"}}, []string{"zoe"}, []string{"bob"}
	})
	token := tokenOf(t, mux, false)
	edit := func(from, to string) string { return strings.Replace(full, from, to, 1) }
	const (
		template = "/cgi-bin/message/template/send"
		notice   = "/cgi-bin/message/subscribe/bizsend"
		once     = "/cgi-bin/message/template/subscribe"
		custom   = "/cgi-bin/message/custom/send"
	)
	for name, tc := range map[string]struct {
		path, body string
		want       int
	}{
		"taken":                     {template, full, 0},
		"nothing":                   {template, "", errEmpty},
		"no JSON":                   {template, "{", errFormat},
		"escaped":                   {template, edit("ann", `\u0061nn`), errEscaped},
		"nobody":                    {template, edit("ann", ""), errNoOpenID},
		"no OpenID":                 {template, edit("ann", "a b"), errOpenID},
		"another template":          {template, edit("T1", "T2"), errTemplate},
		"no template":               {template, edit("T1", ""), errTemplate},
		"a stranger":                {template, edit("ann", "zoe"), errStranger},
		"a stranger's notice":       {notice, edit("ann", "zoe"), errRefused},
		"who refuses":               {template, edit("ann", "bob"), 0},
		"who refuses notices":       {notice, edit("ann", "bob"), errRefused},
		"an empty parameter":        {template, edit(`"1"`, `""`), errArgument},
		"no parameter":              {notice, edit(`"a"`, `"b"`), errArgument},
		"a long client_msg_id":      {template, edit("{", `{"client_msg_id":"`+strings.Repeat("c", 65)+`",`), errClientID},
		"once without a scene":      {once, full, errArgument},
		"once":                      {once, `{"touser":"ann","template_id":"T1","scene":1000,"title":"t","data":{"a":{"value":"1"},"content":{"value":"v"}}}`, 0},
		"once, no JSON":             {once, "{", errFormat},
		"a notice, no JSON":         {notice, "{", errFormat},
		"a text":                    {custom, `{"touser":"ann","msgtype":"text","text":{"content":"hi"}}`, 0},
		"custom, no JSON":           {custom, "{", errFormat},
		"a text to nobody":          {custom, `{"msgtype":"text","text":{"content":"hi"}}`, errNoOpenID},
		"a text to no OpenID":       {custom, `{"touser":"a b","msgtype":"text","text":{"content":"hi"}}`, errOpenID},
		"a text to a stranger":      {custom, `{"touser":"zoe","msgtype":"text","text":{"content":"hi"}}`, errWindow},
		"an empty text":             {custom, `{"touser":"ann","msgtype":"text"}`, errNoContent},
		"a long text":               {custom, `{"touser":"ann","msgtype":"text","text":{"content":"` + strings.Repeat("a", maxText+1) + `"}}`, errTooLarge},
		"another kind":              {custom, `{"touser":"ann","msgtype":"fax"}`, errMessageType},
		"an image":                  {custom, `{"touser":"ann","msgtype":"image","image":{"media_id":"m"}}`, 0},
		"no image":                  {custom, `{"touser":"ann","msgtype":"image"}`, errNoMediaID},
		"a voice":                   {custom, `{"touser":"ann","msgtype":"voice","voice":{"media_id":"m"}}`, 0},
		"a video":                   {custom, `{"touser":"ann","msgtype":"video","video":{"media_id":"m"}}`, 0},
		"music":                     {custom, `{"touser":"ann","msgtype":"music","music":{"thumb_media_id":"m"}}`, 0},
		"an article":                {custom, `{"touser":"ann","msgtype":"mpnews","mpnews":{"media_id":"m"}}`, 0},
		"a published article":       {custom, `{"touser":"ann","msgtype":"mpnewsarticle","mpnewsarticle":{"article_id":"a"}}`, 0},
		"no published article":      {custom, `{"touser":"ann","msgtype":"mpnewsarticle"}`, errParameter},
		"a card":                    {custom, `{"touser":"ann","msgtype":"wxcard","wxcard":{"card_id":"c"}}`, 0},
		"a mini program":            {custom, `{"touser":"ann","msgtype":"miniprogrampage","miniprogrampage":{"appid":"w"}}`, 0},
		"news":                      {custom, `{"touser":"ann","msgtype":"news","news":{"articles":[{"title":"t"}]}}`, 0},
		"news of two":               {custom, `{"touser":"ann","msgtype":"news","news":{"articles":[{"title":"t"},{"title":"u"}]}}`, errNoNews},
		"a menu":                    {custom, `{"touser":"ann","msgtype":"msgmenu","msgmenu":{"head_content":"?","list":[{"id":"1","content":"a"}]}}`, 0},
		"a template of the account": {"/cgi-bin/template/get_all_private_template", "", errNeedGet},
		"media of an unknown kind":  {"/cgi-bin/media/upload", "", errMediaType},
		"media that is not there":   {"/cgi-bin/media/upload?type=image", "", errNoMedia},
	} {
		t.Run(name, func(t *testing.T) {
			path := tc.path + map[bool]string{true: "&", false: "?"}[strings.Contains(tc.path, "?")] + "access_token=" + token
			if out := answers(t, mux, http.MethodPost, path, tc.body); code(out) != tc.want {
				t.Errorf("answer %v, want %d", out, tc.want)
			}
		})
	}
	for path, want := range map[string]int{
		template: errNoToken, template + "?access_token=x": errToken, template + "?access_token=" + token: errNeedPost,
	} {
		if got := code(answers(t, mux, http.MethodGet, path, "")); got != want {
			t.Errorf("GET %s: code %d, want %d", path, got, want)
		}
	}
	if out := answers(t, mux, http.MethodGet, "/cgi-bin/template/get_all_private_template?access_token="+token, ""); len(out["template_list"].([]any)) != 1 {
		t.Errorf("templates %v", out)
	}
}

func TestUpload(t *testing.T) {
	_, _, mux := open(t, nil)
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	part, err := w.CreateFormFile("media", "a.png")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(part, "png")
	w.Close()
	r := httptest.NewRequest(http.MethodPost, "/cgi-bin/media/upload?type=image&access_token="+tokenOf(t, mux, false), &body)
	r.Header.Set("Content-Type", w.FormDataContentType())
	rw := httptest.NewRecorder()
	mux.ServeHTTP(rw, r)
	if !strings.Contains(rw.Body.String(), `"media_id":"SANDBOX_MEDIA_id"`) {
		t.Errorf("answer %s", rw.Body)
	}
}

// What the desk decides is told in WeChat's codes.
func TestDecisions(t *testing.T) {
	d, _, mux := open(t, nil)
	path := "/cgi-bin/message/template/send?access_token=" + tokenOf(t, mux, false)
	for want, decision := range map[int]desk.Decision{
		0: {}, errSystem: {Answer: desk.Fail}, errOpenID: {Answer: desk.Refuse}, errMinute: {Answer: desk.Throttle},
		43116: {Answer: desk.Refuse, Code: "43116"}, 12345: {Answer: desk.Fail, Code: "12345"},
	} {
		d.decision = decision
		out := answers(t, mux, http.MethodPost, path, full)
		if code(out) != want || out["errmsg"] == "" {
			t.Errorf("%+v: answer %v, want %d", decision, out, want)
		}
	}
	d.decision, d.err = desk.Decision{}, errors.New("no room in the ledger")
	if out := answers(t, mux, http.MethodPost, path, full); code(out) != errSystem {
		t.Errorf("a message that could not be witnessed: %v", out)
	}
	d.decision, d.err = desk.Decision{Answer: desk.HangUp}, nil
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("panic %v", v)
		}
	}()
	mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, strings.NewReader(full)))
	t.Error("an answer came")
}

// A repeat within ten minutes gets the answer of the first, also while that is on its way.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, mux := open(t, nil)
		path := "/cgi-bin/message/template/send?access_token=" + tokenOf(t, mux, false)
		body := strings.Replace(full, "{", `{"client_msg_id":"c1",`, 1)
		d.wait = make(chan struct{})
		ids := make(chan any, 2)
		for range 2 {
			go func() { ids <- answers(t, mux, http.MethodPost, path, body)["msgid"] }()
		}
		synctest.Wait()
		close(d.wait)
		if first, second := <-ids, <-ids; first != second || len(d.taken) != 1 {
			t.Errorf("two at a time got %v and %v, and %d were taken", first, second, len(d.taken))
		}
		advance(9 * time.Minute)
		answers(t, mux, http.MethodPost, path, body)
		other := answers(t, mux, http.MethodPost, path, strings.Replace(body, "ann", "bob", 1))
		if len(d.taken) != 2 || code(other) != 0 {
			t.Errorf("%d were taken, want one for each user", len(d.taken))
		}
		advance(2 * time.Minute)
		answers(t, mux, http.MethodPost, path, body)
		if len(d.taken) != 3 {
			t.Errorf("%d were taken, want another one after ten minutes", len(d.taken))
		}
		// What was not taken is no repeat.
		body = strings.Replace(body, "c1", "c2", 1)
		d.decision = desk.Decision{Answer: desk.Fail}
		answers(t, mux, http.MethodPost, path, body)
		d.decision = desk.Decision{}
		if out := answers(t, mux, http.MethodPost, path, body); code(out) != 0 || len(d.taken) != 5 {
			t.Errorf("answer %v, %d taken", out, len(d.taken))
		}
	})
}

func TestForgetsOldRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p, mux := open(t, nil)
		path := "/cgi-bin/message/template/send?access_token=" + tokenOf(t, mux, false)
		for i := range 20 {
			answers(t, mux, http.MethodPost, path, strings.Replace(full, "{", fmt.Sprintf(`{"client_msg_id":"c%d",`, i), 1))
			advance(time.Minute)
		}
		if len(p.repeats) != 11 || len(p.taken) != 11 {
			t.Errorf("%d and %d are known, want those of the last ten minutes and the latest", len(p.repeats), len(p.taken))
		}
	})
}

// Customer-service messages answer what a user does.
func TestReplyWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p, mux := open(t, func(s *Settings) { s.ReplyWindow, s.CallbackURL = true, "http://127.0.0.1/" })
		send := func() int {
			token := tokenOf(t, mux, false)
			return code(answers(t, mux, http.MethodPost, "/cgi-bin/message/custom/send?access_token="+token, `{"touser":"ann","msgtype":"text","text":{"content":"hi"}}`))
		}
		play := func(event string) {
			t.Helper()
			if err := p.Play(t.Context(), json.RawMessage(event)); err != nil {
				t.Fatal(err)
			}
		}
		if got := send(); got != errWindow {
			t.Errorf("unasked: %d", got)
		}
		play(`{"from":"ann","event":"unsubscribe"}`)
		if got := send(); got != errWindow {
			t.Errorf("after unsubscribe: %d", got)
		}
		play(`{"from":"ann","text":"hi"}`)
		for i := range 5 {
			if got := send(); got != 0 {
				t.Errorf("answer %d: %d", i+1, got)
			}
		}
		if got := send(); got != errReplies {
			t.Errorf("the sixth answer: %d", got)
		}
		play(`{"from":"ann","event":"CLICK","event_key":"k"}`)
		if got := send(); got != 0 {
			t.Errorf("after a click: %d", got)
		}
		advance(time.Minute + time.Second)
		if got := send(); got != errWindow {
			t.Errorf("a minute after a click: %d", got)
		}
	})
}

func TestPlayRefuses(t *testing.T) {
	_, p, mux := open(t, nil)
	if err := p.Play(t.Context(), json.RawMessage(`{"from":"ann"}`)); err == nil || !strings.HasPrefix(err.Error(), "callback_url") {
		t.Errorf("without an address: %v", err)
	}
	set(t, p, func(s *Settings) { s.CallbackURL = "http://127.0.0.1:1/" })
	before := tokenOf(t, mux, false)
	if err := p.Play(t.Context(), json.RawMessage(`{"expire_tokens":true}`)); err != nil || tokenOf(t, mux, false) == before {
		t.Errorf("tokens do not end when told to: %v", err)
	}
	for _, event := range []string{`{`, `{"from":"a b"}`, `{}`, `{"verify":true}`} {
		if err := p.Play(t.Context(), json.RawMessage(event)); err == nil {
			t.Errorf("%s was played", event)
		}
	}
}

// The receipts as WeChat's documentation shows them.
func TestReceipts(t *testing.T) {
	d, p, mux := open(t, func(s *Settings) {
		s.CallbackURL, s.Mode, s.Refusers = "http://127.0.0.1/cb?x=1", modePlain, []string{"bob"}
	})
	token := tokenOf(t, mux, false)
	at := time.Unix(1395658920, 0)
	body := func(receipt desk.Receipt) string {
		t.Helper()
		c := d.receipt(receipt)
		if c.Request == nil {
			return ""
		}
		req, err := c.Request(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(req.Body)
		q := req.URL.Query()
		if req.Method != http.MethodPost || q.Get("x") != "1" || q.Get("signature") != signature(p.current().Token, q.Get("timestamp"), q.Get("nonce")) {
			t.Errorf("request %s %s", req.Method, req.URL)
		}
		return strings.ReplaceAll(string(text), "\n", "")
	}
	template := func(to, status string) string {
		return "<xml><ToUserName><![CDATA[" + defaults().Account + "]]></ToUserName><FromUserName><![CDATA[" + to + "]]></FromUserName>" +
			"<CreateTime>1395658920</CreateTime><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[TEMPLATESENDJOBFINISH]]></Event>" +
			"<MsgID>200163836</MsgID><Status><![CDATA[" + status + "]]></Status></xml>"
	}
	answers(t, mux, http.MethodPost, "/cgi-bin/message/template/send?access_token="+token, full)
	for status, want := range map[desk.ReceiptStatus]string{
		desk.Delivered: template("ann", "success"), desk.Undelivered: template("ann", "failed: system failed"), desk.Progress: "",
	} {
		if got := body(desk.Receipt{Status: status, ProviderID: "200163836", At: at}); got != want {
			t.Errorf("receipt\n%s, want\n%s", got, want)
		}
	}
	answers(t, mux, http.MethodPost, "/cgi-bin/message/template/send?access_token="+token, strings.Replace(full, "ann", "bob", 1))
	if got := body(desk.Receipt{ProviderID: "200163836", At: at}); got != template("bob", "failed:user block") {
		t.Errorf("receipt %s", got)
	}
	answers(t, mux, http.MethodPost, "/cgi-bin/message/subscribe/bizsend?access_token="+token, full)
	for status, want := range map[desk.ReceiptStatus]string{
		desk.Delivered: "<ErrorCode>0</ErrorCode><ErrorStatus><![CDATA[success]]></ErrorStatus></List></SubscribeMsgSentEvent></xml>",
		desk.Undelivered: "<SubscribeMsgSentEvent><List><TemplateId><![CDATA[T1]]></TemplateId><MsgID>1</MsgID><ErrorCode>43101</ErrorCode>" +
			"<ErrorStatus><![CDATA[user refuse to accept the msg]]></ErrorStatus></List></SubscribeMsgSentEvent></xml>",
		desk.Progress: "",
	} {
		if got := body(desk.Receipt{Status: status, ProviderID: "1", At: at}); !strings.HasSuffix(got, want) || (want == "") != (got == "") {
			t.Errorf("receipt\n%s, want\n%s", got, want)
		}
	}
	set(t, p, func(s *Settings) { s.CallbackURL = "" })
	if got := body(desk.Receipt{ProviderID: "1", At: at}); got != "" {
		t.Errorf("a receipt to nobody: %s", got)
	}
	set(t, p, func(s *Settings) { s.CallbackURL = "http://127.0.0.1/" })
	c := d.receipt(desk.Receipt{ProviderID: "1", At: at})
	for answer, want := range map[string]bool{"success": true, "": true, "<xml></xml>": true, "<html>": false} {
		if c.Taken(200, []byte(answer)) != want {
			t.Errorf("%q is taken: %t", answer, !want)
		}
	}
	if c.Taken(500, []byte("success")) {
		t.Error("an error is taken")
	}
	set(t, p, func(s *Settings) { s.CallbackURL = "http://%zz/" })
	if _, err := c.Request(t.Context()); err == nil {
		t.Error("an address that is none")
	}
}

func TestVerify(t *testing.T) {
	answer := func(r *http.Request) string { return r.URL.Query().Get("echostr") }
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, answer(r)) }))
	defer server.Close()
	_, p, _ := open(t, func(s *Settings) { s.CallbackURL = server.URL })
	if err := p.Play(t.Context(), json.RawMessage(`{"verify":true}`)); err != nil {
		t.Error(err)
	}
	answer = func(*http.Request) string { return "hello" }
	if err := p.Play(t.Context(), json.RawMessage(`{"verify":true}`)); err == nil || !strings.Contains(err.Error(), "echostr") {
		t.Errorf("another answer: %v", err)
	}
}
