package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core/enginetest"
)

// The tests over the real binaries: gateway, sandbox and plugins are built once and run as an operator
// runs them, in folders and on ports of their own.

const testKey = "pigeonry-e2e-0123456789abcdef0123456789abcdef"

// built is the folder with the binaries: pigeonry, pigeonry-sandbox and plugins/<name>/<version>/<name>.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pigeonry-e2e-")
	if err != nil {
		return "", err
	}
	compile := func(out, pkg string) error {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, out), pkg)
		cmd.Dir = filepath.Join("..", "..")
		if b, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, b)
		}
		return nil
	}
	if err := errors.Join(compile("pigeonry", "./cmd/pigeonry"), compile("pigeonry-sandbox", "./cmd/pigeonry-sandbox")); err != nil {
		return dir, err
	}
	for _, name := range []string{"app", "email", "feishu", "http", "sms", "wechat"} {
		if err := compile(name+".built", "./plugins/"+name); err != nil {
			return dir, err
		}
		if err := install(dir, name); err != nil {
			return dir, err
		}
	}
	return dir, compile("flaky", "./cmd/pigeonry/testdata/flaky")
})

// install moves a built plugin to where its own version belongs.
func install(dir, name string) error {
	binary := filepath.Join(dir, name+".built")
	b, err := exec.Command(binary, "-describe").Output()
	if err != nil {
		return fmt.Errorf("describe %s: %w", name, err)
	}
	var description struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(b, &description); err != nil {
		return fmt.Errorf("describe %s: %w in %s", name, err, b)
	}
	folder := filepath.Join(dir, "plugins", name, description.Version)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.Rename(binary, filepath.Join(folder, name))
}

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := built(); testing.Testing() && dir != "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// process is a child that the test owns.
type process struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	output *lockedBuffer
	exited chan struct{}
	err    error // after exited
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// launch starts a binary; it is killed when the test ends, if it still runs.
func launch(t *testing.T, name string, env []string, stdout io.Writer, args ...string) *process {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, name: name, output: &lockedBuffer{}, exited: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(dir, name), args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			out := p.output.String()
			t.Logf("%s wrote:\n%s", name, out[max(0, len(out)-6000):])
		}
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
}

// terminate asks the process to end and returns how it ended.
func (p *process) terminate(patience time.Duration) error {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return p.err
	case <-time.After(patience):
		return fmt.Errorf("%s did not end within %s", p.name, patience)
	}
}

// sandboxed is a running sandbox.
type sandboxed struct {
	*process
	SMTP, SMPP, HTTP string
}

func startSandbox(t *testing.T, args ...string) *sandboxed {
	t.Helper()
	r, w := io.Pipe()
	s := &sandboxed{}
	args = append([]string{"-smtp", "127.0.0.1:0", "-smpp", "127.0.0.1:0", "-http", "127.0.0.1:0", "-print-addresses", "-quiet"}, args...)
	s.process = launch(t, "pigeonry-sandbox", nil, w, args...)
	lines := make(chan []byte, 1)
	go func() {
		line, _ := bufio.NewReader(r).ReadBytes('\n')
		lines <- line
		_, _ = io.Copy(io.Discard, r)
	}()
	t.Cleanup(func() { w.Close() })
	select {
	case line := <-lines:
		if err := json.Unmarshal(line, s); err != nil {
			t.Fatalf("addresses of the sandbox: %v in %q", err, line)
		}
	case <-s.exited:
		t.Fatalf("the sandbox ended: %v", s.err)
	case <-time.After(20 * time.Second):
		t.Fatal("the sandbox did not print its addresses")
	}
	return s
}

// system is a gateway and what it needs.
type system struct {
	t       *testing.T
	sandbox *sandboxed
	gateway *process
	dir     string
	plugins string // the folder that the gateway takes its plugins from
	address string
	config  string
	last    string // what was last seen of what the test awaits
}

// embedded are the engines of a gateway whose configuration file names none.
const embedded = ""

// onBoth runs a test on a system for each kind of engines. Start gets the engines in the words of the configuration file.
func onBoth(t *testing.T, start func(t *testing.T, engines string) *system, test func(*system)) {
	t.Helper()
	t.Parallel() // most of it is waiting
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(start(t, embedded))
	})
	t.Run("production", func(t *testing.T) {
		t.Parallel()
		test(start(t, enginetest.NewProduction(t).HCL()))
	})
}

// startSystem runs a sandbox and a gateway with an e-mail and an SMS connector that point at it.
func startSystem(t *testing.T, engines string) *system {
	t.Helper()
	binaries, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return startSystemFrom(t, filepath.Join(binaries, "plugins"), engines)
}

