package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/core/api/client"
)

// plan is what the flags of rollout say.
type plan struct {
	strategy     string
	steps        []float64
	minSamples   int
	window, bake time.Duration
	by           string
	accounts     []string
	failures     float64
	uncertain    float64
	latency      float64
	memory       float64
	force        bool
}

func (p *plan) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.strategy, "strategy", "canary", "canary: a growing share; immediate: everything at once; shadow: copies that are not delivered")
	f.Float64SliceVar(&p.steps, "steps", nil, "shares of the new version in percent, ascending, like 1,10,100")
	f.IntVar(&p.minSamples, "min-samples", 0, "results of the new version that a step needs before it is judged by its rates")
	f.DurationVar(&p.window, "window", 0, "a step lasts at least this long, like 30s")
	f.DurationVar(&p.bake, "bake", 0, "the old version stays warm this long once the new one has everything, like 5m")
	f.StringVar(&p.by, "by", "", "what has one version for all its messages: message or account")
	f.StringSliceVar(&p.accounts, "account", nil, "account that the new version may serve before it has everything; may be repeated (default: all)")
	f.Float64Var(&p.failures, "failure-rate", 0, "how much larger the new version's share of failures may be, like 0.02")
	f.Float64Var(&p.uncertain, "uncertain-rate", 0, "the same for attempts whose end was not seen, like 0.01")
	f.Float64Var(&p.latency, "latency-ratio", 0, "how many times the old version's 99th percentile its own may be, like 2")
	f.Float64Var(&p.memory, "memory-ratio", 0, "how many times the old version's memory it may take, like 2")
	f.BoolVar(&p.force, "force", false, "also if the version is in quarantine")
}

// request holds what was given; the gateway's settings say the rest.
func (p *plan) request(cmd *cobra.Command, version string) client.RolloutRequest {
	o := client.RolloutOptions{Steps: p.steps, By: p.by, Accounts: p.accounts, Force: p.force}
	given := cmd.Flags().Changed
	if given("min-samples") {
		o.MinSamples = &p.minSamples
	}
	o.WindowMs = milliseconds(p.window, given("window"))
	o.BakeMs = milliseconds(p.bake, given("bake"))
	for flag, gate := range map[string]struct {
		value *float64
		into  **float64
	}{
		"failure-rate":   {&p.failures, &o.Gates.FailureRate},
		"uncertain-rate": {&p.uncertain, &o.Gates.UncertainRate},
		"latency-ratio":  {&p.latency, &o.Gates.LatencyRatio},
		"memory-ratio":   {&p.memory, &o.Gates.MemoryRatio},
	} {
		if given(flag) {
			*gate.into = gate.value
		}
	}
	return client.RolloutRequest{Version: version, Strategy: p.strategy, Options: o}
}

// milliseconds of a duration, if it was given.
func milliseconds(d time.Duration, given bool) *int64 {
	if !given {
		return nil
	}
	ms := d.Milliseconds()
	return &ms
}

func (p Process) pluginRollout() *cobra.Command {
	var plan plan
	var watch bool
	cmd := &cobra.Command{
		Use:   "rollout <plugin> <version>",
		Short: "Roll out a version of a plugin",
		Long: `Begins the way of a plugin to another version, older or newer, that is installed on every
gateway. Every gateway starts it beside the old one; until all have, nothing changes for any
message. What goes wrong before the end takes it back by itself, and into quarantine where that
is its own fault. A plugin that may hold only one session with its provider goes by
--strategy immediate alone.

What the flags leave out comes from the gateway's settings (plugins, canary). With --watch
the command stays until the rollout has ended, and ends with 1 when the version was taken
back; ending the command does not end the rollout.`,
		Example: `  pigeonry plugin rollout sms 1.1.0 --watch
  pigeonry plugin rollout sms 1.1.0 --steps 1,10,100 --window 30s --min-samples 50 --bake 10m
  pigeonry plugin rollout sms 1.1.0 --by account --account beta-shop
  pigeonry plugin rollout sms 1.1.0 --strategy shadow
  pigeonry plugin rollout sms 1.0.0 --strategy immediate`,
		Args: cobra.ExactArgs(2),
	}
	plan.addFlags(cmd)
	addWatchFlag(cmd, &watch)
	return p.remoteCommand(cmd, func(ctx context.Context, r *remote, args []string, out printer) error {
		params := &client.BeginRolloutParams{IdempotencyKey: "cli-" + strings.ToLower(rand.Text())}
		rollout, err := ask[client.Rollout](ctx, r, func() (*http.Response, error) {
			return r.BeginRollout(ctx, args[0], params, plan.request(cmd, args[1]))
		})
		if err != nil {
			return err
		}
		if watch {
			return newWatcher(r, out).follow(ctx, rollout.Plugin, rollout.Id)
		}
		return out.answer(rollout, func() {
			fmt.Fprintf(out, "rollout %d of %s from %s to %s has begun; pigeonry plugin status %s --watch shows how it goes\n",
				rollout.Id, rollout.Plugin, rollout.From, rollout.To, rollout.Plugin)
		})
	})
}

