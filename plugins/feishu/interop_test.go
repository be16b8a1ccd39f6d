package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// The peer is the vendor's npm package @larksuiteoapi/node-sdk, which this project did not write. It is installed, as
// testdata/package-lock.json pins it, into the user's cache.

// node gives the command that runs testdata/peer.js. Where node, npm or the package cannot be had, the test is left out, or
// fails if CI=true.
func node(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir, err := installPeer(t.Context())
	if err != nil {
		leftOut := "left out: the peer npm package @larksuiteoapi/node-sdk: " + err.Error()
		if os.Getenv("CI") == "true" {
			t.Fatal(leftOut)
		}
		t.Skip(leftOut)
	}
	source, err := filepath.Abs("testdata/peer.js")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	command := exec.CommandContext(ctx, "node", append([]string{source}, args...)...)
	command.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(dir, "node_modules"))
	command.Stderr = &logWriter{t}
	return command
}

// installPeer installs the packages once for each content of the lock file, and gives their folder.
func installPeer(ctx context.Context) (string, error) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%s is not installed", tool)
		}
	}
	lock, err := os.ReadFile("testdata/package-lock.json")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(lock)
	root := filepath.Join(cache, "pigeonry-test")
	dir := filepath.Join(root, "npm-feishu-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(root, ".npm-feishu-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	if err := npmInstall(ctx, fresh); err != nil {
		return "", err
	}
	// Whoever renames first wins: the others find the same packages there.
	if err := os.Rename(fresh, dir); err != nil {
		if _, statErr := os.Stat(dir); statErr != nil {
			return "", err
		}
	}
	return dir, nil
}

func npmInstall(ctx context.Context, dir string) error {
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		content, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	command.Dir = dir
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w: %s", err, bytes.TrimSpace(output))
	}
	return nil
}

// logWriter passes a process's stderr to the test's log.
type logWriter struct{ t *testing.T }

func (w *logWriter) Write(p []byte) (int, error) {
	w.t.Logf("peer: %s", bytes.TrimSpace(p))
	return len(p), nil
}

// lines are what a peer printed.
func lines(t *testing.T, command *exec.Cmd) []map[string]any {
	t.Helper()
	out, err := command.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, out)
	}
	var all []map[string]any
	for line := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err == nil { // the SDK prints a line of its own
			all = append(all, v)
		}
	}
	return all
}

// value finds a value in what a peer printed.
func value(v any, path ...string) string {
	for _, name := range path {
		fields, _ := v.(map[string]any)
		v = fields[name]
	}
	return fmt.Sprint(v)
}

// The vendor's client takes the sandbox for Feishu.
func TestVendorClient(t *testing.T) {
	s := startSandbox(t)
	got := map[string]map[string]any{}
	for _, line := range lines(t, node(t, "client", s.URL, "cli_sandbox", "sandbox-secret")) {
		got[value(line, "step")] = line
	}
	first := value(got["text"], "answer", "data", "message_id")
	for _, step := range []string{"text", "repeat", "post", "card", "get", "read_users"} {
		if code := value(got[step], "answer", "code"); code != "0" {
			t.Errorf("%s: %v", step, got[step])
		}
	}
	if again := value(got["repeat"], "answer", "data", "message_id"); !strings.HasPrefix(first, "om_") || again != first {
		t.Errorf("the same uuid: %s, then %s", first, again)
	}
	if code := value(got["wrong id"], "refused", "code"); code != "230001" {
		t.Errorf("wrong id: %v", got["wrong id"])
	}
	if key := value(got["image"], "answer", "image_key"); !strings.HasPrefix(key, "img_") {
		t.Errorf("image: %v", got["image"])
	}
	taken := s.messages()
	if len(taken) != 3 || taken[0].Text != `from the vendor, "quoted" 短信` || taken[1].Subject != "T" || taken[1].Text != "one" || !strings.Contains(taken[2].Text, "body") {
		t.Errorf("%+v", taken)
	}
	wrong := lines(t, node(t, "client", s.URL, "cli_sandbox", "another-secret"))
	if len(wrong) != 1 || !strings.Contains(value(wrong[0], "refused", "message"), "app secret invalid") {
		t.Errorf("a wrong secret: %v", wrong)
	}
}

