package sdk_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// named is a config that says which one it is.
type named struct {
	Name string     `cfg:"name"`
	Key  sdk.Secret `cfg:"key"`
}

// tracked is a connector that answers with its name, can be held up, and tells when it is closed.
type tracked struct {
	name   string
	began  chan struct{}
	hold   chan struct{}
	closed chan string
}

func (c *tracked) Send(_ context.Context, m *sdk.Message) (sdk.Receipt, error) {
	if m.Recipient == "held" {
		c.began <- struct{}{}
		<-c.hold
	}
	return sdk.Accepted(c.name), nil
}

func (c *tracked) Close() error {
	c.closed <- c.name
	return nil
}

// house is a plugin whose connectors are tracked.
type house struct {
	opens  atomic.Int64
	began  chan struct{}
	hold   chan struct{}
	closed chan string
}

func newHouse() *house {
	return &house{began: make(chan struct{}), hold: make(chan struct{}), closed: make(chan string, 10)}
}

func (h *house) plugin() sdk.Plugin[named] {
	return sdk.Plugin[named]{
		Name: "test", Version: "1.0.0",
		Open: func(_ context.Context, c named) (sdk.Sender, error) {
			h.opens.Add(1)
			switch c.Name {
			case "broken":
				return nil, errors.New("cannot reach the provider with " + c.Key.Reveal())
			case "panics":
				panic("while opening with " + c.Key.Reveal())
			case "nothing":
				return nil, nil
			}
			return &tracked{name: c.Name, began: h.began, hold: h.hold, closed: h.closed}, nil
		},
	}
}

// tryConfigure returns the diagnostics in short.
func (g *gateway) tryConfigure(id string, revision int64, config string) string {
	g.t.Helper()
	resp, err := g.Configure(g.t.Context(), &channelv1.ConfigureRequest{Connector: id, Revision: revision, Config: []byte(config)})
	if err != nil {
		g.t.Fatal(err)
	}
	var out []string
	for _, d := range resp.GetDiagnostics() {
		out = append(out, show(d))
	}
	return strings.Join(out, "|")
}

// whoAnswers names the connector that takes a message now.
func (g *gateway) whoAnswers(id string) string {
	g.t.Helper()
	r := g.one(id, nil)
	if len(r.GetProviderIds()) == 0 {
		return verdict(r)
	}
	return r.GetProviderIds()[0]
}

// A new configuration takes over at once; the old one finishes what it began and is closed then.
func TestReplace(t *testing.T) {
	h := newHouse()
	gw := start(t, h.plugin())
	gw.configure("test/a", 1, `{"name": "old"}`)
	held := make(chan string)
	go func() {
		req := batchOf("test/a", 1)
		req.Items[0].Recipient = "held"
		results, _ := gw.deliver(t.Context(), req)
		held <- results["a0"].GetProviderIds()[0]
	}()
	<-h.began
	gw.configure("test/a", 2, `{"name": "new"}`)
	if got := gw.whoAnswers("test/a"); got != "new" {
		t.Errorf("after the change: %s", got)
	}
	select {
	case name := <-h.closed:
		t.Errorf("%s was closed with an item in flight", name)
	default:
	}
	close(h.hold)
	if got := <-held; got != "old" {
		t.Errorf("the item in flight was finished by %s", got)
	}
	if got := <-h.closed; got != "old" {
		t.Errorf("closed %s", got)
	}
}

// What cannot be opened changes nothing, and tells no secret.
func TestOpenFails(t *testing.T) {
	for config, want := range map[string]string{
		`{"name": "broken", "key": "s3cret-key"}`: "cannot reach the provider with [redacted]",
		`{"name": "panics", "key": "s3cret-key"}`: "Open panicked: while opening with [redacted]",
		`{"name": "nothing"}`:                     "the plugin opened nothing: Open returned nil without an error",
	} {
		h := newHouse()
		gw := start(t, h.plugin())
		gw.configure("test/a", 1, `{"name": "old"}`)
		if got := gw.tryConfigure("test/a", 2, config); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := gw.whoAnswers("test/a"); got != "old" {
			t.Errorf("%s: then %s answers", config, got)
		}
	}
}

// What Describe does not tell of the gateway never uses: a forgotten Prototype must not go unnoticed.
func TestPrototypeForgotten(t *testing.T) {
	for want, sender := range map[string]sdk.Sender{
		"the plugin opened a *sdk_test.full, which is a Querier, and does not describe it: Plugin.Prototype must be a nil value of that type":      &full{},
		"the plugin opened a *sdk_test.receiver, which is a Receiver, and does not describe it: Plugin.Prototype must be a nil value of that type": newReceiver(),
	} {
		p := plugin(sender)
		p.Prototype = nil
		gw := start(t, p)
		if got := gw.tryConfigure("test/a", 1, `{}`); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := gw.whoAnswers("test/a"); got != "retryable unknown_connector config" {
			t.Errorf("then: %s", got)
		}
	}
}

// An older revision is refused, the same one with the same config is nothing new.
func TestRevision(t *testing.T) {
	h := newHouse()
	gw := start(t, h.plugin())
	gw.configure("test/a", 5, `{"name": "five"}`)
	if got := gw.tryConfigure("test/a", 4, `{"name": "four"}`); !strings.Contains(got, "revision 4 is older than the current one, 5") {
		t.Error(got)
	}
	gw.configure("test/a", 5, `{"name": "five"}`)
	if h.opens.Load() != 1 {
		t.Errorf("opened %d times, want once", h.opens.Load())
	}
	if got := gw.whoAnswers("test/a"); got != "five" {
		t.Errorf("%s answers", got)
	}
}

// Remove waits for what is in flight, then closes.
func TestRemove(t *testing.T) {
	h := newHouse()
	gw := start(t, h.plugin())
	gw.configure("test/a", 1, `{"name": "a"}`)
	gw.configure("test/b", 1, `{"name": "b"}`)
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		gw.one("test/a", func(item *channelv1.Item) { item.Recipient = "held" })
	}()
	<-h.began
	removed := make(chan error)
	go func() {
		_, err := gw.Remove(t.Context(), &channelv1.RemoveRequest{Connector: "test/a"})
		removed <- err
	}()
	select {
	case err := <-removed:
		t.Fatalf("removed with an item in flight: %v", err)
	case h.hold <- struct{}{}:
	}
	if err := <-removed; err != nil {
		t.Error(err)
	}
	<-delivered
	if got := <-h.closed; got != "a" {
		t.Errorf("closed %s", got)
	}
	if got := gw.whoAnswers("test/a"); got != "retryable unknown_connector config" {
		t.Errorf("after Remove: %s", got)
	}
	if got := gw.whoAnswers("test/b"); got != "b" {
		t.Errorf("the other connector: %s", got)
	}
}

// A call about a connector that is not there says so.
func TestUnknownConnector(t *testing.T) {
	gw := start(t, newHouse().plugin())
	_, err := gw.Check(t.Context(), &channelv1.CheckRequest{Connector: "test/x"})
	if status.Code(err) != codes.NotFound {
		t.Errorf("Check: %v", err)
	}
	if _, err := gw.Configure(t.Context(), &channelv1.ConfigureRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("Configure without a connector: %v", err)
	}
}
