package sandbox_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

func TestMessagesAPI(t *testing.T) {
	s := start(t, sandbox.Options{})
	session, _ := dial(t, s)
	if _, err := session.Submit(t.Context(), sms("8613800138000", 0, []byte("code 1"))); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"Ann@example.com", "bob@example.com"} {
		if err := sendMail(s, to, "From: Shop <shop@example.com>\nSubject: Hi\n\nfor "+to+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		query string
		to    []string // newest first
		count int
	}{
		{"", []string{"bob@example.com", "Ann@example.com", "+8613800138000"}, 3},
		{"?limit=1", []string{"bob@example.com"}, 3},
		{"?channel=email", []string{"bob@example.com", "Ann@example.com"}, 2},
		{"?channel=email&to=ann@example.com", []string{"Ann@example.com"}, 1},
		{"?to=%2B8613800138000", []string{"+8613800138000"}, 1},
		{"?to=+8613800138000", []string{"+8613800138000"}, 1}, // a plus sign nobody escaped
		{"?to=8613800138000&channel=sms", []string{"+8613800138000"}, 1},
		{"?to=nobody@example.com", []string{}, 0},
	}
	for _, test := range tests {
		t.Run("GET "+test.query, func(t *testing.T) {
			status, body := call(t, s, http.MethodGet, "/api/messages"+test.query, "")
			var got struct {
				Count    int
				Messages []map[string]any
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK {
				t.Fatal(status, body, err)
			}
			if got.Count != test.count || len(got.Messages) != len(test.to) || got.Messages == nil {
				t.Fatalf("got %s", body)
			}
			for i, m := range got.Messages {
				if m["to"] != test.to[i] {
					t.Errorf("message %d is to %v, want %s", i, m["to"], test.to[i])
				}
				for _, field := range []string{"channel", "to", "from", "subject", "text", "received_at"} {
					if _, ok := m[field].(string); !ok {
						t.Errorf("message %d has no text field %s: %v", i, field, m)
					}
				}
			}
		})
	}
	if status, body := call(t, s, http.MethodGet, "/api/messages?limit=x", ""); status != http.StatusBadRequest || !strings.Contains(body, "limit") {
		t.Errorf("wrong limit gives %d %s", status, body)
	}
	if status, body := call(t, s, http.MethodDelete, "/api/messages", ""); status != http.StatusOK || strings.TrimSpace(body) != `{"deleted":3}` {
		t.Errorf("DELETE gives %d %s", status, body)
	}
	if _, body := call(t, s, http.MethodGet, "/api/messages", ""); strings.TrimSpace(body) != `{"count":0,"messages":[]}` {
		t.Errorf("empty inbox is %s", body)
	}
	if n := s.Summary().Entries; n != 3 {
		t.Errorf("ledger has %d entries after DELETE, want 3", n)
	}
}

func TestLedgerAPI(t *testing.T) {
	s := start(t, sandbox.Options{})
	for _, to := range []string{"a@example.com", "b@example.com", "a@example.com"} {
		if err := sendMail(s, to, "Message-Id: <1@"+to[:1]+">\n\nhi\n"); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]int{
		"": 3, "?after=2": 1, "?to=b@example.com": 1, "?channel=sms": 0, "?channel=email&after=1": 2,
	} {
		status, body := call(t, s, http.MethodGet, "/api/ledger"+query, "")
		if n := strings.Count(body, "\n"); status != http.StatusOK || n != want {
			t.Errorf("%s gives %d with %d lines, want %d", query, status, n, want)
		}
	}
	_, body := call(t, s, http.MethodGet, "/api/ledger/summary", "")
	var sum sandbox.Summary
	if err := json.Unmarshal([]byte(body), &sum); err != nil {
		t.Fatal(err)
	}
	email := sum.Channels["email"]
	if sum.Entries != 3 || email.Taken != 3 || email.Messages != 2 || email.Doubles != 1 || email.Outcomes[sandbox.OutcomeDelivered] != 3 {
		t.Errorf("summary is %s, want 3 taken, 2 messages, 1 double", body)
	}
	if status, _ := call(t, s, http.MethodGet, "/api/ledger?after=-1", ""); status != http.StatusBadRequest {
		t.Errorf("negative after gives %d", status)
	}
}

func TestPageAndEvents(t *testing.T) {
	s := start(t, sandbox.Options{})
	status, body := call(t, s, http.MethodGet, "/", "")
	if status != http.StatusOK || !strings.Contains(body, "收件箱") || strings.Contains(body, "src=\"http") {
		t.Errorf("page gives %d", status)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addresses().HTTP+"/api/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	nextEvent := func() {
		for lines.Scan() {
			if lines.Text() == "event: inbox" {
				return
			}
		}
		t.Fatal("the stream ended without an event")
	}
	nextEvent() // at once, so that a page that reconnects sees what it missed
	if err := sendMail(s, "a@example.com", "Subject: x\n\nhi\n"); err != nil {
		t.Fatal(err)
	}
	nextEvent()
}
