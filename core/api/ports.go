package api

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/accept"
	"github.com/pigeonry/pigeonry/core/receipt"
	"github.com/pigeonry/pigeonry/core/rollout"
	"github.com/pigeonry/pigeonry/core/store"
)

// Authenticator knows API keys.
type Authenticator interface {
	// Authenticate returns the account that a key opens, or a core.KindUnauthorized error.
	Authenticate(ctx context.Context, plain string) (core.Account, core.Key, error)
}

// Sender takes messages in.
type Sender interface {
	// Send makes messages durable before it returns. Its errors are *core.Error.
	Send(ctx context.Context, r accept.Request) (accept.Accepted, error)
}

// Idempotency remembers the answers to requests that create something other than messages.
type Idempotency interface {
	// Begin returns the answer to an earlier request with the key, or a function to call at the end.
	Begin(ctx context.Context, account core.AccountID, key string, hash [32]byte) (*store.IdempotencyRecord, func(), error)
	// Save remembers an answer.
	Save(ctx context.Context, r store.IdempotencyRecord) error
}

// Messages reads and cancels messages; see store.Messages, of which it is a part.
type Messages interface {
	// Message returns one message with its attempts, oldest first.
	Message(ctx context.Context, account core.AccountID, id core.RecordID) (core.Message, []core.Attempt, error)
	// List returns messages without content, newest first.
	List(ctx context.Context, account core.AccountID, f store.Filter) ([]core.Message, error)
	// Batch returns a batch and how many of its messages are in each status.
	Batch(ctx context.Context, account core.AccountID, id core.BatchID) (core.Batch, map[core.Status]int, error)
	// Cancel cancels what still can be and returns how many messages that were.
	Cancel(ctx context.Context, account core.AccountID, what store.Target, now time.Time) (int, error)
}

// Retrier gives messages a new round of attempts.
type Retrier interface {
	// Retry queues a message again. A status that does not allow it is a core.KindConflict error.
	Retry(ctx context.Context, account core.AccountID, id core.RecordID) error
}

// Plugins tells of the plugins and the connectors that they carry.
type Plugins interface {
	// Plugins returns every plugin that was found.
	Plugins() []core.PluginStatus
	// Connectors returns every connector that is configured.
	Connectors() []core.ConnectorStatus
	// Check reaches the provider of a connector and logs in. An unknown connector is a
	// core.KindNotFound error.
	Check(ctx context.Context, connector core.ConnectorID) (core.CheckResult, error)
}

// Rollouts takes plugins from one version to another. What the state does not allow is a core.KindConflict error.
type Rollouts interface {
	// Begin begins a rollout. A plugin or a version that is not installed is a core.KindNotFound error.
	Begin(ctx context.Context, r rollout.Request) (core.Rollout, error)
	// Promote gives the new version everything now, or ends the time for which the old one stays warm.
	Promote(ctx context.Context, plugin string, id int64, actor, reason string) (core.Rollout, error)
	// Pause keeps a rollout from going on by itself.
	Pause(ctx context.Context, plugin string, id int64, actor, reason string) (core.Rollout, error)
	// Resume ends a pause.
	Resume(ctx context.Context, plugin string, id int64, actor, reason string) (core.Rollout, error)
	// Rollback gives the old version everything again.
	Rollback(ctx context.Context, plugin string, id int64, actor, reason string) (core.Rollout, error)
}

// RolloutRecords tells of rollouts.
type RolloutRecords interface {
	// Plan is how a rollout of a plugin goes where a request says nothing else.
	Plan(plugin string, strategy core.RolloutStrategy) core.RolloutPlan
	// List lists the rollouts of a plugin, newest first, with ids below before unless that is 0.
	List(ctx context.Context, plugin string, before int64, limit int) ([]core.Rollout, error)
	// Get returns a rollout with what is known of it now.
	Get(ctx context.Context, plugin string, id int64) (rollout.Detail, error)
}

// Versions keeps the versions of plugins.
type Versions interface {
	// Versions lists the versions of a plugin that are installed, none if there is no such plugin.
	Versions(ctx context.Context, plugin string) ([]rollout.Version, error)
	// Remove removes a version everywhere. One that is in use is a core.KindConflict error.
	Remove(ctx context.Context, plugin, version, actor string) error
}

// Accounts finds accounts, for rollouts that name some.
type Accounts interface {
	// AccountByName returns the account with the name.
	AccountByName(ctx context.Context, name string) (core.Account, error)
	// Account returns one account.
	Account(ctx context.Context, id core.AccountID) (core.Account, error)
}

// Callbacks takes what providers report.
type Callbacks interface {
	// Handle has the connector's plugin answer the request. What it reported is stored before the
	// answer is returned. An unknown connector is a core.KindNotFound error.
	Handle(ctx context.Context, connector core.ConnectorID, r receipt.CallbackRequest) (receipt.CallbackResponse, error)
}

// DependencyState says whether something that the gateway needs can be used.
type DependencyState struct {
	Name    string // e.g. "store"
	Ready   bool
	Message string // why not; safe to show to anybody
	// Optional says that the gateway takes messages in without it: when it is gone, the gateway is degraded.
	Optional bool
}
