// Package settings reads what the operator wrote: the configuration file (HCL 2), the PIGEONRY_*
// environment and the flags, in this order, each over the one before, all over the defaults.
//
// What is wrong is found before anything starts, and all of it at once: every Fault says where it stands
// (file:line:column), what is wrong and how to mend it. The values of secrets are never part of a message.
//
// Paths are relative to the working directory.
package settings

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// Settings is the whole configuration of one gateway, complete and checked.
type Settings struct {
	// Listen is the address of the HTTP server, host:port.
	Listen string `koanf:"listen"`
	// PublicURL is how providers reach this gateway from outside, for callback addresses: a URL without
	// a path at its end. Empty: http:// and Listen.
	PublicURL string `koanf:"public_url"`
	// DataDir is the folder of the embedded store, created if absent.
	DataDir string `koanf:"data_dir"`
	// MaxAttempts is how often a message is tried in all before it fails, the first time included.
	MaxAttempts int `koanf:"max_attempts"`
	// DrainTimeout bounds how long an ordered stop waits for what is in flight.
	DrainTimeout time.Duration `koanf:"drain_timeout"`
	// Roles are what this gateway does: RoleAPI, RoleWorker, RoleScheduler.
	Roles Roles `koanf:"roles"`
	// Operators are the names of the accounts whose keys may change plugins. Empty: nobody's.
	Operators []string `koanf:"operators"`
	// BootstrapKey is the API key of the first account, from PIGEONRY_BOOTSTRAP_KEY alone; empty: none.
	BootstrapKey Secret `koanf:"bootstrap_key"`

	Store        Technology `koanf:"store"`        // sqlite or postgres
	Queue        Technology `koanf:"queue"`        // memory or rabbitmq
	Coordination Technology `koanf:"coordination"` // local or redis: limits, locks and traces

	Plugins    Plugins         `koanf:"plugins"`
	Account    AccountDefaults `koanf:"account"`
	Connectors []Connector     `koanf:"-"` // in the order of the file
	Pools      map[string]Pool `koanf:"pool"`
	Limits     []Limit         `koanf:"-"` // in the order of the file
	Log        Log             `koanf:"log"`
	Retention  Retention       `koanf:"retention"`

	// File is the configuration file that was read; empty: none.
	File string `koanf:"-"`
	// Warnings are worth a line in the log and no reason not to start.
	Warnings []string `koanf:"-"`

	positions positions
}

// Role is a part of the work that a gateway may take. All of them talk to plugins: the API about callbacks, the
// worker to send, the scheduler to ask what became of an attempt.
type Role string

// The roles.
const (
	RoleAPI       Role = "api"       // takes requests and callbacks
	RoleWorker    Role = "worker"    // sends
	RoleScheduler Role = "scheduler" // wakes what is due, repairs what was left behind, keeps the tables small
)

// Roles are the roles of one gateway, separated by commas.
type Roles string

// Has says whether a role is among them.
func (r Roles) Has(role Role) bool {
	return slices.Contains(strings.Split(string(r), ","), string(role))
}

// Secret is a text that does not show itself: printed, logged or marshaled it reads "[redacted]".
type Secret string

const redacted = "[redacted]"

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Technology says which of the built technologies carries a capability.
type Technology struct {
	Kind string `koanf:"kind"` // e.g. "sqlite"
	URL  Secret `koanf:"url"`  // how a service is reached, password included; empty for embedded ones
	// Prefix goes before every name on the service, for several installations on one broker or Redis.
	Prefix string `koanf:"prefix"`
	// Type is that of RabbitMQ's queues: quorum or classic.
	Type string `koanf:"type"`
}

