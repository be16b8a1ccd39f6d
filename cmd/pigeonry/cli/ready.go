package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// readyInterval is the time between two looks.
const readyInterval = 100 * time.Millisecond

func (p Process) ready() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Wait until a gateway is ready",
		Long: `Asks a gateway whether it is ready, its store, queue and plugins, until it is or the time is
over. For scripts and health checks; it needs no API key.`,
		Example: `  pigeonry ready --timeout 30s`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := p.remote(cmd, false)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := awaitReady(ctx, r); err != nil {
				return fmt.Errorf("not ready within %s: %w", timeout, err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "ready")
			return nil
		},
	}
	cmd.Flags().String("url", "", "address of the gateway (default: PIGEONRY_URL, else http://127.0.0.1:8080)")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "how long to wait")
	return cmd
}

// awaitReady looks until the gateway is ready or ctx ends, and then says what the last look saw.
func awaitReady(ctx context.Context, r *remote) error {
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	var last error
	for {
		err := lookReady(ctx, r)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // the last look is cut short and knows nothing
			last = err
		}
		select {
		case <-ctx.Done():
			return last
		case <-tick.C:
		}
	}
}

func lookReady(ctx context.Context, r *remote) error {
	answer, err := r.GetReadinessWithResponse(ctx)
	if err != nil {
		return fmt.Errorf("reach the gateway at %s: %w", r.url, err)
	}
	if answer.JSON200 != nil {
		return nil
	}
	if answer.JSON503 == nil {
		return answered(answer.HTTPResponse, answer.Body)
	}
	var waiting []string
	state := answer.JSON503.Data
	for _, d := range state.Dependencies {
		if !d.Ready {
			waiting = append(waiting, d.Name+": "+d.Message)
		}
	}
	for _, part := range append(state.Plugins, state.Connectors...) {
		if part.State != "ready" && part.State != "active" {
			waiting = append(waiting, part.Name+" is "+part.State+" "+part.Message)
		}
	}
	return fmt.Errorf("%s; %s", answer.JSON503.Message, strings.Join(waiting, "; "))
}
