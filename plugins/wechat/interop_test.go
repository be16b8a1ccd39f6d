package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/wechat"
	"github.com/pigeonry/pigeonry/sdk"
)

// The peers are the npm packages co-wechat-api, node-easywechat, wechat and wechat-crypto, and the Go library
// github.com/silenceper/wechat/v2. The packages are installed, as testdata/package-lock.json pins them, into the user's cache.

// leftOut skips a test of a peer that cannot be had, or fails it if CI=true.
func leftOut(t *testing.T, peer string, err error) {
	t.Helper()
	text := fmt.Sprintf("left out: the peer %s: %v", peer, err)
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
}

// command is a peer, which ends with the test.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, name, args...)
	c.Stderr = logWriter{t}
	return c
}

// node is testdata/peer.js.
func node(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir, err := installPeers(t.Context())
	if err != nil {
		leftOut(t, "npm packages of WeChat", err)
	}
	source, err := filepath.Abs(filepath.Join("testdata", "peer.js"))
	if err != nil {
		t.Fatal(err)
	}
	c := command(t, "node", append([]string{"--no-deprecation", source}, args...)...)
	c.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(dir, "node_modules"))
	c.Dir = t.TempDir() // one of the peers caches in a file
	return c
}

// goPeer is testdata/silenceper.
func goPeer(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	program, err := buildGoPeer()
	if err != nil {
		leftOut(t, "github.com/silenceper/wechat/v2", err)
	}
	return command(t, program, args...)
}

// buildGoPeer builds the program once, into the user's cache.
var buildGoPeer = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	program := filepath.Join(cache, "pigeonry-test", "silenceper")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = filepath.Join("testdata", "silenceper")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, bytes.TrimSpace(output))
	}
	return program, nil
})

// installPeers installs the packages once for each content of the lock file, and gives their folder.
func installPeers(ctx context.Context) (string, error) {
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
	dir := filepath.Join(root, "npm-wechat-"+hex.EncodeToString(sum[:6]))
	if isThere(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(root, ".npm-wechat-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	if err := npmInstall(ctx, fresh); err != nil {
		return "", err
	}
	// Whoever renames first wins: the others find the same packages there.
	if err := os.Rename(fresh, dir); err != nil && !isThere(dir) {
		return "", err
	}
	return dir, nil
}

func isThere(dir string) bool {
	_, err := os.Stat(dir)
	return err == nil
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
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if output, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w: %s", err, bytes.TrimSpace(output))
	}
	return nil
}

// logWriter passes a process's stderr to the test's log.
type logWriter struct{ t *testing.T }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Logf("peer: %s", bytes.TrimSpace(p))
	return len(p), nil
}

// printed runs a peer to its end and decodes what it prints.
func printed(t *testing.T, c *exec.Cmd, into any) {
	t.Helper()
	output, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v", c.Args[0], err)
	}
	if err := json.Unmarshal(output, into); err != nil {
		t.Fatalf("the peer printed %q: %v", output, err)
	}
}

// tried is what a JavaScript peer says of a call that may fail.
type tried struct {
	Code int    `json:"code"`
	Text string `json:"text"`
}

// co-wechat-api sends by the double, with the tokens of the older endpoint.
func TestPeerCoWechatAPI(t *testing.T) {
	d := newDouble(t, func(s *wechat.Settings) { s.Templates = map[string][]string{"T1": nil} })
	var got struct {
		Template struct {
			MsgID   string `json:"msgid"`
			ErrCode int    `json:"errcode"`
		}
		Text, Image, News, Once, Renewed struct {
			ErrCode int    `json:"errcode"`
			ErrMsg  string `json:"errmsg"`
		}
		Tokens                           []string
		Stranger, Unknown, Empty, Secret tried
	}
	printed(t, node(t, "co", d.url, d.account(t)), &got)
	messages := d.messages()
	if len(messages) != 6 {
		t.Fatalf("the double has %d messages: %+v", len(messages), messages)
	}
	if got.Template.MsgID != messages[0].ProviderID || messages[0].Text != "amount2: 39.80元\nthing1: 黄先生" {
		t.Errorf("template message %+v as %+v", messages[0], got.Template)
	}
	for i, want := range []string{"你好 <b>&", "[image MEDIA]", "Is Really\nhttps://example.com", "content: VALUE", "again"} {
		if messages[i+1].Text != want || messages[i+1].To != "ann" {
			t.Errorf("message %d is %+v, want %q", i+1, messages[i+1], want)
		}
	}
	for _, ok := range []string{got.Text.ErrMsg, got.Image.ErrMsg, got.News.ErrMsg, got.Once.ErrMsg, got.Renewed.ErrMsg} {
		if ok != "ok" {
			t.Errorf("answers %+v", got)
		}
	}
	if len(got.Tokens) != 2 || got.Tokens[0] == got.Tokens[1] || got.Tokens[1] == "" {
		t.Errorf("tokens %q", got.Tokens)
	}
	if got.Stranger.Code != 43004 || got.Unknown.Code != 40037 || got.Empty.Code != 44004 || got.Secret.Code != 40125 {
		t.Errorf("refusals %+v %+v %+v %+v", got.Stranger, got.Unknown, got.Empty, got.Secret)
	}
}

