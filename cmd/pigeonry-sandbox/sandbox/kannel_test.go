package sandbox_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

// TestKannelAsESME lets a client that this project did not write bind to the message center:
// Kannel's bearerbox sends what its smsbox is given over HTTP, and reports the receipts.
func TestKannelAsESME(t *testing.T) {
	needPeer(t, "kannel", "bearerbox", "smsbox")
	s := start(t, sandbox.Options{ReceiptDelay: 50 * time.Millisecond})
	reports := make(chan url.Values, 100)
	reporter := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reports <- r.URL.Query() }))
	t.Cleanup(reporter.Close)
	kannel := startKannel(t, s)

	long := strings.TrimSpace(strings.Repeat("Your parcel is on its way. ", 15))
	tests := []struct {
		name, text, coding string
		parts              int
	}{
		{"short", "Hello {world} [€]", "0", 1},
		{"Chinese", "您的验证码是 123456，请勿泄露。", "2", 1},
		{"long", long, "0", 3},
		{"long Chinese", strings.Repeat("您的包裹正在路上。", 20), "2", 3},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			to := fmt.Sprintf("861380013800%d", i)
			kannel.send(t, url.Values{
				"username": {"test"}, "password": {"test"}, "from": {"Shop"}, "to": {to},
				"text": {test.text}, "charset": {"UTF-8"}, "coding": {test.coding},
				"dlr-mask": {"19"}, "dlr-url": {reporter.URL + "/?to=" + to + "&status=%d"},
			})
			got := await(t, s, sandbox.Filter{To: to}, 1)[0]
			if got.Text != test.text {
				t.Errorf("inbox has %q, want %q", got.Text, test.text)
			}
			if got.To != "+"+to || got.From != "Shop" || got.Parts != test.parts {
				t.Errorf("inbox has %+v, want %d parts from Shop", got, test.parts)
			}
			select {
			case report := <-reports:
				if report.Get("status") != "1" || report.Get("to") != to {
					t.Errorf("Kannel reports %v, want status 1 (delivered) for %s", report, to)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("Kannel reports no receipt")
			}
		})
	}
}

// kannel is a private bearerbox with its smsbox.
type kannel struct{ sendSMS string }

func startKannel(t *testing.T, s *sandbox.Sandbox) kannel {
	t.Helper()
	dir := t.TempDir()
	_, smpp, err := net.SplitHostPort(s.Addresses().SMPP)
	if err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 3)
	config := filepath.Join(dir, "kannel.conf")
	file, err := os.Create(config)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"Admin": ports[0], "Box": ports[1], "SendSMS": ports[2], "SMPP": smpp}
	if err := template.Must(template.ParseFiles("testdata/kannel.conf")).Execute(file, values); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	startPeer(t, dir, "bearerbox", config)
	awaitPort(t, ports[1])
	startPeer(t, dir, "smsbox", config)
	awaitPort(t, ports[2])
	return kannel{sendSMS: "http://127.0.0.1:" + ports[2] + "/cgi-bin/sendsms?"}
}

func (k kannel) send(t *testing.T, query url.Values) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, k.sendSMS+query.Encode(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	answer, err := (&http.Client{Timeout: 20 * time.Second}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		t.Fatalf("Kannel answers %s", answer.Status)
	}
}

// needPeer leaves a test out when a program of the peer is missing, which is a failure under CI.
func needPeer(t *testing.T, name string, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: install the package %s", program, name)
		}
		t.Skipf("left out: interoperation with %s, as %s is not installed", name, program)
	}
}

// startPeer runs a program until the end of the test; what it logged is shown if the test fails.
func startPeer(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, program+".log"))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, args...)
	command.Dir, command.Stdout, command.Stderr = dir, log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill() // fails only if it has ended by itself
		_ = command.Wait()         // reports the kill
		_ = log.Close()
		if t.Failed() {
			content, _ := os.ReadFile(log.Name())
			t.Logf("%s logged:\n%s", program, content)
		}
	})
}

// freePorts finds ports of 127.0.0.1 that nobody listens on.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	listeners := make([]net.Listener, n) // all open at a time, or one port might be found twice
	ports := make([]string, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i] = l
		_, ports[i], _ = net.SplitHostPort(l.Addr().String())
	}
	for _, l := range listeners {
		_ = l.Close()
	}
	return ports
}

// awaitPort dials until somebody listens.
func awaitPort(t *testing.T, port string) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	timeout := time.After(15 * time.Second)
	for {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-again.C:
		case <-timeout:
			t.Fatalf("nobody listens on port %s: %v", port, err)
		}
	}
}
