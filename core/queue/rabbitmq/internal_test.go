package rabbitmq

import (
	"errors"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

// An alarm would hit everybody who shares the broker, so the test plays the broker's part.
func TestAlarm(t *testing.T) {
	s := &session{
		topology: &topology{address: "broker:5672"}, jobs: make(chan *job), down: make(chan struct{}), blocked: make(chan struct{}),
	}
	confirm := func() { (<-s.jobs).done <- nil }
	letters := []letter{{}}
	s.setAlarm(amqp.Blocking{Active: true, Reason: "low on disk"})
	s.setAlarm(amqp.Blocking{Active: true, Reason: "low on memory"}) // a second one
	err := s.publish(t.Context(), letters)
	if core.KindOf(err) != core.KindUnavailable || !strings.Contains(err.Error(), "low on disk") {
		t.Errorf("publish in an alarm: %v", err)
	}
	s.setAlarm(amqp.Blocking{})
	go confirm()
	if err := s.publish(t.Context(), letters); err != nil {
		t.Errorf("publish after the alarm: %v", err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- s.publish(t.Context(), letters) }()
	taken := <-s.jobs // by a publisher, whose write hangs
	s.setAlarm(amqp.Blocking{Active: true})
	if err := <-waiting; core.KindOf(err) != core.KindUnavailable {
		t.Errorf("publish under way in an alarm: %v", err)
	}
	taken.done <- nil // nobody waits for it any more
}

// One connection may be lost, or blocked, while the other is well.
func TestCheck(t *testing.T) {
	lose := func(l *link) {
		l.session.cause = errors.New("it was closed")
		close(l.session.down)
	}
	for _, c := range []struct {
		name   string
		change func(*Queue)
		want   string // "": all is well
	}{
		{"all is well", func(*Queue) {}, ""},
		{"nobody publishes", func(q *Queue) { lose(q.outgoing) }, "no connection"},
		{"nobody takes", func(q *Queue) { lose(q.incoming) }, "no connection"},
		{"nobody wants to take", func(q *Queue) { lose(q.incoming); clear(q.subscriptions) }, ""},
		{"an alarm", func(q *Queue) { q.outgoing.session.setAlarm(amqp.Blocking{Active: true, Reason: "low on disk"}) }, "low on disk"},
	} {
		t.Run(c.name, func(t *testing.T) {
			connected := func() *link {
				return &link{address: "broker:5672", session: &session{
					topology: &topology{address: "broker:5672"}, down: make(chan struct{}), blocked: make(chan struct{}),
					reading: make(chan struct{}, 1), generation: "known",
				}}
			}
			q := &Queue{outgoing: connected(), incoming: connected(), subscriptions: map[*subscription]struct{}{{}: {}}}
			c.change(q)
			err := q.Check(t.Context())
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (core.KindOf(err) != core.KindUnavailable || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want an error of kind unavailable that says %q", err, c.want)
			}
		})
	}
}

func TestAFullEnvelopeIsSmall(t *testing.T) {
	e := core.Envelope{ID: 1 << 40, Channel: "wechat", Lane: core.LaneLow}
	for i := range core.MaxEnvelope {
		e.Records = append(e.Records, core.RecordID(1<<52+3*i))
	}
	if n := len(encode(&e)); n > 150 {
		t.Errorf("%d messages in a row take %d bytes", core.MaxEnvelope, n)
	}
	for i := range e.Records { // the worst there can be
		e.Records[i] = core.RecordID(i%2) * (1<<53 - 1)
	}
	if n := len(encode(&e)); n > 1024 {
		t.Errorf("%d messages far from each other take %d bytes", core.MaxEnvelope, n)
	}
}

// FuzzDecode feeds bodies of any kind. What is read must be an envelope that can be written, and reads the
// same again.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("not an envelope"))
	f.Add(encode(&core.Envelope{ID: 7, Channel: "sms", Lane: core.LaneHigh, Records: []core.RecordID{5, 6, 4}}))
	f.Add(encode(&core.Envelope{ID: -1, Channel: "", Records: make([]core.RecordID, core.MaxEnvelope)}))
	f.Add([]byte{format, 2, 0, 1, 'x', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := decode(body)
		if err != nil {
			return
		}
		if err := queue.Check(&e); err != nil {
			t.Fatalf("read an envelope that cannot be: %v", err)
		}
		again, err := decode(encode(&e))
		if err != nil || again.ID != e.ID || again.Channel != e.Channel || again.Lane != e.Lane || !slices.Equal(again.Records, e.Records) {
			t.Fatalf("%+v became %+v, %v", e, again, err)
		}
	})
}

func TestTooOld(t *testing.T) {
	for version, want := range map[string]bool{"3.9.13": true, "2.8.1": true, "3.10.8": false, "3.13.7": false, "4.1.0": false, "": false} {
		conn := &amqp.Connection{Properties: amqp.Table{"version": version}}
		if err := tooOld(conn); (err != nil) != want {
			t.Errorf("version %q: %v", version, err)
		}
	}
}