// The vendor's dispatcher takes the sandbox's events for Feishu's, and refuses those signed with another key.
func TestVendorDispatcher(t *testing.T) {
	command := node(t, "dispatcher", "sandbox-encrypt-key", "sandbox-token")
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	}()
	printed := bufio.NewScanner(out)
	printed.Buffer(nil, 1<<20)
	next := func(field string) map[string]any {
		for printed.Scan() {
			var v map[string]any
			if json.Unmarshal(printed.Bytes(), &v) == nil && v[field] != nil {
				return v
			}
		}
		t.Fatalf("the peer ended: %v", printed.Err())
		return nil
	}
	s := startSandbox(t)
	url := "http://127.0.0.1:" + value(next("port"), "port") + "/webhook/event"
	s.set(t, settings{"callback_url": url})
	c := doubleApp(t, s)
	receipt, err := c.Send(t.Context(), message("ou_ann"))
	if err != nil {
		t.Fatal(err)
	}
	s.play(t, settings{"type": "challenge"})
	s.play(t, settings{"type": "message", "from": "ou_ann", "text": "\"quoted\" <b> 短信 \u2028"})
	s.play(t, settings{"type": "bot_added", "chat_id": "oc_1"})
	s.call(t)
	read := next("event")
	if value(read, "event") != "im.message.message_read_v1" || value(read, "data", "message_id_list") != fmt.Sprint(receipt.ProviderIDs) ||
		value(read, "data", "reader", "reader_id", "open_id") != "ou_ann" || value(read, "data", "token") != "sandbox-token" {
		t.Errorf("%v", read)
	}
	written := next("event")
	if value(written, "event") != "im.message.receive_v1" || value(written, "data", "message", "content") != `{"text":"\"quoted\" <b> 短信 \u2028"}` {
		t.Errorf("%v", written)
	}
	if added := next("event"); value(added, "event") != "im.chat.member.bot.added_v1" {
		t.Errorf("%v", added)
	}
	// The vendor's code finds a signature wrong that is: nothing is printed for it.
	s.play(t, settings{"type": "read", "message_ids": []string{"om_forged"}})
	s.call(t, func(h http.Header) { h.Set("X-Lark-Signature", strings.Repeat("0", 64)) })
	s.play(t, settings{"type": "read", "message_ids": []string{"om_good"}})
	s.call(t)
	if got := next("event"); value(got, "data", "message_id_list") != "[om_good]" {
		t.Errorf("a forged event passed: %v", got)
	}
}

// call brings every callback over HTTP, after edits of its headers.
func (s *sandbox) call(t *testing.T, edits ...func(http.Header)) {
	t.Helper()
	s.mu.Lock()
	pending := s.callbacks
	s.callbacks = nil
	s.mu.Unlock()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for _, callback := range pending {
		r, err := callback.Request(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, edit := range edits {
			edit(r.Header)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err = errors.Join(err, answer.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if !callback.Taken(answer.StatusCode, body) {
			t.Errorf("not taken: %s %s", answer.Status, body)
		}
	}
}

// What Node's crypto encrypts and signs, as the provider's page has it, is Feishu's to this plugin.
func TestNodeAsFeishu(t *testing.T) {
	c := connect(t, appSettings("http://127.0.0.1:1"))
	var mu sync.Mutex
	var events sdk.Events
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer, got, err := c.HandleCallback(r.Context(), &sdk.CallbackRequest{Method: r.Method, Header: r.Header, Body: body})
		if err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		events.Receipts, events.Inbound = append(events.Receipts, got.Receipts...), append(events.Inbound, got.Inbound...)
		if answer.Status != 0 {
			w.WriteHeader(answer.Status)
		}
		_, _ = w.Write(answer.Body)
	}))
	defer server.Close()
	bodies := []string{challenge, event("im.message.message_read_v1", readExample), received("text", `{"text":"短信 \"x\""}`, "")}
	got := lines(t, node(t, append([]string{"feishu", server.URL, testKey}, bodies...)...))
	if len(got) != 3 || value(got[0], "body") != `{"challenge":"ajls384kdjxxxx"}` || value(got[1], "status") != "200" || value(got[2], "status") != "200" {
		t.Errorf("%v", got)
	}
	mu.Lock()
	if len(events.Receipts) != 2 || len(events.Inbound) != 1 || events.Inbound[0].Text != `短信 "x"` {
		t.Errorf("%+v", events)
	}
	mu.Unlock()
	for _, line := range lines(t, node(t, "feishu", server.URL, "another-key", bodies[1])) {
		if value(line, "status") != strconv.Itoa(http.StatusUnauthorized) {
			t.Errorf("another key: %v", line)
		}
	}
}

// The vendor's cipher and Node's HMAC agree with ours.
func TestVendorCrypto(t *testing.T) {
	var sealed struct {
		Encrypt string `json:"encrypt"`
	}
	const text = `{"text":"短信 hello"}`
	if err := json.Unmarshal(encrypt([]byte(text), testKey), &sealed); err != nil {
		t.Fatal(err)
	}
	ours, err := decrypt(sealed.Encrypt, testKey)
	if err != nil || string(ours) != text {
		t.Fatalf("%s, %v", ours, err)
	}
	got := lines(t, node(t, "crypt", testKey, sealed.Encrypt, "1599360473", testSigning))
	if len(got) != 1 || value(got[0], "text") != text || value(got[0], "hook") != hookSignature("1599360473", testSigning) {
		t.Errorf("%v", got)
	}
}
