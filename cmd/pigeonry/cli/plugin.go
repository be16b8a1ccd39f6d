package cli

import "github.com/spf13/cobra"

// plugin gathers what authors and operators do with plugins.
func (p Process) plugin() *cobra.Command {
	parent := &cobra.Command{
		Use:   "plugin",
		Short: "Test and install plugins, and replace their versions while messages flow",
		Long: `A new version of a plugin is installed beside the old one and then rolled out: every gateway
starts it, it gets a share of the messages that grows step by step, and one that does worse
than the old version is taken back by itself.

Whoever changes what runs needs a key of an operator: an account that the gateway's settings
name in operators, "default" if they say nothing.`,
		Example: `  pigeonry plugin install ./acme-1.1.0.tar.gz
  pigeonry plugin rollout acme 1.1.0 --watch
  pigeonry plugin rollback acme --reason "customers complain"`,
	}
	parent.AddCommand(
		p.pluginNew(), p.pluginDev(), p.pluginTest(), p.pluginBench(),
		p.pluginPack(), p.pluginSign(), p.pluginKeygen(),
		p.pluginInstall(),
		p.pluginList(), p.pluginVersions(), p.pluginRemove(),
		p.pluginRollout(), p.pluginStatus(),
		p.pluginPromote(), p.pluginPause(), p.pluginResume(), p.pluginRollback(),
	)
	return parent
}
