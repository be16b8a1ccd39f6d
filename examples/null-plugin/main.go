// Command null-plugin accepts every message of the channel "null" and sends nothing: the far end
// that costs nothing, for measuring the gateway.
package main

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

type config struct {
	Latency time.Duration `cfg:"latency,min=0s" doc:"How long each batch takes, e.g. \"20ms\""`
	Ledger  string        `cfg:"ledger" doc:"File that each message is noted in, 16 bytes a message"`
}

type null struct {
	latency time.Duration
	ledger  *ledger
}

func open(_ context.Context, c config) (sdk.Sender, error) {
	l, err := openLedger(c.Ledger)
	if err != nil {
		return nil, err
	}
	return null{c.Latency, l}, nil
}

// Send answers a single message like a batch of one.
func (n null) Send(ctx context.Context, m *sdk.Message) (r sdk.Receipt, err error) {
	n.SendBatch(ctx, []*sdk.Message{m}, func(_ int, got sdk.Receipt, failed error) { r, err = got, failed })
	return r, err
}

// SendBatch waits for the latency, notes all messages and accepts them.
func (n null) SendBatch(ctx context.Context, ms []*sdk.Message, report func(int, sdk.Receipt, error)) {
	err := n.wait(ctx)
	if err == nil {
		err = n.ledger.note(ms)
	}
	for i, m := range ms {
		if err != nil {
			report(i, sdk.Receipt{}, sdk.Retryable(err))
			continue
		}
		report(i, sdk.Accepted(m.AttemptID), nil)
	}
}

func (n null) wait(ctx context.Context) error {
	if n.latency == 0 {
		return nil
	}
	timer := time.NewTimer(n.latency)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Check always succeeds: there is no provider to reach.
func (n null) Check(context.Context) error { return nil }

// Close ends the ledger.
func (n null) Close() error { return n.ledger.close() }

func plugin() sdk.Plugin[config] {
	return sdk.Plugin[config]{
		Name: "null", Version: "0.1.0", Prototype: null{}, Open: open,
		Limits: sdk.Limits{MaxInFlight: 16384},
	}
}

func main() { sdk.Serve(plugin()) }
