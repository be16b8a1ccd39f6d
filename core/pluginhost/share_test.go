package pluginhost_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
	"github.com/pigeonry/pigeonry/core/store/sqlite/sqlitetest"
	"github.com/pigeonry/pigeonry/sdk"
)

// sharer is a channel that tells the token which it has as the provider's id.
type sharer struct{ token *sdk.TokenSource }

// serveSharing serves a plugin of the SDK whose token names the process that fetched it.
func serveSharing() {
	sdk.Serve(sdk.Plugin[struct{}]{
		Name: "sharing", Version: "1.0.0", Channels: []string{"test"},
		Open: func(ctx context.Context, _ struct{}) (sdk.Sender, error) {
			return &sharer{sdk.SharedToken(ctx, "access_token", "secret", func(context.Context) (sdk.Token, error) {
				return sdk.Token{Value: fmt.Sprintf("token-of-%d-at-%d", os.Getpid(), time.Now().UnixNano()), Expires: time.Now().Add(time.Hour)}, nil
			})}, nil
		},
	})
}

// Send accepts what a token can be had for; "discard" has the provider refuse it first.
func (s *sharer) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	token, err := s.token.Get(ctx)
	if err == nil && m.Text() == "discard" {
		s.token.Discard(ctx, token)
		token, err = s.token.Get(ctx)
	}
	return sdk.Accepted(token), err
}

// token sends a text and returns the token that it went out with.
func (h *harness) token(text string) string {
	h.t.Helper()
	r := h.deliver("sharing", batch(text))[1]
	if r.Outcome != core.OutcomeAccepted || len(r.ProviderIDs) != 1 {
		h.t.Fatalf("got %+v", r)
	}
	return r.ProviderIDs[0]
}

// Gateways that share a store share the tokens of their plugins; a token that the provider refuses is fetched anew, once.
func TestGatewaysShareTokens(t *testing.T) {
	shared, err := sqlite.Open(t.Context(), sqlite.Options{Path: sqlitetest.Database(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := shared.Close(); err != nil {
			t.Error(err)
		}
	})
	var gateways [2]*harness
	for i := range gateways {
		gateways[i] = run(t, func(o *pluginhost.Options) { o.Shared = shared }, "sharing")
		gateways[i].connect("sharing")
	}
	first := gateways[0].token("send")
	if second := gateways[1].token("send"); second != first {
		t.Errorf("the gateways have %q and %q", first, second)
	}
	renewed := gateways[1].token("discard")
	if renewed == first {
		t.Errorf("a token that was refused is used again: %q", renewed)
	}
	if got := gateways[0].token("discard"); got != renewed {
		t.Errorf("the gateways have %q and %q", got, renewed)
	}
}

// away is a store that does not answer.
type away struct{}

var errAway = errors.New("password=topsecret: no connection")

// LookShared fails.
func (away) LookShared(context.Context, string, string, core.SharedLook) (core.SharedValue, error) {
	return core.SharedValue{}, errAway
}

// KeepShared fails.
func (away) KeepShared(context.Context, string, string, core.SharedValue) error { return errAway }

// DropShared fails.
func (away) DropShared(context.Context, string, string, int64) error { return errAway }

// A message that needs a token which cannot be had was surely not sent, and what is told of it gives nothing away.
func TestTokenWithoutAStore(t *testing.T) {
	h := run(t, func(o *pluginhost.Options) { o.Shared = away{} }, "sharing")
	h.connect("sharing")
	r := h.deliver("sharing", batch("send"))[1]
	if describeResult(r) != "retryable/"+sdk.CodeNoToken {
		t.Errorf("got %s", describeResult(r))
	}
	if text := r.Error.Message; !strings.HasPrefix(text, "get the shared token access_token") || !strings.HasSuffix(text, ": the gateway's store does not answer now") {
		t.Errorf("got %q", text)
	}
}
