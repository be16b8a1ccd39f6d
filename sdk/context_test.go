package sdk_test

import (
	"context"
	"testing"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// told is what an author's method knows of its connector.
func told(ctx context.Context) string {
	return sdk.Connector(ctx) + " of " + sdk.Channel(ctx) + " at " + sdk.CallbackURL(ctx)
}

// curious asks in every method. Each method reports once.
type curious struct {
	heard chan string
}

func (c *curious) tell(ctx context.Context, method string) { c.heard <- method + ": " + told(ctx) }

func (c *curious) Send(ctx context.Context, _ *sdk.Message) (sdk.Receipt, error) {
	c.tell(ctx, "Send")
	return sdk.Receipt{}, nil
}

func (c *curious) Check(ctx context.Context) error {
	c.tell(ctx, "Check")
	return nil
}

func (c *curious) Query(ctx context.Context, _ []sdk.Attempt) ([]sdk.QueryResult, error) {
	c.tell(ctx, "Query")
	return nil, nil
}

func (c *curious) HandleCallback(ctx context.Context, r *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events, error) {
	c.tell(ctx, "HandleCallback "+r.Path)
	return nil, sdk.Events{}, nil
}

func (c *curious) Receive(ctx context.Context, _ sdk.Emit) error {
	c.tell(ctx, "Receive")
	<-ctx.Done()
	return nil
}

// curiousBatch sends batches.
type curiousBatch struct{ *curious }

func (c curiousBatch) SendBatch(ctx context.Context, ms []*sdk.Message, report func(int, sdk.Receipt, error)) {
	c.tell(ctx, "SendBatch")
	for i := range ms {
		report(i, sdk.Receipt{}, nil)
	}
}

// Every method can ask which connector it works for, and where the provider reaches it.
func TestContextTellsTheConnector(t *testing.T) {
	const who = "sms/main of sms at https://gateway.example.com/callbacks/sms/main"
	for name, as := range map[string]func(*curious) sdk.Sender{
		"Send":      func(c *curious) sdk.Sender { return c },
		"SendBatch": func(c *curious) sdk.Sender { return curiousBatch{c} },
	} {
		c := &curious{heard: make(chan string, 1)}
		sender := as(c)
		gw := start(t, sdk.Plugin[struct{}]{
			Name: "test", Version: "1.0.0", Channels: []string{"sms"}, Prototype: sender,
			Open: func(ctx context.Context, _ struct{}) (sdk.Sender, error) {
				c.tell(ctx, "Open")
				return sender, nil
			},
		})
		wants := func(method string) {
			t.Helper()
			if got := <-c.heard; got != method+": "+who {
				t.Errorf("got %q, want %q", got, method+": "+who)
			}
		}
		if _, err := gw.Configure(t.Context(), &channelv1.ConfigureRequest{
			Connector: "sms/main", Revision: 1, Config: []byte("{}"), CallbackUrl: "https://gateway.example.com/callbacks/sms/main",
		}); err != nil {
			t.Fatal(err)
		}
		wants("Open")
		gw.one("sms/main", nil)
		wants(name)
		if _, err := gw.Check(t.Context(), &channelv1.CheckRequest{Connector: "sms/main"}); err != nil {
			t.Error(err)
		}
		wants("Check")
		if _, err := gw.Query(t.Context(), &channelv1.QueryRequest{Connector: "sms/main"}); err != nil {
			t.Error(err)
		}
		wants("Query")
		if _, err := gw.HandleCallback(t.Context(), &channelv1.HandleCallbackRequest{Connector: "sms/main"}); err != nil {
			t.Error(err)
		}
		wants("HandleCallback /")
		gw.listen(t.Context())
		wants("Receive")
	}
}

// Another address of the gateway opens the connector anew: the provider may have to be told.
func TestAnotherCallbackURL(t *testing.T) {
	c := &curious{heard: make(chan string, 1)}
	gw := start(t, sdk.Plugin[struct{}]{
		Name: "test", Version: "1.0.0", Channels: []string{"sms"}, Prototype: c,
		Open: func(ctx context.Context, _ struct{}) (sdk.Sender, error) {
			c.tell(ctx, "Open")
			return c, nil
		},
	})
	for _, url := range []string{"https://a.example.com", "https://b.example.com"} {
		req := &channelv1.ConfigureRequest{Connector: "sms/main", Revision: 1, Config: []byte("{}"), CallbackUrl: url}
		for range 2 { // the second time nothing is new
			if _, err := gw.Configure(t.Context(), req); err != nil {
				t.Fatal(err)
			}
		}
		if got := <-c.heard; got != "Open: sms/main of sms at "+url || len(c.heard) != 0 {
			t.Errorf("got %q", got)
		}
	}
}

// A ctx that is none of the SDK's, as in an author's own test, tells nothing.
func TestContextOfOthers(t *testing.T) {
	if got := told(t.Context()); got != " of  at " {
		t.Errorf("got %q", got)
	}
}
