package settings

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// block says what may stand in a block of the configuration file.
type block struct {
	labels     []label
	attributes map[string]check
	required   []string
	blocks     map[string]block
	// kinds, for a block whose one label chooses a technology: what may stand in it, by technology.
	kinds map[string]block
	// free: the body is the plugin's own and any tree of keys and blocks.
	free bool
	// repeats: several blocks may have the same labels. Each has its number as one more step of its path.
	repeats bool
}

// label says what a label means and which texts it takes.
type label struct {
	name  string
	check check
}

func (b block) known() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for key := range maps.Keys(b.attributes) {
			if !yield(key) {
				return
			}
		}
		for key := range maps.Keys(b.blocks) {
			if !yield(key) {
				return
			}
		}
	})
}

// Bounds that protect the machine from a slip of the hand.
const (
	maxWorkers   = 10_000
	maxTasks     = 1_000_000
	maxRate      = 1_000_000_000
	maxInFlight  = 100_000
	maxAttempts  = 100
	maxRetention = 3650 * day
	minWindow    = time.Millisecond
	maxWindow    = 31 * day
	maxCores     = 1_024
	minMemory    = 16 << 20 // less, and no plugin starts
	maxMemory    = 1 << 40
	minFiles     = 64
	maxFiles     = 1_000_000
	minProcesses = 32 // threads count too
	maxProcesses = 100_000
)

// schema is everything that the configuration file may say.
func schema() block {
	return block{
		attributes: map[string]check{
			"listen":        address,
			"public_url":    webURL,
			"data_dir":      text,
			"drain_timeout": duration(0, time.Hour),
			"roles":         listOf(string(RoleAPI), string(RoleWorker), string(RoleScheduler)),
			"max_attempts":  integer(1, maxAttempts),
			"operators":     list(0, `["default"]`, text),
		},
		blocks: map[string]block{
			"store": technologies(map[string][]string{"sqlite": nil, "postgres": {"postgres", "postgresql"}}, nil),
			"queue": technologies(map[string][]string{"memory": nil, "rabbitmq": {"amqp", "amqps"}}, map[string]check{
				"type": oneOf("quorum", "classic"), "prefix": name,
			}),
			"coordination": technologies(map[string][]string{"local": nil, "redis": {"redis", "rediss"}}, map[string]check{"prefix": name}),
			"plugins":      pluginsSchema(),
			"account":      {attributes: map[string]check{"default_region": region}},
			"connector":    connectorSchema(),
			"pool": {
				labels: []label{{name: "pool", check: oneOf(MessageSender)}},
				attributes: map[string]check{
					"core_size":            integer(1, maxWorkers),
					"max_size":             integer(1, maxWorkers),
					"scale_up_threshold":   number(1),
					"scale_down_threshold": number(1),
					"queue_size":           integer(1, maxTasks),
				},
			},
			"limit": {
				labels:  []label{{name: "resource", check: resource}},
				repeats: true,
				attributes: map[string]check{
					"type":   oneOf(limitTypes...),
					"max":    number(Unlimited),
					"by":     oneOf(dimensions...),
					"window": duration(minWindow, maxWindow),
				},
				required: []string{"type", "max"},
			},
			"log": {attributes: map[string]check{"level": level, "format": oneOf("text", "json")}},
			"retention": {attributes: map[string]check{
				"messages": duration(0, maxRetention),
				"traces":   duration(time.Minute, maxRetention),
				"receipts": duration(time.Minute, maxRetention),
			}},
		},
	}
}

func pluginsSchema() block {
	return block{
		attributes: map[string]check{
			"dir":               text,
			"store":             text,
			"rollout":           oneOf(string(RolloutManual), string(RolloutAutomatic)),
			"require_signature": boolean,
			"trusted_keys":      list(0, `[file("keys/acme.pub")]`, publicKey),
			"plaintext":         list(0, `["legacy"]`, name),
			"env":               list(0, `["HTTPS_PROXY"]`, variable),
		},
		blocks: map[string]block{
			"canary": {attributes: map[string]check{
				"steps":              steps,
				"min_samples":        integer(1, core.MaxRolloutSamples),
				"window":             duration(core.MinRolloutWindow, core.MaxRolloutWindow),
				"bake":               duration(0, core.MaxRolloutBake),
				"by":                 oneOf(string(core.ByMessage), string(core.ByAccount)),
				"max_failure_rate":   number(1),
				"max_uncertain_rate": number(1),
				"max_latency_ratio":  between(1, core.MaxRolloutRatio),
				"max_memory_ratio":   between(1, core.MaxRolloutRatio),
			}},
			"sandbox": {attributes: map[string]check{
				"user":      text,
				"memory":    size(minMemory, maxMemory),
				"cpu":       number(maxCores),
				"files":     zeroOr(integer(minFiles, maxFiles)),
				"processes": zeroOr(integer(minProcesses, maxProcesses)),
			}},
		},
	}
}

