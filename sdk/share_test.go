package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// provider gives out tokens that are numbered.
type provider struct {
	mu      sync.Mutex
	given   int
	life    time.Duration
	refuses error
}

func (p *provider) fetch(context.Context) (sdk.Token, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuses != nil {
		return sdk.Token{}, p.refuses
	}
	p.given++
	return sdk.Token{Value: fmt.Sprintf("token-%d", p.given), Expires: time.Now().Add(p.life)}, nil
}

func (p *provider) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = err
}

// tokenGateway keeps shared values as a gateway does, for any number of plugins.
type tokenGateway struct {
	mu     sync.Mutex
	values map[string]*channelv1.ShareRequest
	leased map[string]bool
	asked  []string // "<question> <name>"
}

func newTokenGateway() *tokenGateway {
	return &tokenGateway{values: map[string]*channelv1.ShareRequest{}, leased: map[string]bool{}}
}

// serve answers what the plugin of g asks, until ctx ends.
func (tg *tokenGateway) serve(t *testing.T, g *gateway) {
	t.Helper()
	stream, err := channelv1.NewChannelServiceClient(g.dial()).Share(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&channelv1.ShareRequest{}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		for {
			q, err := stream.Recv()
			if err != nil {
				return
			}
			if err := stream.Send(tg.answer(q)); err != nil {
				return
			}
		}
	}()
}

func (tg *tokenGateway) answer(q *channelv1.ShareResponse) *channelv1.ShareRequest {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	v := tg.values[q.GetName()]
	if v == nil {
		v = &channelv1.ShareRequest{}
		tg.values[q.GetName()] = v
	}
	tg.asked = append(tg.asked, strings.TrimPrefix(fmt.Sprintf("%T", q.GetQuestion()), "*channelv1.ShareResponse_")+" "+q.GetName())
	told := &channelv1.ShareRequest{Id: q.GetId()}
	switch question := q.GetQuestion().(type) {
	case *channelv1.ShareResponse_Look:
		good := v.GetExpiresAt().AsTime().After(time.Now().Add(question.Look.GetAhead().AsDuration()))
		if !good && !tg.leased[q.GetName()] {
			tg.leased[q.GetName()] = true
			v.Revision++
			told.Renew = true
		}
	case *channelv1.ShareResponse_Keep:
		if question.Keep.GetRevision() == v.GetRevision() {
			v.Value, v.ExpiresAt, tg.leased[q.GetName()] = question.Keep.GetValue(), question.Keep.GetExpiresAt(), false
		}
	case *channelv1.ShareResponse_Drop:
		if question.Drop.GetRevision() == v.GetRevision() {
			v.ExpiresAt, tg.leased[q.GetName()] = timestamppb.New(time.Unix(0, 0)), false
		}
	}
	told.Value, told.ExpiresAt, told.Revision = v.GetValue(), v.GetExpiresAt(), v.GetRevision()
	return told
}

// tokenPlugin is a plugin whose connector has a token of p.
func tokenPlugin(t *testing.T, p *provider) (*gateway, func() *sdk.TokenSource) {
	t.Helper()
	opened := make(chan *sdk.TokenSource, 1)
	declared := plugin(senderFunc(func(context.Context, *sdk.Message) (sdk.Receipt, error) { return sdk.Receipt{}, nil }))
	sender := declared.Open
	declared.Open = func(ctx context.Context, c struct{}) (sdk.Sender, error) {
		opened <- sdk.SharedToken(ctx, "access_token/app", "app-secret", p.fetch)
		return sender(ctx, c)
	}
	g := start(t, declared)
	g.server.ExpectShares()
	return g, func() *sdk.TokenSource {
		g.configure("test/a", 1, "{}")
		return <-opened
	}
}

func wantToken(t *testing.T, s *sdk.TokenSource, want string) {
	t.Helper()
	got, err := s.Get(t.Context())
	if err != nil || got != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

func TestGatewaysShareAToken(t *testing.T) {
	p, shared := &provider{life: time.Hour}, newTokenGateway()
	var sources []*sdk.TokenSource
	for range 2 {
		g, open := tokenPlugin(t, p)
		shared.serve(t, g)
		sources = append(sources, open())
	}
	wantToken(t, sources[0], "token-1")
	wantToken(t, sources[1], "token-1")
	sources[1].Discard(t.Context(), "token-1")
	wantToken(t, sources[1], "token-2")
	wantToken(t, sources[0], "token-1") // it does not know yet
	sources[0].Discard(t.Context(), "token-1")
	wantToken(t, sources[0], "token-2")
	if p.given != 2 {
		t.Errorf("the provider gave %d tokens, want 2", p.given)
	}
}

func TestTheValueIsSealed(t *testing.T) {
	p, shared := &provider{life: time.Hour}, newTokenGateway()
	g, open := tokenPlugin(t, p)
	shared.serve(t, g)
	wantToken(t, open(), "token-1")
	for name, v := range shared.values {
		if len(v.GetValue()) == 0 || strings.Contains(string(v.GetValue()), "token") {
			t.Errorf("%s is kept as %q", name, v.GetValue())
		}
	}
}

func TestManyCallersFetchOnce(t *testing.T) {
	p := &provider{life: time.Hour}
	source := sdk.SharedToken(t.Context(), "access_token/app", "app-secret", p.fetch)
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			if got, err := source.Get(t.Context()); err != nil || got != "token-1" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	all.Wait()
}

func TestAProviderThatRefuses(t *testing.T) {
	refused := sdk.Permanent(errors.New("invalid app secret"), sdk.Code(sdk.CodeAuthFailed), sdk.Blame(sdk.FaultConfig))
	p, shared := &provider{life: time.Hour, refuses: refused}, newTokenGateway()
	g, open := tokenPlugin(t, p)
	shared.serve(t, g)
	source := open()
	if _, err := source.Get(t.Context()); !errors.Is(err, refused) {
		t.Errorf("got %v, want what the provider said", err)
	}
	p.refuse(nil)
	wantToken(t, source, "token-1") // the failed renewal holds nobody up
	if asked := shared.asked; !slices.ContainsFunc(asked, func(q string) bool { return strings.HasPrefix(q, "Drop") }) {
		t.Errorf("asked %v, want the failure told", asked)
	}
}
