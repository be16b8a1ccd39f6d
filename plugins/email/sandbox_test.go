package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
	"github.com/pigeonry/pigeonry/sdk"
)

func startSandbox(tb testing.TB) (*sandbox.Sandbox, int) {
	tb.Helper()
	s, err := sandbox.Start(tb.Context(), sandbox.Options{SMTP: "127.0.0.1:0", SMPP: "127.0.0.1:0", HTTP: "127.0.0.1:0"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			tb.Errorf("stop sandbox: %v", err)
		}
	})
	_, port, err := net.SplitHostPort(s.Addresses().SMTP)
	if err != nil {
		tb.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		tb.Fatal(err)
	}
	return s, n
}

func TestDeliversToSandbox(t *testing.T) {
	s, port := startSandbox(t)
	c := connect(t, port, func(c *config) { c.Username, c.Password = "any", "thing" })
	receipt, err := c.Send(t.Context(), rich("ann@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	inbox := s.Messages(sandbox.Filter{Channel: sandbox.ChannelEmail, To: "ann@example.com"})
	if len(inbox) != 1 {
		t.Fatalf("%d mails in the inbox", len(inbox))
	}
	got, want := inbox[0], rich("")
	if got.Subject != want.Subject || got.Text+"\n" != want.Plain || got.HTML != want.HTML || len(got.Attachments) != 2 ||
		got.MessageID != receipt.ProviderID() || got.Reference != "12345" {
		t.Errorf("inbox has %+v", got)
	}
}

func TestSandboxFaultsBecomeOutcomes(t *testing.T) {
	tests := []struct {
		fault   sandbox.Fault
		outcome sdk.Outcome
		code    string
	}{
		{sandbox.Fault{Throttle: -1}, sdk.OutcomeThrottled, codeThrottled},
		{sandbox.Fault{ErrorRate: 1}, sdk.OutcomeRetryable, codeDeferred},
		{sandbox.Fault{ErrorRate: 1, ErrorKind: sandbox.ErrorPermanent}, sdk.OutcomeRejected, codeInvalidRecipient},
		{sandbox.Fault{AcceptThenDrop: 1}, sdk.OutcomeAccepted, ""},
		{sandbox.Fault{Unanswered: 1}, sdk.OutcomeUncertain, codeConnectionLost},
	}
	for _, test := range tests {
		s, port := startSandbox(t)
		test.fault.Channel = sandbox.ChannelEmail
		if err := s.SetFault(test.fault); err != nil {
			t.Fatal(err)
		}
		_, err := connect(t, port).Send(t.Context(), message("hi"))
		if got := sdk.OutcomeOf(err); got != test.outcome {
			t.Errorf("%+v gives %s (%v), want %s", test.fault, got, err, test.outcome)
		}
		if failed, ok := errors.AsType[*sdk.DeliveryError](err); ok && failed.Code != test.code {
			t.Errorf("%+v gives %s, want %s", test.fault, failed.Code, test.code)
		}
	}
}

// TestRepeatCarriesItsMark repeats a mail whose outcome stayed uncertain: who reads the ledger, or a
// mailbox, can tell that the two are one message.
func TestRepeatCarriesItsMark(t *testing.T) {
	s, port := startSandbox(t)
	c := connect(t, port)
	if err := s.SetFault(sandbox.Fault{Channel: sandbox.ChannelEmail, Unanswered: 1}); err != nil {
		t.Fatal(err)
	}
	first, second := message("hi"), message("hi")
	first.Attempt, second.Attempt = 1, 2
	if _, err := c.Send(t.Context(), first); sdk.OutcomeOf(err) != sdk.OutcomeUncertain {
		t.Fatalf("got %v, want uncertain", err)
	}
	s.ClearFaults()
	if _, err := c.Send(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	entries, err := s.Entries()
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 || entries[0].Idempotency != entries[1].Idempotency || entries[0].Attempt != 1 || entries[1].Attempt != 2 {
		t.Errorf("ledger has %+v", entries)
	}
	if sum := s.Summary().Channels[sandbox.ChannelEmail]; sum.Doubles != 1 || sum.Messages != 1 {
		t.Errorf("summary is %+v, want one message and its double", sum)
	}
}

// TestSandboxBounces takes mails to the sandbox and what comes back by the webhook, forgeries among it.
func TestSandboxBounces(t *testing.T) {
	const token = "token-of-the-webhook"
	s, port := startSandbox(t)
	c := connect(t, port, func(c *config) {
		c.BounceAddress, c.BounceSecret, c.BounceToken, c.DSN = "bounce+{attempt}@example.com", "a secret of the test", token, dsnSuccess
	})
	receipts := make(chan sdk.DeliveryReceipt, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		answer, events, err := c.HandleCallback(r.Context(), &sdk.CallbackRequest{Method: r.Method, Path: "/bounce", Header: r.Header, Body: raw})
		if err != nil || answer.Status != http.StatusOK {
			t.Errorf("answer is %+v, %v", answer, err)
		}
		for _, receipt := range events.Receipts {
			receipts <- receipt
		}
		rw.WriteHeader(answer.Status)
	}))
	defer hook.Close()
	settings, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+s.Addresses().HTTP+"/api/providers/email",
		strings.NewReader(`{"bounce_url": "`+hook.URL+`", "bounce_token": "`+token+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(settings)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", answer, err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer answer.Body.Close()

	now := 0
	fault := sandbox.Fault{
		Channel: sandbox.ChannelEmail, ReceiptDelayMS: &now, ReceiptDoubled: 1, ReceiptForged: 1, ReceiptDisordered: 1, ReceiptEarly: 1,
	}
	for attempt, undelivered := range map[string]sandbox.Share{"41.1": 0, "42.1": 1} {
		fault.Undelivered = undelivered
		if err := s.SetFault(fault); err != nil {
			t.Fatal(err)
		}
		send(t, c, "ann@example.org", attempt)
		want := map[string]bool{ // attempt and status; the forged one has no attempt and fits no mail
			attempt + "/4": true, attempt + "/1": undelivered == 0, attempt + "/2": undelivered == 1, "/2": true,
		}
		seen, keys := map[string]int{}, map[string]bool{}
		for range 4 {
			got := <-receipts
			key := got.AttemptID + "/" + strconv.Itoa(int(got.Status))
			seen[key]++
			keys[got.DedupeKey] = true
			if !want[key] || (got.ProviderID == "msg_"+attempt+"@example.com") != (got.AttemptID != "") {
				t.Errorf("receipt is %+v", got)
			}
		}
		if len(seen) != 3 || len(keys) != 3 {
			t.Errorf("receipts of %s are %v, with keys %v", attempt, seen, keys)
		}
	}
}

func BenchmarkSendToSandbox(b *testing.B) {
	s, port := startSandbox(b)
	c := connect(b, port, func(c *config) { c.MaxConnections = 16; c.MessagesPerConnection = 1_000_000 })
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Send(b.Context(), message("Your order 123 is on its way.")); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
	if n := s.Summary().Entries; n != int64(b.N) {
		b.Errorf("ledger has %d entries, want %d", n, b.N)
	}
}
