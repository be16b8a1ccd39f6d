package pluginhost

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// Options is what a Host needs.
type Options struct {
	// Catalog has the plugins that are installed. Required.
	Catalog *catalog.Catalog
	// Plaintext names the plugins that may do without mutual TLS: their languages cannot do it.
	Plaintext []string
	// Sandbox bounds what every plugin's process may take.
	Sandbox Sandbox
	// RuntimeDir holds what must outlive a crash of the gateway: which processes it started. It
	// should be the same at every start; two gateways may share it. It is created with mode 0700.
	// Sockets are made in it too, unless its path is too long for that. Required.
	RuntimeDir string
	// Env names the environment variables that a plugin inherits, beside PATH, TZ, LANG, LC_ALL,
	// TMPDIR, SSL_CERT_FILE and SSL_CERT_DIR. All others stay with the gateway.
	Env []string
	// Events stores receipts and inbound messages that a plugin received by itself. Nil means they
	// are stored: the plugin then tells its provider so. It is called again, after a pause, until
	// it returns nil, and must therefore stand being called twice with the same events. Required.
	Events func(ctx context.Context, receipts []core.Receipt, inbound []core.Inbound) error
	// Shared keeps the values that plugins share among gateways. Nil: each process keeps its own.
	Shared SharedValues
	// Now is the time by which shared values end, that of all gateways; default time.Now.
	Now func() time.Time
	// PublicURL is where providers reach this gateway, e.g. "https://gateway.example.com": plugins are told the URL of
	// each connector's callbacks. Empty: they are told none.
	PublicURL string
	// Logger takes the host's own messages and every line that a plugin writes to its standard
	// error. Nil discards them.
	Logger *slog.Logger
	// Timing changes how long the host waits for things.
	Timing Timing
}

// SharedValues keeps small values of plugins for all gateways; see store.SharedValues.
type SharedValues interface {
	LookShared(ctx context.Context, plugin, name string, look core.SharedLook) (core.SharedValue, error)
	KeepShared(ctx context.Context, plugin, name string, v core.SharedValue) error
	DropShared(ctx context.Context, plugin, name string, revision int64) error
}

// Sandbox is what a plugin's process may take. A field that is zero sets no bound.
type Sandbox struct {
	User      string  // whom it runs as; the gateway must be root for that
	Memory    int64   // bytes
	CPU       float64 // processors; where the host has cgroups for it
	Files     uint64  // open at a time
	Processes uint64  // of the user at a time
}

// Timing bounds every wait of a Host. A field that is zero takes its default.
type Timing struct {
	Start        time.Duration // from the launch to the answer of Describe; 10 s
	Call         time.Duration // one call that concerns configuration; 10 s
	HealthEvery  time.Duration // between two proofs of life; 10 s
	HealthAnswer time.Duration // until a proof of life must come; 5 s. Three missing in a row end the process
	Retire       time.Duration // for what is in flight in a generation that is replaced: longer than an attempt takes; 40 s
	Drain        time.Duration // for what is in flight when the host stops, and for what a plugin then does by itself; 8 s
	Exit         time.Duration // from the request to end until SIGTERM; 1.5 s
	Terminate    time.Duration // from SIGTERM until SIGKILL; 0.5 s
}

func (t Timing) withDefaults() Timing {
	return Timing{
		Start:        cmp.Or(t.Start, 10*time.Second),
		Call:         cmp.Or(t.Call, 10*time.Second),
		HealthEvery:  cmp.Or(t.HealthEvery, 10*time.Second),
		HealthAnswer: cmp.Or(t.HealthAnswer, 5*time.Second),
		Retire:       cmp.Or(t.Retire, 40*time.Second),
		Drain:        cmp.Or(t.Drain, 8*time.Second),
		Exit:         cmp.Or(t.Exit, 1500*time.Millisecond),
		Terminate:    cmp.Or(t.Terminate, 500*time.Millisecond),
	}
}

func (o Options) withDefaults() Options {
	o.Timing = o.Timing.withDefaults()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func (o Options) validate() error {
	switch {
	case o.Catalog == nil:
		return errors.New("plugin host: Catalog is nil; open the folder that holds the plugins")
	case o.RuntimeDir == "":
		return errors.New("plugin host: RuntimeDir is empty; name a folder that only the gateway uses")
	case o.Events == nil:
		return errors.New("plugin host: Events is nil; received events would be lost")
	}
	return nil
}
