package settings

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Sources are where settings come from. The zero value of each is "none".
type Sources struct {
	// File is the path of the configuration file. Empty: the embedded default, without connectors.
	File string
	// Environ are variables as os.Environ gives them. PIGEONRY_* override the file; env("NAME") in the
	// file finds any.
	Environ []string
	// Flags are flags as AddFlags declares them. Those that were given override everything.
	Flags *pflag.FlagSet
	// Executable is the path of the running program: without plugins.dir, a folder "plugins" beside it
	// is used if there is one, and ./plugins otherwise.
	Executable string
}

// loader collects what one Load finds.
type loader struct {
	faults   Faults
	warnings []string
	selected map[string]any    // technologies chosen by the environment
	origins  map[string]string // where an overriding value came from, by path
}

// Load reads the sources and checks all of it. An error is of type Faults and holds everything that is
// wrong; settings that are returned can be started with.
func Load(sources Sources) (*Settings, error) {
	l := &loader{selected: map[string]any{}, origins: map[string]string{}}
	k := koanf.New(".")
	p := newParser(sources.File, lookup(sources.Environ))
	err := cmp.Or(
		k.Load(confmap.Provider(defaults(sources.Executable), "."), nil),
		l.loadFile(k, p, sources.File),
		l.loadEnvironment(k, sources.Environ),
		l.loadSelected(k),
		l.loadFlags(k, sources.Flags),
	)
	if err != nil {
		return nil, Faults{{Problem: err.Error()}}
	}
	s, err := assemble(k, p)
	if err != nil {
		return nil, Faults{{Position: sources.File, Problem: err.Error()}}
	}
	s.File, s.Warnings = sources.File, l.warnings
	faults := slices.Concat(p.found(), l.faults)
	if len(faults) == 0 { // relations between values only mean something when each is sound
		faults = relations(s, l.origins, p.limits)
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return s, nil
}

// loadFile lays the configuration file over what k holds.
func (l *loader) loadFile(k *koanf.Koanf, p *parser, file string) error {
	if file == "" {
		return nil
	}
	source, err := readBounded(file, maxFileSize)
	if err != nil {
		l.faults = append(l.faults, at(file, err))
		return nil
	}
	return k.Load(content(source), p)
}

// content is a koanf.Provider of bytes that were read already.
type content []byte

// ReadBytes returns the content, for the parser.
func (c content) ReadBytes() ([]byte, error) { return c, nil }

// Read is what providers without a parser have.
func (c content) Read() (map[string]any, error) {
	return nil, errors.New("content is read by a parser")
}

// assemble turns koanf's tree into settings.
func assemble(k *koanf.Koanf, p *parser) (*Settings, error) {
	s := &Settings{positions: p.positions}
	if err := k.Unmarshal("", s); err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	for _, id := range p.order {
		c := connectorDefaults()
		if err := k.Unmarshal("connector."+strings.ReplaceAll(string(id), "/", "."), &c); err != nil {
			return nil, fmt.Errorf("read connector %s: %w", id, err)
		}
		c.ID, c.Config, c.Shadow = id, p.configs[id], p.shadows[id]
		s.Connectors = append(s.Connectors, c)
	}
	for _, path := range p.limits {
		resource, _ := path[1].(string)
		l := Limit{Resource: resource, By: defaultDimension(resource)}
		if err := k.Unmarshal(joined(path), &l); err != nil {
			return nil, fmt.Errorf("read limit %s: %w", resource, err)
		}
		s.Limits = append(s.Limits, l)
	}
	if d := sendLimit(); !slices.ContainsFunc(s.Limits, func(l Limit) bool { return l.Resource == d.Resource && l.Type == d.Type }) {
		s.Limits = append(s.Limits, d)
	}
	if s.PublicURL == "" {
		s.PublicURL = (&url.URL{Scheme: "http", Host: reachable(s.Listen)}).String()
	}
	return s, nil
}

// sendLimit is in force where the file limits no sends a second: it refuses nothing, and is there in the database for an
// operator to lower.
func sendLimit() Limit {
	return Limit{Resource: send, Type: qps, By: byAccount, Max: Unlimited}
}

// reachable turns an address to listen on into one to call: all interfaces are called by the loopback.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// pluginsDir is where plugins are looked for when nothing says it.
func pluginsDir(executable string) string {
	if executable != "" {
		beside := filepath.Join(filepath.Dir(executable), "plugins")
		if info, err := os.Stat(beside); err == nil && info.IsDir() {
			return beside
		}
	}
	return "./plugins"
}

// lookup finds a variable in an environment; of a double the last counts, as in a shell.
func lookup(environ []string) func(string) (string, bool) {
	values := make(map[string]string, len(environ))
	for _, e := range environ {
		if variable, value, ok := strings.Cut(e, "="); ok {
			values[variable] = value
		}
	}
	return func(variable string) (string, bool) {
		value, ok := values[variable]
		return value, ok
	}
}
