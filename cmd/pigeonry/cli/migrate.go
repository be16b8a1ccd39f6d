package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (p Process) migrate() *cobra.Command {
	parent := &cobra.Command{
		Use:   "migrate",
		Short: "See or upgrade the schema of the store",
		Long: `The schema of the store that the settings name. A gateway upgrades it by itself when it
starts, and several may start at once; these commands are for doing it beforehand.`,
	}
	parent.AddCommand(p.migrateStatus(), p.migrateUp())
	return parent
}

func (p Process) migrateStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show the version of the schema and the one this program needs",
		Example: `  PIGEONRY_POSTGRES_URL=postgres://... pigeonry migrate status`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := p.load(cmd)
			if err != nil {
				return err
			}
			found, known, err := p.Gateway.Schema(cmd.Context(), s)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "store %s: schema %d, this program needs %d: %s\n", s.Store.Kind, found, known, schemaState(found, known))
			return nil
		},
	}
	addConfigFlags(cmd)
	return cmd
}

// schemaState says what to do about a version.
func schemaState(found, known int64) string {
	switch {
	case found < known:
		return "run `pigeonry migrate up`, or start a gateway"
	case found > known:
		return "a newer version wrote it; run that version"
	default:
		return "up to date"
	}
}

func (p Process) migrateUp() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "up",
		Short:   "Upgrade the schema to the version this program needs",
		Example: `  PIGEONRY_POSTGRES_URL=postgres://... pigeonry migrate up`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := p.load(cmd)
			if err != nil {
				return err
			}
			applied, err := p.Gateway.Migrate(cmd.Context(), s)
			if err != nil {
				return err
			}
			if len(applied) == 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "store %s: up to date\n", s.Store.Kind)
			}
			for _, version := range applied {
				fmt.Fprintf(cmd.OutOrStdout(), "store %s: applied %d\n", s.Store.Kind, version)
			}
			return nil
		},
	}
	addConfigFlags(cmd)
	return cmd
}
