package main_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// message is what the API tells of a message, as far as the tests look.
type message struct {
	RecordID  int64  `json:"record_id"`
	Status    string `json:"status"`
	Recipient string `json:"recipient"`
	Doubtful  bool   `json:"doubtful"`
}

type accepted struct {
	RecordID int64  `json:"record_id"`
	TraceID  string `json:"trace_id"`
}

type traced struct {
	TraceData struct {
		Nodes []struct {
			Name, Status string
			DurationMS   float64 `json:"duration_ms"`
		}
	} `json:"trace_data"`
	Statistics struct {
		NodeCount   int     `json:"node_count"`
		SuccessRate float64 `json:"success_rate"`
	}
}

func (s *system) status(id int64) string {
	s.t.Helper()
	return get[message](s, http.MethodGet, fmt.Sprintf("/api/messages/%d", id), nil).Status
}

// The first message: an e-mail and an SMS stand in the inbox of the sandbox, the SMS is delivered, and its
// trace shows every node, the receipt's callback included.
func TestFirstMessage(t *testing.T) { onBoth(t, startSystem, firstMessage) }

func firstMessage(s *system) {
	t := s.t
	mail := get[accepted](s, http.MethodPost, "/api/messages/send", map[string]any{
		"channel": "email", "recipient": "ann@example.com", "subject": "Order {{no}}", "content": "Your order {{no}} is on its way.",
		"variables": map[string]string{"no": "20261123"},
	})
	sms := get[accepted](s, http.MethodPost, "/api/messages/send", map[string]any{
		"channel": "sms", "recipient": "13800138000", "content": "您的验证码是{{code}}", "variables": map[string]string{"code": "8462"},
		"priority": 10,
	})
	s.await("the mail is sent", 20*time.Second, func() bool { return s.status(mail.RecordID) == "sent" })
	s.await("the SMS is delivered", 20*time.Second, func() bool { return s.status(sms.RecordID) == "delivered" })

	mails := s.inbox("email", "ann@example.com")
	if len(mails) != 1 || mails[0].Subject != "Order 20261123" || !strings.Contains(mails[0].Text, "Your order 20261123 is on its way.") {
		t.Errorf("mails: %+v", mails)
	}
	texts := s.inbox("sms", "+8613800138000")
	if len(texts) == 0 {
		texts = s.inbox("sms", "8613800138000")
	}
	if len(texts) != 1 || texts[0].Text != "您的验证码是8462" {
		t.Errorf("texts: %+v", texts)
	}
	s.await("the trace has its callback", 10*time.Second, func() bool {
		return len(s.trace(sms.TraceID).TraceData.Nodes) == 4
	})
	trace := s.trace(sms.TraceID)
	var names []string
	for _, n := range trace.TraceData.Nodes {
		names = append(names, n.Name)
		if n.Status != "success" || n.DurationMS < 0 {
			t.Errorf("node %+v", n)
		}
	}
	if !slices.Equal(names, []string{"queue", "process", "send", "callback"}) || trace.Statistics.NodeCount != 4 || trace.Statistics.SuccessRate != 1 {
		t.Errorf("trace: %v, %+v", names, trace.Statistics)
	}
}

func (s *system) trace(id string) traced {
	s.t.Helper()
	return get[traced](s, http.MethodGet, "/api/messages/traces/"+id, nil)
}

type batch struct {
	BatchID  int64 `json:"batch_id"`
	Accepted int   `json:"accepted"`
	Rejected []struct {
		Index int `json:"index"`
	} `json:"rejected"`
}

func smsNumber(i int) string { return fmt.Sprintf("+86138%08d", i) }

// sendBatch sends an SMS to n numbers, from the first on.
func (s *system) sendBatch(first, n int) batch {
	s.t.Helper()
	recipients := make([]string, n)
	for i := range recipients {
		recipients[i] = smsNumber(first + i)
	}
	b := get[batch](s, http.MethodPost, "/api/messages/send-batch", map[string]any{
		"channel": "sms", "content": "Everything must go.", "recipients": recipients,
	})
	if b.Accepted != n || len(b.Rejected) != 0 {
		s.t.Fatalf("accepted %d of %d, rejected %d", b.Accepted, n, len(b.Rejected))
	}
	return b
}

// settled says whether every message of a batch is where the gateway does nothing more with it.
func (s *system) settled(b batch) bool {
	s.t.Helper()
	progress := s.progress(b)
	s.last = fmt.Sprint(progress)
	done := 0
	for _, status := range []string{"sent", "delivered", "undelivered", "read", "failed", "expired", "canceled"} {
		done += progress[status]
	}
	return done == b.Accepted
}

