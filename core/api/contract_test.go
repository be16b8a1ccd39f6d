package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/pigeonry/pigeonry/core"
)

// theContract is openapi.yaml, and what the tests of this run have seen of it.
var theContract = loadContract()

type contract struct {
	spec  *openapi3.T
	codes map[int][]int // code → HTTP statuses, from the table in the description

	mu   sync.Mutex
	seen map[string]bool // "code 1000", "sendMessage 200"
}

var codeRow = regexp.MustCompile(`(?m)^\| (\d+) \| ([\d, ]+) \|`)

func loadContract() *contract {
	spec, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err != nil {
		panic(err)
	}
	c := &contract{spec: spec, codes: map[int][]int{}, seen: map[string]bool{}}
	for _, row := range codeRow.FindAllStringSubmatch(spec.Info.Description, -1) {
		code, _ := strconv.Atoi(row[1])
		for s := range strings.SplitSeq(row[2], ",") {
			status, _ := strconv.Atoi(strings.TrimSpace(s))
			c.codes[code] = append(c.codes[code], status)
		}
	}
	return c
}

// check holds an answer against the contract and notes what it has seen.
func (c *contract) check(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !strings.HasPrefix(r.URL.Path, "/callbacks/") {
		c.checkEnvelope(t, r, w)
	}
	route := c.route(r)
	if route == nil {
		return
	}
	c.note(fmt.Sprintf("%s %d", route.Operation.OperationID, w.Code))
	if w.Code == http.StatusMethodNotAllowed || route.Operation.Responses.Default() != nil {
		return
	}
	err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, Route: route},
		Status:                 w.Code,
		Header:                 w.Header(),
		Body:                   io.NopCloser(bytes.NewReader(w.Body.Bytes())),
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, MultiError: true,
			ExcludeResponseBody: !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json"),
		},
	})
	if err != nil {
		t.Errorf("%s %s: the answer breaks the contract: %v\n%s", r.Method, r.URL.Path, err, w.Body)
	}
}

// checkEnvelope holds what every answer has in common.
func (c *contract) checkEnvelope(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	var e struct {
		Code      *int    `json:"code"`
		Message   *string `json:"message"`
		RequestID string  `json:"request_id"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Code == nil || e.Message == nil || *e.Message == "" {
		t.Errorf("%s %s: not the envelope: %v\n%s", r.Method, r.URL.Path, err, w.Body)
		return
	}
	replayed := w.Header().Get("Idempotency-Replay") != ""
	if e.RequestID == "" || !replayed && e.RequestID != w.Header().Get("X-Request-Id") {
		t.Errorf("%s %s: request_id %q, header %q", r.Method, r.URL.Path, e.RequestID, w.Header().Get("X-Request-Id"))
	}
	readiness := r.URL.Path == "/readyz" && w.Code == http.StatusServiceUnavailable
	if !slices.Contains(c.codes[*e.Code], w.Code) && !readiness {
		t.Errorf("%s %s: code %d with status %d is not in the table of codes", r.Method, r.URL.Path, *e.Code, w.Code)
	}
	if (w.Code == http.StatusTooManyRequests || w.Code == http.StatusServiceUnavailable) && w.Header().Get("Retry-After") == "" {
		t.Errorf("%s %s: status %d without Retry-After", r.Method, r.URL.Path, w.Code)
	}
	c.note(fmt.Sprintf("code %d with %d", *e.Code, w.Code))
}

func (c *contract) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[what] = true
}

// route finds the operation of a request: of the paths that fit, the one with the fewest parameters.
func (c *contract) route(r *http.Request) *routers.Route {
	var best string
	for path := range c.spec.Paths.Map() {
		if fits(path, r.URL.Path) && (best == "" || strings.Count(path, "{") < strings.Count(best, "{")) {
			best = path
		}
	}
	if best == "" {
		return nil
	}
	item := c.spec.Paths.Value(best)
	operation := item.GetOperation(r.Method)
	if operation == nil {
		return nil
	}
	return &routers.Route{Spec: c.spec, Path: best, PathItem: item, Method: r.Method, Operation: operation}
}

func fits(pattern, path string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if want[i] != have[i] && !strings.HasPrefix(want[i], "{") {
			return false
		}
	}
	return true
}

// unseen lists the codes of the table and the successes of operations that the run has not met.
func (c *contract) unseen() []string {
	var missing []string
	for code, statuses := range c.codes {
		for _, status := range statuses {
			if what := fmt.Sprintf("code %d with %d", code, status); !c.seen[what] {
				missing = append(missing, what)
			}
		}
	}
	for _, item := range c.spec.Paths.Map() {
		for _, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				what := operation.OperationID + " " + status
				if strings.HasPrefix(status, "2") && !c.seen[what] {
					missing = append(missing, what)
				}
			}
		}
	}
	slices.Sort(missing)
	return missing
}

// TestContractIsValid holds openapi.yaml against OpenAPI 3.0, examples included.
func TestContractIsValid(t *testing.T) {
	if err := theContract.spec.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if theContract.spec.OpenAPI != "3.0.3" {
		t.Errorf("openapi: %s", theContract.spec.OpenAPI)
	}
}

// TestContractDocumentsEveryCode holds the table of codes against the codes of core.
func TestContractDocumentsEveryCode(t *testing.T) {
	for _, code := range knownCodes(t) {
		if _, documented := theContract.codes[code]; !documented {
			t.Errorf("code %d is not in the table of codes", code)
		}
	}
}

var codeConstant = regexp.MustCompile(`(?m)^\tCode\w+ += (\d+)`)

// knownCodes reads the codes from their declarations, so that a new one cannot be forgotten here.
func knownCodes(t *testing.T) []int {
	t.Helper()
	source, err := os.ReadFile("../error.go")
	must(t, err)
	own, err := os.ReadFile("codes.go")
	must(t, err)
	source = append(source, own...)
	var codes []int
	for _, match := range codeConstant.FindAllSubmatch(source, -1) {
		code, _ := strconv.Atoi(string(match[1]))
		codes = append(codes, code)
	}
	if len(codes) < 25 {
		t.Fatalf("found %d codes; the pattern no longer fits", len(codes))
	}
	return codes
}

// TestEveryOperationIsServed asks each operation of the contract and wants any answer but "no such path".
func TestEveryOperationIsServed(t *testing.T) {
	h := newHarness(t)
	for path, item := range theContract.spec.Paths.Map() {
		for method := range item.Operations() {
			a := h.do(method, pathParameter.ReplaceAllString(path, "1"), "{}")
			if a.Status == http.StatusMethodNotAllowed || a.Code == core.CodeRouteNotFound {
				t.Errorf("%s %s: %d", method, path, a.Status)
			}
		}
	}
}

var pathParameter = regexp.MustCompile(`\{\w+\}`)
