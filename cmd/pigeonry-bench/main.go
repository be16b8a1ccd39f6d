// Command pigeonry-bench measures the gateway on this machine, as its users would load it: over HTTP,
// through real plugin processes, with everything on the same cores. It prints what the machine itself
// can do beside it, so that a figure can be judged.
//
//	pigeonry-bench <what> [-engines embedded|production] [-duration 20s] [-json]; -help lists what there is
//	pigeonry-bench engines [-- command]
//
// Arrivals are open-loop where a latency is measured: a request is due at its time whether or not the
// ones before it have been answered, and its latency counts from that time (no coordinated omission).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"
)

const usage = `pigeonry-bench measures the gateway on this machine.

Usage:
  pigeonry-bench <what> [flags]

What:
  all      batch, single, mixed, slow and backlog, one after the other
  limits   the raw rates of the machine: its engines, plugin calls, HTTP answers
  batch    batches of 10,000 recipients, from the request to the plugin
  single   single sends: the most that are accepted and delivered, and latency at half of it
  rest     one message at a time on an idle gateway: from its 200 to the plugin
  backlog  1,000,000 low messages queued behind a slow connector: memory, accept rate as against empty, and
           urgent messages beside them once it moves
  mixed    all four lanes at once, low ones without end: latency of each lane
  slow     a channel alone, then beside one whose provider hangs for 30 s a message: latency of the first
  rate     a connector of 50 messages a second with a backlog: what its provider sees in each second
  swap     one channel at 5,000 messages/s, quietly and while two versions of its plugin change places 50 times:
           how long each swap takes, and what it does to the time until a message is accepted
  scale    a slow provider and 1, 2 and 4 worker gateways (production): how the rate grows
  tables   10,000,000 messages of 30 days in the database (production): lists, messages, traces, batches
  chaos    no figure: breaks what gateways stand on, and judges whether every promise was kept; see chaos -help

Engines production are a private PostgreSQL, RabbitMQ and Redis that are started for the run and sync to the disk.
To run these for something else: pigeonry-bench engines -help

Flags:
`

// What is measured: the gateway as it runs alone, or on PostgreSQL, RabbitMQ and Redis.
const (
	embedded   = "embedded"
	production = "production"
)

// options are what the command line says.
type options struct {
	engines  string
	duration time.Duration
	json     bool
	bin      string
	callers  int
	latency  float64
	messages int
	rate     float64
	swaps    int
	keep     bool
	profile  string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		code, ended := errors.AsType[exitError](err)
		if !ended {
			fmt.Fprintln(os.Stderr, "pigeonry-bench:", err)
			code = 1
		}
		stop()
		os.Exit(int(code)) //nolint:gocritic // stop has run
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "engines" {
		return runEngines(ctx, args[1:], stdout, stderr)
	}
	if len(args) > 0 && args[0] == "chaos" {
		return runChaos(ctx, args[1:], stdout, stderr)
	}
	o, names, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	stop, err := profile(o.profile)
	if err != nil {
		return err
	}
	for _, name := range names {
		r, measureErr := measurements()[name](ctx, o)
		if measureErr != nil {
			return errors.Join(measureErr, stop())
		}
		r.compare()
		err = errors.Join(err, r.print(stdout, o.json))
	}
	return errors.Join(err, stop())
}

// parse reads the command line. It returns the names of what is to be measured.
func parse(args []string, stderr io.Writer) (o options, names []string, err error) {
	flags := flag.NewFlagSet("pigeonry-bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.engines, "engines", embedded, "engines to measure: embedded or production")
	flags.DurationVar(&o.duration, "duration", 20*time.Second, "how long to load the gateway")
	flags.BoolVar(&o.json, "json", false, "print one JSON object")
	flags.StringVar(&o.bin, "bin", "", "folder of the built binaries; default: the folder of this one")
	flags.IntVar(&o.callers, "callers", 256, "connections that send at the same time, each waiting for its answer (single, and the limit of HTTP)")
	flags.Float64Var(&o.latency, "latency-at", 0, "messages a second at which times are measured (single); default: half of the most that were possible")
	flags.IntVar(&o.messages, "messages", 0, "messages to queue (backlog, default 1000000) or to have in the database (tables, default 10000000)")
	flags.Float64Var(&o.rate, "rate", 5000, "messages a second (swap)")
	flags.IntVar(&o.swaps, "swaps", 50, "how often the versions change places (swap)")
	flags.BoolVar(&o.keep, "keep", false, "keep the working folders, for a look at the logs")
	flags.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of this program to a file, for go tool pprof")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			return o, nil, err
		}
		return o, nil, errors.New("say what to measure first: " + whats() + "; see -help")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return o, nil, err
	}
	if flags.NArg() > 0 {
		return o, nil, fmt.Errorf("unknown argument %q; see -help", flags.Arg(0))
	}
	if o.engines != embedded && o.engines != production {
		return o, nil, fmt.Errorf("there are no engines %q; use embedded or production", o.engines)
	}
	if o.rate <= 0 || o.latency < 0 || o.swaps < 1 || o.callers < 1 {
		return o, nil, errors.New("-rate must be above 0, -latency-at not below it, -swaps and -callers at least one")
	}
	if args[0] == "all" {
		return o, mainFigures(), nil
	}
	if _, ok := measurements()[args[0]]; !ok {
		return o, nil, fmt.Errorf("%q is nothing to measure; use %s", args[0], whats())
	}
	return o, args[:1], nil
}

// mainFigures are what "all" measures.
func mainFigures() []string { return []string{"batch", "single", "mixed", "slow", "backlog"} }

func measurements() map[string]func(context.Context, options) (report, error) {
	return map[string]func(context.Context, options) (report, error){
		"limits": measureLimits, "batch": measureBatch, "single": measureSingle,
		"rest": measureRest, "backlog": measureBacklog, "mixed": measureMixed, "slow": measureSlow,
		"rate": measureRate, "swap": measureSwap, "scale": measureScale, "tables": measureTables,
	}
}

// whats lists what can be measured.
func whats() string { return strings.Join(slices.Sorted(maps.Keys(measurements())), ", ") + ", or all" }

// profile takes a CPU profile of this program, if there is a file for it, until stop is called.
func profile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}
