package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/queue/rabbitmq"
)

// secret is a password that must not be seen anywhere.
const secret = "hunter2"

// Each fault of the configuration ends Open at once, and says what was attempted, where and how to mend it.
func TestOpenNamesWhatIsWrong(t *testing.T) {
	uri, err := amqp.ParseURI(brokerURL(t))
	if err != nil {
		t.Fatal(err)
	}
	broker := fmt.Sprintf("%s:%d", uri.Host, uri.Port)
	unused := freeAddress(t)
	tests := []struct {
		name, url string
		want      []string
	}{
		{"another scheme", "http://guest:" + secret + "@" + broker, []string{"amqp://user:password@host:5672/vhost"}},
		{"no URL", "", []string{"amqp://user:password@host:5672/vhost"}},
		{"a password that is not encoded", "amqp://guest:" + secret + "#/@" + broker, []string{"percent-encoded"}},
		{"a port that is none", "amqp://guest:" + secret + "@127.0.0.1:x/", []string{"cannot be read"}},
		{"nobody listens", "amqp://guest:" + secret + "@" + unused, []string{unused, "refused", "check that the broker runs"}},
		{"a wrong password", "amqp://guest:" + secret + "@" + broker, []string{broker, `user "guest"`, "check both in the URL"}},
		{"an unknown vhost", withAddress(brokerURL(t), broker) + "nowhere", []string{broker, `no vhost "nowhere"`, "add_vhost"}},
		{"TLS where there is none", strings.Replace(withAddress(brokerURL(t), broker), "amqp://", "amqps://", 1), []string{broker, "TLS"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := rabbitmq.Open(patient(t), rabbitmq.Options{URL: test.url})
			mustSay(t, err, test.want...)
		})
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// mustSay fails unless the error holds all texts, and no password.
func mustSay(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("%q shows the password", err)
	}
}

func TestOpenGivesUpOnASilentPeer(t *testing.T) {
	brokerURL(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = rabbitmq.Open(ctx, rabbitmq.Options{URL: "amqp://guest:" + secret + "@" + l.Addr().String()})
	mustSay(t, err, l.Addr().String(), "no answer in time")
}

func TestOpenRefusesAnUnknownType(t *testing.T) {
	_, err := rabbitmq.Open(t.Context(), rabbitmq.Options{URL: "amqp://localhost", Type: "stream"})
	mustSay(t, err, `"stream"`, `"quorum"`, `"classic"`)
}

// A broker that has the queues as another type is refused before anything is published.
func TestOpenRefusesQueuesOfAnotherType(t *testing.T) {
	prefix := newPrefix(t)
	if err := open(t, rabbitmq.Options{Prefix: prefix, Type: rabbitmq.Classic}).Close(); err != nil {
		t.Fatal(err)
	}
	_, err := rabbitmq.Open(patient(t), rabbitmq.Options{URL: brokerURL(t), Prefix: prefix, Type: rabbitmq.Quorum})
	mustSay(t, err, prefix+"pigeonry.dead", "x-queue-type", "delete the queue", `type = "classic"`)
}

// spoil makes the lane of a channel as nobody here would, and returns its name.
func spoil(t *testing.T, prefix, channel string) string {
	t.Helper()
	name := prefix + "message.send." + channel + ".high"
	if _, err := dialTest(t).QueueDeclare(name, true, false, false, false, amqp.Table{"x-queue-type": "classic"}); err != nil {
		t.Fatal(err)
	}
	return name
}

// A lane that exists with other arguments is refused at the start.
func TestOpenRefusesALaneWithOtherArguments(t *testing.T) {
	prefix := newPrefix(t)
	name := spoil(t, prefix, "email")
	_, err := rabbitmq.Open(patient(t), rabbitmq.Options{
		URL: brokerURL(t), Prefix: prefix, Channels: func() []string { return []string{"sms", "email"} },
	})
	mustSay(t, err, `"email"`, name, "x-queue-type", "delete the queue", `type = "classic"`)
}

// One that appears later keeps its own channel from being used, and no other, until it is gone.
func TestLaneWithOtherArgumentsIsItsChannelsAlone(t *testing.T) {
	prefix := newPrefix(t)
	q := open(t, rabbitmq.Options{Prefix: prefix})
	name := spoil(t, prefix, "email")
	good := sequence(1, 2, core.LaneLow)
	bad := core.Envelope{ID: 3, Channel: "email", Lane: core.LaneLow, Records: []core.RecordID{3}}
	for range 2 { // the second time it is known
		err := q.Publish(patient(t), []core.Envelope{good[0], bad, good[1]})
		mustSay(t, err, name, "delete the queue", `type = "classic"`)
		if e, ok := errors.AsType[*queue.ChannelError](err); !ok || e.Channel != "email" {
			t.Errorf("%v does not name the channel", err)
		}
	}
	_, err := q.Subscribe(patient(t), "email")
	mustSay(t, err, name, "delete the queue")
	publish(t, q, good...)
	stats, err := q.Stats(patient(t))
	if err != nil || len(stats) != 4 || stats[core.LaneLow].Channel != "sms" || stats[core.LaneLow].Envelopes != 2 {
		t.Errorf("stats: %+v, %v; want the lanes of sms, and nothing of the refused publishes", stats, err)
	}
	s := subscribe(t, q)
	ack(t, receive(t, s))
	ack(t, receive(t, s))
	if _, err := dialTest(t).QueueDelete(name, false, false, false); err != nil {
		t.Fatal(err)
	}
	republish(t, q, good[0], bad)
}

func TestChannelThatCannotBeAName(t *testing.T) {
	q := open(t, rabbitmq.Options{})
	for _, channel := range []string{"", strings.Repeat("x", 256)} {
		e := core.Envelope{ID: 1, Channel: channel, Records: []core.RecordID{1}}
		mustSay(t, q.Publish(patient(t), []core.Envelope{e}), "queue's name")
		_, err := q.Subscribe(patient(t), channel)
		mustSay(t, err, "queue's name")
	}
}
