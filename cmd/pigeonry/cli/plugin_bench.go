package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/author"
	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

const (
	maxCallers = 1000
	// benchSteps is the length of the progress bar in its own measure.
	benchSteps = 1000
)

// benchmark is what bench is told.
type benchmark struct {
	author.Bench
	config   string
	subject  string
	size     int
	provider bool
}

func (p Process) pluginBench() *cobra.Command {
	var b benchmark
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "bench <executable or folder>",
		Short: "Measure how many messages a second a plugin takes",
		Long: `Starts the plugin as the gateway does, in a folder of its own, and hands it messages: for each pair of
a batch size and a number of callers as many as it takes in --time. It tells how many messages a second
got their result, and how long it was from the call until a message had its own (p50, p99).

The messages go through the channel, so give it a connector's config that reaches a test provider.
For a channel that calls an HTTP provider, --provider starts one that takes anything; {{provider}} in
the config is its address.`,
		Example: `  pigeonry plugin bench dist/acme/1.1.0 --config config.json --provider
  pigeonry plugin bench bin/plugins/email/1.0.0/email --config email.hcl --recipient ann@example.com --subject Hello
  pigeonry plugin bench ./acme --config config.json --batch 1,100 --callers 16 --time 10s --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.bench(cmd, &b, args[0], printer{cmd.OutOrStdout(), asJSON})
		},
	}
	f := cmd.Flags()
	f.StringVar(&b.config, "config", "", "file with a connector's config: a JSON object, or HCL as between the braces of config { }")
	f.BoolVar(&b.provider, "provider", false, "start an HTTP provider that takes anything; {{provider}} in the config is its address")
	f.StringVar(&b.Channel, "channel", "", "channel of the connector (default: the first one that the plugin describes)")
	f.StringVar(&b.Recipient, "recipient", "bench", "recipient of every message")
	f.StringVar(&b.subject, "subject", "", "subject of every message")
	f.IntVar(&b.size, "size", 300, "length of the text in bytes")
	f.IntSliceVar(&b.Batches, "batch", []int{1, 10, 100}, "messages in one call")
	f.IntSliceVar(&b.Callers, "callers", []int{1, 4, 16}, "calls at a time")
	f.DurationVar(&b.Time, "time", 2*time.Second, "how long each pair of the two is measured")
	f.StringSliceVar(&b.Env, "env", nil, "name of a variable that the plugin gets, as plugins.env in the settings says; may be repeated")
	f.BoolVar(&b.Plaintext, "plaintext", false, "the plugin cannot do mutual TLS, as its plugin.hcl says")
	f.BoolVar(&asJSON, "json", false, "print the figures as JSON")
	return cmd
}

func (p Process) bench(cmd *cobra.Command, b *benchmark, path string, out printer) (err error) {
	if err := b.check(); err != nil {
		return err
	}
	if b.Executable, err = author.Executable(path); err != nil {
		return fmt.Errorf("find the plugin: %w", err)
	}
	address := ""
	if b.provider {
		provider, err := channeltest.StartProvider()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, provider.Close()) }()
		address = provider.URL
	}
	if b.Config, err = readConnectorConfig(b.config, p.Environ, address); err != nil {
		return err
	}
	b.Content = core.Content{Subject: b.subject, Text: strings.Repeat("x", b.size)}
	end := func() {}
	if terminal := cmd.ErrOrStderr(); isTerminal(terminal) {
		b.Progress, end = benchProgress(terminal)
	}
	all, err := b.Run(cmd.Context())
	end()
	if err != nil {
		return fmt.Errorf("measure %s: %w", path, err)
	}
	if err := out.answer(all, func() { printBench(out, all) }); err != nil {
		return err
	}
	return benchFailed(all)
}

// check refuses figures that make no sense.
func (b *benchmark) check() error {
	for flag, bounds := range map[string]struct {
		values []int
		most   int
	}{"--batch": {b.Batches, maxBatch}, "--callers": {b.Callers, maxCallers}} {
		for _, n := range bounds.values {
			if n < 1 || n > bounds.most {
				return fmt.Errorf("%s %d is out of bounds; use 1 to %d", flag, n, bounds.most)
			}
		}
	}
	if b.size < 0 || b.Time <= 0 {
		return errors.New("--size must not be negative, and --time must be more than nothing")
	}
	return nil
}

// benchProgress draws how far the whole is.
func benchProgress(terminal io.Writer) (tell func(share float64), end func()) {
	bar := progressbar.NewOptions(benchSteps, progressbar.OptionSetWriter(terminal), progressbar.OptionSetDescription("measuring"),
		progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))
	return func(share float64) { _ = bar.Set(int(math.Round(share * benchSteps))) }, func() { _ = bar.Clear() }
}

func printBench(out printer, all []author.Measurement) {
	out.table("BATCH\tCALLERS\tMESSAGES/S\tP50\tP99\tMESSAGES\tNOT ACCEPTED", func(w io.Writer) {
		for i := range all {
			m := &all[i]
			fmt.Fprintf(w, "%d\t%d\t%.0f\t%.2f ms\t%.2f ms\t%d\t%d\n", m.Batch, m.Callers, m.PerSecond, m.P50, m.P99, m.Messages, m.Messages-m.Outcomes[string(core.OutcomeAccepted)])
		}
	})
}

// benchFailed is an error where messages were not accepted: then something else was measured than what was asked for.
func benchFailed(all []author.Measurement) error {
	lost, total, first := 0, 0, ""
	for i := range all {
		lost += all[i].Messages - all[i].Outcomes[string(core.OutcomeAccepted)]
		total += all[i].Messages
		if first == "" {
			first = all[i].Error
		}
	}
	if lost == 0 {
		return nil
	}
	return fmt.Errorf("%d of %s were not accepted, the first because of %s; give --config and --recipient with which the provider takes them",
		lost, count(total, "message"), first)
}
