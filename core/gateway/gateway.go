// Package gateway is the composition root: it builds the parts that the settings name, wires them, starts
// them in order and stops them in the reverse order. Nothing else imports a technology.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/accept"
	"github.com/pigeonry/pigeonry/core/account"
	"github.com/pigeonry/pigeonry/core/api"
	"github.com/pigeonry/pigeonry/core/clock"
	"github.com/pigeonry/pigeonry/core/dispatch"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/pluginhost"
	"github.com/pigeonry/pigeonry/core/receipt"
	"github.com/pigeonry/pigeonry/core/relay"
	"github.com/pigeonry/pigeonry/core/rollout"
	"github.com/pigeonry/pigeonry/core/telemetry"
)

// Gateway is one running gateway.
type Gateway struct {
	logger  *slog.Logger
	reload  reloading
	engines *engines
	clock   *clock.Clock
	metrics *telemetry.Metrics

	host     *pluginhost.Host
	rollouts *rollout.Service
	accounts *account.Service
	accept   *accept.Service
	relay    *relay.Relay
	dispatch *dispatch.Dispatcher
	receipts *receipt.Service
	channels *channels
	limits   *limits
	tuning   *tuning

	listener net.Listener
	server   *http.Server
	stopping atomic.Value // string: the step of the stop that is under way
}

// New builds a gateway and opens its stores; Run makes it work. An error says what could not be opened
// and leaves nothing open.
func New(ctx context.Context, s *settings.Settings, logger *slog.Logger) (_ *Gateway, err error) {
	g := &Gateway{logger: logger, metrics: telemetry.New(), channels: newChannels(s), limits: newLimits(s.Limits)}
	g.reload.begin(s)
	if g.engines, err = open(ctx, s, g.channels.names, logger); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.abandon())
		}
	}()
	if g.clock, err = clock.New(ctx, g.engines.store); err != nil {
		return nil, err
	}
	if err := g.buildAccounts(ctx); err != nil {
		return nil, err
	}
	if err := g.buildDelivery(); err != nil {
		return nil, err
	}
	if err := g.buildTuning(ctx); err != nil {
		return nil, err
	}
	if g.listener, err = net.Listen("tcp", s.Listen); err != nil {
		return nil, fmt.Errorf("listen for HTTP: %w; another gateway may be running: choose another address with --listen", err)
	}
	if err := g.buildAPI(); err != nil {
		return nil, err
	}
	return g, nil
}

// abandon lets go of what New opened, where Run will not or cannot.
func (g *Gateway) abandon() error {
	g.reload.end()
	var errs []error
	if g.listener != nil {
		errs = append(errs, g.listener.Close())
	}
	if g.accept != nil {
		g.accept.Close()
	}
	if g.engines != nil {
		errs = append(errs, g.engines.close())
	}
	return errors.Join(errs...)
}

// Addr is the address that the API listens on.
func (g *Gateway) Addr() net.Addr { return g.listener.Addr() }

func (g *Gateway) buildAccounts(ctx context.Context) error {
	s := g.settings()
	g.accounts = newAccounts(g.engines.store, s, g.clock.Now)
	key := s.BootstrapKey.Reveal()
	if key == "" {
		return nil
	}
	if _, err := g.accounts.Bootstrap(ctx, key); err != nil {
		return fmt.Errorf("take the key in PIGEONRY_BOOTSTRAP_KEY: %w", err)
	}
	return nil
}

