package sandbox_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start starts a sandbox on free ports and stops it at the end of the test.
func start(tb testing.TB, o sandbox.Options) *sandbox.Sandbox {
	tb.Helper()
	o.SMTP, o.SMPP, o.HTTP = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	s, err := sandbox.Start(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			tb.Errorf("stop: %v", err)
		}
	})
	return s
}

// await returns the messages that match the filter once there are n of them.
func await(tb testing.TB, s *sandbox.Sandbox, f sandbox.Filter, n int) []*sandbox.Message {
	tb.Helper()
	timeout := time.After(20 * time.Second)
	for {
		changed := s.Changed()
		found := s.Messages(f)
		if len(found) >= n {
			return found
		}
		select {
		case <-changed:
		case <-timeout:
			tb.Fatalf("%d messages of %+v arrived, want %d", len(found), f, n)
		}
	}
}

func entries(tb testing.TB, s *sandbox.Sandbox) []sandbox.Entry {
	tb.Helper()
	all, err := s.Entries()
	if err != nil {
		tb.Fatal(err)
	}
	return all
}
