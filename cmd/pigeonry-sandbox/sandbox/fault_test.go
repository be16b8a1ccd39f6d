package sandbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

func call(t *testing.T, s *sandbox.Sandbox, method, path, body string) (int, string) {
	t.Helper()
	return callWith(t, s, method, path, body, http.Header{})
}

func callWith(t *testing.T, s *sandbox.Sandbox, method, path, body string, header http.Header) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addresses().HTTP+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(content)
}

func TestFaultsAreValidated(t *testing.T) {
	s := start(t, sandbox.Options{})
	tests := []struct {
		name, body string
		field      string // "" if the fault is taken
		reason     string
	}{
		{"nothing", `{"channel":"email"}`, "", ""},
		{"everything", `{"channel":"sms","latency_ms":5,"error_rate":0.5,"error_kind":"permanent","throttle":10,
			"accept_then_drop":0.1,"unanswered":0.1,"undelivered":1,"receipt_delay_ms":0,
			"receipt_doubled":1,"receipt_early":true,"receipt_forged":0.5,"receipt_disordered":0}`, "", ""},
		{"booleans", `{"channel":"sms","throttle":true,"accept_then_drop":true,"error_rate":false}`, "", ""},
		{"no JSON", `{`, "body", "want one JSON object"},
		{"list", `[]`, "body", "want one JSON object"},
		{"no channel", `{}`, "channel", `want one of email, sms`},
		{"other channel", `{"channel":"fax"}`, "channel", `got "fax"`},
		{"unknown field", `{"channel":"sms","latency":5}`, "latency", "known are"},
		{"rate above 1", `{"channel":"sms","error_rate":50}`, "error_rate", "want 0 to 1"},
		{"negative rate", `{"channel":"sms","accept_then_drop":-1}`, "accept_then_drop", "want 0 to 1"},
		{"rate as text", `{"channel":"sms","error_rate":"much"}`, "error_rate", "share"},
		{"negative latency", `{"channel":"sms","latency_ms":-1}`, "latency_ms", "want 0 to"},
		{"latency of a day", `{"channel":"sms","latency_ms":86400000}`, "latency_ms", "want 0 to"},
		{"latency as text", `{"channel":"sms","latency_ms":"1s"}`, "latency_ms", "want int"},
		{"negative throttle", `{"channel":"sms","throttle":-1}`, "throttle", "messages a second"},
		{"kind", `{"channel":"sms","error_kind":"odd"}`, "error_kind", "permanent"},
		{"bounces of mails", `{"channel":"email","undelivered":0.5,"receipt_delay_ms":5,"receipt_doubled":1}`, "", ""},
		{"share of early receipts", `{"channel":"sms","receipt_early":2}`, "receipt_early", "want 0 to 1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, body := call(t, s, http.MethodPut, "/api/faults", test.body)
			if test.field == "" {
				if status != http.StatusOK {
					t.Fatalf("status %d: %s", status, body)
				}
				return
			}
			var answer struct{ Errors []sandbox.FieldError }
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatal(err)
			}
			if status != http.StatusBadRequest || len(answer.Errors) != 1 ||
				answer.Errors[0].Field != test.field || !strings.Contains(answer.Errors[0].Reason, test.reason) {
				t.Fatalf("got %d %s, want 400 for %s because %q", status, body, test.field, test.reason)
			}
		})
	}
}

func TestFaultsReportAllThatIsWrongAndChangeNothing(t *testing.T) {
	s := start(t, sandbox.Options{})
	call(t, s, http.MethodPut, "/api/faults", `{"channel":"sms","latency_ms":7}`)
	status, body := call(t, s, http.MethodPut, "/api/faults", `{"channel":"sms","latency_ms":-1,"error_rate":2,"unanswered":3}`)
	if status != http.StatusBadRequest || strings.Count(body, `"field"`) != 3 {
		t.Fatalf("got %d %s, want three errors", status, body)
	}
	_, body = call(t, s, http.MethodGet, "/api/faults", "")
	var now map[string]sandbox.Fault
	if err := json.Unmarshal([]byte(body), &now); err != nil {
		t.Fatal(err)
	}
	if now["sms"].LatencyMS != 7 || now["email"].LatencyMS != 0 {
		t.Fatalf("faults are %+v, want the sms latency of before", now)
	}
	call(t, s, http.MethodDelete, "/api/faults?channel=sms", "")
	_, body = call(t, s, http.MethodGet, "/api/faults", "")
	if strings.Contains(body, `"latency_ms":7`) {
		t.Fatalf("fault is still there after DELETE: %s", body)
	}
}
