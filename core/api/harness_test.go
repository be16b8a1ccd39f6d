package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/accept"
	"github.com/pigeonry/pigeonry/core/account"
	"github.com/pigeonry/pigeonry/core/api"
	"github.com/pigeonry/pigeonry/core/limit"
	"github.com/pigeonry/pigeonry/core/limit/local"
	"github.com/pigeonry/pigeonry/core/receipt"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
	"github.com/pigeonry/pigeonry/core/store/sqlite/sqlitetest"
)

// harness is the API on the embedded store with the real accept and account services. What would need
// plugins is played by the fields below.
type harness struct {
	t       testing.TB
	handler http.Handler
	store   *sqlite.Store
	log     *logbook
	account core.Account
	key     string // of account
	other   string // a key of another account

	rules     map[string][]limit.Rule
	owned     map[string][]core.ConnectorID // by account
	nodes     map[core.TraceID][]core.Node
	plugins   plugins
	rollouts  *rollouts
	ready     []api.DependencyState
	callbacks func(core.ConnectorID, receipt.CallbackRequest) (receipt.CallbackResponse, error)
}

// newHarness builds an API; changes may replace some of its options.
func newHarness(t testing.TB, changes ...func(*api.Options)) *harness {
	t.Helper()
	h := &harness{
		t: t, log: &logbook{}, rules: map[string][]limit.Rule{}, nodes: map[core.TraceID][]core.Node{},
		plugins: plugins{connectors: []core.ConnectorStatus{
			{ID: "sms/main", Plugin: "sms", State: core.ConnectorReady}, {ID: "email/main", Plugin: "email", State: core.ConnectorReady},
		}},
		rollouts: newRollouts(),
		ready:    []api.DependencyState{{Name: "store", Ready: true}},
		callbacks: func(core.ConnectorID, receipt.CallbackRequest) (receipt.CallbackResponse, error) {
			return receipt.CallbackResponse{}, core.NotFound("connector")
		},
	}
	var err error
	h.store, err = sqlite.Open(t.Context(), sqlite.Options{Path: sqlitetest.Database(t), Exclusive: true})
	must(t, err)
	t.Cleanup(func() { must(t, h.store.Close()) })
	limiter := local.New(local.Options{})
	rules := func(resource string) []limit.Rule { return h.rules[resource] }
	sender := accept.New(accept.Options{
		Intake: h.store, Templates: h.store, Channels: channels{}, Limiter: limiter, Rules: rules,
		Publish: func([]core.Envelope) {}, Logger: discard,
	})
	t.Cleanup(sender.Close)
	accounts := account.New(account.Options{Accounts: h.store, Keys: h.store, DefaultRegion: "CN"})
	h.key = strings.Repeat("key-of-the-account-", 2)
	h.account, err = accounts.Bootstrap(t.Context(), h.key)
	must(t, err)
	other, err := h.store.EnsureAccount(t.Context(), core.Account{Name: "other", CreatedAt: time.Now()})
	must(t, err)
	h.other, _, err = accounts.Create(t.Context(), other.ID, "", time.Time{})
	must(t, err)
	o := api.Options{
		Authenticator: accounts, Sender: sender, Idempotency: sender.Keys(), Messages: h.store, Retrier: h,
		Templates: h.store, Traces: h, Plugins: &h.plugins, Callbacks: h, Inbox: h.store, Ready: h.dependencies,
		ConnectorsOf: func(account string) []core.ConnectorID { return h.owned[account] },
		Rollouts:     h.rollouts, Records: h.rollouts, Versions: h.rollouts, Accounts: h.store,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = io.WriteString(w, "# metrics\n")
		}),
		Limiter: limiter, Rules: rules,
		Logger: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, change := range changes {
		change(&o)
	}
	h.handler, err = api.New(o)
	must(t, err)
	return h
}

func (h *harness) Retry(ctx context.Context, account core.AccountID, id core.RecordID) error {
	_, err := h.store.Retry(ctx, account, id, 5, time.Now())
	return err
}

func (h *harness) Nodes(_ context.Context, account core.AccountID, id core.TraceID) ([]core.Node, error) {
	if account != h.account.ID {
		return nil, nil
	}
	return h.nodes[id], nil
}

func (h *harness) Handle(_ context.Context, id core.ConnectorID, r receipt.CallbackRequest) (receipt.CallbackResponse, error) {
	return h.callbacks(id, r)
}

func (h *harness) dependencies(context.Context) []api.DependencyState { return h.ready }

// logbook is a log that several goroutines write and a test reads.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// channels serves sms and email.
type channels struct{}

