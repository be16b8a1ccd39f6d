package api_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/account"
	"github.com/pigeonry/pigeonry/core/api"
)

// keyed lists the operations of the contract that need a key.
func keyed() map[string]string {
	all := map[string]string{}
	for path, item := range theContract.spec.Paths.Map() {
		for method, operation := range item.Operations() {
			if operation.Security == nil || len(*operation.Security) > 0 {
				all[method+" "+path] = operation.OperationID
			}
		}
	}
	return all
}

func TestAuthIsNeededBelowAPIAndNowhereElse(t *testing.T) {
	for operation := range keyed() {
		if !strings.Contains(operation, " /api/") {
			t.Errorf("%s needs a key", operation)
		}
	}
	for path, item := range theContract.spec.Paths.Map() {
		for method := range item.Operations() {
			if _, needs := keyed()[method+" "+path]; !needs && strings.HasPrefix(path, "/api") {
				t.Errorf("%s %s needs no key", method, path)
			}
		}
	}
}

// TestAuthGuardsEveryOperation sends each keyed operation a wrong key, and nonsense otherwise: that the
// key is wrong is all that the answer may tell.
func TestAuthGuardsEveryOperation(t *testing.T) {
	h := newHarness(t)
	revoked := h.revokedKey()
	for operation := range keyed() {
		method, path, _ := strings.Cut(operation, " ")
		path = pathParameter.ReplaceAllString(path, "nonsense") + "?limit=nonsense"
		for _, authorization := range []string{
			"", "Bearer", "Bearer ", "Bearer wrong", "Basic " + h.key, h.key, "Bearer " + h.key + "x",
			"Bearer " + strings.Repeat("x", 10_000), "Bearer " + revoked,
		} {
			a := h.want(h.do(method, path, "nonsense", "Authorization", authorization), 401, core.CodeUnauthorized)
			if a.Header.Get("WWW-Authenticate") != "Bearer" || len(a.Errors) != 0 {
				t.Errorf("%s: WWW-Authenticate %q, errors %v", operation, a.Header.Get("WWW-Authenticate"), a.Errors)
			}
		}
	}
	if strings.Contains(h.log.String(), h.key) || strings.Contains(h.log.String(), revoked) {
		t.Error("a key stands in the log")
	}
	h.want(h.do("GET", "/api/messages", "", "Authorization", "bearer  "+h.key), 200, 0)
}

func (h *harness) revokedKey() string {
	h.t.Helper()
	accounts := account.New(account.Options{Accounts: h.store, Keys: h.store})
	plain, key, err := accounts.Create(h.t.Context(), h.account.ID, "old", time.Time{})
	must(h.t, err)
	must(h.t, accounts.Revoke(h.t.Context(), h.account.ID, key.ID))
	return plain
}

// brokenAuthenticator cannot reach its store.
type brokenAuthenticator struct{ err error }

func (b brokenAuthenticator) Authenticate(context.Context, string) (core.Account, core.Key, error) {
	return core.Account{}, core.Key{}, b.err
}

func TestAuthWithoutItsStoreIsNoRefusalOfTheKey(t *testing.T) {
	h := newHarness(t, func(o *api.Options) {
		o.Authenticator = brokenAuthenticator{&core.Error{Kind: core.KindUnavailable, Message: "try again", Cause: errSecret}}
	})
	h.want(h.do("GET", "/api/messages", ""), 503, core.CodeUnavailable)
}

// TestForeignLooksAbsent asks for everything of one account with the key of another, on every operation
// that names something: the answer must be the one for what does not exist, and nothing may change.
func TestForeignLooksAbsent(t *testing.T) {
	h := newHarness(t)
	mine := h.belongings()
	before := h.state(mine)
	for operation, id := range keyed() {
		method, path, _ := strings.Cut(operation, " ")
		names := pathParameter.FindAllString(path, -1)
		if len(names) == 0 || strings.HasPrefix(path, "/api/connectors/") || strings.HasPrefix(path, "/api/plugins/") {
			continue // lists are tested below; connectors and plugins belong to the gateway
		}
		fill := func(values map[string]string) string {
			return pathParameter.ReplaceAllStringFunc(path, func(name string) string {
				value, ok := values[name+strings.Split(path, "/")[3]]
				if !ok {
					t.Fatalf("%s: nothing to try for %s", operation, name)
				}
				return value
			})
		}
		absent := map[string]string{
			"{id}templates": "999999", "{id}batches": "999999", "{trace_id}traces": string(core.NewTraceID(999999, 1)),
			"{record_id}{record_id}": "999999",
		}
		for about, key := range map[string]string{"absent": h.key, "foreign": h.other} {
			values := absent
			if about == "foreign" {
				values = mine
			}
			a := h.do(method, fill(values), bodyFor(id), as(key)...)
			if a.Status != http.StatusNotFound || a.Code != notFoundCode(path) {
				t.Errorf("%s, %s: %d %s", operation, about, a.Status, a.Raw)
			}
			if want := h.do(method, fill(absent), bodyFor(id), as(h.other)...); want.Message != a.Message {
				t.Errorf("%s, %s: %q; absent is %q", operation, about, a.Message, want.Message)
			}
		}
	}
	if after := h.state(mine); after != before {
		t.Errorf("something changed:\n%s\nbefore\n%s", after, before)
	}
}

