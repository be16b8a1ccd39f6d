package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/account"
	"github.com/pigeonry/pigeonry/core/api"
	"github.com/pigeonry/pigeonry/core/clock"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/pluginhost"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/queue/rabbitmq"
	"github.com/pigeonry/pigeonry/core/receipt"
	"github.com/pigeonry/pigeonry/core/store"
)

func (g *Gateway) apiOptions() api.Options {
	return api.Options{
		Authenticator: g.accounts, Sender: g.accept, Idempotency: g.accept.Keys(),
		Messages: g.engines.store, Retrier: retrier{g}, Templates: g.engines.store, Traces: g.engines.traces,
		Plugins: g.host, Rollouts: g.rollouts, Records: g.rollouts, Versions: g.rollouts, Accounts: g.engines.store,
		Operators: func() []string { return g.settings().Operators },
		Inbox:     g.engines.store, ConnectorsOf: func(account string) []core.ConnectorID { return connectorsOf(g.settings(), account) },
		Callbacks: g.receipts, Ready: g.ready, Metrics: g.metrics.Handler(),
		Limiter: g.engines.limiter, Rules: g.limits.rules, Logger: g.logger, PublicURL: g.settings().PublicURL,
		Now: g.clock.Now,
	}
}

// retrier gives a message a new round and hands its envelope to the relay.
type retrier struct{ g *Gateway }

// Retry implements api.Retrier.
func (r retrier) Retry(ctx context.Context, account core.AccountID, id core.RecordID) error {
	envelope, err := r.g.engines.store.Retry(ctx, account, id, r.g.settings().MaxAttempts, r.g.clock.Now())
	if err == nil {
		r.g.relay.Publish([]core.Envelope{envelope})
	}
	return err
}

// callbacks lets the plugin of a connector parse a provider's request.
type callbacks struct{ host *pluginhost.Host }

// HandleCallback implements receipt.Parser.
func (c callbacks) HandleCallback(ctx context.Context, id core.ConnectorID, r receipt.CallbackRequest) (receipt.CallbackResponse, receipt.Events, error) {
	response, err := c.host.HandleCallback(ctx, id, pluginhost.CallbackRequest(r))
	if err != nil {
		return receipt.CallbackResponse{}, receipt.Events{}, err
	}
	return receipt.CallbackResponse{Status: response.Status, Header: response.Header, Body: response.Body},
		receipt.Events{Receipts: response.Receipts, Inbound: response.Inbound}, nil
}

// ready tells the state of what every message needs. Plugins and connectors the API lists by itself.
func (g *Gateway) ready(ctx context.Context) []api.DependencyState {
	states := []api.DependencyState{dependency("store", g.engines.store.Check(ctx)), queueState(ctx, g.engines.queue)}
	if g.engines.coordination != nil {
		states = append(states, g.engines.coordination(ctx))
	}
	return states
}

// checker is a queue on a broker, which it can lose.
type checker interface {
	Check(ctx context.Context) error
}

var _ checker = (*rabbitmq.Queue)(nil)

// queueState is the state of a queue for readiness: what is accepted without it waits in the store. A queue in the
// process is always there.
func queueState(ctx context.Context, q queue.Queue) api.DependencyState {
	var err error
	if c, ok := q.(checker); ok {
		err = c.Check(ctx)
	}
	s := dependency("queue", err)
	s.Optional = true
	return s
}

func dependency(name string, err error) api.DependencyState {
	s := api.DependencyState{Name: name, Ready: err == nil}
	var known *core.Error
	switch {
	case errors.As(err, &known):
		s.Message = known.Message // the cause may show more than anybody may see
	case err != nil:
		s.Message = "cannot be reached; the log says why"
	}
	return s
}

func newAccounts(s store.Store, conf *settings.Settings, now func() time.Time) *account.Service {
	return account.New(account.Options{Accounts: s, Keys: s, DefaultRegion: conf.Account.DefaultRegion, Now: now})
}

// Accounts are the accounts and keys of a data folder, for a command that runs beside a gateway or
// without one. Close them when done.
type Accounts struct {
	*account.Service
	engines *engines
	clock   *clock.Clock
	region  string
}

// OpenAccounts opens the accounts in the store of the settings.
func OpenAccounts(ctx context.Context, s *settings.Settings) (*Accounts, error) {
	e, err := openBeside(ctx, s)
	if err != nil {
		return nil, err
	}
	now, err := clock.New(ctx, e.store)
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	return &Accounts{Service: newAccounts(e.store, s, now.Now), engines: e, clock: now, region: s.Account.DefaultRegion}, nil
}

// Account returns the account with a name. One that is absent is created if that was asked for; otherwise
// it is a core.KindNotFound error.
func (a *Accounts) Account(ctx context.Context, name string, create bool) (core.Account, error) {
	if !create {
		return a.engines.store.AccountByName(ctx, name)
	}
	return a.engines.store.EnsureAccount(ctx, core.Account{Name: name, DefaultRegion: a.region, CreatedAt: a.clock.Now()})
}

// Close ends the use of the store.
func (a *Accounts) Close() error { return a.engines.close() }
