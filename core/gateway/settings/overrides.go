package settings

import (
	"maps"
	"slices"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const envPrefix = "PIGEONRY_"

// override is a setting that the environment or a flag may give.
type override struct {
	path  string // in koanf's tree
	check check
	// selects, for the URL of a service: the path and the technology that it chooses.
	selects [2]string
}

// variables are the environment variables that the gateway reads.
func variables() map[string]override {
	return map[string]override{
		"PIGEONRY_LISTEN":         {path: "listen", check: address},
		"PIGEONRY_PUBLIC_URL":     {path: "public_url", check: webURL},
		"PIGEONRY_DATA_DIR":       {path: "data_dir", check: text},
		"PIGEONRY_PLUGINS_DIR":    {path: "plugins.dir", check: text},
		"PIGEONRY_DEFAULT_REGION": {path: "account.default_region", check: region},
		"PIGEONRY_DRAIN_TIMEOUT":  {path: "drain_timeout", check: schema().attributes["drain_timeout"]},
		"PIGEONRY_ROLES":          {path: "roles", check: schema().attributes["roles"]},
		"PIGEONRY_LOG_LEVEL":      {path: "log.level", check: level},
		"PIGEONRY_LOG_FORMAT":     {path: "log.format", check: oneOf("text", "json")},
		"PIGEONRY_BOOTSTRAP_KEY":  {path: "bootstrap_key", check: bootstrapKey},
		"PIGEONRY_POSTGRES_URL": {
			path: "store.url", check: serviceURL("postgres", "postgresql"), selects: [2]string{"store.kind", "postgres"},
		},
		"PIGEONRY_RABBITMQ_URL": {
			path: "queue.url", check: serviceURL("amqp", "amqps"), selects: [2]string{"queue.kind", "rabbitmq"},
		},
		"PIGEONRY_REDIS_URL": {
			path: "coordination.url", check: serviceURL("redis", "rediss"), selects: [2]string{"coordination.kind", "redis"},
		},
	}
}

// clientVariables are read by the commands that talk to a gateway, and are none of its own.
func clientVariables() []string { return []string{"PIGEONRY_API_KEY", "PIGEONRY_URL"} }

// flagPaths are the settings that a flag may give, by its name.
func flagPaths() map[string]override {
	return map[string]override{
		"listen":      {path: "listen", check: address},
		"public-url":  {path: "public_url", check: webURL},
		"data-dir":    {path: "data_dir", check: text},
		"plugins-dir": {path: "plugins.dir", check: text},
		"roles":       {path: "roles", check: schema().attributes["roles"]},
		"log-level":   {path: "log.level", check: level},
		"log-format":  {path: "log.format", check: oneOf("text", "json")},
	}
}

// AddFlags gives a command the flags that Load understands.
func AddFlags(flags *pflag.FlagSet) {
	flags.String("listen", "", "address of the HTTP server, host:port")
	flags.String("public-url", "", "how providers reach this gateway, for callback addresses")
	flags.String("data-dir", "", "folder of the embedded store")
	flags.String("plugins-dir", "", "folder of the plugins, <name>/<version>/<name>")
	flags.String("roles", "", "what this gateway does, of api, worker and scheduler: separated by commas (default: all)")
	flags.String("log-level", "", "debug, info, warn or error")
	flags.String("log-format", "", "text or json")
}

// loadEnvironment lays the environment over what k holds. An empty variable counts as not set.
func (l *loader) loadEnvironment(k *koanf.Koanf, environ []string) error {
	known := variables()
	provider := env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(variable, value string) (string, any) {
			o, ok := known[variable]
			switch {
			case !ok:
				l.warnUnknown(variable, slices.Collect(maps.Keys(known)))
				return "", nil
			case value == "":
				return "", nil
			}
			return l.override("environment variable "+variable, o, value)
		},
	})
	return k.Load(provider, nil)
}

// warnUnknown warns of a variable that looks like a misspelled one of ours. It is no fault: an
// orchestrator sets variables such as PIGEONRY_SERVICE_HOST by itself.
func (l *loader) warnUnknown(variable string, known []string) {
	if slices.Contains(clientVariables(), variable) {
		return
	}
	slices.Sort(known)
	if nearest := nearest(variable, known, 2); nearest != "" {
		l.warnings = append(l.warnings, "environment variable "+variable+" is not known and was not read — did you mean "+nearest+"?")
	}
}

// loadFlags lays the flags that were given over what k holds.
func (l *loader) loadFlags(k *koanf.Koanf, flags *pflag.FlagSet) error {
	if flags == nil {
		return nil
	}
	known := flagPaths()
	return k.Load(posflag.ProviderWithFlag(flags, ".", k, func(f *pflag.Flag) (string, any) {
		o, ok := known[f.Name]
		if !ok || !f.Changed {
			return "", nil
		}
		return l.override("flag --"+f.Name, o, f.Value.String())
	}), nil)
}

// override checks one value and returns it with its path, or notes the fault.
func (l *loader) override(origin string, o override, value string) (string, any) {
	converted, err := o.check(value)
	if err != nil {
		fault := at(origin, err)
		fault.Problem = "the value " + fault.Problem
		l.faults = append(l.faults, fault)
		return "", nil
	}
	if o.selects[0] != "" {
		l.selected[o.selects[0]] = o.selects[1]
	}
	l.origins[o.path] = origin
	return o.path, converted
}

// loadSelected chooses the technologies whose URL the environment gave.
func (l *loader) loadSelected(k *koanf.Koanf) error {
	return k.Load(confmap.Provider(l.selected, "."), nil)
}
