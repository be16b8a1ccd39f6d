// Package cli is the command line of pigeonry: serve, config check, migrate, key, plugin, send, trace, ready and version.
//
// A command writes what it was asked for to the standard output and everything else to the standard error.
// It ends with 0 when all went well and with 1 when something did not.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
)

// Gateway is the gateway of this program, for the commands that need one in their own process.
type Gateway struct {
	// Serve runs a gateway until ctx ends, and then stops it in order. While it runs it calls follow,
	// which gives apply new settings until its own ctx ends.
	Serve func(ctx context.Context, s *settings.Settings, logger *slog.Logger, follow Follow) error
	// Accounts opens the accounts in the store of the settings, beside a gateway that may be running.
	Accounts func(ctx context.Context, s *settings.Settings) (Accounts, error)
	// Schema tells the version of the store's schema, and the one that this program knows.
	Schema func(ctx context.Context, s *settings.Settings) (found, known int64, err error)
	// Migrate upgrades the store's schema and returns the versions that it applied.
	Migrate func(ctx context.Context, s *settings.Settings) ([]int64, error)
}

// Follow watches the sources of the settings until ctx ends, and calls apply with each new sound state of
// them. What apply refuses stays without effect.
type Follow func(ctx context.Context, apply func(context.Context, *settings.Settings) error)

// Accounts keeps the keys of accounts.
type Accounts interface {
	// Account returns the account of that name. One that is absent is created if that was asked for;
	// otherwise it is a core.KindNotFound error.
	Account(ctx context.Context, name string, create bool) (core.Account, error)
	// Create makes a key and returns it, the only time that it can be seen. An expiry of zero means never.
	Create(ctx context.Context, account core.AccountID, name string, expires time.Time) (string, core.Key, error)
	// List returns the keys of an account, oldest first.
	List(ctx context.Context, account core.AccountID) ([]core.Key, error)
	// Revoke ends a key of an account for good.
	Revoke(ctx context.Context, account core.AccountID, id int64) error
	// Close ends the use of the store.
	Close() error
}

// Process is the world around a command.
type Process struct {
	Args       []string // without the name of the program
	Environ    []string // as os.Environ gives it
	Executable string   // path of the program; "" where it is not known
	In         io.Reader
	Out, Err   io.Writer
	Gateway    Gateway
}

// Run runs one command and returns the exit code. It ends early, and in order, when ctx does.
func Run(ctx context.Context, p Process) int {
	root := p.root()
	root.SetArgs(p.Args)
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if faults, ok := errors.AsType[settings.Faults](err); ok {
		fmt.Fprintln(p.Err, faults.Error())
		fmt.Fprintf(p.Err, "pigeonry: the configuration has %s; nothing was started or changed\n", count(len(faults), "fault"))
		return 1
	}
	fmt.Fprintln(p.Err, "pigeonry:", err)
	return 1
}

func (p Process) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "pigeonry",
		Short: "A messaging gateway whose channels are plugins",
		Long: `Pigeonry is a messaging gateway. Every channel (e-mail, SMS, ...) is a plugin that it
runs as a process of its own.

Start with:

  pigeonry serve -c gateway.hcl`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(p.serve(), p.config(), p.migrate(), p.key(), p.plugin(), p.send(), p.trace(), p.ready(), p.version())
	return root
}

// getenv finds a variable; of a double the last counts.
func (p Process) getenv(name string) string {
	value := ""
	for _, e := range p.Environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}

// count is "1 fault", "2 faults".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