// belongings makes one of everything, by the name of the path parameter and the step before it.
func (h *harness) belongings() map[string]string {
	h.t.Helper()
	message := h.send(anSMS)
	batch := data[api.SendBatchResult](h.t, h.do("POST", "/api/messages/send-batch", `{"channel":"sms","content":"x","recipients":["+8613800138000"]}`))
	template := h.createTemplate(`{"name":"mine","channel":"sms","content":"x"}`)
	return map[string]string{
		"{record_id}{record_id}": strconv.FormatInt(message.RecordId, 10),
		"{trace_id}traces":       message.TraceId,
		"{id}batches":            strconv.FormatInt(batch.BatchId, 10),
		"{id}templates":          strconv.FormatInt(template.Id, 10),
	}
}

func (h *harness) state(mine map[string]string) string {
	h.t.Helper()
	var b strings.Builder
	for _, path := range []string{
		"/api/messages/" + mine["{record_id}{record_id}"], "/api/messages/batches/" + mine["{id}batches"], "/api/messages/templates/" + mine["{id}templates"],
	} {
		b.Write(h.want(h.do("GET", path, ""), 200, 0).Data)
	}
	return b.String()
}

func bodyFor(operation string) string {
	switch operation {
	case "replaceTemplate":
		return `{"name":"theirs","channel":"sms","content":"y"}`
	case "previewTemplate":
		return `{}`
	default:
		return ""
	}
}

func notFoundCode(path string) int {
	switch {
	case strings.Contains(path, "/templates/"):
		return core.CodeTemplateNotFound
	case strings.Contains(path, "/batches/"):
		return core.CodeBatchNotFound
	case strings.Contains(path, "/traces/"):
		return core.CodeTraceNotFound
	default:
		return core.CodeMessageNotFound
	}
}

func TestForeignIsNotListed(t *testing.T) {
	h := newHarness(t)
	mine := h.belongings()
	for _, query := range []string{
		"", "channel=sms", "status=queued", "recipient=" + url.QueryEscape("+8613800138000"), "batch_id=" + mine["{id}batches"],
		"template_id=" + mine["{id}templates"], "created_before=2099-01-01T00:00:00Z",
	} {
		a := h.want(h.do("GET", "/api/messages?"+query, "", as(h.other)...), 200, 0)
		if list := data[api.MessageList](t, a); len(list.Items) != 0 {
			t.Errorf("%s lists another account's messages", query)
		}
	}
	if list := data[api.TemplateList](t, h.do("GET", "/api/messages/templates", "", as(h.other)...)); len(list.Items) != 0 {
		t.Error("another account's templates are listed")
	}
}

func TestTraceIDIsNotGuessedFromTheRecordID(t *testing.T) {
	h := newHarness(t)
	sent := h.send(anSMS)
	guessed := core.NewTraceID(core.RecordID(sent.RecordId), 12345)
	h.want(h.do("GET", "/api/messages/traces/"+string(guessed), ""), 404, core.CodeTraceNotFound)
	for _, nonsense := range []string{"x", "msg_", strings.ToUpper(sent.TraceId), sent.TraceId + "0"} {
		h.want(h.do("GET", "/api/messages/traces/"+nonsense, ""), 404, core.CodeTraceNotFound)
	}
}

func TestRequestID(t *testing.T) {
	h := newHarness(t)
	for given, taken := range map[string]bool{
		"abc-123_x.y:z/w+v=u@t": true, strings.Repeat("a", 128): true,
		"": false, "with space": false, "quote\"": false, strings.Repeat("a", 129): false, "ünicode": false,
	} {
		a := h.do("GET", "/healthz", "", "X-Request-Id", given)
		if (a.RequestID == given) != taken || a.RequestID == "" {
			t.Errorf("X-Request-Id %q: request_id %q", given, a.RequestID)
		}
	}
	ids := []string{}
	for range 100 {
		ids = append(ids, h.do("GET", "/healthz", "").RequestID)
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 100 {
		t.Error("request ids repeat")
	}
}
