package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// batchFunc is a channel that sends batches.
type batchFunc func(ctx context.Context, ms []*sdk.Message, report func(int, sdk.Receipt, error))

func (f batchFunc) Send(context.Context, *sdk.Message) (sdk.Receipt, error) {
	panic("Send must not be called where there is a SendBatch")
}

func (f batchFunc) SendBatch(ctx context.Context, ms []*sdk.Message, report func(int, sdk.Receipt, error)) {
	f(ctx, ms, report)
}

// opened starts a plugin with that sender and opens the connector test/a.
func opened(t testing.TB, sender sdk.Sender, limits ...sdk.Limits) *gateway {
	t.Helper()
	p := plugin(sender)
	if len(limits) > 0 {
		p.Limits = limits[0]
	}
	gw := start(t, p)
	gw.configure("test/a", 1, `{}`)
	return gw
}

// What Send returns becomes the outcome.
func TestOutcomes(t *testing.T) {
	boom := errors.New("boom")
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"nothing":   {nil, "accepted"},
		"plain":     {boom, "uncertain uncertain provider"},
		"timeout":   {fmt.Errorf("read: %w", context.DeadlineExceeded), "uncertain timeout provider"},
		"permanent": {sdk.Permanent(boom), "rejected rejected message"},
		"options":   {sdk.Permanent(boom, sdk.Code("auth"), sdk.Blame(sdk.FaultConfig)), "rejected auth config"},
		"retryable": {sdk.Retryable(boom), "retryable unavailable provider"},
		"throttled": {sdk.Throttled(boom, time.Second), "throttled throttled provider"},
		"uncertain": {sdk.Uncertain(boom, sdk.Code("lost")), "uncertain lost provider"},
		"wrapped":   {fmt.Errorf("send: %w", sdk.Permanent(boom)), "rejected rejected message"},
		"joined":    {errors.Join(boom, sdk.Retryable(boom)), "retryable unavailable provider"},
		"nil error": {sdk.Permanent(nil), "rejected rejected message"},
	} {
		t.Run(name, func(t *testing.T) {
			gw := opened(t, senderFunc(func(context.Context, *sdk.Message) (sdk.Receipt, error) { return sdk.Receipt{}, tt.err }))
			r := gw.one("test/a", nil)
			if verdict(r) != tt.want {
				t.Errorf("got %s, want %s", verdict(r), tt.want)
			}
			if want := strings.Fields(tt.want)[0]; sdk.OutcomeOf(tt.err).String() != want {
				t.Errorf("OutcomeOf: got %s, want %s", sdk.OutcomeOf(tt.err), want)
			}
			if tt.err != nil && r.GetError().GetMessage() != tt.err.Error() {
				t.Errorf("message: got %q", r.GetError().GetMessage())
			}
		})
	}
}

// A result carries what the provider said, made fit for the wire.
func TestResultFields(t *testing.T) {
	gw := opened(t, senderFunc(func(_ context.Context, m *sdk.Message) (sdk.Receipt, error) {
		if m.Recipient == "bad" {
			return sdk.Receipt{}, sdk.Throttled(errors.New(strings.Repeat("x", 5000)), 7*time.Second, sdk.ProviderCode("\xff58"))
		}
		return sdk.Receipt{ProviderIDs: []string{"ok", "p\xff"}, Segments: 2, Cost: sdk.Cost{Amount: "0.045", Currency: "EUR"}}, nil
	}))
	r := gw.one("test/a", nil)
	if !slices.Equal(r.GetProviderIds(), []string{"ok", "p\uFFFD"}) || r.GetSegments() != 2 || r.GetCost().GetAmount() != "0.045" ||
		r.GetCost().GetCurrency() != "EUR" || r.GetLatency() == nil {
		t.Errorf("accepted: %v", r)
	}
	r = gw.one("test/a", func(item *channelv1.Item) { item.Recipient = "bad" })
	if r.GetRetryAfter().AsDuration() != 7*time.Second || r.GetError().GetProviderCode() != "\uFFFD58" || len(r.GetError().GetMessage()) > 1010 {
		t.Errorf("throttled: %v", r)
	}
}

