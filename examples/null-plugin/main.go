// Command null-plugin accepts every message of the channels "null" and "void" and sends nothing: the far
// end that costs nothing, for measuring the gateway. It can also be slow, or as strict as a provider that
// counts.
package main

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

type config struct {
	Latency time.Duration `cfg:"latency,min=0s" doc:"How long each batch takes, e.g. \"20ms\"; \"30s\" stands for a provider that hangs"`
	Strict  int           `cfg:"strict,min=0" doc:"Refuse what comes above so many messages within any second; 0 takes all"`
	Ledger  string        `cfg:"ledger" doc:"File that each message is noted in, 16 bytes a message; refused ones in another, with .refused at its end"`
}

type null struct {
	latency time.Duration
	ledger  *ledger
	quota   *quota
	refused *ledger
}

func open(_ context.Context, c config) (sdk.Sender, error) {
	n := null{latency: c.Latency}
	if c.Strict > 0 {
		n.quota = newQuota(c.Strict)
	}
	var err error
	if n.ledger, err = openLedger(c.Ledger); err != nil || c.Ledger == "" || c.Strict == 0 {
		return n, err
	}
	n.refused, err = openLedger(c.Ledger + ".refused")
	return n, err
}

// Send answers a single message like a batch of one.
func (n null) Send(ctx context.Context, m *sdk.Message) (r sdk.Receipt, err error) {
	n.SendBatch(ctx, []*sdk.Message{m}, func(_ int, got sdk.Receipt, failed error) { r, err = got, failed })
	return r, err
}

// SendBatch waits for the latency, notes all messages and accepts as many as the quota lets pass.
func (n null) SendBatch(ctx context.Context, ms []*sdk.Message, report func(int, sdk.Receipt, error)) {
	if err := n.wait(ctx); err != nil {
		fail(ms, 0, sdk.Retryable(err), report)
		return
	}
	passed, wait := n.quota.take(time.Now(), len(ms))
	if err := n.ledger.note(ms[:passed]); err != nil {
		fail(ms, 0, sdk.Retryable(err), report)
		return
	}
	for i, m := range ms[:passed] {
		report(i, sdk.Accepted(m.AttemptID), nil)
	}
	if passed < len(ms) {
		fail(ms, passed, sdk.Throttled(n.refuse(ms[passed:]), wait), report)
	}
}

// fail answers all messages from the index on.
func fail(ms []*sdk.Message, from int, err error, report func(int, sdk.Receipt, error)) {
	for i := range ms[from:] {
		report(from+i, sdk.Receipt{}, err)
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

// Close ends the ledgers.
func (n null) Close() error {
	if err := n.refused.close(); err != nil {
		return err
	}
	return n.ledger.close()
}

func plugin() sdk.Plugin[config] {
	return sdk.Plugin[config]{
		Name: "null", Version: "0.1.0", Channels: []string{"null", "void"}, Prototype: null{}, Open: open,
		Limits: sdk.Limits{MaxInFlight: 16384},
	}
}

func main() { sdk.Serve(plugin()) }
