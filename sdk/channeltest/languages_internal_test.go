package channeltest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// The examples in other languages: each is built with its own script, passes the kit, and sends what its
// README says.

const webhookToken = "s3cret-token"

// language is an example in one.
type language struct {
	name    string
	folder  string
	plugin  string
	missing func() (env []string, err error) // what it takes to build and run it
}

func languages() []language {
	return []language{
		{"Python", "python-plugin", "webhook-python", needPython},
		{"JavaScript", "node-plugin", "webhook-node", needNode},
	}
}

func TestLanguages(t *testing.T) {
	for _, l := range languages() {
		t.Run(l.name, func(t *testing.T) {
			binary := l.build(t)
			t.Run("conformance", func(t *testing.T) { conform(t, binary) })
			t.Run("outcomes", func(t *testing.T) { testOutcomes(t, binary) })
			t.Run("request", func(t *testing.T) { testRequest(t, binary) })
		})
	}
}

// build builds the example, or leaves the test out where its language is not there; with CI=true that is
// a failure.
func (l language) build(t *testing.T) string {
	t.Helper()
	env, err := l.missing()
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	} else if err != nil {
		t.Skip("left out: ", err)
	}
	out := t.TempDir()
	cmd := exec.Command(filepath.Join("..", "..", "examples", l.folder, "build.sh"), out)
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", l.folder, err, text)
	}
	found, err := filepath.Glob(filepath.Join(out, l.plugin, "*", l.plugin))
	if err != nil || len(found) != 1 {
		t.Fatalf("build.sh made %q (%v)", found, err)
	}
	return found[0]
}

// needPython finds an interpreter with the modules that the example needs: the first on the PATH need not
// be the distribution's own, which has what the distribution installs.
func needPython() (env []string, err error) {
	const program = "import sys, grpc, google.protobuf, cryptography; print(sys.executable)"
	err = errors.New("python3 is not installed")
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		path, lookErr := exec.LookPath(name)
		if lookErr != nil {
			continue
		}
		out, runErr := exec.Command(path, "-c", program).CombinedOutput()
		if runErr == nil {
			return []string{"PYTHON=" + strings.TrimSpace(string(out))}, nil
		}
		err = fmt.Errorf("%s: %w\n%s", path, runErr, out)
	}
	return nil, err
}

func needNode() (env []string, err error) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("look for %s: %w", tool, err)
		}
	}
	return nil, nil
}

func conform(t *testing.T, binary string) {
	t.Helper()
	provider, err := StartProvider()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Close() })
	with := func(url, token string) map[string]any { return map[string]any{"url": url, "token": token} }
	Run(t, provider.Suite(Suite{
		Binary: binary,
		Config: with(provider.URL+"/hook?a=b", webhookToken),
		BadConfigs: []BadConfig{
			{"a URL without scheme", with("example.com", webhookToken), "url"},
			{"a URL without host", with("http:///x", webhookToken), "url"},
			{"an empty token", with(provider.URL, ""), "token"},
		},
		// What cannot stand in a header is nothing that the code expects.
		Panics: func(item *Item) { item.IdempotencyKey = "a\nb" },
	}))
}

// testOutcomes holds what the plugin makes of each answer against what sdk.DoHTTP makes of it.
func testOutcomes(t *testing.T, binary string) {
	t.Helper()
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Path[1:])
		if status == 0 {
			panic(http.ErrAbortHandler) // the connection ends without an answer
		}
		w.Header().Set("Retry-After", "7")
		w.Header().Set("Location", "/200")
		http.Error(w, "token "+r.Header.Get("Authorization"), status)
	}))
	defer provider.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	sess := open(t, binary, provider.URL)
	for i, tt := range []struct {
		url        string
		outcome    channelv1.Outcome
		code       string
		fault      channelv1.Fault
		retryAfter time.Duration
	}{
		{provider.URL + "/202", channelv1.Outcome_OUTCOME_ACCEPTED, "", 0, 0},
		{provider.URL + "/302", channelv1.Outcome_OUTCOME_REJECTED, "http_status", channelv1.Fault_FAULT_CONFIG, 7 * time.Second},
		{provider.URL + "/400", channelv1.Outcome_OUTCOME_REJECTED, "http_status", channelv1.Fault_FAULT_MESSAGE, 7 * time.Second},
		{provider.URL + "/401", channelv1.Outcome_OUTCOME_REJECTED, "auth_failed", channelv1.Fault_FAULT_CONFIG, 7 * time.Second},
		{provider.URL + "/403", channelv1.Outcome_OUTCOME_REJECTED, "auth_failed", channelv1.Fault_FAULT_CONFIG, 7 * time.Second},
		{provider.URL + "/408", channelv1.Outcome_OUTCOME_RETRYABLE, "unavailable", channelv1.Fault_FAULT_PROVIDER, 7 * time.Second},
		{provider.URL + "/429", channelv1.Outcome_OUTCOME_THROTTLED, "throttled", channelv1.Fault_FAULT_PROVIDER, 7 * time.Second},
		{provider.URL + "/500", channelv1.Outcome_OUTCOME_UNCERTAIN, "http_status", channelv1.Fault_FAULT_PROVIDER, 7 * time.Second},
		{provider.URL + "/503", channelv1.Outcome_OUTCOME_RETRYABLE, "unavailable", channelv1.Fault_FAULT_PROVIDER, 7 * time.Second},
		{provider.URL + "/0", channelv1.Outcome_OUTCOME_UNCERTAIN, "uncertain", channelv1.Fault_FAULT_PROVIDER, 0},
		{"http://" + closed.Addr().String(), channelv1.Outcome_OUTCOME_RETRYABLE, "connect_failed", channelv1.Fault_FAULT_PROVIDER, 0},
	} {
		if err := sess.configure(t.Context(), int64(i+2), map[string]any{"url": tt.url, "token": webhookToken}); err != nil {
			t.Fatal(err)
		}
		r := sess.one(t, func(*Item) {})
		e := r.GetError()
		if r.GetOutcome() != tt.outcome || e.GetCode() != tt.code || e.GetFault() != tt.fault || r.GetRetryAfter().AsDuration() != tt.retryAfter {
			t.Errorf("%s: got %s, try again after %s", tt.url, verdict(r), r.GetRetryAfter().AsDuration())
		}
		if strings.Contains(e.GetMessage(), webhookToken) {
			t.Errorf("%s: the error quotes the token", tt.url)
		}
	}
}

