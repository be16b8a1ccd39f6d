package rabbitmq_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/enginetest"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/queue/queuetest"
	"github.com/pigeonry/pigeonry/core/queue/rabbitmq"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// brokerURL is the broker that tests share: each has a prefix of its own and leaves nothing behind.
func brokerURL(tb testing.TB) string {
	tb.Helper()
	return enginetest.URL(tb, enginetest.RabbitMQ).String()
}

// channels are those that tests use.
var channels = []string{"sms", "email", "app"}

// newPrefix makes a prefix, and deletes what has it when the test ends.
func newPrefix(tb testing.TB) string {
	tb.Helper()
	prefix := "test-" + rand.Text() + "."
	tb.Cleanup(func() { wipe(tb, prefix) })
	return prefix
}

// wipe deletes everything with a prefix, as a broker that has lost its disk would.
func wipe(tb testing.TB, prefix string) {
	tb.Helper()
	ch := dialTest(tb)
	queues := []string{"pigeonry.dead", "pigeonry.generation", "ai.process", "notification"}
	for _, c := range channels {
		for _, l := range core.Lanes() {
			queues = append(queues, "message.send."+c+"."+l.String())
		}
	}
	for _, name := range queues {
		if _, err := ch.QueueDelete(prefix+name, false, false, false); err != nil {
			tb.Fatal(err)
		}
	}
	for _, name := range []string{"pigeonry.dispatch", "pigeonry.dead"} {
		if err := ch.ExchangeDelete(prefix+name, false, false); err != nil {
			tb.Fatal(err)
		}
	}
}

// dialTest opens a channel past the package under test. It is closed when the test ends.
func dialTest(tb testing.TB) *amqp.Channel {
	tb.Helper()
	conn, err := amqp.Dial(brokerURL(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		tb.Fatal(err)
	}
	return ch
}

// open opens a queue that is closed when the test ends. What is not in o is sensible for tests.
func open(tb testing.TB, o rabbitmq.Options) *rabbitmq.Queue {
	tb.Helper()
	if o.URL == "" {
		o.URL = brokerURL(tb)
	}
	if o.Prefix == "" {
		o.Prefix = newPrefix(tb)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	q, err := rabbitmq.Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = q.Close() })
	return q
}

// sequence makes n envelopes of one message each.
func sequence(first int64, n int, lane core.Lane) []core.Envelope {
	envelopes := make([]core.Envelope, n)
	for i := range envelopes {
		id := first + int64(i)
		envelopes[i] = core.Envelope{ID: id, Channel: "sms", Lane: lane, Records: []core.RecordID{core.RecordID(id)}}
	}
	return envelopes
}

// patient is a context for what must happen.
func patient(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), queuetest.Patience)
	tb.Cleanup(cancel)
	return ctx
}

func publish(tb testing.TB, q queue.Publisher, envelopes ...core.Envelope) {
	tb.Helper()
	if err := q.Publish(patient(tb), envelopes); err != nil {
		tb.Fatal(err)
	}
}

// republish publishes as the relay does: again until it is confirmed.
func republish(tb testing.TB, q queue.Publisher, envelopes ...core.Envelope) {
	tb.Helper()
	eventually(tb, "a publish is confirmed", func(ctx context.Context) bool { return q.Publish(ctx, envelopes) == nil })
}

func subscribe(tb testing.TB, q queue.Queue) queue.Subscription {
	tb.Helper()
	s, err := q.Subscribe(patient(tb), "sms")
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func receive(tb testing.TB, s queue.Subscription) queue.Received {
	tb.Helper()
	r, err := s.Receive(patient(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func ack(tb testing.TB, r queue.Received) {
	tb.Helper()
	if err := r.Ack(patient(tb)); err != nil {
		tb.Fatal(err)
	}
}

// eventually asks until the answer is yes.
func eventually(tb testing.TB, what string, answer func(context.Context) bool) {
	tb.Helper()
	ctx := patient(tb)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !answer(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("not in %v: %s", queuetest.Patience, what)
		}
	}
}

// mustUnavailable fails unless err says that the broker cannot be used now.
func mustUnavailable(tb testing.TB, what string, err error) {
	tb.Helper()
	if e, ok := errors.AsType[*core.Error](err); !ok || e.Kind != core.KindUnavailable {
		tb.Errorf("%s: %v, want an error of kind unavailable", what, err)
	}
}

// withAddress puts another host and port into a URL.
func withAddress(url, address string) string {
	before, after, _ := strings.Cut(url, "@")
	_, path, _ := strings.Cut(after, "/")
	return before + "@" + address + "/" + path
}