// rolloutOrder changes a rollout; the methods of the client for it are all alike.
type rolloutOrder func(ctx context.Context, plugin string, id int64, body client.ReasonRequest, editors ...client.RequestEditorFn) (*http.Response, error)

// orderCommand completes a command that changes the open rollout of a plugin.
func (p Process) orderCommand(cmd *cobra.Command, choose func(*remote) rolloutOrder) *cobra.Command {
	var reason string
	cmd.Args = cobra.ExactArgs(1)
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the timeline")
	return p.remoteCommand(cmd, func(ctx context.Context, r *remote, args []string, out printer) error {
		open, err := openRollout(ctx, r, args[0])
		if err != nil {
			return err
		}
		rollout, err := order[client.Rollout](r, func() (*http.Response, error) {
			return choose(r)(ctx, args[0], open.Id, client.ReasonRequest{Reason: reason})
		})
		if err != nil {
			return err
		}
		return out.answer(rollout, func() {
			fmt.Fprintf(out, "rollout %d of %s from %s to %s: %s\n", rollout.Id, rollout.Plugin, rollout.From, rollout.To, standing(&rollout))
		})
	})
}

// openRollout finds the rollout of a plugin that goes on.
func openRollout(ctx context.Context, r *remote, plugin string) (*client.Rollout, error) {
	newest, err := newestRollout(ctx, r, plugin)
	switch {
	case err != nil:
		return nil, err
	case newest == nil:
		return nil, fmt.Errorf("%s has had no rollout; pigeonry plugin rollout begins one", plugin)
	case ended(newest):
		return nil, fmt.Errorf("%s has no open rollout; the latest, %d to %s, ended: %s", plugin, newest.Id, newest.To,
			cmp.Or(newest.Reason, string(newest.State)))
	}
	return newest, nil
}

// newestRollout finds the latest rollout of a plugin; nil: there has been none.
func newestRollout(ctx context.Context, r *remote, plugin string) (*client.Rollout, error) {
	if plugin == "" {
		return nil, errors.New("name a plugin; pigeonry plugin list shows them")
	}
	one := 1
	list, err := ask[client.RolloutList](ctx, r, func() (*http.Response, error) {
		return r.ListRollouts(ctx, plugin, &client.ListRolloutsParams{Limit: &one})
	})
	if err != nil || len(list.Items) == 0 {
		return nil, err
	}
	return &list.Items[0], nil
}

// ended says whether a rollout is over.
func ended(r *client.Rollout) bool { return r.State == "promoted" || r.State == "rolled_back" }

func (p Process) pluginPromote() *cobra.Command {
	return p.orderCommand(&cobra.Command{
		Use:   "promote <plugin>",
		Short: "Give the new version everything now",
		Long: `Ends the steps, or the shadow, of the plugin's open rollout: the new version carries all
messages, and the old one stays warm until it has baked. Once more, and the baking ends too.
While a gateway does not have the version, it is refused.`,
		Example: `  pigeonry plugin promote sms --reason "an hour without a complaint"`,
	}, func(r *remote) rolloutOrder { return r.PromoteRollout })
}

func (p Process) pluginPause() *cobra.Command {
	return p.orderCommand(&cobra.Command{
		Use:   "pause <plugin>",
		Short: "Hold a rollout where it is",
		Long: `Keeps the plugin's open rollout from going on by itself. A new version that does worse is taken
back all the same.`,
		Example: `  pigeonry plugin pause sms --reason "over the weekend"`,
	}, func(r *remote) rolloutOrder { return r.PauseRollout })
}

func (p Process) pluginResume() *cobra.Command {
	return p.orderCommand(&cobra.Command{
		Use:     "resume <plugin>",
		Short:   "Go on after a pause",
		Long:    `Lets a paused rollout go on. Its step begins anew, and so do its figures.`,
		Example: `  pigeonry plugin resume sms`,
	}, func(r *remote) rolloutOrder { return r.ResumeRollout })
}

func (p Process) pluginRollback() *cobra.Command {
	return p.orderCommand(&cobra.Command{
		Use:   "rollback <plugin>",
		Short: "Go back to the old version",
		Long: `Ends the plugin's open rollout: the old version carries all messages again, at once, and what the
new one has in flight is finished. A rollout that has ended is not taken back; roll out the
old version instead.`,
		Example: `  pigeonry plugin rollback sms --reason "customers complain"`,
	}, func(r *remote) rolloutOrder { return r.RollbackRollout })
}