func (s *system) progress(b batch) map[string]int {
	s.t.Helper()
	return get[struct {
		Progress map[string]int `json:"progress"`
	}](s, http.MethodGet, fmt.Sprintf("/api/messages/batches/%d", b.BatchID), nil).Progress
}

// messages lists a whole batch, page by page.
func (s *system) messages(b batch) []message {
	s.t.Helper()
	var all []message
	cursor := ""
	for {
		page := get[struct {
			Items      []message `json:"items"`
			NextCursor string    `json:"next_cursor"`
		}](s, http.MethodGet, fmt.Sprintf("/api/messages?batch_id=%d&limit=200&cursor=%s", b.BatchID, cursor), nil)
		all = append(all, page.Items...)
		if cursor = page.NextCursor; cursor == "" {
			return all
		}
	}
}

// audit compares what was accepted with the ledger: nothing lost, and every repeat carries its mark. It
// returns the number of repeats.
func (s *system) audit(batches ...batch) (repeats int) {
	s.t.Helper()
	taken := map[string]int{}
	for _, e := range s.ledger("sms") {
		taken[strings.TrimPrefix(e.To, "+")]++
	}
	var all []message
	for _, b := range batches {
		of := s.messages(b)
		if len(of) != b.Accepted {
			s.t.Errorf("batch %d lists %d of its %d messages", b.BatchID, len(of), b.Accepted)
		}
		all = append(all, of...)
	}
	for _, m := range all {
		n := taken[strings.TrimPrefix(m.Recipient, "+")]
		switch {
		case n == 0 && (m.Status == "sent" || m.Status == "delivered"):
			s.t.Errorf("message %d is %s, but the provider never got it", m.RecordID, m.Status)
		case n == 0:
			s.t.Errorf("message %d to %s is %s and was never sent", m.RecordID, m.Recipient, m.Status)
		case n > 1 && !m.Doubtful:
			s.t.Errorf("message %d to %s was sent %d times without the mark", m.RecordID, m.Recipient, n)
		}
		repeats += max(0, n-1)
	}
	return repeats
}

func TestBatchOf10000(t *testing.T) { onBoth(t, startSystem, batchOf10000) }

func batchOf10000(s *system) {
	t := s.t
	b := s.sendBatch(0, 10_000)
	s.await("every message is delivered", 90*time.Second, func() bool { return s.progress(b)["delivered"] == b.Accepted })
	if repeats := s.audit(b); repeats != 0 {
		t.Errorf("%d messages went out twice in a run without faults", repeats)
	}
}

// The gateway is killed 20 times while a batch goes out. Nothing accepted is lost, and every repeat is marked.
func TestGatewayKilled20Times(t *testing.T) { onBoth(t, startSystem, gatewayKilled20Times) }

func gatewayKilled20Times(s *system) {
	t := s.t
	b := s.sendBatch(0, 10_000)
	for range 20 {
		before := len(s.ledger("sms"))
		s.await("a few more messages went out, or none waits but for the lease of a dead gateway", 30*time.Second, func() bool {
			return len(s.ledger("sms")) > before+50 || s.progress(b)["queued"] == 0
		})
		s.gateway.kill()
		s.start()
	}
	s.await("every message is settled", 120*time.Second, func() bool { return s.settled(b) })
	t.Logf("20 kills: %d repeats, all marked; %v", s.audit(b), s.progress(b))
}

// The SMS plugin is killed 20 times while a batch goes out: it is back within a second, the mail keeps its
// pace, nothing is lost and every repeat is marked.
func TestPluginKilled20Times(t *testing.T) {
	s := startSystem(t, embedded)
	b := s.sendBatch(0, 10_000)
	var slowest time.Duration
	for i := range 20 {
		pid := s.plugin("sms")
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		s.mailGoesOut(i)
		s.await("the plugin is back", 10*time.Second, func() bool { return s.plugin("sms") != pid && s.plugin("sms") != 0 })
		slowest = max(slowest, time.Since(killed))
	}
	s.await("every message is settled", 120*time.Second, func() bool { return s.settled(b) })
	t.Logf("20 kills: %d repeats, all marked; slowest return %s; %v", s.audit(b), slowest, s.progress(b))
}

// plugin returns the process id of a plugin that is active, 0 if it is not.
func (s *system) plugin(name string) int {
	s.t.Helper()
	plugins := get[struct {
		Items []struct {
			Name        string
			Generations []struct {
				State string
				PID   int
			}
		}
	}](s, http.MethodGet, "/api/plugins", nil)
	for _, p := range plugins.Items {
		for _, g := range p.Generations {
			if p.Name == name && g.State == "active" {
				return g.PID
			}
		}
	}
	return 0
}