// testRequest looks at one request as the provider gets it.
func testRequest(t *testing.T, binary string) {
	t.Helper()
	type request struct {
		header http.Header
		body   []byte
	}
	seen := make(chan request, 1)
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		seen <- request{r.Header, body}
		fmt.Fprint(w, `{"id": 4711}`)
	}))
	defer provider.Close()
	const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	r := open(t, binary, provider.URL).one(t, func(item *Item) {
		item.MessageId, item.IdempotencyKey, item.Recipient, item.Traceparent = "msg_1", "key-1", "王芳", traceparent
		item.NotAfter = timestamppb.New(time.Now().Add(time.Minute))
		item.Content = &channelv1.Content{
			Text: "您的订单已发货 🕊", Subject: "Order", Html: "<p>x</p>", Attributes: map[string]string{"team": "shop"},
		}
	})
	if ids := r.GetProviderIds(); r.GetOutcome() != channelv1.Outcome_OUTCOME_ACCEPTED || len(ids) != 1 || ids[0] != "4711" {
		t.Errorf("got %s, ids %q", verdict(r), ids)
	}
	if r.GetLatency().AsDuration() <= 0 {
		t.Error("no latency")
	}
	got := <-seen
	for name, want := range map[string]string{
		"Authorization": "Bearer " + webhookToken, "Idempotency-Key": "key-1", "Content-Type": "application/json", "Traceparent": traceparent,
	} {
		if v := got.header.Get(name); v != want {
			t.Errorf("header %s is %q, want %q", name, v, want)
		}
	}
	var body any
	if err := json.Unmarshal(got.body, &body); err != nil {
		t.Fatalf("%v: %s", err, got.body)
	}
	const want = `map[attributes:map[team:shop] html:<p>x</p> id:msg_1 subject:Order text:您的订单已发货 🕊 to:王芳]`
	if have := fmt.Sprint(body); have != want {
		t.Errorf("body is %s, want %s", have, want)
	}
}

// open starts the plugin with a connector for the address.
func open(t *testing.T, binary, url string) *session {
	t.Helper()
	s, err := NewSubject(Suite{Binary: binary, Config: map[string]any{"url": url, "token": webhookToken}})
	if err != nil {
		t.Fatal(err)
	}
	sess, err := s.ready(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, s.LastOutput())
	}
	t.Cleanup(sess.close)
	return sess
}

// one sends one item and returns its result.
func (sess *session) one(t *testing.T, change func(*Item)) *channelv1.Result {
	t.Helper()
	items := sess.items(1, change)
	d, err := sess.send(t.Context(), items...)
	if err != nil {
		t.Fatalf("%v\n%s", err, sess.subject.LastOutput())
	}
	return d.of(items[0])
}

// The Python code that protoc made of the contract is that of today's contract.
func TestPythonContract(t *testing.T) {
	env, err := needPython()
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip("left out: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	python := strings.TrimPrefix(env[0], "PYTHON=")
	cmd := exec.Command(python, "-B", "-c", "import sys, channel_pb2; sys.stdout.buffer.write(channel_pb2.DESCRIPTOR.serialized_pb)")
	cmd.Dir = filepath.Join("..", "..", "examples", "python-plugin", "plugin")
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	generated := &descriptorpb.FileDescriptorProto{}
	if err := proto.Unmarshal(text, generated); err != nil {
		t.Fatal(err)
	}
	contract := protodesc.ToFileDescriptorProto(channelv1.File_channel_v1_channel_proto)
	contract.Name = generated.Name
	for _, m := range contract.GetMessageType() {
		withoutJSONNames(m)
	}
	if !proto.Equal(contract, generated) {
		t.Error("examples/python-plugin/plugin/channel_pb2.py is not what the contract gives: see its README")
	}
}

// withoutJSONNames takes away what protoc leaves out of Python.
func withoutJSONNames(m *descriptorpb.DescriptorProto) {
	for _, f := range m.GetField() {
		f.JsonName = nil
	}
	for _, nested := range m.GetNestedType() {
		withoutJSONNames(nested)
	}
}
