package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

func (p Process) pluginInstall() *cobra.Command {
	var manifest catalog.Manifest
	cmd := &cobra.Command{
		Use:   "install <folder, archive or executable>",
		Short: "Put a version of a plugin into the plugins folder",
		Long: `Checks a version of a plugin and puts it into the plugins folder of this machine, in one step, as
<folder>/<name>/<version>. A running gateway finds it there; it carries messages only once
it is rolled out. The source is a folder with a plugin.hcl, an archive of one, or an
executable whose --name and --version are given.

The folder, and whose signatures count, come from the configuration, as for serve. What is
there already is never replaced: other bytes are another version.`,
		Example: `  pigeonry plugin install ./acme-1.1.0.tar.gz -c gateway.hcl
  pigeonry plugin install ./acme --name acme --version 1.1.0 --plugins-dir ./plugins`,
		Args: cobra.ExactArgs(1),
	}
	var asJSON bool
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := p.load(cmd)
		if err != nil {
			return err
		}
		keys, err := catalog.ParseKeys(s.Plugins.TrustedKeys)
		if err != nil {
			return err
		}
		v, err := catalog.Install(s.Plugins.Dir, args[0], catalog.InstallOptions{
			Manifest: manifest, RequireSignature: s.Plugins.RequireSignature, TrustedKeys: keys,
		})
		if err != nil {
			return err
		}
		out := printer{cmd.OutOrStdout(), asJSON}
		return out.answer(installed{v.Name, v.Version, v.SHA256, v.Path, v.Signed}, func() {
			fmt.Fprintf(out, "%s %s is installed as %s\n", v.Name, v.Version, v.Path)
			if s.Plugins.Rollout == settings.RolloutManual {
				fmt.Fprintf(out, "pigeonry plugin rollout %s %s lets it carry messages\n", v.Name, v.Version)
			}
		})
	}
	addConfigFlags(cmd)
	cmd.Flags().StringVar(&manifest.Name, "name", "", "name of the plugin, for an executable without plugin.hcl")
	cmd.Flags().StringVar(&manifest.Version, "version", "", "semantic version of it, like 1.1.0")
	cmd.Flags().StringSliceVar(&manifest.Channels, "channel", nil, "channel that it serves; may be repeated")
	cmd.Flags().BoolVar(&manifest.Plaintext, "plaintext", false, "its language cannot do mutual TLS; the settings must allow that by its name")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was installed as JSON")
	return cmd
}

// installed is what install tells as JSON.
type installed struct {
	Plugin  string `json:"plugin"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	Path    string `json:"path"`
	Signed  bool   `json:"signed"`
}
