package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/author"
	"github.com/pigeonry/pigeonry/core/api/client"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

func (p Process) pluginDev() *cobra.Command {
	var key string
	var plaintext bool
	cmd := &cobra.Command{
		Use:   "dev <folder with the sources>",
		Short: "Keep a plugin running on a local gateway while you change its source",
		Long: `Builds the plugin in the folder, installs it into the plugins folder of a gateway on this machine and lets
it take over; then again whenever a source changes, until Ctrl-C. Messages flow all the while. A build that
fails, or that the gateway takes back, changes nothing.

Each build is a version of its own, such as 0.1.0-dev.20261127T161500: a pre-release of what the source says,
or of the version after the highest that is released. Those that are not needed any more are removed.

A folder with a build.sh is built with "build.sh <out>", which writes <out>/<name>/<version>/<name> and heeds
the variable VERSION; any other with go build, which sets the variable version of the program.

The plugins folder and the gateway's address come from the configuration, as for serve. The key is that of an
operator.`,
		Example: `  pigeonry plugin dev . -c ../gateway/gateway.hcl --key "$PIGEONRY_API_KEY"
  pigeonry plugin dev ./pager --plugins-dir ./plugins --url http://127.0.0.1:8080`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := p.load(cmd)
		if err != nil {
			return err
		}
		if err := p.localGateway(cmd, s); err != nil {
			return err
		}
		r, err := p.remote(cmd, true)
		if err != nil {
			return err
		}
		keys, err := catalog.ParseKeys(s.Plugins.TrustedKeys)
		if err != nil {
			return err
		}
		d := author.Dev{
			Source: args[0], Others: []string{s.DataDir}, Plugins: s.Plugins.Dir, Gateway: devGateway{r}, Out: cmd.OutOrStdout(),
			Install: catalog.InstallOptions{
				Manifest: catalog.Manifest{Plaintext: plaintext}, RequireSignature: s.Plugins.RequireSignature, TrustedKeys: keys,
			},
		}
		if key != "" {
			password, err := p.keyPassword(cmd, key)
			if err != nil {
				return err
			}
			d.Sign = func(manifest string) error {
				_, err := catalog.Sign(manifest, key, password)
				return err
			}
		}
		fmt.Fprintf(cmd.OutOrStdout(), "watching %s; plugins go to %s, and take over at %s. Ctrl-C ends it\n", args[0], s.Plugins.Dir, r.url)
		return d.Run(cmd.Context())
	}
	addConfigFlags(cmd)
	addRemoteFlags(cmd)
	cmd.Flags().StringVar(&key, "sign-key", "", "secret key that signs each build, where the gateway requires signatures")
	cmd.Flags().BoolVar(&plaintext, "plaintext", false, "its language cannot do mutual TLS; the settings must allow that by its name")
	return cmd
}

// localGateway takes the address of the gateway from the settings, unless somebody says another.
func (p Process) localGateway(cmd *cobra.Command, s *settings.Settings) error {
	if cmd.Flags().Changed("url") || p.getenv("PIGEONRY_URL") != "" {
		return nil
	}
	host, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return fmt.Errorf("find the gateway: %w; say --url", err)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return cmd.Flags().Set("url", "http://"+net.JoinHostPort(host, port))
}

// devGateway is a gateway as the development of a plugin sees it.
type devGateway struct{ *remote }

// Versions implements author.Gateway.
func (g devGateway) Versions(ctx context.Context, plugin string) ([]author.Version, error) {
	list, err := order[client.VersionList](g.remote, func() (*http.Response, error) { return g.ListVersions(ctx, plugin) })
	if r, ok := errors.AsType[*refusal](err); ok && r.status == http.StatusNotFound {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	generations, err := g.generations(ctx, plugin)
	if err != nil {
		return nil, err
	}
	versions := make([]author.Version, len(list.Items))
	for i, v := range list.Items {
		versions[i] = author.Version{Version: v.Version, Active: v.Active}
		if p, ok := generations[v.Version]; ok {
			versions[i].Running = p.State == client.GenerationStateActive
			versions[i].Problem = problemOf(&p)
		}
	}
	return versions, nil
}

// generations are the processes of a plugin by their versions.
func (g devGateway) generations(ctx context.Context, plugin string) (map[string]client.Generation, error) {
	list, err := order[client.PluginList](g.remote, func() (*http.Response, error) { return g.ListPlugins(ctx) })
	found := map[string]client.Generation{}
	for _, p := range list.Items {
		if p.Name == plugin {
			for _, process := range p.Generations {
				found[process.Version] = process
			}
		}
	}
	return found, err
}

// problemOf is why a process failed, with its last words; "" if it did not.
func problemOf(g *client.Generation) string {
	if g.State != client.GenerationStateFailed {
		return ""
	}
	return strings.TrimSpace(g.Error + "\n" + g.LastStderr)
}

// RollOut implements author.Gateway.
func (g devGateway) RollOut(ctx context.Context, plugin, version string) error {
	none := int64(0)
	params := &client.BeginRolloutParams{IdempotencyKey: "cli-" + strings.ToLower(rand.Text())}
	body := client.RolloutRequest{Version: version, Strategy: "immediate", Options: client.RolloutOptions{BakeMs: &none}}
	begun, err := ask[client.Rollout](ctx, g.remote, func() (*http.Response, error) { return g.BeginRollout(ctx, plugin, params, body) })
	if err != nil {
		return err
	}
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for {
		detail, err := rolloutDetail(ctx, g.remote, plugin, begun.Id)
		if err != nil {
			return err
		}
		if ended(&detail.Rollout) {
			return g.explain(ctx, rolledBack(&detail.Rollout), plugin, version)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// explain adds to an error what the process of the version said last.
func (g devGateway) explain(ctx context.Context, err error, plugin, version string) error {
	if err == nil {
		return nil
	}
	generations, lost := g.generations(ctx, plugin)
	if p := generations[version]; lost == nil && p.LastStderr != "" {
		return fmt.Errorf("%w\n%s", err, strings.TrimSpace(p.LastStderr))
	}
	return err
}

// Remove implements author.Gateway.
func (g devGateway) Remove(ctx context.Context, plugin, version string) error {
	_, err := order[client.VersionResult](g.remote, func() (*http.Response, error) { return g.RemoveVersion(ctx, plugin, version) })
	return err
}