func connectorSchema() block {
	return block{
		labels: []label{{name: "channel", check: name}, {name: "name", check: name}},
		attributes: map[string]check{
			"plugin":        name,
			"weight":        integer(1, 1_000_000),
			"order":         integer(0, 1_000),
			"on_uncertain":  oneOf(string(UncertainHold), string(UncertainRetry)),
			"rate":          number(maxRate),
			"max_in_flight": integer(0, maxInFlight),
			"timeout":       duration(100*time.Millisecond, time.Hour),
			"failover_ramp": duration(0, day),
		},
		required: []string{"plugin"},
		blocks: map[string]block{
			"config":        {free: true},
			"shadow_config": {free: true},
			"retry": {attributes: map[string]check{
				"first_delay": duration(time.Millisecond, day),
				"max_delay":   duration(time.Millisecond, 7*day),
			}},
			"route": {attributes: map[string]check{
				"accounts":          list(1, `["default"]`, text),
				"countries":         list(1, `["CN"]`, region),
				"prefixes":          list(1, `["+86"]`, text),
				"templates":         list(1, "[12]", integer(1, 1<<53)),
				"provider_template": boolean,
			}},
		},
	}
}

// technologies makes the block of a capability from the URL schemes of each technology; embedded ones
// have none. Further keys are those that the others take beside their URL.
func technologies(schemes map[string][]string, further map[string]check) block {
	b := block{kinds: map[string]block{}}
	names := slices.Sorted(maps.Keys(schemes))
	b.labels = []label{{name: "technology", check: oneOf(names...)}}
	for technology, s := range schemes {
		if s == nil {
			b.kinds[technology] = block{}
			continue
		}
		attributes := map[string]check{"url": serviceURL(s...)}
		maps.Copy(attributes, further)
		b.kinds[technology] = block{attributes: attributes, required: []string{"url"}}
	}
	return b
}

// defaults is the embedded default.
func defaults(executable string) map[string]any {
	return map[string]any{
		"listen":                               "127.0.0.1:8080",
		"data_dir":                             "./data",
		"drain_timeout":                        10 * time.Second,
		"max_attempts":                         5,
		"roles":                                string(RoleAPI + "," + RoleWorker + "," + RoleScheduler),
		"store.kind":                           "sqlite",
		"queue.kind":                           "memory",
		"coordination.kind":                    "local",
		"account.default_region":               "CN",
		"pool." + MessageSender + ".core_size": 20,
		"pool." + MessageSender + ".max_size":  100,
		"pool." + MessageSender + ".scale_up_threshold":   0.8,
		"pool." + MessageSender + ".scale_down_threshold": 0.2,
		"pool." + MessageSender + ".queue_size":           1000,
		"operators":                                       []string{"default"},
		"plugins.dir":                                     pluginsDir(executable),
		"plugins.rollout":                                 string(RolloutManual),
		"plugins.canary.steps":                            []float64{1, 5, 25, 50, 100},
		"plugins.canary.min_samples":                      100,
		"plugins.canary.window":                           30 * time.Second,
		"plugins.canary.bake":                             5 * time.Minute,
		"plugins.canary.by":                               string(core.ByMessage),
		"plugins.canary.max_failure_rate":                 0.02,
		"plugins.canary.max_uncertain_rate":               0.01,
		"plugins.canary.max_latency_ratio":                2.0,
		"plugins.canary.max_memory_ratio":                 2.0,
		"log.level":                                       slog.LevelInfo,
		"log.format":                                      "text",
		"retention.messages":                              90 * day,
		"retention.traces":                                7 * day,
		"retention.receipts":                              3 * day,
	}
}

// connectorDefaults is what a connector block need not say.
func connectorDefaults() Connector {
	return Connector{
		Weight: 1, OnUncertain: UncertainRetry, Timeout: 30 * time.Second, FailoverRamp: 30 * time.Second,
		Retry: Retry{FirstDelay: time.Second, MaxDelay: 5 * time.Minute},
	}
}
