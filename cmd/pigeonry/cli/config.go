package cli

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/core/gateway"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
)

// defaultFile is read when no file is named and one of this name is in the working directory.
const defaultFile = "gateway.hcl"

// load reads the settings for a command that has a -c flag.
func (p Process) load(cmd *cobra.Command) (*settings.Settings, error) {
	file, err := configFile(cmd)
	if err != nil {
		return nil, err
	}
	return settings.Load(settings.Sources{File: file, Environ: p.Environ, Flags: cmd.Flags(), Executable: p.Executable})
}

// configFile is the file that -c names, or else the default one if it is there; "" is none.
func configFile(cmd *cobra.Command) (string, error) {
	file, err := cmd.Flags().GetString("config")
	if err != nil || file != "" || cmd.Flags().Changed("config") {
		return file, err
	}
	if _, err := os.Stat(defaultFile); err == nil {
		return defaultFile, nil
	}
	return "", nil
}

// addConfigFlags gives a command -c and the flags that override the file.
func addConfigFlags(cmd *cobra.Command) {
	cmd.Flags().StringP("config", "c", "", "configuration file (default: "+defaultFile+" in the working directory, else the embedded default)")
	settings.AddFlags(cmd.Flags())
}

func (p Process) config() *cobra.Command {
	parent := &cobra.Command{Use: "config", Short: "Work with the configuration"}
	check := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration without starting anything",
		Long: `Reads the configuration as serve would, with the environment and the flags, and names
everything that is wrong with it: where it stands, what it is and how to mend it.

What stands in the config block of a connector is judged by its plugin, which is
started for that, opens nothing and ends again.`,
		Example: `  pigeonry config check -c gateway.hcl`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := p.load(cmd)
			if err != nil {
				return err
			}
			verdict, err := gateway.CheckPlugins(cmd.Context(), s, slog.New(slog.DiscardHandler))
			if err != nil {
				return fmt.Errorf("check the connectors: %w", err)
			}
			for _, warning := range append(s.Warnings, verdict.Warnings...) {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", warning)
			}
			if n := len(verdict.Faults); n > 0 {
				for _, fault := range verdict.Faults {
					fmt.Fprintln(cmd.ErrOrStderr(), fault)
				}
				return fmt.Errorf("the configuration has %s; nothing was started or changed", count(n, "fault"))
			}
			name := s.File
			if name == "" {
				name = "the embedded default"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is sound: %s, store %s, queue %s, coordination %s\n", name,
				count(len(s.Connectors), "connector"), s.Store.Kind, s.Queue.Kind, s.Coordination.Kind)
			return nil
		},
	}
	addConfigFlags(check)
	parent.AddCommand(check)
	return parent
}
