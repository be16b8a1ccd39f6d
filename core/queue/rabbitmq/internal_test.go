package rabbitmq

import (
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
