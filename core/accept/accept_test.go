package accept_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/accept"
	"github.com/pigeonry/pigeonry/core/limit"
	"github.com/pigeonry/pigeonry/core/limit/local"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
	"github.com/pigeonry/pigeonry/core/store/sqlite/sqlitetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a service on an embedded store, with the channels sms, email and null.
type fixture struct {
	*accept.Service
	store   store.Store
	account core.Account
	rules   map[string][]limit.Rule // by resource
	limiter *countingLimiter

	mu        sync.Mutex
	envelopes []core.Envelope
}

// Serves implements accept.Channels.
func (*fixture) Serves(channel string) bool {
	return slices.Contains([]string{"sms", "email", "null"}, channel)
}

// Has implements accept.Channels.
func (*fixture) Has(id core.ConnectorID, account string) bool {
	return id == "sms/main" || id == "email/main" || id == "sms/bank" && account == "bank"
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newPaced(t, 0)
}

// newPaced returns a fixture whose commits keep a pace.
func newPaced(t *testing.T, pace time.Duration) *fixture {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: sqlitetest.Database(t), Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{store: s, rules: map[string][]limit.Rule{}, limiter: &countingLimiter{Limiter: local.New(local.Options{})}}
	f.account, err = s.EnsureAccount(t.Context(), core.Account{Name: "shop", DefaultRegion: "CN", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	f.Service = accept.New(accept.Options{
		Intake: s, Templates: s, Channels: f, Limiter: f.limiter,
		Rules: func(resource string) []limit.Rule { return f.rules[resource] },
		Publish: func(envelopes []core.Envelope) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.envelopes = append(f.envelopes, envelopes...)
		},
		Logger: slog.New(slog.DiscardHandler), Pace: pace,
	})
	t.Cleanup(func() {
		f.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// single is a request that is right; change makes of it what the test is about.
func (f *fixture) single(change func(*accept.Request)) accept.Request {
	r := accept.Request{
		Account:    f.account,
		Draft:      accept.Draft{Channel: "sms", Content: "Your code is {{code}}."},
		Recipients: []accept.Recipient{{Address: "+8613800138000", Variables: map[string]string{"code": "1234"}}},
	}
	if change != nil {
		change(&r)
	}
	return r
}

func TestSendIsDurableWhenItReturns(t *testing.T) {
	f := newFixture(t)
	got, err := f.Send(t.Context(), f.single(nil))
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := f.store.Message(t.Context(), f.account.ID, got.Record)
	if err != nil {
		t.Fatal(err)
	}
	if m.Status != core.StatusQueued || m.Content.Text != "Your code is 1234." || m.Priority != 5 || m.Segments != 1 {
		t.Errorf("stored: %+v", m)
	}
	if id, ok := got.TraceID.RecordID(); !ok || id != got.Record || m.TraceID != got.TraceID {
		t.Errorf("trace id %s does not name record %d", got.TraceID, got.Record)
	}
}

func TestBareNumberTakesTheRegionOfTheAccount(t *testing.T) {
	f := newFixture(t)
	got, err := f.Send(t.Context(), f.single(func(r *accept.Request) { r.Recipients[0].Address = "138 0013 8000" }))
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := f.store.Message(t.Context(), f.account.ID, got.Record)
	if err != nil {
		t.Fatal(err)
	}
	if m.Recipient != "+8613800138000" || m.RecipientGiven != "138 0013 8000" {
		t.Errorf("recipient %q, given %q", m.Recipient, m.RecipientGiven)
	}
}

// Each fault of a request names the field it stands in, and nothing is stored.
func TestSendRefuses(t *testing.T) {
	past, far := time.Now().Add(-time.Hour), time.Now().Add(400*24*time.Hour)
	tests := []struct {
		name   string
		change func(*accept.Request)
		kind   core.Kind
		field  string
	}{
		{"no recipient", func(r *accept.Request) { r.Recipients = nil }, core.KindUnprocessable, "/recipients"},
		{"too many recipients", func(r *accept.Request) {
			r.Batch, r.Recipients = true, make([]accept.Recipient, accept.MaxRecipients+1)
		}, core.KindTooLarge, "/recipients"},
		{"no channel", func(r *accept.Request) { r.Draft.Channel = "" }, core.KindUnprocessable, "/channel"},
		{"channel that nothing serves", func(r *accept.Request) { r.Draft.Channel = "fax" }, core.KindUnprocessable, "/channel"},
		{"no content", func(r *accept.Request) { r.Draft.Content = "" }, core.KindUnprocessable, "/content"},
		{"content that does not parse", func(r *accept.Request) { r.Draft.Content = "Hi {{name" }, core.KindUnprocessable, "/content"},
		{"variable missing", func(r *accept.Request) { r.Recipients[0].Variables = nil }, core.KindUnprocessable, "/variables/code"},
		{"template that is not there", func(r *accept.Request) {
			r.Draft = accept.Draft{Template: 99}
		}, core.KindUnprocessable, "/template_id"},
		{"template and content", func(r *accept.Request) { r.Draft.Template = 99 }, core.KindUnprocessable, "/template_id"},
		{"priority", func(r *accept.Request) { r.Draft.Priority = new(11) }, core.KindUnprocessable, "/priority"},
		{"delay and time", func(r *accept.Request) {
			r.Draft.DelayMS, r.Draft.SendAt = new(int64(5)), new(time.Now())
		}, core.KindUnprocessable, "/delay_ms"},
		{"negative delay", func(r *accept.Request) { r.Draft.DelayMS = new(int64(-1)) }, core.KindUnprocessable, "/delay_ms"},
		{"time in the past", func(r *accept.Request) { r.Draft.SendAt = &past }, core.KindUnprocessable, "/send_at"},
		{"time too far ahead", func(r *accept.Request) { r.Draft.SendAt = &far }, core.KindUnprocessable, "/send_at"},
		{"expired already", func(r *accept.Request) { r.Draft.ExpireAt = &past }, core.KindUnprocessable, "/expire_at"},
		{"expires before it is sent", func(r *accept.Request) {
			r.Draft.DelayMS, r.Draft.ExpireAt = new(int64(60_000)), new(time.Now().Add(time.Second))
		}, core.KindUnprocessable, "/expire_at"},
		{"unknown connector", func(r *accept.Request) { r.Draft.Connector = "sms/other" }, core.KindUnprocessable, "/connector"},
		{"connector of another channel", func(r *accept.Request) { r.Draft.Connector = "email/main" }, core.KindUnprocessable, "/connector"},
		{"phone number", func(r *accept.Request) { r.Recipients[0].Address = "12" }, core.KindUnprocessable, "/recipient"},
		{"mail address", func(r *accept.Request) {
			r.Draft.Channel, r.Recipients[0].Address = "email", "Bob <bob@example.com>"
		}, core.KindUnprocessable, "/recipient"},
		{"line break in an address", func(r *accept.Request) {
			r.Draft.Channel, r.Recipients[0].Address = "email", "bob@example.com\r\nBcc: all@example.com"
		}, core.KindUnprocessable, "/recipient"},
		{"SMS of too many segments", func(r *accept.Request) { r.Draft.Content = strings.Repeat("你", 700) }, core.KindUnprocessable, "/content"},
		{"metadata too long", func(r *accept.Request) {
			r.Draft.Metadata = map[string]string{"order": strings.Repeat("x", 2000)}
		}, core.KindUnprocessable, "/metadata/order"},
		{"attachment without content", func(r *accept.Request) {
			r.Draft.Attachments = []core.Attachment{{Name: "a.pdf"}}
		}, core.KindUnprocessable, "/attachments/0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			_, err := f.Send(t.Context(), f.single(tt.change))
			var e *core.Error
			if !errors.As(err, &e) || e.Kind != tt.kind {
				t.Fatalf("got %v, want kind %d", err, tt.kind)
			}
			if !slices.ContainsFunc(e.Fields, func(f core.FieldError) bool { return f.Field == tt.field && f.Reason != "" }) {
				t.Errorf("fields %v do not name %s", e.Fields, tt.field)
			}
			stored, err := f.store.List(t.Context(), f.account.ID, store.Filter{Limit: 10})
			if err != nil || len(stored) != 0 {
				t.Errorf("stored %d messages, %v", len(stored), err)
			}
		})
	}
}

func TestAllFaultsAreNamedAtOnce(t *testing.T) {
	f := newFixture(t)
	_, err := f.Send(t.Context(), f.single(func(r *accept.Request) {
		r.Draft.Priority, r.Draft.DelayMS, r.Draft.Connector = new(-1), new(int64(-1)), "sms/none"
	}))
	var e *core.Error
	if !errors.As(err, &e) || len(e.Fields) != 3 {
		t.Fatalf("got %v, want three fields", err)
	}
}

func TestBadRecipientRejectsItselfNotTheBatch(t *testing.T) {
	f := newFixture(t)
	r := f.single(func(r *accept.Request) {
		r.Batch = true
		r.Recipients = []accept.Recipient{
			{Address: "+8613800138000", Variables: map[string]string{"code": "1"}},
			{Address: "nonsense", Variables: map[string]string{"code": "2"}},
			{Address: "+8613800138001"},
			{Address: "+8613800138002", Variables: map[string]string{"code": "4"}},
		}
	})
	got, err := f.Send(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if got.Accepted != 2 || len(got.Rejected) != 2 || got.Rejected[0].Index != 1 || got.Rejected[1].Index != 2 {
		t.Fatalf("got %+v", got)
	}
	if !strings.Contains(got.Rejected[1].Reason, "code") {
		t.Errorf("the reason does not name the variable: %s", got.Rejected[1].Reason)
	}
	batch, progress, err := f.store.Batch(t.Context(), f.account.ID, got.Batch)
	if err != nil || batch.Accepted != 2 || batch.Rejected != 2 || progress[core.StatusQueued] != 2 {
		t.Errorf("batch %+v, progress %v, %v", batch, progress, err)
	}
}

func TestScheduledMessageWaitsOutsideTheQueue(t *testing.T) {
	f := newFixture(t)
	got, err := f.Send(t.Context(), f.single(func(r *accept.Request) { r.Draft.DelayMS = new(int64(60_000)) }))
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := f.store.Message(t.Context(), f.account.ID, got.Record)
	if err != nil || m.Status != core.StatusScheduled || time.Until(m.NextAttempt) < 50*time.Second {
		t.Errorf("stored %+v, %v", m, err)
	}
	f.Close() // every publication has happened
	if len(f.envelopes) != 0 {
		t.Errorf("published %v", f.envelopes)
	}
}

func key(value string, hash byte) *accept.Key {
	return &accept.Key{Value: value, BodyHash: [32]byte{hash}, Answer: func(a accept.Accepted) (int, []byte) {
		return 200, []byte(a.TraceID)
	}}
}

func TestRepeatOfAKeyGetsTheFirstAnswer(t *testing.T) {
	f := newFixture(t)
	first, err := f.Send(t.Context(), f.single(func(r *accept.Request) { r.Key = key("order-1", 1) }))
	if err != nil {
		t.Fatal(err)
	}
	second, err := f.Send(t.Context(), f.single(func(r *accept.Request) { r.Key = key("order-1", 1) }))
	if err != nil {
		t.Fatal(err)
	}
	if second.Replay == nil || string(second.Replay.Response) != string(first.TraceID) {
		t.Errorf("the repeat got %+v, want the answer with %s", second, first.TraceID)
	}
	stored, err := f.store.List(t.Context(), f.account.ID, store.Filter{Limit: 10})
	if err != nil || len(stored) != 1 {
		t.Errorf("stored %d messages, %v", len(stored), err)
	}
}

func TestKeyWithAnotherBodyIsRefused(t *testing.T) {
	f := newFixture(t)
	if _, err := f.Send(t.Context(), f.single(func(r *accept.Request) { r.Key = key("order-1", 1) })); err != nil {
		t.Fatal(err)
	}
	_, err := f.Send(t.Context(), f.single(func(r *accept.Request) { r.Key = key("order-1", 2) }))
	var e *core.Error
	if !errors.As(err, &e) || e.Code != core.CodeKeyReused {
		t.Errorf("got %v, want code %d", err, core.CodeKeyReused)
	}
}

func TestRequestThatFailedForgetsItsKey(t *testing.T) {
	f := newFixture(t)
	bad := f.single(func(r *accept.Request) { r.Key, r.Draft.Content = key("order-1", 1), "" })
	if _, err := f.Send(t.Context(), bad); err == nil {
		t.Fatal("an empty message was accepted")
	}
	got, err := f.Send(t.Context(), f.single(func(r *accept.Request) { r.Key = key("order-1", 2) }))
	if err != nil || got.Record == 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Of many requests with one key at the same time, one sends; the others are told to wait or get its answer.
func TestOneOfManyRequestsWithAKeySends(t *testing.T) {
	f := newFixture(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, err := f.Send(t.Context(), f.single(func(r *accept.Request) { r.Key = key("order-1", 1) }))
			var e *core.Error
			if err != nil && (!errors.As(err, &e) || e.Code != core.CodeKeyInFlight) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	stored, err := f.store.List(t.Context(), f.account.ID, store.Filter{Limit: 100})
	if err != nil || len(stored) != 1 {
		t.Errorf("stored %d messages, %v", len(stored), err)
	}
}

func TestClosedServiceIsUnavailable(t *testing.T) {
	f := newFixture(t)
	f.Close()
	_, err := f.Send(context.Background(), f.single(nil))
	if core.KindOf(err) != core.KindUnavailable {
		t.Errorf("got %v", err)
	}
}

// Requests that come together share commits, and each gets its own message.
func TestManySendersAtOnce(t *testing.T) {
	f := newFixture(t)
	const senders, each = 32, 20
	ids := make([][]core.RecordID, senders)
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for range each {
				got, err := f.Send(t.Context(), f.single(nil))
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = append(ids[i], got.Record)
			}
		})
	}
	wg.Wait()
	f.Close()
	accepted := slices.Concat(ids...)
	var published []core.RecordID
	for _, e := range f.envelopes {
		if len(e.Records) > core.MaxEnvelope || e.Channel != "sms" || e.Lane != core.LaneNormal {
			t.Errorf("envelope %+v", e)
		}
		published = append(published, e.Records...)
	}
	slices.Sort(accepted)
	slices.Sort(published)
	if len(slices.Compact(slices.Clone(accepted))) != senders*each || !slices.Equal(accepted, published) {
		t.Errorf("accepted %d, published %d", len(accepted), len(published))
	}
}

// While messages come by the dozen, a commit waits for more until its time has come, until there are many, or until
// nobody comes.
func TestPaceOfCommits(t *testing.T) {
	const pace, lull = 20 * time.Millisecond, 5 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		f := newPaced(t, pace)
		for i, step := range []struct {
			pause    time.Duration
			messages int
			want     time.Duration // until they are accepted
		}{
			{messages: 1},
			{messages: 1},
			{messages: 20},
			{messages: 1, want: lull},
			{messages: 20, want: lull},
			{messages: 60},
			{messages: 60},
			{pause: pace - lull/2, messages: 1, want: lull / 2},
			{messages: 20},
			{pause: pace, messages: 1},
		} {
			<-time.After(step.pause)
			began := time.Now()
			if _, err := f.Send(t.Context(), f.batch(1000*i, step.messages)); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != step.want {
				t.Errorf("step %d: %d messages took %s, want %s", i, step.messages, took, step.want)
			}
		}
	})
	for name, c := range map[string]struct {
		every time.Duration
		want  []int // messages of the commits, after the first
	}{
		"until its time has come": {900 * time.Microsecond, []int{23, 7}},
		"until there are many":    {100 * time.Microsecond, []int{32, 28}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newPaced(t, pace)
				f.sends(t, f.batch(1000, 20))
				var senders sync.WaitGroup
				for range c.want[0] + c.want[1] {
					senders.Go(func() { f.sends(t, f.single(nil)) })
					<-time.After(c.every)
				}
				senders.Wait()
				f.Close()
				var commits []int
				for _, e := range f.envelopes[1:] {
					commits = append(commits, len(e.Records))
				}
				if !slices.Equal(commits, c.want) {
					t.Errorf("commits of %d messages, want %d", commits, c.want)
				}
			})
		})
	}
}

// A commit that waits for more does not when the service ends: what is in it is accepted.
func TestCloseEndsTheWaitOfACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPaced(t, time.Hour)
		f.sends(t, f.batch(0, 20))
		began := time.Now()
		var sender sync.WaitGroup
		sender.Go(func() { f.sends(t, f.single(nil)) })
		synctest.Wait() // it is in a commit that waits
		f.Close()
		sender.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("the end took %s", took)
		}
	})
}

// sends sends what must be accepted.
func (f *fixture) sends(t *testing.T, r accept.Request) {
	t.Helper()
	if _, err := f.Send(t.Context(), r); err != nil {
		t.Error(err)
	}
}
