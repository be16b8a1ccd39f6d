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
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/segment"
	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
	"github.com/pigeonry/pigeonry/sdk"
)

// The peer is the npm package smpp (node-smpp), which this project did not write, as SMSC and as
// client. It is installed, as testdata/package-lock.json pins it, into the user's cache.

// nodePeer gives the command that runs a script of testdata. Where node, npm or the package cannot be
// had, the test is left out, or fails if CI=true.
func nodePeer(t *testing.T, script string, args ...string) *exec.Cmd {
	t.Helper()
	dir, err := installPeer(t.Context())
	if err != nil {
		leftOut := "left out: the peer npm package smpp: " + err.Error()
		if os.Getenv("CI") == "true" {
			t.Fatal(leftOut)
		}
		t.Skip(leftOut)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	source, err := filepath.Abs(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	// Node looks for packages beside the script first; NODE_PATH is where it looks else.
	command := exec.CommandContext(ctx, "node", append([]string{source}, args...)...)
	command.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(dir, "node_modules"))
	command.Stderr = &logWriter{t: t}
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
	dir := filepath.Join(root, "npm-smpp-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(root, ".npm-smpp-")
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

// event is one line that smsc.js prints.
type event struct {
	Port   int
	Event  string
	Raw    string
	To     string
	ID     string
	Mode   string
	Good   bool
	Status int
}

// nodeSMSC runs smsc.js.
type nodeSMSC struct {
	addr   string
	events chan event
}

func newNodeSMSC(t *testing.T) *nodeSMSC {
	t.Helper()
	command := nodePeer(t, "smsc.js")
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("start node: %v", err)
	}
	c := &nodeSMSC{events: make(chan event, 10_000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		c.read(stdout)
	}()
	t.Cleanup(func() {
		stdin.Close()
		<-read
		if err := command.Wait(); err != nil {
			t.Errorf("smsc.js: %v", err)
		}
	})
	c.addr = fmt.Sprintf("127.0.0.1:%d", c.next(t).Port)
	return c
}

func (c *nodeSMSC) read(stdout io.Reader) {
	defer close(c.events)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			c.events <- e
		}
	}
}

func (c *nodeSMSC) next(t *testing.T) event {
	t.Helper()
	select {
	case e, ok := <-c.events:
		if !ok {
			t.Fatal("smsc.js has ended")
		}
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("smsc.js does nothing for 20 s")
	}
	return event{}
}

// await skips to the next event of a kind.
func (c *nodeSMSC) await(t *testing.T, kind string) event {
	t.Helper()
	for {
		if e := c.next(t); e.Event == kind {
			return e
		}
	}
}

// collect awaits n submits and the answers to their receipts, which come in between.
func (c *nodeSMSC) collect(t *testing.T, n int) (submits, delivered []event) {
	t.Helper()
	for len(submits) < n || len(delivered) < n {
		switch e := c.next(t); e.Event {
		case "submit":
			submits = append(submits, e)
		case "delivered":
			delivered = append(delivered, e)
		}
	}
	return submits, delivered
}

// submitted reads the octets of a submit_sm by hand, without the codec under test: the fields are those
// of SMPP 3.4 section 4.4.1.
type submitted struct {
	esmClass, dataCoding byte
	message              []byte
}

func readSubmit(t *testing.T, raw string) submitted {
	t.Helper()
	octets, err := hex.DecodeString(raw)
	if err != nil || len(octets) < 16 {
		t.Fatalf("smsc.js gives %q", raw)
	}
	rest := octets[16:]
	skip := func(cstrings, fixed int) {
		for range cstrings {
			rest = rest[bytes.IndexByte(rest, 0)+1:]
		}
		rest = rest[fixed:]
	}
	skip(1, 2)                                       // service_type, source ton and npi
	skip(1, 2)                                       // source_addr, destination ton and npi
	skip(1, 0)                                       // destination_addr
	s := submitted{esmClass: rest[0]}                //
	skip(0, 3)                                       // esm_class, protocol_id, priority_flag
	skip(2, 2)                                       // schedule, validity, registered_delivery, replace_if_present
	s.dataCoding, rest = rest[0], rest[2:]           // data_coding, sm_default_msg_id
	s.message = rest[1 : 1+int(rest[0])]             // sm_length
	if rest = rest[1+int(rest[0]):]; len(rest) > 0 { // no optional parameters by default
		t.Errorf("%d octets behind short_message", len(rest))
	}
	return s
}

func TestPeerSMSC(t *testing.T) {
	smsc := newNodeSMSC(t)
	c := openConnector(t, configFor(smsc.addr))
	events := receiving(t, c)
	if err := c.Check(t.Context()); err != nil {
		t.Fatalf("Check: %v", err)
	}
	if e := smsc.await(t, "bind"); e.Mode != "bind_transceiver" || !e.Good {
		t.Errorf("bind %+v", e)
	}

	for name, tc := range map[string]struct {
		text       string
		dataCoding byte
		esmClass   byte
		parts      int
	}{
		"short":        {"Hello {€} @$_Ωè", 0, 0, 1},
		"Chinese":      {"您的验证码是 123456😀", 8, 0, 1},
		"long":         {strings.Repeat("0123456789€", 30), 0, 0x40, 3},
		"long Chinese": {strings.Repeat("验证码😀", 50), 8, 0x40, 4},
	} {
		t.Run(name, func(t *testing.T) {
			receipt, err := c.Send(t.Context(), message(tc.text))
			if err != nil {
				t.Fatalf("Send: %v", err)
			}
			if len(receipt.ProviderIDs) != tc.parts || receipt.Segments != tc.parts {
				t.Errorf("receipt %+v, want %d parts", receipt, tc.parts)
			}
			wantDelivered(t, events, receipt.ProviderIDs)
			submits, delivered := smsc.collect(t, tc.parts)
			wantOctets(t, submits, tc.text, tc.dataCoding, tc.esmClass)
			for _, e := range delivered {
				if e.Status != 0 {
					t.Errorf("the receipt of %s was answered with %d", e.ID, e.Status)
				}
			}
		})
	}
}

// wantOctets puts together what the SMSC got and compares it with the text.
func wantOctets(t *testing.T, submits []event, text string, dataCoding, esmClass byte) {
	t.Helper()
	var joined []byte
	parts := len(submits)
	for i, e := range submits {
		s := readSubmit(t, e.Raw)
		if s.dataCoding != dataCoding || s.esmClass != esmClass {
			t.Errorf("part %d has data_coding %d and esm_class %#x", i+1, s.dataCoding, s.esmClass)
		}
		if parts > 1 {
			if h := s.message[:6]; h[0] != 5 || h[1] != 0 || h[2] != 3 || int(h[4]) != parts || int(h[5]) != i+1 {
				t.Errorf("part %d has the header % x", i+1, h)
			}
			s.message = s.message[6:]
		}
		joined = append(joined, s.message...)
	}
	encoding := segment.Default
	if dataCoding == 8 {
		encoding = segment.UCS2
	}
	if got := segment.Decode(joined, encoding, segment.GSM7); got != text {
		t.Errorf("the SMSC got %q, want %q", got, text)
	}
}

// wantDelivered awaits one receipt for each id.
func wantDelivered(t *testing.T, events <-chan sdk.Events, ids []string) {
	t.Helper()
	open := map[string]bool{}
	for _, id := range ids {
		open[id] = true
	}
	for len(open) > 0 {
		for _, r := range nextEvents(t, events).Receipts {
			if !open[r.ProviderID] || r.Status != sdk.Delivered {
				t.Errorf("receipt %+v", r)
			}
			delete(open, r.ProviderID)
		}
	}
}

func nextEvents(t *testing.T, events <-chan sdk.Events) sdk.Events {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no event within 20 s")
	}
	return sdk.Events{}
}

