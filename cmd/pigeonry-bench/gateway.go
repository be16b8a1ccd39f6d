package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const apiKey = "pigeonry-bench-0123456789abcdef0123456789"

// setup is what a gateway is told: its connectors, and what it does.
type setup struct {
	connectors []connector
	roles      string // "": all of them
	// versions of the null plugin in a plugins folder of the run's own; none: the built one where it was built.
	versions []string
}

// connector is one of the null plugin.
type connector struct {
	channel  string
	settings string // of its block
	config   string // of its config block, besides the ledger
}

// plain is a gateway with one connector that takes all there is, with settings of its own.
func plain(settings string) setup {
	return setup{connectors: []connector{{channel: "null", settings: settings}}}
}

// hcl is the configuration of a gateway in the folder.
func (s setup) hcl(address, dir, bin string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "listen = %q\ndata_dir = %q\nplugins { dir = %q }\nlog { level = \"warn\" }\n"+
		"limit \"api:/messages/send\" {\n  type = \"qps\"\n  max  = 1000000\n}\n", // counted for every request, and never reached
		address, filepath.Join(dir, "data"), s.plugins(dir, bin))
	for _, c := range s.connectors {
		fmt.Fprintf(&b, "connector %q \"main\" {\n  plugin = \"null\"\n  %s\n  config {\n    ledger = %q\n    %s\n  }\n}\n",
			c.channel, c.settings, ledgerOf(dir, c.channel), c.config)
	}
	return b.String()
}

// plugins is the folder that the gateway takes its plugins from.
func (s setup) plugins(dir, bin string) string {
	if len(s.versions) > 0 {
		return filepath.Join(dir, "plugins")
	}
	return filepath.Join(bin, "examples", "plugins")
}

// ledgerOf is the file that the connector of a channel notes its messages in. All gateways write to the same.
func ledgerOf(dir, channel string) string { return filepath.Join(dir, "ledger-"+channel) }

// gateway is a process of the built program.
type gateway struct {
	address string
	file    string // its configuration; its log is beside it
	command *exec.Cmd
	exited  chan error
}

// launch starts a gateway with a name of its own in the folder and waits until it is ready. The gateway that
// is returned with an error has to be stopped as well.
func (s *subject) launch(ctx context.Context, name string, what setup) (*gateway, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	g := &gateway{address: address, file: filepath.Join(s.dir, name+".hcl")}
	if err := g.configure(s, what); err != nil {
		return nil, err
	}
	return g, g.start(ctx, s, what.roles)
}

// configure writes the file of the gateway, which reads it at its start and on SIGHUP.
func (g *gateway) configure(s *subject, what setup) error {
	return os.WriteFile(g.file, []byte(what.hcl(g.address, s.dir, s.bin)), 0o600)
}

func (g *gateway) start(ctx context.Context, s *subject, roles string) error {
	log, err := os.OpenFile(g.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	g.command = exec.Command(filepath.Join(s.bin, "pigeonry"), "serve", "-c", g.file)
	g.command.Env = append(foreign(), "PIGEONRY_BOOTSTRAP_KEY="+apiKey)
	if roles != "" {
		g.command.Env = append(g.command.Env, "PIGEONRY_ROLES="+roles)
	}
	g.command.Env = append(g.command.Env, s.engines.gatewayEnvironment()...)
	g.command.Stdout, g.command.Stderr = log, log
	if err := g.command.Start(); err != nil {
		return fmt.Errorf("start the gateway: %w; build it with: make build", err)
	}
	exited := make(chan error, 1)
	command := g.command
	g.exited = exited
	go func() { exited <- command.Wait() }()
	return g.awaitReady(ctx)
}

func (g *gateway) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.address+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case err := <-g.exited:
			g.exited <- err
			return fmt.Errorf("the gateway ended before it was ready: %w\n%s", err, g.logTail())
		case <-ctx.Done():
			return fmt.Errorf("the gateway was not ready in time\n%s", g.logTail())
		}
	}
}

func (g *gateway) log() string { return strings.TrimSuffix(g.file, ".hcl") + ".log" }

func (g *gateway) logTail() string {
	b, _ := os.ReadFile(g.log())
	return string(b[max(0, len(b)-2000):])
}

// stop ends the gateway as an operator would.
func (g *gateway) stop() error {
	if g == nil || g.command == nil || g.command.Process == nil {
		return nil
	}
	err := g.command.Process.Signal(syscall.SIGTERM)
	select {
	case exit := <-g.exited:
		g.exited <- exit
		return errors.Join(err, exit)
	case <-time.After(20 * time.Second):
		return errors.Join(err, errors.New("the gateway did not stop in time"), g.command.Process.Kill())
	}
}

// kill ends a gateway that has no way to finish what it sends: its provider hangs.
func (g *gateway) kill() error {
	if err := g.command.Process.Kill(); err != nil {
		return err
	}
	<-g.exited //nolint:errcheck // it was killed
	g.command = nil
	return nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
