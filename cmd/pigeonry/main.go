// Command pigeonry is the gateway and the commands around it: it serves, checks a configuration, makes API
// keys, sends and follows messages. See package cli.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/cli"
	"github.com/pigeonry/pigeonry/core/gateway"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
)

func main() {
	// The second signal of an impatient operator is ignored: a stop is bounded by drain_timeout anyway.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	executable, _ := os.Executable() // unknown: plugins beside the program are not looked for
	code := cli.Run(ctx, cli.Process{
		Args: os.Args[1:], Environ: os.Environ(), Executable: executable,
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Gateway: cli.Gateway{Serve: serve, Accounts: accounts, Schema: schema, Migrate: gateway.Migrate},
	})
	stop()
	os.Exit(code)
}

func serve(ctx context.Context, s *settings.Settings, logger *slog.Logger, follow cli.Follow) error {
	g, err := gateway.New(ctx, s, logger)
	if err != nil {
		return err
	}
	followCtx, stop := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() { follow(followCtx, g.Reload) })
	err = g.Run(ctx)
	stop()
	following.Wait()
	return err
}

func schema(ctx context.Context, s *settings.Settings) (found, known int64, err error) {
	x, err := gateway.SchemaOf(ctx, s)
	return x.Found, x.Known, err
}

func accounts(ctx context.Context, s *settings.Settings) (cli.Accounts, error) {
	return gateway.OpenAccounts(ctx, s)
}
