package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/cli"
)

const key = "pgn_live_test"

// fakeGateway answers as the API does, as far as the commands use it, and remembers what was sent.
type fakeGateway struct {
	*httptest.Server
	mu       sync.Mutex
	sent     []string                   // "recipient name", in order
	requests []map[string]any           // bodies
	answers  map[string]json.RawMessage // by Idempotency-Key
	fail     func(request int) (status int, retryAfter string)
}

func newFakeGateway(t *testing.T) *fakeGateway {
	t.Helper()
	g := &fakeGateway{answers: map[string]json.RawMessage{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/messages/send", g.accept)
	mux.HandleFunc("POST /api/messages/send-batch", g.accept)
	mux.HandleFunc("GET /api/messages/templates/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != "7" {
			refuse(w, http.StatusNotFound, `{"code":2002,"message":"template not found","request_id":"r1"}`)
			return
		}
		answer(w, `{"id":7,"name":"n","channel":"sms","content":"Hi {{name}}","variables":["name"],"status":"active"}`)
	})
	mux.HandleFunc("GET /api/messages/traces/{id}", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, `{"record_id":12345,"trace_id":"msg_1","trace_data":{"nodes":[
			{"name":"queue","attempt":1,"start_time":"2026-01-02T03:04:05Z","finish_time":"2026-01-02T03:04:06Z","duration_ms":1000.5,"status":"success"}]},
			"statistics":{"node_count":1,"success_rate":1,"total_duration_ms":1000.5}}`)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if status, _ := g.failure(); status != 0 {
			refuse(w, status, `{"code":5001,"message":"not ready","request_id":"r1","data":{"status":"unready","connectors":[],
				"dependencies":[{"name":"store","ready":true}],"plugins":[{"name":"sms","state":"starting"}]}}`)
			return
		}
		answer(w, `{"status":"ready","connectors":[],"dependencies":[],"plugins":[]}`)
	})
	g.Server = httptest.NewServer(mux)
	t.Cleanup(g.Close)
	return g
}

// failure says what the failure function wants for the request that comes now.
func (g *fakeGateway) failure() (int, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests = append(g.requests, nil)
	if g.fail == nil {
		return 0, ""
	}
	return g.fail(len(g.requests))
}

func (g *fakeGateway) accept(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+key {
		refuse(w, http.StatusUnauthorized, `{"code":3001,"message":"no valid API key","request_id":"r1"}`)
		return
	}
	if status, retryAfter := g.failure(); status != 0 {
		w.Header().Set("Retry-After", retryAfter)
		refuse(w, status, `{"code":5001,"message":"not now","request_id":"r1"}`)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if remembered, ok := g.answers[r.Header.Get("Idempotency-Key")]; ok {
		w.Header().Set("Idempotency-Replay", "true")
		answer(w, string(remembered))
		return
	}
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, `{"code":1000,"message":"`+err.Error()+`"}`)
		return
	}
	g.requests[len(g.requests)-1] = body
	data := g.take(body)
	g.answers[r.Header.Get("Idempotency-Key")] = json.RawMessage(data)
	answer(w, data)
}

// take remembers the recipients of a request and makes its answer. Recipients with "bad" are rejected.
func (g *fakeGateway) take(body map[string]any) string {
	list, isBatch := body["recipients"].([]any)
	if !isBatch {
		g.sent = append(g.sent, fmt.Sprint(body["recipient"]))
		return `{"record_id":12345,"trace_id":"msg_1"}`
	}
	variables, _ := body["variables_list"].([]any)
	rejected := []string{}
	for i, recipient := range list {
		if strings.Contains(fmt.Sprint(recipient), "bad") {
			rejected = append(rejected, fmt.Sprintf(`{"index":%d,"recipient":%q,"reason":"is no phone number"}`, i, recipient))
			continue
		}
		g.sent = append(g.sent, fmt.Sprintf("%v %v", recipient, variables[i].(map[string]any)["name"]))
	}
	return fmt.Sprintf(`{"batch_id":%d,"accepted":%d,"rejected":[%s]}`, len(g.answers)+1, len(list)-len(rejected), strings.Join(rejected, ","))
}

func answer(w http.ResponseWriter, data string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"code":0,"message":"ok","request_id":"r1","data":%s}`, data)
}

func refuse(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

// outcome is what a command did.
type outcome struct {
	code     int
	out, err string
}

// run runs a command line against a gateway.
func (g *fakeGateway) run(t *testing.T, args ...string) outcome {
	t.Helper()
	return run(t, cli.Process{Args: args, Environ: []string{"PIGEONRY_URL=" + g.URL, "PIGEONRY_API_KEY=" + key}})
}

func run(t *testing.T, p cli.Process) outcome {
	t.Helper()
	var out, err bytes.Buffer
	p.In, p.Out, p.Err = strings.NewReader(""), &out, &err
	code := cli.Run(t.Context(), p)
	return outcome{code, out.String(), err.String()}
}

// expect holds the outcome against what it should hold.
func (o outcome) expect(t *testing.T, code int, out, err string) {
	t.Helper()
	if o.code != code || !strings.Contains(o.out, out) || !strings.Contains(o.err, err) {
		t.Errorf("want exit %d, output with %q, errors with %q\nhave exit %d\n%s\n%s", code, out, err, o.code, o.out, o.err)
	}
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
