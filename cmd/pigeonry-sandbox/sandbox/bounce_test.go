package sandbox_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
	"github.com/pigeonry/pigeonry/plugins/email/report"
)

// bounceHook takes what the sandbox says of mails; the first time it is not ready.
func bounceHook(t *testing.T, s *sandbox.Sandbox) <-chan string {
	t.Helper()
	got := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "message/rfc822" || r.Header.Get("Authorization") != "Bearer token-of-the-test" {
			t.Errorf("%s with %v, %v", r.Method, r.Header, err)
		}
		got <- string(raw)
	}))
	t.Cleanup(server.Close)
	settings := fmt.Sprintf(`{"bounce_url": %q, "bounce_token": "token-of-the-test"}`, server.URL)
	if status, body := call(t, s, http.MethodPut, "/api/providers/email", settings); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	return got
}

// submitMail sends a mail by the standard library, with the parameters of RFC 3461.
func submitMail(t *testing.T, s *sandbox.Sandbox, from, to, mailParameters, rcptParameters string) {
	t.Helper()
	c, err := smtp.Dial(s.Addresses().SMTP)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, line := range []string{
		"EHLO test", "MAIL FROM:<" + from + ">" + mailParameters, "RCPT TO:<" + to + ">" + rcptParameters, "DATA",
		"Message-ID: <msg_1@example.com>\r\nSubject: Hi\r\n\r\nHi\r\n.", "QUIT",
	} {
		id, err := c.Text.Cmd("%s", line)
		if err != nil {
			t.Fatal(err)
		}
		c.Text.StartResponse(id)
		_, _, err = c.Text.ReadResponse(0)
		c.Text.EndResponse(id)
		if err != nil && !strings.HasPrefix(err.Error(), "250") && !strings.HasPrefix(err.Error(), "354") {
			t.Logf("%s: %v", line, err)
		}
	}
}

func awaitReport(t *testing.T, got <-chan string) *report.Report {
	t.Helper()
	select {
	case raw := <-got:
		r, err := report.Parse([]byte(raw))
		if err != nil {
			t.Fatalf("%v in\n%s", err, raw)
		}
		return r
	case <-time.After(10 * time.Second):
		t.Fatal("nothing is reported")
		return nil
	}
}

func TestBounces(t *testing.T) {
	s := start(t, sandbox.Options{ReceiptDelay: -1})
	got := bounceHook(t, s)
	fault := sandbox.Fault{Channel: sandbox.ChannelEmail, Undelivered: 1, ReceiptDisordered: 1, ReceiptForged: 1}
	if err := s.SetFault(fault); err != nil {
		t.Fatal(err)
	}
	submitMail(t, s, "bounce+12.1@example.com", "ann@example.org", " RET=HDRS ENVID=12.1", " NOTIFY=FAILURE")
	seen := map[string]int{}
	for range 3 {
		r := awaitReport(t, got)
		forged := r.Original.MessageID() != "msg_1@example.com"
		if len(r.Recipients) != 1 || r.Recipients[0].Final != "ann@example.org" || (r.EnvelopeID != "12.1") != forged ||
			(r.SentTo[0] != "bounce+12.1@example.com") != forged || !strings.HasSuffix(r.Original.MessageID(), "@example.com") {
			t.Errorf("report is %+v", r)
		}
		seen[fmt.Sprint(r.Recipients[0].Action, forged)]++
	}
	if seen["failedfalse"] != 1 || seen["failedtrue"] != 1 || seen["delayedfalse"] != 1 {
		t.Errorf("reports are %v", seen)
	}
	if sum := s.Summary().Channels[sandbox.ChannelEmail]; sum.Outcomes[sandbox.OutcomeUndelivered] != 1 || sum.Taken != 1 || len(s.Messages(sandbox.Filter{})) != 0 {
		t.Errorf("summary is %+v", sum)
	}

	s.ClearFaults()
	submitMail(t, s, "", "bob@example.org", "", " NOTIFY=SUCCESS")                         // nobody to tell
	submitMail(t, s, "shop@example.com", "bob@example.org", "", "")                        // nobody asked
	submitMail(t, s, "shop@example.com", "bob@example.org", "", " NOTIFY=SUCCESS,FAILURE") // asked
	if r := awaitReport(t, got); r.Recipients[0].Action != "delivered" || r.Recipients[0].Final != "bob@example.org" {
		t.Errorf("report is %+v", r)
	}
	select {
	case raw := <-got:
		t.Errorf("more is reported:\n%s", raw)
	default:
	}
}

func TestComplaintsAndSettings(t *testing.T) {
	s := start(t, sandbox.Options{ReceiptDelay: -1})
	submitMail(t, s, "shop@example.com", "early@example.org", "", "")
	got := bounceHook(t, s)
	submitMail(t, s, "shop@example.com", "ann@example.org", "", "")
	if status, body := call(t, s, http.MethodPost, "/api/providers/email/events", `{"event": "complaint", "to": "ann@example.org"}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if r := awaitReport(t, got); r.Feedback == nil || r.Feedback.Type != "abuse" || r.Feedback.Recipients[0] != "ann@example.org" || r.Original.MessageID() != "msg_1@example.com" {
		t.Errorf("report is %+v", r)
	}
	if status, _ := call(t, s, http.MethodPost, "/api/providers/email/events", `{"event": "bounce", "to": "ann@example.org"}`); status != http.StatusOK {
		t.Error("no bounce")
	}
	if r := awaitReport(t, got); r.Recipients[0].Action != "failed" {
		t.Errorf("report is %+v", r)
	}
	for _, test := range []struct{ method, path, body string }{
		{http.MethodPost, "/api/providers/email/events", `{"event": "complaint", "to": "early@example.org"}`},
		{http.MethodPost, "/api/providers/email/events", `{"event": "applause", "to": "ann@example.org"}`},
		{http.MethodPost, "/api/providers/email/events", `[]`},
		{http.MethodPut, "/api/providers/email", `{"bounce_url": "somewhere"}`},
		{http.MethodPut, "/api/providers/email", `{"bounce": "http://127.0.0.1/"}`},
	} {
		if status, body := call(t, s, test.method, test.path, test.body); status != http.StatusBadRequest {
			t.Errorf("%s is answered with %d %s", test.body, status, body)
		}
	}
	if status, body := call(t, s, http.MethodGet, "/api/providers/email", ""); status != http.StatusOK || !strings.Contains(body, "token-of-the-test") {
		t.Errorf("settings are %d %s", status, body)
	}
}
