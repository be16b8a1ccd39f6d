// Command pigeonry-bench measures the gateway on this machine, as its users would load it: over HTTP,
// through real plugin processes, with everything on the same cores. It prints what the machine itself
// can do beside it, so that a figure can be judged.
//
//	pigeonry-bench limits|batch|single|rest|backlog [-engines embedded] [-duration 20s] [-json]
//
// Arrivals are open-loop where a latency is measured: a request is due at its time whether or not the
// ones before it have been answered, and its latency counts from that time (no coordinated omission).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usage = `pigeonry-bench measures the gateway on this machine.

Usage:
  pigeonry-bench <what> [flags]

What:
  limits   the raw rates of the machine: SQLite inserts, plugin calls, HTTP answers
  batch    batches of 10,000 recipients, from the request to the plugin
  single   single sends: the most that are accepted and delivered, and latency at half of it
  rest     one message at a time on an idle gateway: from its 200 to the plugin
  backlog  1,000,000 messages queued behind a connector that does not move: memory and accept rate

Flags:
`

// options are what the command line says.
type options struct {
	engines  string
	duration time.Duration
	json     bool
	bin      string
	messages int
	keep     bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "pigeonry-bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	flags := flag.NewFlagSet("pigeonry-bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.engines, "engines", "embedded", "engines to measure: embedded")
	flags.DurationVar(&o.duration, "duration", 20*time.Second, "how long to load the gateway")
	flags.BoolVar(&o.json, "json", false, "print one JSON object")
	flags.StringVar(&o.bin, "bin", "", "folder of the built binaries; default: the folder of this one")
	flags.IntVar(&o.messages, "messages", 1_000_000, "messages to queue (backlog)")
	flags.BoolVar(&o.keep, "keep", false, "keep the working folder, for a look at the logs")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return errors.New("say what to measure first: limits, batch, single, rest or backlog; see -help")
	}
	if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q; see -help", flags.Arg(0))
	}
	if o.engines != "embedded" {
		return fmt.Errorf("engines %q are not built in; use embedded", o.engines)
	}
	measure, ok := map[string]func(context.Context, options) (report, error){
		"limits": measureLimits, "batch": measureBatch, "single": measureSingle,
		"rest": measureRest, "backlog": measureBacklog,
	}[args[0]]
	if !ok {
		return fmt.Errorf("%q is nothing to measure; use limits, batch, single, rest or backlog", args[0])
	}
	r, err := measure(ctx, o)
	if err != nil {
		return err
	}
	return r.print(stdout, o.json)
}

// report is the result of one run. Rates are in messages a second, times in milliseconds.
type report struct {
	What     string  `json:"what"`
	Engines  string  `json:"engines"`
	Seconds  float64 `json:"seconds,omitempty"`
	Messages int     `json:"messages,omitempty"`

	Rate           float64 `json:"rate"`
	AcceptRate     float64 `json:"accept_rate,omitempty"`
	LatencyRate    float64 `json:"latency_at_rate,omitempty"` // the arrival rate that latencies were measured at
	AcceptP50      float64 `json:"accept_p50_ms"`
	AcceptP99      float64 `json:"accept_p99_ms"`
	EndToEndP50    float64 `json:"end_to_end_p50_ms"`
	EndToEndP99    float64 `json:"end_to_end_p99_ms"`
	Lost           int     `json:"lost"`
	Doubles        int     `json:"doubles"`
	RSS            float64 `json:"rss_mb"`
	RSSWithPlugins float64 `json:"rss_with_plugins_mb,omitempty"`

	Limits *limits `json:"limits,omitempty"`
}

func (r report) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, string(b))
	return err
}
