package cli

import (
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/core/gateway/settings"
)

func (p Process) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Runs the gateway until SIGTERM or Ctrl-C, then stops in order: what is being sent is
finished within drain_timeout.

A change of the configuration file, or SIGHUP, puts new settings in force while it runs:
connectors, pools, limits, log level. A file with a fault changes nothing. What needs a
restart is named in the log.

Settings come from the configuration file, over it the environment (PIGEONRY_LISTEN,
PIGEONRY_DATA_DIR, PIGEONRY_PLUGINS_DIR, ...), over that the flags. Without a file the
embedded default runs: SQLite in ./data, no connector.

PIGEONRY_BOOTSTRAP_KEY, a text of at least 32 characters, becomes an API key of the
account "default", which is created if absent.`,
		Example: `  pigeonry serve -c gateway.hcl
  PIGEONRY_LISTEN=127.0.0.1:9090 pigeonry serve`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runServe(cmd) },
	}
	addConfigFlags(cmd)
	return cmd
}

func (p Process) runServe(cmd *cobra.Command) error {
	// From here on: a SIGHUP that comes before the gateway is up must not end the process.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)

	file, err := configFile(cmd)
	if err != nil {
		return err
	}
	seen := fingerprint(file) // before the file is read, so that no change falls between the two
	s, err := p.load(cmd)
	if err != nil {
		return err
	}
	var level slog.LevelVar
	level.Set(s.Log.Level)
	r := &reloader{
		file: file, seen: seen, hangups: hangups, level: &level, logger: newLogger(cmd.ErrOrStderr(), s.Log.Format, &level),
		load: func() (*settings.Settings, error) { return p.load(cmd) },
	}
	r.warn(cmd.Context(), s)
	return p.Gateway.Serve(cmd.Context(), s, r.logger, r.follow)
}

func newLogger(out io.Writer, format string, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