// Plugins says where plugins are found, which of them may run and how, and how a new version takes over.
type Plugins struct {
	Dir string `koanf:"dir"` // holds <name>/<version>/<name>
	// Store holds the copies of plugins that are executed. Empty: the folder plugins of DataDir.
	Store string `koanf:"store"`
	// Rollout says who begins the rollout of a version that was installed.
	Rollout RolloutMode `koanf:"rollout"`
	// RequireSignature refuses a plugin that none of TrustedKeys has signed.
	RequireSignature bool `koanf:"require_signature"`
	// TrustedKeys are the public keys of those whose plugins may run.
	TrustedKeys []string `koanf:"trusted_keys"`
	// Plaintext names the plugins that may speak to the gateway without TLS, over their private socket.
	Plaintext []string `koanf:"plaintext"`
	// Env names the variables of the gateway's environment that plugins get, beside the few that all get.
	Env     []string `koanf:"env"`
	Canary  Canary   `koanf:"canary"`
	Sandbox Sandbox  `koanf:"sandbox"`
}

// RolloutMode says who begins a rollout.
type RolloutMode string

// The modes.
const (
	RolloutManual    RolloutMode = "manual"    // an operator, by API or command line
	RolloutAutomatic RolloutMode = "automatic" // the gateway, as soon as a higher version is installed
)

// Canary is the plan of a rollout where the request for it says nothing else.
type Canary struct {
	// Steps are the shares of the new version in percent, ascending, the last 100.
	Steps []float64 `koanf:"steps"`
	// MinSamples is how many results of the new version a step needs before it is judged by rates.
	MinSamples int           `koanf:"min_samples"`
	Window     time.Duration `koanf:"window"` // a step lasts at least this long
	// Bake is how long the old version stays warm once the new one has everything.
	Bake time.Duration `koanf:"bake"`
	// By says what has one version for all its messages while two run.
	By core.RolloutBy `koanf:"by"`
	// MaxFailureRate is how much larger the new version's share of failures may be: 0.02 lets 3 % pass beside
	// 1 %. Failures that are the message's own fault do not count.
	MaxFailureRate float64 `koanf:"max_failure_rate"`
	// MaxUncertainRate is the same for attempts whose end was not seen.
	MaxUncertainRate float64 `koanf:"max_uncertain_rate"`
	// MaxLatencyRatio is how many times the old version's 99th percentile the new one's may be.
	MaxLatencyRatio float64 `koanf:"max_latency_ratio"`
	// MaxMemoryRatio is how many times the old version's memory the new one may take.
	MaxMemoryRatio float64 `koanf:"max_memory_ratio"`
}

// Sandbox bounds what the process of a plugin may do. What is zero or empty bounds nothing.
type Sandbox struct {
	User      string  `koanf:"user"`      // name or number of the user that plugins run as; empty: the gateway's own
	Memory    int64   `koanf:"memory"`    // bytes
	CPU       float64 `koanf:"cpu"`       // cores
	Files     int     `koanf:"files"`     // open at a time
	Processes int     `koanf:"processes"` // at a time, threads included
}

// AccountDefaults is what a new account starts with.
type AccountDefaults struct {
	// DefaultRegion is how a phone number without a country code is read: ISO 3166-1 alpha-2.
	DefaultRegion string `koanf:"default_region"`
}

// OnUncertain is what becomes of a message whose attempt may or may not have reached the provider.
type OnUncertain string

// The policies for uncertain attempts.
const (
	UncertainHold  OnUncertain = "hold"  // wait for a receipt, a query or a person
	UncertainRetry OnUncertain = "retry" // send again, with the mark that it may be a double
)

// Connector is one configured use of a plugin.
type Connector struct {
	ID     core.ConnectorID `koanf:"-"`      // "<channel>/<name>", from the labels of the block
	Plugin string           `koanf:"plugin"` // name of the plugin
	// Weight is the connector's share among those of its channel and order.
	Weight int `koanf:"weight"`
	// Order is the turn in failover: connectors of a higher order serve when those of a lower cannot.
	Order       int           `koanf:"order"`
	OnUncertain OnUncertain   `koanf:"on_uncertain"`
	Rate        float64       `koanf:"rate"`          // messages a second at most; 0: what the plugin suggests
	MaxInFlight int           `koanf:"max_in_flight"` // attempts at a time at most; 0: what the plugin suggests
	Timeout     time.Duration `koanf:"timeout"`       // of one attempt; without a result by then it is uncertain
	Retry       Retry         `koanf:"retry"`
	// FailoverRamp is how long it takes, once the connector cannot be used, until all of its messages may go to others.
	FailoverRamp time.Duration `koanf:"failover_ramp"`
	Route        Route         `koanf:"route"`
	// Config is the plugin's own, as JSON values: string, int64, float64, bool, nil, []any and
	// map[string]any. The plugin checks it; Position finds the place of a key.
	Config Config `koanf:"-"`
	// Shadow stands over Config while a version of the plugin runs in the shadow of another, such as the address of
	// a provider that delivers nothing. Nil: nothing does; Shadowed lays the two together.
	Shadow Config `koanf:"-"`
}

