package chaos

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/engine"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

// stage is everything that runs: engines, providers, gateways and the lines between them.
type stage struct {
	o    Options
	say  func(string, ...any)
	dir  string
	root bool // disks can be made

	sandbox  *sandbox.Sandbox
	engines  map[string]*engine.Engine
	rabbit   *engine.RabbitMQ
	network  *network
	disks    map[string]*disk // by the name of what is on it
	gateways []*gateway
	truth    truth
}

// newStage makes the folder of a run and nothing else yet.
func newStage(o Options, say func(string, ...any)) (*stage, error) {
	dir, err := os.MkdirTemp("", "pigeonry-chaos-")
	if err != nil {
		return nil, err
	}
	s := &stage{o: o, say: say, dir: dir, network: newNetwork(), root: canMount(dir)}
	s.describe()
	return s, nil
}

// describe says which gateways there are. In production the roles are spread so that each has a gateway that has
// it alone and one that has it among others: what two of them may do at a time is done by two.
func (s *stage) describe() {
	s.engines, s.disks = map[string]*engine.Engine{}, map[string]*disk{}
	if s.o.Engines == Embedded {
		s.gateways = []*gateway{{name: "gateway", roles: "api,worker,scheduler"}}
		return
	}
	s.gateways = []*gateway{
		{name: "front", roles: "api,scheduler"},
		{name: "worker", roles: "worker"},
		{name: "all", roles: "api,worker,scheduler"},
	}
}

// addresses are those of the gateways that have an API.
func (s *stage) addresses() []string {
	var addresses []string
	for _, g := range s.gateways {
		if strings.Contains(g.roles, "api") {
			addresses = append(addresses, g.address)
		}
	}
	return addresses
}

// senders are the gateways that send.
func (s *stage) senders() []*gateway {
	var senders []*gateway
	for _, g := range s.gateways {
		if strings.Contains(g.roles, "worker") {
			senders = append(senders, g)
		}
	}
	return senders
}

// start runs everything. What the faults will need is prepared.
func (s *stage) start(ctx context.Context, needed map[string]bool) error {
	for name := range needed {
		if disk := (&disk{dir: filepath.Join(s.dir, name)}); s.root {
			s.disks[name] = disk
			if err := disk.mount(); err != nil {
				return err
			}
		}
	}
	if err := s.startProviders(ctx); err != nil {
		return err
	}
	if s.o.Engines == Production {
		if err := s.startEngines(ctx); err != nil {
			return err
		}
	}
	return s.startGateways(ctx)
}

func (s *stage) startProviders(ctx context.Context) (err error) {
	s.sandbox, err = sandbox.Start(ctx, sandbox.Options{
		SMTP: "127.0.0.1:0", SMPP: "127.0.0.1:0", HTTP: "127.0.0.1:0", Ledger: filepath.Join(s.dir, "ledger"),
		InboxBound: 1000, Seed: s.o.Seed,
	})
	return err
}

func (s *stage) startEngines(ctx context.Context) error {
	var group errgroup.Group
	for _, name := range engine.Names() {
		e, err := s.newEngine(name)
		if err != nil {
			return err
		}
		s.engines[name] = e
		group.Go(func() error { return e.Start(ctx) })
	}
	began := time.Now()
	if err := group.Wait(); err != nil {
		return err
	}
	s.say("engines are ready after %.1f s", time.Since(began).Seconds())
	return nil
}

func (s *stage) newEngine(name string) (*engine.Engine, error) {
	o := engine.Options{Dir: filepath.Join(s.dir, name), Durable: !s.o.Brief}
	if name != engine.Rabbit {
		return engine.New(name, o)
	}
	rabbit, err := engine.NewRabbitMQ(o)
	if err != nil {
		return nil, err
	}
	s.rabbit = rabbit
	return rabbit.Engine, nil
}

