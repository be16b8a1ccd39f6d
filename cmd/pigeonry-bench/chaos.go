package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/chaos"
)

const chaosUsage = `pigeonry-bench chaos runs gateways under load, breaks what they stand on, and judges whether every promise was kept.
It ends with code 1 if one was not. The same seed makes the same choices again.

Without -mixed, the faults come one by one, with a check after each. With it, they come at random times until
-messages are sent, also while others last.

Usage:
  pigeonry-bench chaos [flags]

Flags:
`

// runChaos is the subcommand "chaos".
func runChaos(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, asJSON, err := parseChaos(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	o.Progress = stdout
	if asJSON {
		o.Progress = stderr
	}
	report, err := chaos.Run(ctx, o)
	if err != nil {
		return err
	}
	if err := report.Print(stdout, asJSON); err != nil {
		return err
	}
	if !report.Holds() {
		return exitError(1)
	}
	return nil
}

func parseChaos(args []string, stderr io.Writer) (o chaos.Options, asJSON bool, err error) {
	flags := flag.NewFlagSet("pigeonry-bench chaos", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.Engines, "engines", chaos.Embedded, "engines to stand on: embedded or production")
	flags.IntVar(&o.Messages, "messages", 0, "messages to send at least; with -mixed, the end of the run")
	flags.Float64Var(&o.Rate, "rate", 300, "messages a second")
	faults := flags.String("faults", "all", "names of faults, with commas between; -name leaves one out of all")
	flags.BoolVar(&o.Mixed, "mixed", false, "inject faults at random times, also while others last")
	flags.Uint64Var(&o.Seed, "seed", 0, "decides all that is random; 0 draws one")
	every := flags.String("every", "20s-60s", "time from one fault to the next of a mixed run")
	flags.BoolVar(&o.Brief, "brief", false, "shorten the faults that last, as the tests do")
	flags.DurationVar(&o.Patience, "patience", 6*time.Minute, "how long messages may take to reach a final state once the load rests")
	flags.Float64Var(&o.Slack, "slack", 1, "stretch the limits of recovery, for a machine that does something else as well")
	flags.StringVar(&o.Source, "source", "", "folder of the repository, for the faults of the clock; they are left out without it")
	bin := flags.String("bin", "", "folder of the built binaries; default: the folder of this one")
	flags.BoolVar(&o.Keep, "keep", false, "keep the working folder, for a look at the logs")
	flags.BoolVar(&asJSON, "json", false, "print one JSON object, and the progress on stderr")
	flags.Usage = func() {
		fmt.Fprint(stderr, chaosUsage)
		flags.PrintDefaults()
		for _, engines := range []string{chaos.Embedded, chaos.Production} {
			fmt.Fprintf(stderr, "\nFaults on engines %s:\n  %s\n", engines, strings.Join(chaos.FaultNames(engines), "\n  "))
		}
	}
	if err := flags.Parse(args); err != nil {
		return o, asJSON, err
	}
	if flags.NArg() > 0 {
		return o, asJSON, fmt.Errorf("unknown argument %q; see chaos -help", flags.Arg(0))
	}
	if names := strings.TrimPrefix(strings.TrimPrefix(*faults, "all"), ","); names != "" {
		o.Faults = strings.Split(names, ",")
	}
	if o.EveryMin, o.EveryMax, err = timeSpan(*every); err != nil {
		return o, asJSON, err
	}
	if o.Mixed && o.Messages == 0 {
		return o, asJSON, errors.New("a mixed run ends when enough messages are sent; say how many with -messages")
	}
	o.Bin, err = binaries(options{bin: *bin})
	return o, asJSON, err
}

// timeSpan reads "20s-60s", or one time that is both.
func timeSpan(text string) (from, to time.Duration, err error) {
	first, last, found := strings.Cut(text, "-")
	if !found {
		last = first
	}
	from, err = time.ParseDuration(first)
	if err == nil {
		to, err = time.ParseDuration(last)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%q is no time span such as 20s-60s", text)
	}
	return from, to, nil
}
