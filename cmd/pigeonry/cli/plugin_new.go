package cli

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/scaffold"
	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

func (p Process) pluginNew() *cobra.Command {
	var project scaffold.Project
	var dir string
	cmd := &cobra.Command{
		Use:   "new <name>",
		Short: "Begin a plugin of your own: code, tests, build script and README",
		Long: `Writes a small project that is complete: a channel that posts each message to an HTTP provider, with
tests against a provider of its own and the conformance kit, a script that builds it, and a README.
It builds and delivers as it is; change it step by step.

A plugin in Go imports the SDK of a checkout of Pigeonry. It is looked for at --sdk, at PIGEONRY_SDK,
around the new folder, and around this program.`,
		Example: `  pigeonry plugin new pager
  pigeonry plugin new pager --lang python
  pigeonry plugin new acme-sms --lang go --channel sms --dir ../acme-sms --sdk ~/pigeonry --module example.com/acme/sms`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		project.Name = args[0]
		project.Channel = cmp.Or(project.Channel, project.Name)
		project.Module = cmp.Or(project.Module, "example.com/"+project.Name)
		for _, n := range []struct{ what, name string }{{"the name", project.Name}, {"--channel", project.Channel}} {
			if !catalog.ValidName(n.name) {
				return fmt.Errorf("%s %q is not possible; use a–z, 0–9, - and _, at most 63 characters", n.what, n.name)
			}
		}
		dir = cmp.Or(dir, project.Name)
		if project.SDK = cmp.Or(project.SDK, p.getenv("PIGEONRY_SDK")); project.SDK == "" {
			project.SDK = scaffold.FindSDK(filepath.Dir(dir), filepath.Dir(p.Executable))
		}
		files, err := project.Write(dir)
		if err != nil {
			return fmt.Errorf("write the project: %w", err)
		}
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "%s holds the plugin %s: %s\n\nNext:\n  cd %s\n", dir, project.Name, strings.Join(files, ", "), shellWord(dir))
		for _, next := range project.Next() {
			fmt.Fprintln(out, "  "+next)
		}
		fmt.Fprintln(out, "\nREADME.md tells the rest.")
		return nil
	}
	f := cmd.Flags()
	f.StringVar(&project.Language, "lang", "go", "language: "+strings.Join(scaffold.Languages(), ", "))
	f.StringVar(&dir, "dir", "", "folder to write, absent or empty (default: one of the plugin's name here)")
	f.StringVar(&project.Channel, "channel", "", "channel that the plugin serves (default: one of the plugin's name)")
	f.StringVar(&project.Module, "module", "", "name of the Go module (default: example.com/<name>)")
	f.StringVar(&project.SDK, "sdk", "", "checkout of Pigeonry, for Go (default: PIGEONRY_SDK, else the one around the folder or this program)")
	return cmd
}

// shellWord writes a path so that a shell takes it for one word.
func shellWord(path string) string {
	if strings.ContainsAny(path, " \t\n'\"\\$`!&;()<>|*?[]#~") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	if strings.HasPrefix(path, "-") {
		return "./" + path
	}
	return path
}