func (s *stage) startGateways(ctx context.Context) error {
	for _, g := range s.gateways {
		if err := s.prepare(g); err != nil {
			return err
		}
		if err := g.start(); err != nil {
			return err
		}
		// The first one brings the schema up to date.
		ready, cancel := context.WithTimeout(ctx, readyPatience)
		err := g.awaitReady(ready)
		cancel()
		if err != nil {
			return err
		}
	}
	s.say("gateways are ready: %s", strings.Join(s.names(), ", "))
	if s.o.Engines == Embedded {
		s.truth = sqliteTruth{filepath.Join(s.data(s.gateways[0]), "pigeonry.db")}
	} else {
		s.truth = postgresTruth{s.engines[engine.Postgres].URL()}
	}
	return nil
}

func (s *stage) names() []string {
	var names []string
	for _, g := range s.gateways {
		names = append(names, g.name+" ("+g.roles+")")
	}
	return names
}

// data is the folder of a gateway's data: the disk of that name, or a folder.
func (s *stage) data(g *gateway) string { return filepath.Join(s.dir, g.name) }

// prepare writes the gateway's configuration and lays its lines.
func (s *stage) prepare(g *gateway) (err error) {
	g.dir, g.program = s.dir, s.o.Gateway
	if g.program == "" {
		g.program = filepath.Join(s.o.Bin, "pigeonry")
	}
	var taken []string
	for _, other := range s.gateways {
		taken = append(taken, other.address)
	}
	if g.address, err = freeAddress(gatewayPorts, taken); err != nil {
		return err
	}
	g.environment = append(ownEnvironment(), "PIGEONRY_BOOTSTRAP_KEY="+apiKey, clockVariable+"="+s.clockFile(g))
	for _, name := range engine.Names() {
		e, runs := s.engines[name]
		if !runs {
			continue
		}
		url, err := s.network.connect(e)
		if err != nil {
			return err
		}
		_, variable := engine.VariablesOf(name)
		g.environment = append(g.environment, variable+"="+url)
	}
	g.file = filepath.Join(s.dir, g.name+".hcl")
	return os.WriteFile(g.file, s.configuration(g), 0o600)
}

var configuration = template.Must(template.New("gateway.hcl").Parse(`listen = "{{.Address}}"
data_dir = "{{.Data}}"
roles = "{{.Roles}}"
plugins { dir = "{{.Plugins}}" }
log { level = "info" }

connector "email" "main" {
  plugin  = "email"
  timeout = "5s"
  {{.Settings}}
  config {
    host = "{{.SMTP.Host}}"
    port = {{.SMTP.Port}}
    tls  = "none"
    from = "Shop <no-reply@example.com>"
  }
}

connector "sms" "main" {
  plugin  = "sms"
  timeout = "5s"
  {{.Settings}}
  config {
    host      = "{{.SMPP.Host}}"
    port      = {{.SMPP.Port}}
    system_id = "pigeonry"
    password  = "secret"
  }
}
`))

// end is one end of a connection.
type end struct{ Host, Port string }

func endOf(address string) end {
	host, port, _ := net.SplitHostPort(address)
	return end{host, port}
}

func (s *stage) configuration(g *gateway) []byte {
	var b bytes.Buffer
	at := s.sandbox.Addresses()
	_ = configuration.Execute(&b, map[string]any{ // a buffer takes everything
		"Address": g.address, "Data": s.data(g), "Roles": g.roles, "Plugins": filepath.Join(s.o.Bin, "plugins"),
		"SMTP": endOf(at.SMTP), "SMPP": endOf(at.SMPP), "Settings": s.o.Settings,
	})
	return b.Bytes()
}

// close ends everything that was started, whatever state it is in, and removes the folder.
func (s *stage) close() error {
	var errs []error
	var group errgroup.Group
	for _, g := range s.gateways {
		group.Go(g.end)
	}
	errs = append(errs, group.Wait())
	s.network.close()
	for _, e := range s.engines {
		e.Kill() // nothing of it is needed any more
	}
	if s.sandbox != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		errs = append(errs, s.sandbox.Stop(ctx))
	}
	for _, d := range s.disks {
		errs = append(errs, d.unmount())
	}
	if s.o.Keep {
		s.say("kept: %s", s.dir)
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// ownEnvironment is ours without what is meant for other gateways.
func ownEnvironment() []string {
	var kept []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PIGEONRY_") {
			kept = append(kept, v)
		}
	}
	return kept
}

// get asks with the key of the run.
func get(ctx context.Context, url string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+apiKey)
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}