func (s *system) mailGoesOut(i int) {
	s.t.Helper()
	sent := get[accepted](s, http.MethodPost, "/api/messages/send", map[string]any{
		"channel": "email", "recipient": "ann" + strconv.Itoa(i) + "@example.com", "subject": "Hi", "content": "Hello", "priority": 9,
	})
	s.await("a mail goes out beside the dead SMS plugin", 2*time.Second, func() bool { return s.status(sent.RecordID) == "sent" })
}

func TestSIGTERMDrainsAndExits0(t *testing.T) { onBoth(t, startSystem, drains) }

func drains(s *system) {
	t := s.t
	b := s.sendBatch(0, 2000)
	if err := s.gateway.terminate(15 * time.Second); err != nil {
		t.Fatalf("the gateway ended with %v", err)
	}
	s.start()
	s.await("every message is settled", 60*time.Second, func() bool { return s.settled(b) })
	if repeats := s.audit(b); repeats != 0 {
		t.Errorf("an ordered stop made %d repeats", repeats)
	}
}

// A gateway that is killed takes its plugins along.
func TestNoPluginOutlivesItsGateway(t *testing.T) {
	t.Parallel() // most of it is waiting
	s := startSystem(t, embedded)
	pids := []int{s.plugin("sms"), s.plugin("email")}
	s.gateway.kill()
	s.await("the plugins are gone", 5*time.Second, func() bool {
		return !slices.ContainsFunc(pids, func(pid int) bool { return syscall.Kill(pid, 0) == nil })
	})
}

func TestScheduledAndCanceled(t *testing.T) { onBoth(t, startSystem, scheduledAndCanceled) }

func scheduledAndCanceled(s *system) {
	t := s.t
	send := func(delay int) accepted {
		return get[accepted](s, http.MethodPost, "/api/messages/send", map[string]any{
			"channel": "email", "recipient": "later@example.com", "subject": "Later", "content": "Hello", "delay_ms": delay,
		})
	}
	soon, never := send(700), send(60_000)
	if got := s.status(soon.RecordID); got != "scheduled" {
		t.Errorf("status %s, want scheduled", got)
	}
	get[struct{}](s, http.MethodPost, fmt.Sprintf("/api/messages/%d/cancel", never.RecordID), nil)
	if got := s.status(never.RecordID); got != "canceled" {
		t.Errorf("status %s, want canceled", got)
	}
	s.await("the scheduled mail is sent", 10*time.Second, func() bool { return s.status(soon.RecordID) == "sent" })
	if n := len(s.inbox("email", "later@example.com")); n != 1 {
		t.Errorf("%d mails, want 1", n)
	}
}

func TestSecondGatewayOnTheSameDataIsRefused(t *testing.T) {
	t.Parallel() // most of it is waiting
	s := startSystem(t, embedded)
	second := launch(t, "pigeonry", []string{"PIGEONRY_LISTEN=" + freeAddress(t)}, nil, "serve", "-c", s.config)
	select {
	case <-second.exited:
	case <-time.After(20 * time.Second):
		t.Fatal("the second gateway started")
	}
	if out := second.output.String(); second.err == nil || !strings.Contains(out, "another") {
		t.Errorf("ended with %v and wrote:\n%s", second.err, out)
	}
}

// No secret of the configuration is in any log.
func TestSecretsStayOutOfTheLogs(t *testing.T) {
	t.Parallel() // most of it is waiting
	s := startSystem(t, embedded)
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	const canary = "canary-4f1b9c"
	wrong := strings.Replace(string(b), `"secret"`, strconv.Quote(canary), 1)
	if err := os.WriteFile(filepath.Join(s.dir, "gateway.hcl"), []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.gateway.terminate(15 * time.Second); err != nil {
		t.Fatal(err)
	}
	p := launch(t, "pigeonry", []string{"PIGEONRY_BOOTSTRAP_KEY=" + testKey, "PIGEONRY_LOG_LEVEL=debug"}, nil, "serve", "-c", s.config)
	s.gateway = p
	s.await("the gateway answers", 30*time.Second, func() bool {
		status, _, err := s.call(http.MethodGet, "/healthz", nil)
		return err == nil && status == http.StatusOK
	})
	s.await("the connector was tried", 20*time.Second, func() bool { return strings.Contains(p.output.String(), "sms") })
	if err := p.terminate(15 * time.Second); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{canary, testKey} {
		if strings.Contains(p.output.String(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
}
