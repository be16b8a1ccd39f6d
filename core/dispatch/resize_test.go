package dispatch_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/pigeonry/pigeonry/core/dispatch"
	"github.com/pigeonry/pigeonry/core/pool"
)

// New settings reach the pools there are and those of channels that come later.
func TestResize(t *testing.T) {
	d := dispatch.New(dispatch.Options{
		Carrier: newCarrier(), Logger: slog.New(slog.DiscardHandler),
		Pool: pool.Options{Name: "message_sender", Core: 1, Max: 2, QueueSize: 4},
	})
	t.Cleanup(func() {
		if err := d.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := d.Configure([]dispatch.Policy{{ID: "sms/main"}}); err != nil {
		t.Fatal(err)
	}
	if err := d.Resize(pool.Settings{Core: 3, Max: 5, QueueSize: 7}); err != nil {
		t.Fatal(err)
	}
	if err := d.Configure([]dispatch.Policy{{ID: "sms/main"}, {ID: "email/main"}}); err != nil {
		t.Fatal(err)
	}
	for _, channel := range []string{"sms", "email"} {
		if p := d.Pools()[channel]; p.Core != 3 || p.Max != 5 || p.QueueCapacity != 7 {
			t.Errorf("%s: %+v", channel, p)
		}
	}
	if err := d.Resize(pool.Settings{Core: 9, Max: 5}); err == nil {
		t.Error("a pool upside down was taken")
	}
	if p := d.Pools()["sms"]; p.Core != 3 || p.Max != 5 {
		t.Errorf("after a refused size: %+v", p)
	}
}