// node-easywechat sends by the double, with stable tokens.
func TestPeerNodeEasyWechat(t *testing.T) {
	d := newDouble(t, nil)
	type answered struct {
		ErrCode int    `json:"errcode"`
		ErrMsg  string `json:"errmsg"`
		MsgID   int64  `json:"msgid"`
	}
	var got struct {
		Notice, Template, Again, Text, Refused answered
		Stable                                 []string
	}
	printed(t, node(t, "easy", d.url, d.account(t)), &got)
	messages := d.messages()
	if len(messages) != 3 {
		t.Fatalf("the double has %d messages: %+v", len(messages), messages)
	}
	if fmt.Sprint(got.Notice.MsgID) != messages[0].ProviderID || fmt.Sprint(got.Template.MsgID) != messages[1].ProviderID ||
		got.Again.MsgID != got.Template.MsgID || got.Text.ErrMsg != "ok" || messages[2].Text != "你好" {
		t.Errorf("answers %+v for %+v", got, messages)
	}
	if got.Refused.ErrCode != 43101 {
		t.Errorf("refusal %+v", got.Refused)
	}
	// In normal mode the token stays; in forced mode it changes.
	if len(got.Stable) != 3 || got.Stable[0] != got.Stable[1] || got.Stable[1] == got.Stable[2] {
		t.Errorf("tokens %q", got.Stable)
	}
}

// silenceper/wechat sends by the double, with stable tokens.
func TestPeerSilenceper(t *testing.T) {
	d := newDouble(t, nil)
	var got map[string]any
	printed(t, goPeer(t, "send", d.url, d.account(t)), &got)
	messages := d.messages()
	if len(messages) != 4 {
		t.Fatalf("the double has %d messages: %+v; the peer says %v", len(messages), messages, got)
	}
	if got["template"] != messages[0].ProviderID || got["again"] != got["template"] || got["templates"] != 2.0 {
		t.Errorf("the peer says %v", got)
	}
	for _, name := range []string{"template", "again", "templates", "notice", "text", "image"} {
		if got[name+"_error"] != "" {
			t.Errorf("%s: %v", name, got[name+"_error"])
		}
	}
	if text := fmt.Sprint(got["stranger_error"]); !strings.Contains(text, "43004") || !strings.Contains(text, "require subscribe") {
		t.Errorf("a stranger: %s", text)
	}
}

// wechat-crypto encrypts for our plugin.
func TestPeerWechatCryptoToPlugin(t *testing.T) {
	d := newDouble(t, nil)
	c := d.of(t)
	texts := []string{"hello", "", strings.Repeat("长", 1000)}
	args := []string{"seal", d.account(t)}
	for _, text := range texts {
		args = append(args, event("<MsgType>text</MsgType><Content><![CDATA["+text+"]]></Content><MsgId>1</MsgId>"))
	}
	var pushed []struct{ Query, Body string }
	printed(t, node(t, args...), &pushed)
	for i, text := range texts {
		request := &sdk.CallbackRequest{Method: http.MethodPost, Path: "/", Query: pushed[i].Query, Body: []byte(pushed[i].Body)}
		answer, events, err := c.HandleCallback(t.Context(), request)
		if err != nil || answer.Status != http.StatusOK || len(events.Inbound) != 1 || events.Inbound[0].Text != text {
			t.Fatalf("answer %+v, events %+v, %v", answer, events, err)
		}
		request.Query = strings.Replace(request.Query, "msg_signature=", "msg_signature=0", 1)
		if answer, _, _ := c.HandleCallback(t.Context(), request); answer.Status != http.StatusUnauthorized {
			t.Errorf("a wrong signature was answered with %d", answer.Status)
		}
	}
}

// received is one line that a serving peer prints.
type received struct {
	Port    int
	By      string
	Message map[string]any
}

// serving is a peer that takes pushes.
type serving struct {
	port  int
	lines chan received
}