// buildDelivery wires the way of a message behind the API. Two rings close it: accept publishes to the
// relay, and the relay asks dispatch about messages whose attempt ended unseen and hears of settled envelopes from it.
func (g *Gateway) buildDelivery() error {
	store, logger, s := g.engines.store, g.logger, g.settings()
	installed, err := openCatalog(s, logger)
	if err != nil {
		return err
	}
	host, err := pluginhost.New(pluginhost.Options{
		Catalog: installed, RuntimeDir: filepath.Join(s.DataDir, "run"), Env: s.Plugins.Env, Plaintext: s.Plugins.Plaintext,
		Sandbox: sandbox(s.Plugins.Sandbox), PublicURL: s.PublicURL, Logger: logger,
		Events: func(ctx context.Context, receipts []core.Receipt, inbound []core.Inbound) error {
			return g.receipts.Store(ctx, receipt.Events{Receipts: receipts, Inbound: inbound})
		},
		Shared: store, Now: g.clock.Now,
	})
	if err != nil {
		return err
	}
	g.host = host
	g.rollouts = g.newRollouts()
	g.receipts = receipt.New(receipt.Options{
		Store: store, Traces: g.engines.traces, Parser: callbacks{host}, Observe: g.metrics.Receipt, Logger: logger,
		Now: g.clock.Now,
	})
	g.dispatch = dispatch.New(dispatch.Options{
		Store: store, Queue: g.engines.queue, Carrier: host, Limiter: g.engines.limiter, Traces: g.engines.traces,
		Observer: g.metrics, Applied: g.receipts.Applied, Settled: func(envelope int64) { g.relay.Settle(envelope) },
		Pool: poolOptions(s.Pools[settings.MessageSender], logger), Rules: g.limits.rules, Logger: logger,
		Idle: !s.Roles.Has(settings.RoleWorker), Now: g.clock.Now, Facts: &facts{accounts: store},
	})
	g.relay = relay.New(relay.Options{
		Outbox: store, Sweep: store, Index: g.engines.queue, Resolver: g.dispatch, Logger: logger,
		Sweeping: s.Roles.Has(settings.RoleScheduler), Locker: g.engines.locker, UnmatchedTTL: s.Retention.Receipts,
		Now: g.clock.Now, Revive: g.engines.revive,
	})
	g.accept = accept.New(accept.Options{
		Intake: store, Templates: store, Channels: g.channels, Limiter: g.engines.limiter, Rules: g.limits.rules,
		Publish: func(envelopes []core.Envelope) {
			g.relay.Publish(envelopes)
			g.metrics.Accepted(envelopes)
		},
		Logger: logger, Budget: s.MaxAttempts, Groups: g.engines.groups, Pace: g.engines.pace, Now: g.clock.Now,
	})
	g.metrics.Watch(telemetry.Sources{
		Queue: g.engines.queue.Stats, Pools: g.dispatch.Pools, Connectors: host.Connectors, Plugins: host.Plugins,
		OldestAge: g.oldestAge, TracesDropped: g.engines.traces.Dropped, Dead: g.engines.dead,
	})
	return nil
}

// buildTuning puts in force what the database says of the pool and the limits, before any pool starts.
func (g *Gateway) buildTuning(ctx context.Context) error {
	s := g.settings()
	g.tuning = &tuning{
		store: g.engines.store, resize: g.dispatch.Resize, limits: g.limits, logger: g.logger,
		inForce: tuned{s.Pools[settings.MessageSender], s.Limits},
	}
	return g.tuning.declare(ctx, s, byDatabase)
}

func (g *Gateway) buildAPI() error {
	build := api.New
	if !g.settings().Roles.Has(settings.RoleAPI) {
		build = api.NewProbes
	}
	handler, err := build(g.apiOptions())
	if err != nil {
		return fmt.Errorf("build the API: %w", err)
	}
	g.server = api.Server(handler, g.logger)
	return nil
}

func (g *Gateway) oldestAge(ctx context.Context) (time.Duration, error) {
	now := g.clock.Now()
	oldest, ok, err := g.engines.store.Oldest(ctx, now)
	if err != nil || !ok {
		return 0, err
	}
	return now.Sub(oldest), nil
}