func (channels) Serves(channel string) bool { return channel == "sms" || channel == "email" }
func (channels) Has(id core.ConnectorID, _ string) bool {
	return id == "sms/main" || id == "email/main"
}

// plugins plays the plugin host.
type plugins struct {
	plugins    []core.PluginStatus
	connectors []core.ConnectorStatus
	check      func(core.ConnectorID) (core.CheckResult, error)
}

func (p *plugins) Plugins() []core.PluginStatus       { return p.plugins }
func (p *plugins) Connectors() []core.ConnectorStatus { return p.connectors }
func (p *plugins) Check(_ context.Context, id core.ConnectorID) (core.CheckResult, error) {
	if p.check == nil {
		return core.CheckResult{}, core.NotFound("connector")
	}
	return p.check(id)
}

// answer is what came back.
type answer struct {
	Status    int                 `json:"-"`
	Header    http.Header         `json:"-"`
	Raw       []byte              `json:"-"`
	Code      int                 `json:"code"`
	Message   string              `json:"message"`
	Data      json.RawMessage     `json:"data"`
	RequestID string              `json:"request_id"`
	Errors    []map[string]string `json:"errors"`
}

// field returns the reason given for a field, "" if there is none.
func (a answer) field(name string) string {
	for _, e := range a.Errors {
		if e["field"] == name {
			return e["reason"]
		}
	}
	return ""
}

// do sends a request with the account's key and holds the answer against the contract. Headers are names
// and values; an empty value takes the header away.
func (h *harness) do(method, path, body string, headers ...string) answer {
	h.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+h.key)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		} else {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	return h.serve(r)
}

func (h *harness) serve(r *http.Request) answer {
	h.t.Helper()
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	if t, ok := h.t.(*testing.T); ok {
		theContract.check(t, r, w)
	}
	a := answer{Status: w.Code, Header: w.Header(), Raw: w.Body.Bytes()}
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(a.Raw, &a); err != nil {
			h.t.Errorf("%s %s: %v in %s", r.Method, r.URL.Path, err, a.Raw)
		}
	}
	return a
}

// as returns the headers that use another key.
func as(key string) []string { return []string{"Authorization", "Bearer " + key} }

// want fails the test unless the answer has the status and code.
func (h *harness) want(a answer, status, code int) answer {
	h.t.Helper()
	if a.Status != status || a.Code != code {
		h.t.Fatalf("status %d, code %d; want %d, %d\n%s", a.Status, a.Code, status, code, a.Raw)
	}
	return a
}

// data reads the data of an answer.
func data[T any](t testing.TB, a answer) T {
	t.Helper()
	var v T
	d := json.NewDecoder(bytes.NewReader(a.Data))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, a.Raw)
	}
	return v
}

// send accepts one SMS and returns its ids.
func (h *harness) send(body string) api.SendResult {
	h.t.Helper()
	return data[api.SendResult](h.t, h.want(h.do("POST", "/api/messages/send", body), 200, 0))
}

// createTemplate makes a template of the account.
func (h *harness) createTemplate(body string) api.Template {
	h.t.Helper()
	return data[api.Template](h.t, h.want(h.do("POST", "/api/messages/templates", body), 201, 0))
}

const anSMS = `{"channel":"sms","recipient":"+8613800138000","content":"hi"}`

// sent has a message claimed and its attempt end.
func (h *harness) sent(id int64, status core.Status, cause *core.SendError) {
	h.t.Helper()
	now := time.Now()
	m, _, err := h.store.Message(h.t.Context(), h.account.ID, core.RecordID(id))
	must(h.t, err)
	won, err := h.store.Claim(h.t.Context(), []store.Claim{{Record: m.ID, Attempt: m.Attempt + 1, Connector: "sms/main"}}, now, now.Add(time.Minute))
	must(h.t, err)
	if !won[0] {
		h.t.Fatal("the claim was not won")
	}
	if status == core.StatusSending {
		return
	}
	outcome := core.OutcomeAccepted
	switch status {
	case core.StatusFailed:
		outcome = core.OutcomeRejected
	case core.StatusUncertain:
		outcome = core.OutcomeUncertain
	}
	_, _, err = h.store.Record(h.t.Context(), []store.Transition{{
		Record: m.ID, Attempt: m.Attempt + 1, Status: status, Outcome: outcome, Error: cause,
		ProviderIDs: []string{"p-1"}, StartedAt: now, FinishedAt: now.Add(3 * time.Millisecond),
	}}, now)
	must(h.t, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func itoa(id int64) string { return strconv.FormatInt(id, 10) }

func toJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return string(b)
}

var discard = slog.New(slog.DiscardHandler)

// errSecret is an error that no caller may see.
var errSecret = errors.New("pq: relation \"messages\" does not exist; password=hunter2")
