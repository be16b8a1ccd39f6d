package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/core"
)

func (p Process) key() *cobra.Command {
	parent := &cobra.Command{
		Use:   "key",
		Short: "Make, list and revoke API keys",
		Long: `Works on the store that the configuration names; the gateway may run or not. A key opens
one account and is shown once, when it is made: only its hash is kept.`,
	}
	parent.AddCommand(p.keyCreate(), p.keyList(), p.keyRevoke())
	return parent
}

// keyCommand completes a command that works with the keys of one account, which it may create.
func (p Process) keyCommand(cmd *cobra.Command, create bool, run func(ctx context.Context, a Accounts, account core.Account, args []string) error) *cobra.Command {
	var name string
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		s, err := p.load(cmd)
		if err != nil {
			return err
		}
		accounts, err := p.Gateway.Accounts(cmd.Context(), s)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, accounts.Close()) }()
		account, err := accounts.Account(cmd.Context(), name, create)
		if err != nil {
			return fmt.Errorf("find account %q: %w", name, err)
		}
		return run(cmd.Context(), accounts, account, args)
	}
	addConfigFlags(cmd)
	cmd.Flags().StringVar(&name, "account", "default", "account that the key opens")
	return cmd
}

func (p Process) keyCreate() *cobra.Command {
	var name string
	var lifetime time.Duration
	cmd := &cobra.Command{
		Use:     "create",
		Short:   "Make a key and print it; an account that is absent is created",
		Example: `  pigeonry key create -c gateway.hcl --name shop --expires-in 2160h`,
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&name, "name", "", "what the key is for")
	cmd.Flags().DurationVar(&lifetime, "expires-in", 0, "how long it opens the account (default: for ever)")
	return p.keyCommand(cmd, true, func(ctx context.Context, a Accounts, account core.Account, _ []string) error {
		var expires time.Time
		if lifetime != 0 {
			expires = time.Now().Add(lifetime)
		}
		plain, key, err := a.Create(ctx, account.ID, name, expires)
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), plain)
		fmt.Fprintf(cmd.ErrOrStderr(), "key %d of account %q; keep it, it is not shown again\n", key.ID, account.Name)
		return nil
	})
}

func (p Process) keyList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the keys of an account",
		Example: `  pigeonry key list -c gateway.hcl`,
		Args:    cobra.NoArgs,
	}
	return p.keyCommand(cmd, false, func(ctx context.Context, a Accounts, account core.Account, _ []string) error {
		keys, err := a.List(ctx, account.ID)
		if err != nil {
			return err
		}
		return printKeys(cmd.OutOrStdout(), keys)
	})
}

func printKeys(out io.Writer, keys []core.Key) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tKEY\tNAME\tCREATED\tEXPIRES\tSTATE")
	now := time.Now()
	for _, k := range keys {
		state, expires := "in force", "never"
		if !k.ExpiresAt.IsZero() {
			expires = k.ExpiresAt.Local().Format(time.DateTime)
		}
		switch {
		case !k.RevokedAt.IsZero():
			state = "revoked"
		case !k.InForce(now):
			state = "expired"
		}
		fmt.Fprintf(w, "%d\t%s…\t%s\t%s\t%s\t%s\n", k.ID, strings.TrimRight(k.Hint, "…"), k.Name, k.CreatedAt.Local().Format(time.DateTime), expires, state)
	}
	return w.Flush()
}

func (p Process) keyRevoke() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "revoke <id>",
		Short:   "Revoke a key for good",
		Long:    "Revokes a key for good. A running gateway refuses it within seconds.",
		Example: `  pigeonry key revoke -c gateway.hcl 3`,
		Args:    cobra.ExactArgs(1),
	}
	return p.keyCommand(cmd, false, func(ctx context.Context, a Accounts, account core.Account, args []string) error {
		id, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not the id of a key; pigeonry key list shows them", args[0])
		}
		if err := a.Revoke(ctx, account.ID, id); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "key %d is revoked\n", id)
		return nil
	})
}