// Run starts the plugins and serves until ctx ends, then stops in order: no new requests, what is
// committed is published, what is being sent is finished, the plugins drain, the stores close. It
// returns nil after an orderly stop.
func (g *Gateway) Run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := g.startPlugins(ctx); err != nil {
		return errors.Join(fmt.Errorf("start the plugins: %w", err), g.host.Stop(background), g.abandon())
	}
	if err := g.start(ctx); err != nil {
		g.logger.ErrorContext(ctx, "gateway: cannot start the connectors", "error", err)
	}
	relayCtx, stopRelay := context.WithCancel(background)
	dispatchCtx, stopDispatch := context.WithCancel(background)
	defer stopRelay()
	defer stopDispatch()
	var relaying, dispatching, housekeeping sync.WaitGroup
	dispatching.Go(func() { g.dispatch.Run(dispatchCtx) })
	dispatching.Go(func() { g.tuning.watch(dispatchCtx) })
	dispatching.Go(func() { g.rollouts.Run(dispatchCtx) })
	relaying.Go(func() { g.relay.Run(relayCtx) })
	housekeeping.Go(func() { g.purgeTraces(relayCtx) })
	housekeeping.Go(func() { g.clock.Run(relayCtx, g.logger) })

	failed := make(chan error, 1)
	go func() { failed <- g.server.Serve(g.listener) }()
	g.logger.InfoContext(ctx, "gateway: ready", "address", g.Addr().String())

	var cause error
	select {
	case <-ctx.Done():
	case cause = <-failed:
		cause = fmt.Errorf("serve HTTP: %w", cause)
	}
	return errors.Join(cause, g.stopInTime(func() {
		stopDispatch()
		dispatching.Wait()
	}, func() {
		stopRelay()
		relaying.Wait()
		housekeeping.Wait()
	}))
}

// stopGrace is what the stop may take beyond the drain time, for connections to be closed.
const stopGrace = 5 * time.Second

// stopInTime stops, or gives up on an engine that does not answer: the process then ends as if it were killed, which
// loses nothing.
func (g *Gateway) stopInTime(stopDispatch, stopRelay func()) error {
	within := g.settings().DrainTimeout
	stopped := make(chan error, 1)
	go func() { stopped <- g.stop(within, stopDispatch, stopRelay) }()
	late := time.NewTimer(within + stopGrace)
	defer late.Stop()
	select {
	case err := <-stopped:
		return err
	case <-late.C:
		return fmt.Errorf("%s: it was not done %s after the signal to end, so the gateway ends without it; "+
			"what is not settled is taken up by another gateway, or after the next start", g.stopping.Load(), within+stopGrace)
	}
}

// stop ends the parts in the reverse order of their start, each within what is left of the drain time.
func (g *Gateway) stop(within time.Duration, stopDispatch, stopRelay func()) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	g.logger.InfoContext(ctx, "gateway: draining", "at_most", within.String())
	var errs []error
	step := func(what string, end func() error) {
		g.stopping.Store(what)
		if err := end(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	step("end a reload that is under way", func() error { g.reload.end(); return nil })
	step("stop the API", func() error { return g.stopAPI(ctx, within/4) })
	step("take nothing new", func() error { g.accept.Close(); stopDispatch(); return nil })
	step("finish what is being sent", func() error {
		ctx, cancel := context.WithTimeout(ctx, within/2)
		defer cancel()
		return g.dispatch.Drain(ctx)
	})
	step("hand over what was accepted", func() error { stopRelay(); return nil })
	step("stop the plugins", func() error { return g.host.Stop(ctx) })
	step("close the stores", g.engines.close)
	g.logger.InfoContext(ctx, "gateway: stopped")
	return errors.Join(errs...)
}

// stopAPI gives requests under way a part of the time, so that a slow client cannot take all of it.
func (g *Gateway) stopAPI(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if g.server.Shutdown(ctx) == nil {
		return nil
	}
	return g.server.Close()
}

// purgeTraces forgets traces that outlived their time.
func (g *Gateway) purgeTraces(ctx context.Context) {
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	for {
		if err := g.engines.traces.Purge(ctx, g.clock.Now().Add(-g.settings().Retention.Traces)); err != nil && ctx.Err() == nil {
			g.logger.ErrorContext(ctx, "gateway: cannot purge traces", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// ensureDataDir creates the folder of the embedded stores, which nobody else may read.
func ensureDataDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create the data folder: %w; name another with data_dir or PIGEONRY_DATA_DIR", err)
	}
	return nil
}
