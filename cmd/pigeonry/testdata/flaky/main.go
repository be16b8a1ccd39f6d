// Command flaky is a channel for tests: sound, or with a fault that stands after "fault:" at the end of its own file,
// so that nothing but its bytes tells one version from another. Its plugin's name is that of the file.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// patience is how many messages a version with a fault under load takes before the fault shows.
const patience = 5

type config struct {
	Ledger  string        `cfg:"ledger,required" doc:"File that each message is noted in when it is sent: a line with its id and the fault of the version"`
	Latency time.Duration `cfg:"latency,min=0s" doc:"How long each batch takes"`
}

type flaky struct {
	fault   string
	latency time.Duration
	ledger  *os.File // several processes append to it, each batch in one write
	taken   atomic.Int64

	mu   sync.Mutex
	kept [][]byte // what a version that leaks never lets go of
}

func open(_ context.Context, c config) (sdk.Sender, error) {
	f := &flaky{fault: ownFault(), latency: c.Latency}
	switch f.fault {
	case "config":
		return nil, sdk.FieldError("ledger", "is not what this version takes", "Give it something else.")
	case "slow":
		f.latency *= 5
	case "lazy":
		f.latency *= 7
	}
	var err error
	if f.ledger, err = os.OpenFile(c.Ledger, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return nil, sdk.FieldError("ledger", "cannot be opened", err.Error())
	}
	return f, nil
}

// Send answers a single message like a batch of one.
func (f *flaky) Send(ctx context.Context, m *sdk.Message) (r sdk.Receipt, err error) {
	f.SendBatch(ctx, []*sdk.Message{m}, func(_ int, got sdk.Receipt, failed error) { r, err = got, failed })
	return r, err
}

// SendBatch waits for the latency, notes the messages and accepts them, or does what the fault has it do.
func (f *flaky) SendBatch(ctx context.Context, ms []*sdk.Message, report func(int, sdk.Receipt, error)) {
	select {
	case <-time.After(f.latency):
	case <-ctx.Done():
	}
	taken := f.taken.Add(int64(len(ms)))
	var err error
	switch f.fault {
	case "reject":
		err = sdk.Permanent(errors.New("no such recipient"))
	case "mumble":
		err = errors.New("what was the question?")
	case "leak":
		f.leak(len(ms))
		err = f.note(ms)
	case "hang":
		if taken >= patience {
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) // it stops right here
		}
		err = f.note(ms)
	case "crash":
		err = f.note(ms)
		if taken >= patience { // what it had is sent, and nobody hears of that
			os.Exit(7)
		}
	default:
		err = f.note(ms)
	}
	for i, m := range ms {
		if err != nil {
			report(i, sdk.Receipt{}, err)
			continue
		}
		report(i, sdk.Accepted(m.AttemptID), nil)
	}
}

func (f *flaky) note(ms []*sdk.Message) error {
	var lines strings.Builder
	for _, m := range ms {
		fmt.Fprintf(&lines, "%s %q\n", m.ID, f.fault)
	}
	_, err := f.ledger.WriteString(lines.String())
	return err
}

// leak takes 8 MiB a message, so that the memory tells within as few messages as anything else does.
func (f *flaky) leak(messages int) {
	for range messages {
		b := make([]byte, 8<<20)
		for i := 0; i < len(b); i += os.Getpagesize() {
			b[i] = 1
		}
		f.mu.Lock()
		f.kept = append(f.kept, b)
		f.mu.Unlock()
	}
}

// Close ends the ledger.
func (f *flaky) Close() error { return f.ledger.Close() }

// ownFault is what stands at the end of the program's file; "" if nothing does.
func ownFault() string {
	const room = 64
	file, err := os.Open(os.Args[0])
	if err != nil {
		return ""
	}
	defer file.Close()
	tail := make([]byte, room)
	if _, err := file.Seek(-room, io.SeekEnd); err != nil {
		return ""
	}
	if _, err := io.ReadFull(file, tail); err != nil {
		return ""
	}
	_, fault, _ := strings.Cut(string(tail), "\nfault:")
	return fault
}

func main() {
	switch ownFault() {
	case "start":
		fmt.Fprintln(os.Stderr, "panic: no luck today")
		os.Exit(3)
	case "late":
		time.Sleep(3 * time.Second)
	}
	sdk.Serve(sdk.Plugin[config]{
		Name: filepath.Base(os.Args[0]), Version: "1.0.0", Channels: []string{"flaky"}, Prototype: &flaky{}, Open: open,
		Limits: sdk.Limits{MaxInFlight: 16384},
	})
}