func serve(t *testing.T, c *exec.Cmd) *serving {
	t.Helper()
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s := &serving{lines: make(chan received, 100)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.read(stdout)
	}()
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		stdin.Close()
		<-read
		if err := c.Wait(); err != nil {
			t.Errorf("%s: %v", c.Args[0], err)
		}
	})
	s.port = s.next(t).Port
	return s
}

func (s *serving) read(stdout io.Reader) {
	defer close(s.lines)
	scanner := bufio.NewScanner(stdout)
	for scanner.Scan() {
		var line received
		if json.Unmarshal(scanner.Bytes(), &line) == nil {
			s.lines <- line
		}
	}
}

func (s *serving) next(t *testing.T) received {
	t.Helper()
	select {
	case line, ok := <-s.lines:
		if !ok {
			t.Fatal("the peer has ended")
		}
		return line
	case <-time.After(20 * time.Second):
		t.Fatal("the peer does nothing for 20 s")
	}
	return received{}
}

// The double pushes to servers of others, in every mode; they check signatures and decrypt.
func TestPeersTakeThePushesOfTheDouble(t *testing.T) {
	for peer, tc := range map[string]struct {
		path  string
		modes []string
		start func(t *testing.T, account string) *exec.Cmd
	}{
		"wechat": {"/wechat", []string{"plain", "safe"}, func(t *testing.T, account string) *exec.Cmd { t.Helper(); return node(t, "serve", account) }},
		"node-easywechat": {"/easy", []string{"plain", "compatible", "safe"}, func(t *testing.T, account string) *exec.Cmd {
			t.Helper()
			return node(t, "serve", account)
		}},
		"silenceper": {"/", []string{"plain", "compatible", "safe"}, func(t *testing.T, account string) *exec.Cmd { t.Helper(); return goPeer(t, "serve", account) }},
	} {
		t.Run(peer, func(t *testing.T) {
			d := newDouble(t, nil)
			s := serve(t, tc.start(t, d.account(t)))
			for _, mode := range tc.modes {
				d.change(t, func(settings *wechat.Settings) {
					settings.Mode, settings.CallbackURL = mode, fmt.Sprintf("http://127.0.0.1:%d%s", s.port, tc.path)
				})
				if err := d.Play(t.Context(), json.RawMessage(`{"verify":true}`)); err != nil {
					t.Errorf("%s: %v", mode, err)
				}
				pushesArrive(t, d, s, peer)
			}
		})
	}
}

// pushesArrive sends a text of a user and the result of a template message.
func pushesArrive(t *testing.T, d *double, s *serving, peer string) {
	t.Helper()
	if err := d.Play(t.Context(), json.RawMessage(`{"from":"ann","text":"你好 <&>"}`)); err != nil {
		t.Fatal(err)
	}
	post(t, d.sent[len(d.sent)-1])
	got := s.next(t)
	if got.By != peer || got.Message["Content"] != "你好 <&>" || got.Message["FromUserName"] != "ann" || got.Message["ToUserName"] != d.settings.Account {
		t.Errorf("%s got %+v", peer, got)
	}
	m := templated("T1", map[string]string{"thing1": "a", "amount2": "b"})
	m.IdempotencyKey = fmt.Sprint(len(d.receipts))
	receipt, err := d.of(t).Send(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	post(t, d.receipts[len(d.receipts)-1])
	got = s.next(t)
	if fmt.Sprint(got.Message["MsgID"]) != receipt.ProviderID() || got.Message["Event"] != "TEMPLATESENDJOBFINISH" || got.Message["Status"] != "success" {
		t.Errorf("%s got %+v for %s", peer, got, receipt.ProviderID())
	}
}

// A server of others refuses what is signed with another token, so that what it takes says something.
func TestPeerRefusesAnotherToken(t *testing.T) {
	d := newDouble(t, nil)
	s := serve(t, node(t, "serve", d.account(t)))
	d.change(t, func(settings *wechat.Settings) {
		settings.Token, settings.CallbackURL = "anothertoken", fmt.Sprintf("http://127.0.0.1:%d/wechat", s.port)
	})
	err := d.Play(t.Context(), json.RawMessage(`{"verify":true}`))
	if err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("the check of the address: %v", err)
	}
	if err := d.Play(t.Context(), json.RawMessage(`{"from":"ann","text":"hi"}`)); err != nil {
		t.Fatal(err)
	}
	req, err := d.sent[0].Request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || d.sent[0].Taken(resp.StatusCode, nil) {
		t.Errorf("a push signed with another token was answered %s", resp.Status)
	}
}
