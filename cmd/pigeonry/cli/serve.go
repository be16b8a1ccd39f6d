package cli

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/core/gateway/settings"
)

func (p Process) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Runs the gateway until SIGTERM or Ctrl-C, then stops in order: what is being sent is
finished within drain_timeout.

Settings come from the configuration file, over it the environment (PIGEONRY_LISTEN,
PIGEONRY_DATA_DIR, PIGEONRY_PLUGINS_DIR, ...), over that the flags. Without a file the
embedded default runs: SQLite in ./data, no connector.

PIGEONRY_BOOTSTRAP_KEY, a text of at least 32 characters, becomes an API key of the
account "default", which is created if absent.`,
		Example: `  pigeonry serve -c gateway.hcl
  PIGEONRY_LISTEN=127.0.0.1:9090 pigeonry serve`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := p.load(cmd)
			if err != nil {
				return err
			}
			logger := newLogger(cmd.ErrOrStderr(), s.Log)
			for _, warning := range s.Warnings {
				logger.WarnContext(cmd.Context(), "settings", "warning", warning)
			}
			return p.Gateway.Serve(cmd.Context(), s, logger)
		},
	}
	addConfigFlags(cmd)
	return cmd
}

func newLogger(out io.Writer, log settings.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: log.Level}
	if log.Format == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
