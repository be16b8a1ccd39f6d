package main_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const unsubscribeSecret = "a secret of the end-to-end test"

// mails is a connector whose mails come back: the sandbox posts what servers further on say of them.
func mails() provider {
	return provider{
		name: "email", channel: "email", plugin: "email", receipts: "delivered",
		recipient: func(_ *system, i int) any { return fmt.Sprintf("ann%d@example.org", i) },
		config: `host = "127.0.0.1"
			port = {{smtp_port}}
			tls = "none"
			from = "Shop <no-reply@example.com>"
			bounce_address = "bounce+{attempt}@example.com"
			bounce_secret = "another secret of the test"
			bounce_token = "token-of-the-bounces"
			dsn = "success"
			unsubscribe {
				url = "https://messages.example.com/callbacks/email/email/unsubscribe?token={token}"
				secret = "` + unsubscribeSecret + `"
			}`,
		settings: `{"bounce_url": "{{callback}}/bounce", "bounce_token": "token-of-the-bounces"}`,
	}
}

// The way of a mail and back: it is delivered, or bounces; its recipient complains, and unsubscribes.
func TestMailsComeBack(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := mails()
	s := startChannels(t, []provider{p}, "-receipt-delay", "20ms")
	first := s.send(p, 1)
	s.arrives(p, first.RecordID)
	s.await("the trace has its callback", 10*time.Second, func() bool { return len(s.trace(first.TraceID).TraceData.Nodes) == 4 })
	s.receiptsOf(p, 2)
	mend := s.fault(p, `"undelivered": 1`)
	bounced := s.send(p, 4)
	s.await("the mail bounces", 20*time.Second, func() bool { return s.full(bounced.RecordID).Status == "undelivered" })
	mend()
	if m := s.full(bounced.RecordID); m.Error == nil || m.Error.Code != "invalid_recipient" || m.Error.ProviderCode != "550 5.1.1" {
		t.Errorf("the bounced mail is %s", s.last)
	}
	s.forgedCallback(p)

	s.atSandbox(http.MethodPost, "/api/providers/email/events", `{"event": "complaint", "to": "ann1@example.org"}`)
	link := s.callback(p) + "/unsubscribe?token=" + unsubscribeToken(fmt.Sprint(first.RecordID), "ann1@example.org")
	for _, r := range []struct {
		method, url, body string
		status            int
	}{
		{http.MethodGet, link, "", 200}, // what looks at links changes nothing
		{http.MethodPost, link + "x", "List-Unsubscribe=One-Click", 404},
		{http.MethodPost, link, "List-Unsubscribe=One-Click", 200},
		{http.MethodPost, link, "List-Unsubscribe=One-Click", 200}, // a repeat is the same event
	} {
		status, body, err := request(t.Context(), r.method, r.url, strings.NewReader(r.body))
		if err != nil || status != r.status {
			t.Errorf("%s %q is answered with %d, %v: %s", r.method, r.body, status, err, body)
		}
	}
	s.await("both events are listed", 10*time.Second, func() bool {
		list := get[struct {
			Items []struct {
				From       string            `json:"from"`
				Attributes map[string]string `json:"attributes"`
			} `json:"items"`
		}](s, http.MethodGet, "/api/messages/inbound?connector="+p.connector(), nil)
		s.last = fmt.Sprintf("%+v", list)
		var events []string
		for _, item := range list.Items {
			from := "ann1@example.org"
			if item.Attributes["event"] == "complaint" { // its mail tells who got it
				from = ""
			}
			if item.From != from || item.Attributes["message_id"] != fmt.Sprint(first.RecordID) {
				t.Fatalf("inbound: %+v", list)
			}
			events = append(events, item.Attributes["event"])
		}
		slices.Sort(events)
		return slices.Equal(events, []string{"complaint", "unsubscribe"})
	})
}

// unsubscribeToken is the one in the link of a mail.
func unsubscribeToken(messageID, recipient string) string {
	mac := hmac.New(sha256.New, []byte(unsubscribeSecret))
	mac.Write([]byte("unsubscribe\x00" + messageID + "\x00" + recipient))
	encode := base64.RawURLEncoding.EncodeToString
	return encode(mac.Sum(nil)[:16]) + "." + encode([]byte(messageID)) + "." + encode([]byte(recipient))
}
