package client_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core/api/client"
)

// TestClient sends through a server that notes what came and answers as the contract says.
func TestClient(t *testing.T) {
	var got client.SendRequest
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		if r.Header.Get("Authorization") != "Bearer the-key" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"code":3001,"message":"no valid API key","request_id":"r"}`))
			return
		}
		if r.Method != http.MethodPost || r.URL.Path != "/api/messages/send" || r.Header.Get("Idempotency-Key") != "k" {
			t.Errorf("%s %s, Idempotency-Key %q", r.Method, r.URL.Path, r.Header.Get("Idempotency-Key"))
		}
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(&got); err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(`{"code":0,"message":"accepted","data":{"record_id":5,"trace_id":"msg_x"},"request_id":"r"}`))
	}))
	defer server.Close()

	priority := 0
	request := client.SendRequest{
		Channel: "sms", Recipient: "+8613800138000", Content: "hi", Priority: &priority, Variables: client.Variables{"a": "b"},
	}
	for key, status := range map[string]int{"the-key": 200, "another": 401} {
		c, err := client.NewClientWithResponses(server.URL, client.WithHTTPClient(server.Client()), client.WithKey(key))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.SendMessageWithResponse(t.Context(), &client.SendMessageParams{IdempotencyKey: "k"}, request)
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode() != status {
			t.Fatalf("status %d; want %d", answer.StatusCode(), status)
		}
		switch status {
		case 200:
			if answer.JSON200 == nil || answer.JSON200.Data.RecordId != 5 || got.Priority == nil || *got.Priority != 0 || got.Variables["a"] != "b" {
				t.Errorf("answer %+v, the server got %+v", answer.JSON200, got)
			}
		default:
			if answer.JSON401 == nil || answer.JSON401.Code != 3001 || !strings.Contains(answer.JSON401.Message, "key") {
				t.Errorf("answer %+v", answer.JSON401)
			}
		}
	}
}