// startSystemFrom is startSystem with a folder of plugins of the test's own.
func startSystemFrom(t *testing.T, plugins, engines string) *system {
	t.Helper()
	s := &system{t: t, sandbox: startSandbox(t), dir: t.TempDir(), plugins: plugins, address: freeAddress(t)}
	smtpHost, smtpPort, _ := net.SplitHostPort(s.sandbox.SMTP)
	smppHost, smppPort, _ := net.SplitHostPort(s.sandbox.SMPP)
	s.config = filepath.Join(s.dir, "gateway.hcl")
	config := fmt.Sprintf(`
listen   = %q
data_dir = %q
plugins { dir = %q }
account { default_region = "CN" }

connector "email" "main" {
  plugin = "email"
  config {
    host = %q
    port = %s
    tls  = "none"
    from = "Shop <no-reply@example.com>"
  }
}

connector "sms" "main" {
  plugin = "sms"
  retry { first_delay = "200ms" }
  config {
    host      = %q
    port      = %s
    system_id = "pigeonry"
    password  = "secret"
  }
}
`, s.address, filepath.Join(s.dir, "data"), s.plugins, smtpHost, smtpPort, smppHost, smppPort)
	if err := os.WriteFile(s.config, []byte(engines+config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	return s
}

// start runs the gateway and waits until it is ready.
func (s *system) start() {
	s.t.Helper()
	s.gateway = launch(s.t, "pigeonry", []string{"PIGEONRY_BOOTSTRAP_KEY=" + testKey}, nil, "serve", "-c", s.config)
	s.await("the gateway is ready", 30*time.Second, func() bool {
		select {
		case <-s.gateway.exited:
			s.t.Fatalf("the gateway ended: %v\n%s", s.gateway.err, s.gateway.output)
		default:
		}
		status, _, err := s.call(http.MethodGet, "/readyz", nil)
		return err == nil && status == http.StatusOK
	})
}

// await polls until something holds. It is for what happens in other processes, which send no signals.
func (s *system) await(what string, patience time.Duration, holds func() bool) {
	s.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("not within %s: %s; last seen: %s", patience, what, s.last)
		}
	}
}

func (s *system) call(method, path string, body any) (int, []byte, error) {
	var reader io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		reader = bytes.NewReader(b)
	}
	return request(s.t.Context(), method, "http://"+s.address+path, reader)
}

func request(ctx context.Context, method, url string, body io.Reader) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+testKey)
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return response.StatusCode, b, err
}

// get reads the data of an answer of the gateway.
func get[T any](s *system, method, path string, body any) T {
	s.t.Helper()
	status, b, err := s.call(method, path, body)
	if err != nil || status/100 != 2 {
		s.t.Fatalf("%s %s: %d, %v: %s", method, path, status, err, b)
	}
	data, err := decode[T](b)
	if err != nil {
		s.t.Fatalf("%s %s: %v in %s", method, path, err, b)
	}
	return data
}

// decode reads the data of a successful answer of the gateway.
func decode[T any](answer []byte) (T, error) {
	var envelope struct {
		Code int `json:"code"`
		Data T   `json:"data"`
	}
	err := json.Unmarshal(answer, &envelope)
	if err == nil && envelope.Code != 0 {
		err = fmt.Errorf("code %d", envelope.Code)
	}
	return envelope.Data, err
}

// inboxMessage is a message as the sandbox shows it.
type inboxMessage struct {
	Channel, To, From, Subject, Text string
}

func (s *system) inbox(channel, to string) []inboxMessage {
	s.t.Helper()
	status, b, err := request(s.t.Context(), http.MethodGet,
		"http://"+s.sandbox.HTTP+"/api/messages?channel="+channel+"&to="+strings.ReplaceAll(to, "+", "%2B"), nil)
	if err != nil || status != http.StatusOK {
		s.t.Fatalf("inbox: %d, %v: %s", status, err, b)
	}
	var inbox struct {
		Count    int            `json:"count"`
		Messages []inboxMessage `json:"messages"`
	}
	if err := json.Unmarshal(b, &inbox); err != nil {
		s.t.Fatal(err)
	}
	if inbox.Count != len(inbox.Messages) {
		s.t.Errorf("the inbox counts %d and shows %d", inbox.Count, len(inbox.Messages))
	}
	return inbox.Messages
}

// ledgerEntry is one message part that the sandbox took.
type ledgerEntry struct {
	Channel, Provider, To, Outcome string

	Part int
}

// ledger reads all that the sandbox ever received on a channel.
func (s *system) ledger(channel string) []ledgerEntry {
	s.t.Helper()
	status, b, err := request(s.t.Context(), http.MethodGet, "http://"+s.sandbox.HTTP+"/api/ledger", nil)
	if err != nil || status != http.StatusOK {
		s.t.Fatalf("ledger: %d, %v", status, err)
	}
	var entries []ledgerEntry
	decoder := json.NewDecoder(bytes.NewReader(b))
	for decoder.More() {
		var e ledgerEntry
		if err := decoder.Decode(&e); err != nil {
			s.t.Fatal(err)
		}
		if e.Channel == channel {
			entries = append(entries, e)
		}
	}
	return entries
}

// firstPort and portCount are a range below the ports that the system gives to outgoing connections: a gateway that was
// killed finds its port free when it comes back, whatever other tests do meanwhile.
const firstPort, portCount = 14_000, 4000

// ports counts through the range from a random start, so that no two tests choose the same.
var ports = func() *atomic.Int32 {
	n := &atomic.Int32{}
	n.Store(rand.Int32N(portCount))
	return n
}()

func freeAddress(t *testing.T) string {
	t.Helper()
	for range portCount {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+ports.Add(1)%portCount))
		if err == nil {
			address := l.Addr().String()
			l.Close()
			return address
		}
	}
	t.Fatalf("no port is free from %d to %d", firstPort, firstPort+portCount-1)
	return ""
}
