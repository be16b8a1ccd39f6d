package gateway

import (
	"context"
	"testing"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/queue/memory"
)

// brokered is a queue on a broker in a state, which an old generation does not tell.
type brokered struct {
	*memory.Queue
	state error
}

// Check implements checker.
func (b brokered) Check(context.Context) error { return b.state }

func TestQueueState(t *testing.T) {
	q := memory.New(memory.Options{})
	for _, c := range []struct {
		name    string
		queue   queue.Queue
		ready   bool
		message string
	}{
		{"in the process", q, true, ""},
		{"on a broker", brokered{Queue: q}, true, ""},
		{"on a broker in an alarm", brokered{q, core.Errorf(core.KindUnavailable, "low on disk")}, false, "low on disk"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := queueState(t.Context(), c.queue)
			if s.Name != "queue" || !s.Optional || s.Ready != c.ready || s.Message != c.message {
				t.Errorf("%+v, want ready %t and %q", s, c.ready, c.message)
			}
		})
	}
}