func TestPeerSMSCRefusals(t *testing.T) {
	smsc := newNodeSMSC(t)
	c := openConnector(t, configFor(smsc.addr))
	events := receiving(t, c)
	send := func(recipient string) (sdk.Receipt, error) {
		m := message("Hello")
		m.Recipient = recipient
		return c.Send(t.Context(), m)
	}
	_, err := send("+8613800138009")
	wantOutcome(t, err, sdk.OutcomeThrottled, "throttled")
	_, err = send("+8613800138008")
	wantOutcome(t, err, sdk.OutcomeRejected, "invalid_recipient")
	receipt, err := send("+8613800138007")
	if err != nil {
		t.Fatalf("Send: %v", err)
	}
	r := nextEvents(t, events).Receipts[0]
	if r.ProviderID != receipt.ProviderID() || r.Status != sdk.Undelivered {
		t.Errorf("receipt %+v of %+v, want undelivered", r, receipt)
	}
	wantOutcome(t, r.Err, sdk.OutcomeRejected, "undeliverable")

	results, err := c.Query(t.Context(), []sdk.Attempt{{AttemptID: "a", ProviderIDs: receipt.ProviderIDs}})
	if err != nil || len(results) != 1 || results[0].Err != nil {
		t.Errorf("Query gives %+v, %v", results, err)
	}
	cfg := configFor(smsc.addr)
	cfg.Password = "wrong"
	wantOutcome(t, openConnector(t, cfg).Check(t.Context()), sdk.OutcomeRetryable, "auth_failed")
}

