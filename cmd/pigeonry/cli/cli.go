// Package cli is the command line of pigeonry: serve, config check, key, send, trace, ready and version.
//
// A command writes what it was asked for to the standard output and everything else to the standard error.
// It ends with 0 when all went well and with 1 when something did not.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/core/gateway/settings"
)

// Process is the world around a command.
type Process struct {
	Args       []string // without the name of the program
	Environ    []string // as os.Environ gives it
	Executable string   // path of the program; "" where it is not known
	In         io.Reader
	Out, Err   io.Writer
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
	root.AddCommand(p.serve(), p.config(), p.key(), p.send(), p.trace(), p.ready(), p.version())
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
