// Command pigeonry is the gateway and the commands around it: it serves, checks a configuration, makes API
// keys, sends and follows messages. See package cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/cli"
)

func main() {
	// The second signal of an impatient operator is ignored: a stop is bounded by drain_timeout anyway.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	executable, _ := os.Executable() // unknown: plugins beside the program are not looked for
	code := cli.Run(ctx, cli.Process{
		Args: os.Args[1:], Environ: os.Environ(), Executable: executable,
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
	})
	stop()
	os.Exit(code)
}