func TestPeerSMSCInbound(t *testing.T) {
	smsc := newNodeSMSC(t)
	c := openConnector(t, configFor(smsc.addr))
	events := receiving(t, c)
	m := message("Hello")
	m.Recipient = "+8613800138006"
	if _, err := c.Send(t.Context(), m); err != nil {
		t.Fatalf("Send: %v", err)
	}
	for {
		e := nextEvents(t, events)
		if len(e.Inbound) == 0 {
			continue
		}
		got := e.Inbound[0]
		if got.Text != strings.Repeat("回", 70) || got.From != "+8613900139000" || got.To != "10086" {
			t.Errorf("inbound %+v", got)
		}
		break
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	smsc.await(t, "unbind")
}

// The peer as client of our server side.
func TestPeerClient(t *testing.T) {
	server := &smpp.Server{
		SystemID: "test",
		Authenticate: func(_ context.Context, b smpp.Bind) smpp.Status {
			if b.SystemID != "shop" || b.Password != "secret" {
				return smpp.StatusInvPassword
			}
			return smpp.StatusOK
		},
	}
	texts := make(chan string, 2)
	ids := make(chan string, 2)
	ids <- "id-1"
	ids <- "id-2"
	done := make(chan error, 2)
	server.Submit = func(_ context.Context, s *smpp.Session, m *smpp.ShortMessage) (string, smpp.Status) {
		encoding := segment.Default
		if m.DataCoding == smpp.DataCodingUCS2 {
			encoding = segment.UCS2
		}
		texts <- segment.Decode(m.Message, encoding, segment.GSM7)
		id := <-ids
		now := time.Now()
		go func() {
			done <- s.Deliver(context.Background(), smpp.NewReceipt(m, id, smpp.StateDelivered, 0, now, now))
		}()
		return id, smpp.StatusOK
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; !errors.Is(err, smpp.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})

	_, port, _ := net.SplitHostPort(listener.Addr().String())
	output, err := nodePeer(t, "esme.js", port).Output()
	if err != nil {
		t.Fatalf("esme.js: %v", err)
	}
	var seen struct {
		Bind, Unbind int
		SMSC         string
		Answers      []struct {
			ID     string
			Status int
		}
		Receipts []struct {
			ID    string
			State int
			Text  string
		}
	}
	if err := json.Unmarshal(output, &seen); err != nil {
		t.Fatalf("esme.js printed %q: %v", output, err)
	}
	if seen.Bind != 0 || seen.Unbind != 0 || seen.SMSC != "test" || len(seen.Answers) != 2 || len(seen.Receipts) != 2 {
		t.Errorf("the client saw %+v", seen)
	}
	for _, r := range seen.Receipts {
		if r.State != int(smpp.StateDelivered) || !strings.Contains(r.Text, "stat:DELIVRD") || !strings.Contains(r.Text, "id:"+r.ID) {
			t.Errorf("receipt %+v", r)
		}
	}
	got := map[string]bool{<-texts: true, <-texts: true}
	if !got["Hello {€}"] || !got["你好"] {
		t.Errorf("the server got %v", got)
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("the client did not take the receipt: %v", err)
		}
	}
}
