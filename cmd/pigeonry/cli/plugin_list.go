package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/core/api/client"
)

// remoteCommand completes a command that asks the gateway for something and prints it, for people or as JSON.
func (p Process) remoteCommand(cmd *cobra.Command, run func(ctx context.Context, r *remote, args []string, out printer) error) *cobra.Command {
	var asJSON bool
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := p.remote(cmd, true)
		if err != nil {
			return err
		}
		return run(cmd.Context(), r, args, printer{cmd.OutOrStdout(), asJSON})
	}
	addRemoteFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the data of the answer as JSON")
	return cmd
}

// printer writes what a command was asked for.
type printer struct {
	io.Writer
	asJSON bool
}

// answer writes data as JSON, or lets forPeople write it.
func (out printer) answer(data any, forPeople func()) error {
	if out.asJSON {
		return printJSON(out, data)
	}
	forPeople()
	return nil
}

// table writes rows under a header, in columns.
func (out printer) table(header string, rows func(w io.Writer)) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, header)
	rows(w)
	_ = w.Flush() // as fmt.Fprintln elsewhere
}

func (p Process) pluginList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the plugins and their processes",
		Long: `Lists every plugin that the gateway found, and for each of its processes the version, the
state, the share of the messages that it gets, the attempts that have no result yet, how often
it was started again after a crash, and the beginning of its checksum.`,
		Example: `  pigeonry plugin list`,
		Args:    cobra.NoArgs,
	}
	return p.remoteCommand(cmd, func(ctx context.Context, r *remote, _ []string, out printer) error {
		list, err := ask[client.PluginList](ctx, r, func() (*http.Response, error) { return r.ListPlugins(ctx) })
		if err != nil {
			return err
		}
		return out.answer(list.Items, func() { printPlugins(out, list.Items) })
	})
}

func printPlugins(out printer, plugins []client.Plugin) {
	var problems []string
	out.table("PLUGIN\tVERSION\tSTATE\tSHARE\tIN FLIGHT\tRESTARTS\tSHA256", func(w io.Writer) {
		for _, p := range plugins {
			if len(p.Generations) == 0 {
				fmt.Fprintf(w, "%s\t-\t-\t-\t-\t-\t-\n", p.Name)
			}
			for _, g := range p.Generations {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", p.Name, g.Version, g.State, percent(g.Share), g.InFlight, g.Restarts, short(g.Sha256))
				if g.Error != "" {
					problems = append(problems, fmt.Sprintf("%s %s: %s", p.Name, g.Version, g.Error))
				}
			}
		}
	})
	if len(problems) > 0 {
		write(out, append([]string{""}, problems...))
	}
}

// short is the beginning of a checksum.
func short(sha256 string) string {
	if sha256 == "" {
		return "-"
	}
	return sha256[:min(12, len(sha256))]
}

func (p Process) pluginVersions() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "versions <plugin>",
		Short: "List the installed versions of a plugin",
		Long: `Lists the versions that can be rolled out, in the order in which they were first seen. A version
in quarantine was taken back because it did worse; it is rolled out with --force alone.`,
		Example: `  pigeonry plugin versions sms`,
		Args:    cobra.ExactArgs(1),
	}
	return p.remoteCommand(cmd, func(ctx context.Context, r *remote, args []string, out printer) error {
		list, err := ask[client.VersionList](ctx, r, func() (*http.Response, error) { return r.ListVersions(ctx, args[0]) })
		if err != nil {
			return err
		}
		return out.answer(list.Items, func() { printVersions(out, list.Items) })
	})
}

func printVersions(out printer, versions []client.PluginVersion) {
	out.table("VERSION\tSTATE\tACTIVE\tFIRST SEEN\tSHA256\tQUARANTINE", func(w io.Writer) {
		for _, v := range versions {
			active := ""
			if v.Active {
				active = "active"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n",
				v.Version, v.State, active, v.FirstSeen.Local().Format(shownTime), short(v.Sha256), printable(v.Quarantine))
		}
	})
}

func (p Process) pluginRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove <plugin> <version>",
		Short: "Remove a version that is not in use",
		Long: `Removes the files of a version from every gateway. One that carries messages, or is part of an
open rollout, stays; roll out another one first.`,
		Example: `  pigeonry plugin remove sms 1.0.0`,
		Args:    cobra.ExactArgs(2),
	}
	return p.remoteCommand(cmd, func(ctx context.Context, r *remote, args []string, out printer) error {
		result, err := order[client.VersionResult](r, func() (*http.Response, error) { return r.RemoveVersion(ctx, args[0], args[1]) })
		if err != nil {
			return err
		}
		return out.answer(result, func() { fmt.Fprintf(out, "%s %s is removed\n", result.Plugin, result.Version) })
	})
}
