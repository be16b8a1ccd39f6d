package channeltest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

const webhookToken = "s3cret-token"

// webhook is the provider of the examples in other languages: it takes JSON, and the recipient decides
// what happens.
type webhook struct {
	*httptest.Server
	sent atomic.Int64
}

func newWebhook(t *testing.T) *webhook {
	t.Helper()
	w := &webhook{}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

// ServeHTTP answers one post.
func (w *webhook) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var message struct{ ID, To, Text string }
	switch err := json.NewDecoder(r.Body).Decode(&message); {
	case err != nil || message.ID == "" || message.Text == "" || r.Header.Get("Idempotency-Key") == "":
		http.Error(rw, "not a message", http.StatusUnprocessableEntity)
		return
	case r.Header.Get("Authorization") != "Bearer "+webhookToken:
		http.Error(rw, "wrong token: "+r.Header.Get("Authorization"), http.StatusUnauthorized)
		return
	}
	switch message.To {
	case "refused":
		http.Error(rw, "no thanks, "+r.Header.Get("Authorization"), http.StatusBadRequest)
		return
	case "slow":
		<-time.After(1500 * time.Millisecond) // also when nobody waits for the answer any more
	}
	w.sent.Add(1)
	fmt.Fprintf(rw, `{"id": "p-%s"}`, message.ID)
}

// suite tests a webhook channel in any language.
func (w *webhook) suite(binary string, env ...string) channeltest.Suite {
	return channeltest.Suite{
		Binary: binary, Env: env,
		Config: map[string]any{"url": w.URL + "/hook?a=b", "token": webhookToken},
		BadConfigs: []channeltest.BadConfig{
			{Name: "a URL without scheme", Path: "url", Config: map[string]any{"url": "example.com", "token": webhookToken}},
			{Name: "a URL without host", Path: "url", Config: map[string]any{"url": "http:///x", "token": webhookToken}},
			{Name: "an empty token", Path: "token", Config: map[string]any{"url": w.URL, "token": ""}},
		},
		Sent:  func() int { return int(w.sent.Load()) },
		Slow:  channeltest.To("slow"),
		Fails: channeltest.To("refused"),
	}
}

// The example in Python passes every case.
func TestPythonPlugin(t *testing.T) {
	python, err := pythonWith("grpc", "google.protobuf", "cryptography")
	if err != nil {
		leaveOut(t, err)
	}
	channeltest.Run(t, newWebhook(t).suite(buildExample(t, "python-plugin", "webhook-python", "PYTHON="+python)))
}

// The example in JavaScript passes every case.
func TestNodePlugin(t *testing.T) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			leaveOut(t, err)
		}
	}
	channeltest.Run(t, newWebhook(t).suite(buildExample(t, "node-plugin", "webhook-node")))
}

// pythonWith finds an interpreter that has the modules: the first on the PATH need not be the
// distribution's own, which has what the distribution installs.
func pythonWith(modules ...string) (string, error) {
	imports := "import sys"
	for _, m := range modules {
		imports += ", " + m
	}
	found := errors.New("python3 is not installed")
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.Command(path, "-c", imports+"; print(sys.executable)").CombinedOutput()
		if err == nil {
			return string(out[:len(out)-1]), nil
		}
		found = fmt.Errorf("%s: %w\n%s", path, err, out)
	}
	return "", found
}

// buildExample builds a folder of examples with its own script, and gives the path of the plugin.
func buildExample(t *testing.T, folder, name string, env ...string) string {
	t.Helper()
	out := t.TempDir()
	cmd := exec.Command(filepath.Join("..", "..", "examples", folder, "build.sh"), out)
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", folder, err, text)
	}
	found, err := filepath.Glob(filepath.Join(out, name, "*", name))
	if err != nil || len(found) != 1 {
		t.Fatalf("build.sh made %q (%v)", found, err)
	}
	return found[0]
}

// leaveOut ends a test whose peer is missing; with CI=true that is a failure.
func leaveOut(t *testing.T, reason error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip("left out: ", reason)
}