// The author sees every field of an item, and its trace in ctx.
func TestMessageFields(t *testing.T) {
	var got sdk.Message
	var parent, state string
	gw := opened(t, senderFunc(func(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
		got = *m
		parent, state = sdk.Trace(ctx)
		return sdk.Receipt{}, nil
	}))
	at := time.Now().Add(time.Hour).UTC()
	gw.one("test/a", func(item *channelv1.Item) {
		item.Attempt, item.Priority, item.NotAfter = 3, 9, timestamppb.New(at)
		item.Traceparent, item.Tracestate = "00-aa-bb-01", "x=y"
		item.Content = &channelv1.Content{
			Text: "text", Html: "<p>", Subject: "subject", Attributes: map[string]string{"k": "v"},
			Template: &channelv1.TemplateRef{Id: "t", Parameters: map[string]string{"p": "q"}},
			Attachments: []*channelv1.Attachment{
				{Name: "a.txt", ContentType: "text/plain", ContentId: "cid", Source: &channelv1.Attachment_Data{Data: []byte("data")}},
				{Name: "b", Source: &channelv1.Attachment_Url{Url: "https://example.com/b"}},
			},
		}
	})
	want := sdk.Message{
		ID: "m0", AttemptID: "a0", IdempotencyKey: "k0", Account: "acme", Connector: "test/a", Recipient: "r0",
		Attempt: 3, Priority: 9, NotAfter: at, Traceparent: "00-aa-bb-01", Tracestate: "x=y",
		Content: sdk.Content{
			Plain: "text", HTML: "<p>", Subject: "subject", Attributes: map[string]string{"k": "v"},
			Template: &sdk.Template{ID: "t", Parameters: map[string]string{"p": "q"}},
			Attachments: []sdk.Attachment{
				{Name: "a.txt", ContentType: "text/plain", ContentID: "cid", Data: []byte("data")},
				{Name: "b", URL: "https://example.com/b"},
			},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if parent != "00-aa-bb-01" || state != "x=y" {
		t.Errorf("trace: got %q, %q", parent, state)
	}
	// A field that the contract gains must be taken over: the message has what the item has.
	if n := (&channelv1.Item{}).ProtoReflect().Descriptor().Fields().Len(); n != 12 {
		t.Errorf("an item has %d fields now: does Message know the new one?", n)
	}
	if n := (&channelv1.Content{}).ProtoReflect().Descriptor().Fields().Len(); n != 6 {
		t.Errorf("a content has %d fields now: does Content know the new one?", n)
	}
}

// Each result travels when it is known, not when the batch is done.
func TestResultsStream(t *testing.T) {
	release := make(chan struct{})
	gw := opened(t, senderFunc(func(_ context.Context, m *sdk.Message) (sdk.Receipt, error) {
		if m.Recipient == "r1" {
			<-release
		}
		return sdk.Receipt{}, nil
	}))
	stream, err := gw.Deliver(t.Context(), batchOf("test/a", 3))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for len(ids) < 2 {
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resp.GetResults() {
			ids = append(ids, r.GetAttemptId())
		}
	}
	close(release)
	if slices.Contains(ids, "a1") {
		t.Errorf("the slow item is among the first: %v", ids)
	}
	resp, err := stream.Recv()
	if err != nil || resp.GetResults()[0].GetAttemptId() != "a1" {
		t.Errorf("the last one: %v, %v", resp, err)
	}
}

// A BatchSender that reports twice, too little or nonsense still yields one result each.
func TestBatchReports(t *testing.T) {
	gw := opened(t, batchFunc(func(_ context.Context, ms []*sdk.Message, report func(int, sdk.Receipt, error)) {
		report(0, sdk.Accepted("first"), nil)
		report(0, sdk.Receipt{}, errors.New("second thoughts"))
		report(-1, sdk.Receipt{}, nil)
		report(len(ms), sdk.Receipt{}, nil)
		var wg sync.WaitGroup
		wg.Go(func() { report(2, sdk.Receipt{}, sdk.Permanent(errors.New("no"))) })
		wg.Wait()
	}))
	results, err := gw.deliver(t.Context(), batchOf("test/a", 3))
	if err != nil || len(results) != 3 {
		t.Fatalf("%v, %v", results, err)
	}
	for id, want := range map[string]string{
		"a0": "accepted", "a1": "uncertain no_result plugin", "a2": "rejected rejected message",
	} {
		if got := verdict(results[id]); got != want {
			t.Errorf("%s: got %s, want %s", id, got, want)
		}
	}
	if ids := results["a0"].GetProviderIds(); !slices.Equal(ids, []string{"first"}) {
		t.Errorf("the first report counts, got %v", ids)
	}
}

// A panic costs its own item, or what a batch had not reported; the plugin lives.
func TestPanic(t *testing.T) {
	t.Run("Send", func(t *testing.T) {
		gw := opened(t, senderFunc(func(_ context.Context, m *sdk.Message) (sdk.Receipt, error) {
			switch m.Recipient {
			case "r1":
				panic("boom")
			case "r2":
				runtime.Goexit()
			}
			return sdk.Receipt{}, nil
		}))
		for range 3 { // the workers survive
			results, err := gw.deliver(t.Context(), batchOf("test/a", 4))
			if err != nil || len(results) != 4 {
				t.Fatalf("%v, %v", results, err)
			}
			for id, want := range map[string]string{
				"a0": "accepted", "a1": "uncertain panic plugin", "a2": "uncertain panic plugin", "a3": "accepted",
			} {
				if got := verdict(results[id]); got != want {
					t.Errorf("%s: got %s, want %s", id, got, want)
				}
			}
		}
	})
	t.Run("SendBatch", func(t *testing.T) {
		gw := opened(t, batchFunc(func(_ context.Context, _ []*sdk.Message, report func(int, sdk.Receipt, error)) {
			report(1, sdk.Receipt{}, nil)
			panic("boom")
		}))
		results, err := gw.deliver(t.Context(), batchOf("test/a", 2))
		if err != nil || verdict(results["a0"]) != "uncertain panic plugin" || verdict(results["a1"]) != "accepted" {
			t.Errorf("%v, %v", results, err)
		}
	})
	t.Run("Goexit in SendBatch", func(t *testing.T) {
		gw := opened(t, batchFunc(func(context.Context, []*sdk.Message, func(int, sdk.Receipt, error)) { runtime.Goexit() }),
			sdk.Limits{MaxInFlight: 2})
		for range 2 { // its slots are free again
			results, err := gw.deliver(t.Context(), batchOf("test/a", 2))
			if err != nil || verdict(results["a0"]) != "uncertain panic plugin" || verdict(results["a1"]) != "uncertain panic plugin" {
				t.Errorf("%v, %v", results, err)
			}
		}
	})
}

// Expired and oversized items come back unsent, also from a batch.
func TestUnsent(t *testing.T) {
	for name, sender := range map[string]func(*atomic.Int64) sdk.Sender{
		"Sender": func(n *atomic.Int64) sdk.Sender {
			return senderFunc(func(context.Context, *sdk.Message) (sdk.Receipt, error) { n.Add(1); return sdk.Receipt{}, nil })
		},
		"BatchSender": func(n *atomic.Int64) sdk.Sender {
			return batchFunc(func(_ context.Context, ms []*sdk.Message, report func(int, sdk.Receipt, error)) {
				for i := range ms {
					n.Add(1)
					report(i, sdk.Receipt{}, nil)
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int64
			gw := opened(t, sender(&sent), sdk.Limits{MaxMessageBytes: 10})
			req := batchOf("test/a", 4)
			req.Items[1].NotAfter = timestamppb.New(time.Now().Add(-time.Minute))
			req.Items[2].Content.Text = "longer than ten bytes"
			req.Items[3].NotAfter = timestamppb.New(time.Now().Add(time.Minute))
			results, err := gw.deliver(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			for id, want := range map[string]string{
				"a0": "accepted", "a1": "rejected expired message", "a2": "rejected message_too_large message", "a3": "accepted",
			} {
				if got := verdict(results[id]); got != want {
					t.Errorf("%s: got %s, want %s", id, got, want)
				}
			}
			if sent.Load() != 2 {
				t.Errorf("%d were sent, want 2", sent.Load())
			}
		})
	}
}

// An item that expires while it waits for its turn is not sent either.
func TestExpiresInTheQueue(t *testing.T) {
	gw := opened(t, senderFunc(func(context.Context, *sdk.Message) (sdk.Receipt, error) {
		<-time.After(60 * time.Millisecond)
		return sdk.Receipt{}, nil
	}), sdk.Limits{MaxInFlight: 1})
	req := batchOf("test/a", 2)
	req.Items[1].NotAfter = timestamppb.New(time.Now().Add(30 * time.Millisecond))
	results, err := gw.deliver(t.Context(), req)
	if err != nil || verdict(results["a1"]) != "rejected expired message" {
		t.Errorf("%v, %v", results, err)
	}
}

// Before the deadline everything is settled: what was begun is uncertain, what was not is retryable.
func TestDeadline(t *testing.T) {
	for name, obeys := range map[string]bool{"obeys ctx": true, "ignores ctx": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			defer close(release)
			gw := opened(t, senderFunc(func(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
				if m.Recipient == "r0" {
					return sdk.Receipt{}, nil
				}
				done := ctx.Done()
				if !obeys {
					done = nil
				}
				select {
				case <-release:
				case <-done:
				}
				return sdk.Receipt{}, ctx.Err()
			}), sdk.Limits{MaxInFlight: 3})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			results, err := gw.deliver(ctx, batchOf("test/a", 6))
			if err != nil || len(results) != 6 {
				t.Fatalf("the results must come before the deadline: %d of 6, %v", len(results), err)
			}
			count := make(map[string]int)
			for _, r := range results {
				count[verdict(r)]++
			}
			if count["accepted"] != 1 || count["uncertain timeout provider"] != 3 || count["retryable not_started provider"] != 2 {
				t.Errorf("got %v", count)
			}
		})
	}
}

// A BatchSender that ignores its ctx does not hold up the results either.
func TestDeadlineOfBatch(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	gw := opened(t, batchFunc(func(_ context.Context, ms []*sdk.Message, report func(int, sdk.Receipt, error)) {
		report(0, sdk.Receipt{}, nil)
		<-release
		for i := range ms {
			report(i, sdk.Receipt{}, nil) // too late
		}
	}), sdk.Limits{MaxBatch: 2})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	results, err := gw.deliver(ctx, batchOf("test/a", 3))
	if err != nil || verdict(results["a0"]) != "accepted" || verdict(results["a1"]) != "uncertain timeout provider" ||
		verdict(results["a2"]) != "retryable not_started provider" {
		t.Errorf("%v, %v", results, err)
	}
}

// When the gateway hangs up, what was begun is finished and nothing more is begun. The plugin counts
// it as in flight all the while: an orphan must not end before it.
func TestGatewayHangsUp(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	finished := make(chan error, 3)
	gw := opened(t, senderFunc(func(ctx context.Context, _ *sdk.Message) (sdk.Receipt, error) {
		close(began) // a second call would panic
		<-release
		finished <- ctx.Err()
		return sdk.Receipt{}, nil
	}), sdk.Limits{MaxInFlight: 1})
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := gw.Deliver(ctx, batchOf("test/a", 3)); err != nil {
		t.Fatal(err)
	}
	<-began
	cancel()
	progress := gw.drain(patience)
	noticed := false
	for !noticed { // it says 3 until then
		noticed = progress.next().GetInFlight() == 1
	}
	close(release)
	last := progress.last()
	if !last.GetDone() || last.GetInFlight() != 0 {
		t.Errorf("drain: %v", last)
	}
	if len(finished) != 1 {
		t.Fatalf("%d items were finished before the drain was over, want 1", len(finished))
	}
	if err := <-finished; err != nil {
		t.Errorf("the item in flight was broken off: %v", err)
	}
}

// MaxInFlight holds over all batches of a connector; MaxBatch bounds a call.
func TestLimits(t *testing.T) {
	const limit = 3
	var now, most, longest atomic.Int64
	count := func(n int) func() {
		longest.Store(max(longest.Load(), int64(n)))
		if v := now.Add(int64(n)); v > most.Load() {
			most.Store(v)
		}
		<-time.After(time.Millisecond)
		return func() { now.Add(-int64(n)) }
	}
	for name, sender := range map[string]sdk.Sender{
		"Sender": senderFunc(func(context.Context, *sdk.Message) (sdk.Receipt, error) {
			defer count(1)()
			return sdk.Receipt{}, nil
		}),
		"BatchSender": batchFunc(func(_ context.Context, ms []*sdk.Message, report func(int, sdk.Receipt, error)) {
			defer count(len(ms))()
			for i := range ms {
				report(i, sdk.Receipt{}, nil)
			}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			most.Store(0)
			longest.Store(0)
			gw := opened(t, sender, sdk.Limits{MaxInFlight: limit, MaxBatch: 2})
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					if results, err := gw.deliver(t.Context(), batchOf("test/a", 10)); err != nil || len(results) != 10 {
						t.Errorf("%d results, %v", len(results), err)
					}
				})
			}
			wg.Wait()
			if most.Load() > limit || most.Load() < 2 {
				t.Errorf("%d in flight at a time, want at most %d and more than one", most.Load(), limit)
			}
			if longest.Load() > 2 {
				t.Errorf("a call had %d messages, want at most 2", longest.Load())
			}
		})
	}
}

// The same attempt twice in a batch is sent once and answered once.
func TestRepeatedAttempt(t *testing.T) {
	var calls atomic.Int64
	gw := opened(t, senderFunc(func(context.Context, *sdk.Message) (sdk.Receipt, error) {
		calls.Add(1)
		return sdk.Receipt{}, nil
	}))
	req := batchOf("test/a", 2)
	req.Items = append(req.Items, req.GetItems()...)
	results, err := gw.deliver(t.Context(), req)
	if err != nil || len(results) != 2 || calls.Load() != 2 {
		t.Errorf("%d results, %d calls, %v", len(results), calls.Load(), err)
	}
}

// An empty batch ends at once.
func TestEmptyBatch(t *testing.T) {
	results, err := opened(t, instant{}).deliver(t.Context(), batchOf("test/a", 0))
	if err != nil || len(results) != 0 {
		t.Errorf("%v, %v", results, err)
	}
}