// Route says which messages a connector takes: those that fit all of it. What is left out fits every message.
type Route struct {
	Accounts  []string `koanf:"accounts"`  // names
	Countries []string `koanf:"countries"` // of the recipient's number: ISO 3166-1 alpha-2
	Prefixes  []string `koanf:"prefixes"`  // beginnings of the recipient
	Templates []int64  `koanf:"templates"` // ids
	// ProviderTemplate takes only messages that name a template of the provider's own for this connector.
	ProviderTemplate bool `koanf:"provider_template"`
}

// Shadowed is the configuration for a version that runs in the shadow of another: Config, and over it what
// Shadow says.
func (c Connector) Shadowed() Config { return overlay(c.Config, c.Shadow) }

// overlay lays one tree over another, key by key.
func overlay(under, over map[string]any) map[string]any {
	laid := make(map[string]any, len(under)+len(over))
	maps.Copy(laid, under)
	for key, value := range over {
		inner, isTree := value.(map[string]any)
		beneath, wasTree := laid[key].(map[string]any)
		if isTree && wasTree {
			value = overlay(beneath, inner)
		}
		laid[key] = value
	}
	return laid
}

// Config is the configuration of a connector, which may hold secrets: it prints and logs its size only.
type Config map[string]any

// String hides the values.
func (c Config) String() string { return redacted }

// GoString hides the values from %#v.
func (c Config) GoString() string { return redacted }

// LogValue hides the values from logs.
func (c Config) LogValue() slog.Value { return slog.StringValue(redacted) }

// Retry says how soon an attempt that failed for a while is repeated. The wait before the n-th repeat is
// drawn between zero and FirstDelay·4ⁿ⁻¹, capped by MaxDelay.
type Retry struct {
	FirstDelay time.Duration `koanf:"first_delay"`
	MaxDelay   time.Duration `koanf:"max_delay"`
}

// MessageSender is the name of the pool that sends messages.
const MessageSender = "message_sender"

// Pool bounds a pool of workers that scales itself.
type Pool struct {
	CoreSize           int     `koanf:"core_size"` // workers that always run
	MaxSize            int     `koanf:"max_size"`
	ScaleUpThreshold   float64 `koanf:"scale_up_threshold"`   // share of the queue in use above which it grows
	ScaleDownThreshold float64 `koanf:"scale_down_threshold"` // share below which it shrinks
	QueueSize          int     `koanf:"queue_size"`           // tasks that may wait
}

// Unlimited is the highest Max of a limit, which nothing is counted for.
const Unlimited = 1_000_000_000

// Limit is one limit of how much may happen. A resource may have several.
type Limit struct {
	// Resource is what is limited, from the label: "api:/messages/send", "channel:sms" or "connector:sms/main".
	Resource string  `koanf:"-"`
	Type     string  `koanf:"type"` // qps, concurrent or sliding_window
	Max      float64 `koanf:"max"`  // a second, at a time, or in a window
	// By is what has a count of its own: account, key, ip, channel, recipient, connector or global. It is
	// connector for a connector and account elsewhere where the file does not say it.
	By     string        `koanf:"by"`
	Window time.Duration `koanf:"window"` // sliding_window only
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level `koanf:"level"`
	Format string     `koanf:"format"` // "text" or "json"
}

// Retention says how long things are kept.
type Retention struct {
	// Messages is how long messages are kept, in whole days; 0: for ever.
	Messages time.Duration `koanf:"messages"`
	Traces   time.Duration `koanf:"traces"`
	// Receipts is how long a receipt that matches no message waits for one.
	Receipts time.Duration `koanf:"receipts"`
}
