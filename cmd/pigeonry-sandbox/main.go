// Command pigeonry-sandbox runs the providers for trying out and for tests: an SMTP server, an
// SMPP message center that sends receipts, and an HTTP side with an inbox page, faults and the
// ledger of all that arrived. See package sandbox.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

// stopPatience bounds how long a stop may take.
const stopPatience = 5 * time.Second

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pigeonry-sandbox:", err)
		os.Exit(1)
	}
}

// run is main without the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("pigeonry-sandbox", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var options sandbox.Options
	flags.StringVar(&options.SMTP, "smtp", sandbox.DefaultSMTP, "address of the SMTP server; port 0 picks a free one")
	flags.StringVar(&options.SMPP, "smpp", sandbox.DefaultSMPP, "address of the SMPP message center")
	flags.StringVar(&options.HTTP, "http", sandbox.DefaultHTTP, "address of the inbox page and the API")
	flags.StringVar(&options.Ledger, "ledger", "", "file the ledger is appended to (default: gone at the end)")
	flags.DurationVar(&options.ReceiptDelay, "receipt-delay", sandbox.DefaultReceiptDelay, "time between an SMS and its receipt")
	flags.IntVar(&options.InboxBound, "inbox", sandbox.DefaultInboxBound, "how many messages the inbox keeps; the ledger has no bound")
	flags.Uint64Var(&options.Seed, "seed", 1, "seed of the dice that faults throw")
	printAddresses := flags.Bool("print-addresses", false, "print the addresses as one line of JSON when ready")
	quiet := flags.Bool("quiet", false, "log nothing but problems")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q; see -help", flags.Arg(0))
	}
	if options.ReceiptDelay == 0 {
		options.ReceiptDelay = -1 // asked for by name: at once, not the default
	}
	level := slog.LevelInfo
	if *quiet {
		level = slog.LevelWarn
	}
	options.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	return serve(ctx, options, stdout, *printAddresses)
}

// serve runs a sandbox until the context ends or a provider fails.
func serve(ctx context.Context, options sandbox.Options, stdout io.Writer, printAddresses bool) error {
	s, err := sandbox.Start(ctx, options)
	if err != nil {
		return err
	}
	at := s.Addresses()
	options.Log.InfoContext(ctx, "sandbox ready", "inbox", "http://"+at.HTTP+"/", "smtp", at.SMTP, "smpp", at.SMPP)
	if printAddresses {
		if err := json.NewEncoder(stdout).Encode(at); err != nil {
			return fmt.Errorf("print addresses: %w", err)
		}
	}
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-s.Failed():
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	if err := s.Stop(stopCtx); err != nil && failed == nil {
		return fmt.Errorf("stop sandbox: %w", err)
	}
	return failed
}
