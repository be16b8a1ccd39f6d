package cli

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/core/api/client"
)

func (p Process) trace() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trace <trace_id>",
		Short: "Show the path of a message",
		Long: `Shows the nodes of a message's path, in the order they happened: queue (accepted, waiting),
process (claimed, routed), send (at the plugin and its provider) and callback (what the
provider said later).`,
		Example: `  pigeonry trace msg_00000000000030390123456789abcdef`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := p.remote(cmd, true)
			if err != nil {
				return err
			}
			answer, err := r.GetTraceWithResponse(cmd.Context(), args[0])
			if err != nil {
				return fmt.Errorf("reach the gateway at %s: %w", r.url, err)
			}
			if err := answered(answer.HTTPResponse, answer.Body); err != nil {
				return err
			}
			if answer.JSON200 == nil {
				return errNotPigeonry
			}
			if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
				return printJSON(cmd.OutOrStdout(), answer.JSON200.Data)
			}
			return printTrace(cmd.OutOrStdout(), answer.JSON200.Data)
		},
	}
	addRemoteFlags(cmd)
	cmd.Flags().Bool("json", false, "print the data of the answer as JSON")
	return cmd
}

func printTrace(out io.Writer, t client.Trace) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tATTEMPT\tSTARTED\tDURATION\tSTATUS\tDETAIL")
	for _, n := range t.TraceData.Nodes {
		fmt.Fprintf(w, "%s\t%d\t%s\t%.3f ms\t%s\t%s\n",
			n.Name, n.Attempt, n.StartTime.Local().Format(time.RFC3339Nano), n.DurationMs, n.Status, n.Detail)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the trace: %w", err)
	}
	_, err := fmt.Fprintf(out, "\nmessage %d: %s in %.3f ms\n", t.RecordId, count(t.Statistics.NodeCount, "node"), t.Statistics.TotalDurationMs)
	return err
}
