package sandbox_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

func TestStopFinishesWhatIsInFlight(t *testing.T) {
	s := start(t, sandbox.Options{})
	for _, channel := range []string{sandbox.ChannelEmail, sandbox.ChannelSMS} {
		if err := s.SetFault(sandbox.Fault{Channel: channel, LatencyMS: 60_000}); err != nil {
			t.Fatal(err)
		}
	}
	idle, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addresses().SMTP)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	session, _ := dial(t, s)
	sent := make(chan error, 2)
	go func() { sent <- sendMail(s, "a@example.com", "Subject: x\n\nhi\n") }()
	go func() {
		_, err := session.Submit(context.Background(), sms("8613800138000", 0, []byte("hi")))
		sent <- err
	}()
	awaitInFlight(t, s, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	// What was in flight was answered in the order of its protocol; a mail client that then says
	// QUIT finds the connection closed, and that is its right to report.
	for range 2 {
		<-sent
	}
	sum := s.Summary()
	if sum.Channels["email"].Taken != 1 || sum.Channels["sms"].Taken != 1 {
		t.Errorf("ledger has %+v, want both messages", sum)
	}
}

// awaitInFlight looks until n messages wait for their answer: the sandbox has no signal for it.
func awaitInFlight(t *testing.T, s *sandbox.Sandbox, n int) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	timeout := time.After(10 * time.Second)
	for s.InFlight() < n {
		select {
		case <-look.C:
		case <-timeout:
			t.Fatalf("%d messages are in flight, want %d", s.InFlight(), n)
		}
	}
}
