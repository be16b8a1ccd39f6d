package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/author"
	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// packing is what pack is told.
type packing struct {
	manifest  catalog.Manifest
	archive   string
	noArchive bool
	key       string
}

// packed is what pack tells as JSON.
type packed struct {
	Plugin    string   `json:"plugin"`
	Version   string   `json:"version"`
	Channels  []string `json:"channels"`
	SHA256    string   `json:"sha256"`
	Manifest  string   `json:"manifest"`
	Signature string   `json:"signature,omitempty"`
	Archive   string   `json:"archive,omitempty"`
}

func (p Process) pluginPack() *cobra.Command {
	var o packing
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "pack <folder or executable>",
		Short: "Make a version of a plugin ready to be installed",
		Long: `Writes plugin.hcl beside the executable, with its checksum, and an archive that plugin install takes.
Name, version and channels are what the program says with -describe; flags, and a plugin.hcl that is
there already, go before it. With --key the version is signed, too.

In a folder without plugin.hcl the only executable is meant.`,
		Example: `  pigeonry plugin pack dist/acme/1.1.0
  pigeonry plugin pack dist/acme/1.1.0 --key acme.key --output acme-1.1.0-linux-amd64.tar.gz
  pigeonry plugin pack ./acme-arm64 --name acme --version 1.1.0 --no-archive`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := o.run(cmd.Context(), args[0], func(key string) (string, error) { return p.keyPassword(cmd, key) })
			if err != nil {
				return err
			}
			out := printer{cmd.OutOrStdout(), asJSON}
			return out.answer(result, func() {
				fmt.Fprintf(out, "%s %s is packed: %s (sha256 %s)\n", result.Plugin, result.Version, result.Manifest, result.SHA256)
				if result.Signature != "" {
					fmt.Fprintf(out, "signature: %s\n", result.Signature)
				}
				if result.Archive != "" {
					fmt.Fprintf(out, "archive: %s\npigeonry plugin install %s puts it into a gateway's plugins folder\n", result.Archive, shellWord(result.Archive))
				}
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.archive, "output", "o", "", "archive to write (default: <name>-<version>.tar.gz here)")
	f.BoolVar(&o.noArchive, "no-archive", false, "write plugin.hcl alone")
	f.StringVar(&o.key, "key", "", "secret key that signs it, see plugin sign")
	f.StringVar(&o.manifest.Name, "name", "", "name of the plugin, where the program cannot be asked")
	f.StringVar(&o.manifest.Version, "version", "", "semantic version of it, like 1.1.0")
	f.StringSliceVar(&o.manifest.Channels, "channel", nil, "channel that it serves; may be repeated")
	f.BoolVar(&o.manifest.Plaintext, "plaintext", false, "its language cannot do mutual TLS; operators must allow that by its name")
	f.BoolVar(&asJSON, "json", false, "print what was packed as JSON")
	cmd.MarkFlagsMutuallyExclusive("output", "no-archive")
	return cmd
}

// run packs one version. password opens a key.
func (o *packing) run(ctx context.Context, source string, password func(key string) (string, error)) (packed, error) {
	executable, err := author.Executable(source)
	if err != nil {
		return packed{}, fmt.Errorf("find the plugin: %w", err)
	}
	m, err := o.identify(ctx, executable)
	if err != nil {
		return packed{}, err
	}
	if m, err = catalog.Pack(executable, catalog.PackOptions{Manifest: m}); err != nil {
		return packed{}, err
	}
	folder := filepath.Dir(executable)
	result := packed{Plugin: m.Name, Version: m.Version, Channels: m.Channels, SHA256: m.SHA256, Manifest: filepath.Join(folder, catalog.ManifestFile)}
	if o.key != "" {
		word, err := password(o.key)
		if err != nil {
			return packed{}, err
		}
		if result.Signature, err = catalog.Sign(result.Manifest, o.key, word); err != nil {
			return packed{}, fmt.Errorf("sign: %w", err)
		}
	}
	if !o.noArchive {
		result.Archive = cmp.Or(o.archive, m.Name+"-"+m.Version+".tar.gz")
		_, err = catalog.Pack(executable, catalog.PackOptions{Manifest: m, Archive: result.Archive})
	}
	return result, err
}

// identify is what plugin.hcl is to say: what the flags do, then what a plugin.hcl that is there does, then what the
// program itself does. The name that the program gives itself must be that name, or the gateway would not take it.
func (o *packing) identify(ctx context.Context, executable string) (catalog.Manifest, error) {
	m, file := o.manifest, filepath.Join(filepath.Dir(executable), catalog.ManifestFile)
	there, err := catalog.ReadManifest(file)
	whole := err == nil
	if _, err := os.Stat(file); err == nil && !whole {
		return m, nil // a draft: Pack completes it, or says what is wrong with it
	}
	if whole && there.Executable != filepath.Base(executable) {
		return m, fmt.Errorf("%s is about another executable, %s; remove the file, or pack its folder", file, there.Executable)
	}
	d, err := author.Describe(ctx, executable)
	if err != nil {
		if whole || (m.Name != "" && m.Version != "") {
			return m, nil // one for another machine
		}
		return m, fmt.Errorf("%w, or give --name and --version", err)
	}
	name, version := cmp.Or(m.Name, there.Name, d.Name), cmp.Or(m.Version, there.Version, d.Version)
	switch {
	case name != d.Name:
		return m, fmt.Errorf("the plugin shall be called %s, and its program says that it is %s; the gateway would refuse it", name, d.Name)
	case version != d.Version && m.Version == "":
		return m, fmt.Errorf("%s is about version %s, and the program says that it is %s; remove the file, or give --version", file, version, d.Version)
	}
	m.Name, m.Version = name, version
	if len(m.Channels) == 0 && len(there.Channels) == 0 {
		m.Channels = d.Channels
	}
	return m, nil
}
