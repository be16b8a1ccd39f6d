package main

import (
	"errors"
	"net/http"
	"net/mail"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

const unsubscribeURL = "https://m.example.com/callbacks/email/main/unsubscribe"

func withUnsubscribe(template string) func(*config) {
	return func(c *config) {
		c.Unsubscribe = &unsubscribeConfig{URL: template, Secret: "a secret of the test", Mailto: "stop@example.com", Always: true}
	}
}

// clickable makes a mail and returns the connector with the link that the mail carries.
func clickable(t *testing.T, template string) (*connector, *url.URL) {
	t.Helper()
	c := connect(t, 25, withUnsubscribe(template))
	m := message("hi")
	m.Recipient = "Ann+shop@例子.测试"
	l, err := c.letter(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	parsed, _ := read(t, l.raw)
	link, rest, _ := strings.Cut(strings.TrimPrefix(parsed.Header.Get("List-Unsubscribe"), "<"), ">")
	if rest != ", <mailto:stop@example.com?subject=unsubscribe>" || parsed.Header.Get("List-Unsubscribe-Post") != "List-Unsubscribe=One-Click" {
		t.Errorf("headers are %q and %q", parsed.Header.Get("List-Unsubscribe"), parsed.Header.Get("List-Unsubscribe-Post"))
	}
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return c, u
}

// click is a request to a link as the gateway hands it on.
func click(method string, link *url.URL, contentType, body string) *sdk.CallbackRequest {
	header := http.Header{}
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	return &sdk.CallbackRequest{
		Method: method, Path: strings.TrimPrefix(link.Path, "/callbacks/email/main"), Query: link.RawQuery,
		Header: header, Body: []byte(body), URL: link.String(),
	}
}

const form = "application/x-www-form-urlencoded"

func TestOneClick(t *testing.T) {
	for _, template := range []string{
		unsubscribeURL + "?token={token}",
		unsubscribeURL + "/{token}",
		unsubscribeURL + "?m={message_id}&r={recipient}&k={token}&lang=zh",
	} {
		c, link := clickable(t, template)
		for name, request := range map[string]*sdk.CallbackRequest{
			"a form":           click("POST", link, form, "List-Unsubscribe=One-Click"),
			"a form of parts":  click("POST", link, "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n"),
			"no type":          click("POST", link, "", "List-Unsubscribe=One-Click\r\n"),
			"the page's own":   click("POST", link, form+"; charset=utf-8", "List-Unsubscribe=One-Click"),
			"a form with more": click("POST", link, form, "a=b&List-Unsubscribe=one-click"),
		} {
			answer, events, err := c.HandleCallback(t.Context(), request)
			if err != nil || answer.Status != http.StatusOK || len(events.Inbound) != 1 || len(events.Receipts) != 0 {
				t.Fatalf("%s, %s: %+v, %+v, %v", template, name, answer, events, err)
			}
			got := events.Inbound[0]
			if got.From != "Ann+shop@例子.测试" || got.To != "shop@example.com" || got.Text != "unsubscribe" ||
				got.Attributes["event"] != "unsubscribe" || got.Attributes["message_id"] != "12345" || got.DedupeKey == "" {
				t.Errorf("%s, %s: %+v", template, name, got)
			}
		}
	}
}

// TestGetDoesNotUnsubscribe is RFC 8058 section 3.1: what looks at the links in a mail must change nothing.
func TestGetDoesNotUnsubscribe(t *testing.T) {
	c, link := clickable(t, unsubscribeURL+"?token={token}")
	for _, method := range []string{"GET", "HEAD"} {
		answer, events, err := c.HandleCallback(t.Context(), click(method, link, "", ""))
		if err != nil || answer.Status != http.StatusOK || !events.Empty() {
			t.Fatalf("%s gives %+v, %+v, %v", method, answer, events, err)
		}
		page := string(answer.Body)
		for _, want := range []string{`<form method="post">`, `name="List-Unsubscribe" value="One-Click"`, "Ann&#43;shop@例子.测试"} {
			if !strings.Contains(page, want) {
				t.Errorf("the page lacks %s:\n%s", want, page)
			}
		}
		if answer.Header.Get("Cache-Control") != "no-store" || strings.Contains(page, "<script") {
			t.Errorf("page is %v\n%s", answer.Header, page)
		}
	}
}

func TestForgedClicks(t *testing.T) {
	c, link := clickable(t, unsubscribeURL+"?token={token}")
	other, foreign := clickable(t, unsubscribeURL+"?token={token}")
	other.identity.unsubscriber.secret = []byte("another secret, as long")
	token := link.Query().Get("token")
	u := c.identity.unsubscriber
	mac := token[:strings.IndexByte(token, '.')]
	with := func(token string) *url.URL {
		forged := *link
		forged.RawQuery = url.Values{"token": {token}}.Encode()
		return &forged
	}
	body := "List-Unsubscribe=One-Click"
	tests := map[string]struct {
		c       *connector
		request *sdk.CallbackRequest
		status  int
	}{
		"no token":              {c, click("POST", with(""), form, body), 404},
		"another recipient":     {c, click("POST", with(mac+"."+strings.SplitN(u.token("12345", "bob@example.com"), ".", 2)[1]), form, body), 404},
		"ids that run together": {c, click("POST", with(mac+"."+strings.SplitN(u.token("1234", "5Ann+shop@例子.测试"), ".", 2)[1]), form, body), 404},
		"a token cut short":     {c, click("POST", with(token[:len(token)-1]), form, body), 404},
		"another secret":        {other, click("POST", foreign, form, body), 404},
		"a broken query":        {c, click("POST", &url.URL{Path: link.Path, RawQuery: "%"}, form, body), 404},
		"no form":               {c, click("POST", link, form, ""), 400},
		"another form":          {c, click("POST", link, form, "List-Unsubscribe=Two-Clicks"), 400},
		"a form of no parts":    {c, click("POST", link, "multipart/form-data; boundary=x", "--x--\r\n"), 400},
		"another method":        {c, click("PUT", link, form, body), 405},
		"a GET without token":   {c, click("GET", with("x.y.z"), "", ""), 404},
		"not configured":        {connect(t, 25), click("POST", link, form, body), 404},
	}
	for name, test := range tests {
		answer, events, err := test.c.HandleCallback(t.Context(), test.request)
		if err != nil || answer.Status != test.status || !events.Empty() {
			t.Errorf("%s gives %+v, %+v, %v; want %d", name, answer, events, err, test.status)
		}
		if strings.Contains(string(answer.Body), "Ann") {
			t.Errorf("%s shows whose link it is: %s", name, answer.Body)
		}
	}
}

// TestRepeatedClicks counts a click once a day: later it may follow on a new subscription.
func TestRepeatedClicks(t *testing.T) {
	c, link := clickable(t, unsubscribeURL+"?token={token}")
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c.now = func() time.Time { return now }
	key := func() string {
		_, events, err := c.HandleCallback(t.Context(), click("POST", link, form, "List-Unsubscribe=One-Click"))
		if err != nil || len(events.Inbound) != 1 {
			t.Fatal(events, err)
		}
		return events.Inbound[0].DedupeKey
	}
	first := key()
	now = now.Add(time.Hour)
	again := key()
	now = now.Add(24 * time.Hour)
	if later := key(); first != again || first == later {
		t.Errorf("keys are %s, %s, %s", first, again, later)
	}
}

func TestWhichMailsCanBeUnsubscribedFrom(t *testing.T) {
	tests := []struct {
		always     bool
		attributes map[string]string
		want, post string
		code       string
	}{
		{true, nil, "https://m.example.com", "List-Unsubscribe=One-Click", ""},
		{true, map[string]string{"unsubscribe": "false"}, "", "", ""},
		{false, nil, "", "", ""},
		{false, map[string]string{"unsubscribe": "true"}, "https://m.example.com", "List-Unsubscribe=One-Click", ""},
		{true, map[string]string{"header.list-unsubscribe": "<https://shop.example.com/u>"}, "https://shop.example.com/u", "", ""},
		{true, map[string]string{"unsubscribe": "yes"}, "", "", "invalid_header"},
	}
	for _, test := range tests {
		c := connect(t, 25, withUnsubscribe(unsubscribeURL+"?token={token}"), func(c *config) { c.Unsubscribe.Always = test.always })
		m := message("hi")
		m.Attributes = test.attributes
		l, err := c.letter(t.Context(), m)
		if failed, _ := errors.AsType[*sdk.DeliveryError](err); test.code != "" {
			if failed == nil || failed.Code != test.code {
				t.Errorf("%v gives %v, want %s", test.attributes, err, test.code)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		parsed, _ := read(t, l.raw)
		if got := parsed.Header.Get("List-Unsubscribe"); !strings.Contains(got, test.want) || (got == "") != (test.want == "") {
			t.Errorf("always %v, %v gives %q, want %q", test.always, test.attributes, got, test.want)
		}
		if got := parsed.Header.Get("List-Unsubscribe-Post"); got != test.post {
			t.Errorf("%v gives %q", test.attributes, got)
		}
	}
}

func TestUnsubscribeConfig(t *testing.T) {
	tests := map[string]bool{
		unsubscribeURL + "?token={token}":                  true,
		"https://m.example.com:8443/{token}":               true,
		"http://m.example.com/?t={token}":                  false, // RFC 8058 section 3.1
		unsubscribeURL:                                     false,
		"https://{recipient}.example.com/{token}":          false,
		"https://m.example.com/?t={token}#top":             false,
		"https://user@m.example.com/?t={token}":            false,
		"https://m.example.com/?t={token}&x={nonsense}":    false,
		"https://m.example.com/?t={token}>, <https://evil": false,
		"mailto:stop@example.com?subject={token}":          false,
		"{token}": false,
	}
	for template, want := range tests {
		c := valid()
		withUnsubscribe(template)(&c)
		err := validate(c)
		wrong, _ := errors.AsType[*sdk.ConfigError](err)
		if (err == nil) != want || err != nil && (wrong == nil || wrong.Path != "unsubscribe.url") {
			t.Errorf("%s gives %v", template, err)
		}
	}
	c := valid()
	withUnsubscribe("")(&c) // the gateway knows
	if err := validate(c); err != nil {
		t.Error(err)
	}
	for base, want := range map[string]bool{"https://m.example.com/callbacks/email/main": true, "http://127.0.0.1:8080/callbacks/email/main": false, "": false} {
		opened, err := open(c, base)
		if (err == nil) != want {
			t.Errorf("at %q: %v", base, err)
		}
		if err != nil {
			if wrong, ok := errors.AsType[*sdk.ConfigError](err); !ok || wrong.Path != "unsubscribe.url" {
				t.Errorf("at %q: %v", base, err)
			}
			continue
		}
		if got := opened.identity.unsubscriber.link("1", "a@b.c"); !strings.HasPrefix(got, unsubscribeURL+"?token=") {
			t.Errorf("link is %s", got)
		}
		_ = opened.Close()
	}
	withUnsubscribe(unsubscribeURL + "?token={token}")(&c)
	c.Unsubscribe.Mailto = "nobody"
	if wrong, ok := errors.AsType[*sdk.ConfigError](validate(c)); !ok || wrong.Path != "unsubscribe.mailto" {
		t.Errorf("got %v, want an error of unsubscribe.mailto", validate(c))
	}
}

func TestListHeaders(t *testing.T) {
	ids := map[string]string{
		"news.example.com": "<news.example.com>", "<news.example.com>": "<news.example.com>", "Shop news <news.example.com>": "Shop news <news.example.com>",
		"news": "", "Shop <news>": "", "Shop <news.example.com": "", "a@b.c": "", "Shop\r\nBcc: x <a.b>": "",
	}
	for given, want := range ids {
		got, err := listID(given)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q gives %q, %v; want %q", given, got, err, want)
		}
	}
	c := connect(t, 25, func(c *config) { c.ListID, c.FeedbackID = "Büro <news.example.com>", "spring:shop" })
	for _, override := range []bool{false, true} {
		m := message("hi")
		want := map[string]string{"List-Id": "Büro <news.example.com>", "Feedback-Id": "spring:shop"}
		const id = " <news.example.com>" // must not be encoded
		if override {
			m.Attributes = map[string]string{"header.List-ID": "<other.example.com>", "header.feedback-id": "summer:shop"}
			want = map[string]string{"List-Id": "<other.example.com>", "Feedback-Id": "summer:shop"}
		}
		l, err := c.letter(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		parsed, _ := read(t, l.raw)
		if got := parsed.Header.Get("List-Id"); !override && !strings.HasSuffix(got, id) {
			t.Errorf("List-Id is %q", got)
		}
		for name, value := range want {
			if got := parsed.Header[name]; len(got) != 1 || decoded(t, got[0]) != value {
				t.Errorf("%s is %q, want %q", name, got, value)
			}
		}
	}
}

func FuzzOneClick(f *testing.F) {
	f.Add(form, "List-Unsubscribe=One-Click", "token=a.b.c", "/unsubscribe")
	f.Add("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n", "a=b", "/unsubscribe/a.b.c")
	c := valid()
	withUnsubscribe(unsubscribeURL + "?token={token}")(&c)
	id, err := newIdentity(c)
	if err != nil {
		f.Fatal(err)
	}
	token := id.unsubscriber.token("1", "ann@example.com")
	f.Add(form, "List-Unsubscribe=One-Click", "token="+token, "/unsubscribe")
	channel := &connector{identity: id, now: time.Now}
	f.Fuzz(func(t *testing.T, contentType, body, query, path string) {
		r := &sdk.CallbackRequest{
			Method: "POST", Path: "/unsubscribe" + path, Query: query, Body: []byte(body), Header: http.Header{"Content-Type": {contentType}},
		}
		answer, events := channel.unsubscribe(r)
		if answer.Status == 0 {
			t.Fatal("no answer")
		}
		if !events.Empty() && !strings.Contains(query+path, "%") && !strings.Contains(query+path, token) {
			t.Fatalf("unsubscribed by %q, %q", query, path)
		}
	})
}

// FuzzLink looks for a recipient that breaks out of the header or of the URL.
func FuzzLink(f *testing.F) {
	f.Add("1", "ann@example.com")
	f.Add("1>, <https://evil", "\"a b,>\"@example.com")
	c := valid()
	withUnsubscribe(unsubscribeURL + "?m={message_id}&r={recipient}&t={token}")(&c)
	id, err := newIdentity(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, messageID, recipient string) {
		m := &sdk.Message{ID: messageID, Recipient: recipient}
		value, err := id.unsubscriber.header(m)
		if err != nil {
			return
		}
		if _, err := mail.ReadMessage(strings.NewReader("X: " + value + "\r\n\r\n")); err != nil || strings.ContainsAny(value, "\r\n") {
			t.Fatalf("%q is no header: %v", value, err)
		}
		link, _, _ := strings.Cut(strings.TrimPrefix(value, "<"), ">")
		u, err := url.Parse(link)
		if err != nil || u.Host != "m.example.com" {
			t.Fatalf("%q is no link of ours: %v", link, err)
		}
		got, ok := id.unsubscriber.find(&sdk.CallbackRequest{Path: "/unsubscribe", Query: u.RawQuery})
		if !ok || got.messageID != messageID || got.recipient != recipient {
			t.Fatalf("%q reads as %+v", link, got)
		}
	})
}
