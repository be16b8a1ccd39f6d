package pluginhost

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	pluginrunner "github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// reapWait bounds the wait for the end of a process after SIGKILL; only a process that hangs in the
// kernel needs longer.
const reapWait = 2 * time.Second

// background is by how many steps the priority is lower of a process that starts while another one carries the messages,
// or of one that only finishes what it has. It then gets a third of what others get.
const background = 5

// launch is what it takes to start a process.
type launch struct {
	plugin  string
	path    string
	runtime *runtimeDir
	env     []string // names of the variables to inherit
	timing  Timing
	stderr  *stderrLog
	log     *slog.Logger
	// plaintext: the plugin says that its language cannot do mutual TLS.
	plaintext bool
	allowed   []string // plugins that may do without it
	sandbox   Sandbox
	yields    bool // it begins with a lower priority
}

// process is one running process of a plugin. It is started once: a restart makes another one.
type process struct {
	service channelv1.ChannelServiceClient
	runner  *runner
	client  *goplugin.Client
	conns   connections
	printed []io.Closer // the streams that go-plugin carries
	place   *place
	bounds  *confinement
	timing  Timing
	log     *slog.Logger
	yields  bool
	started time.Time
}

// start starts the process and connects to it. Whatever goes wrong, no process is left.
func (l launch) start(ctx context.Context) (*process, error) {
	if l.plaintext && !slices.Contains(l.allowed, l.plugin) {
		return nil, &catalog.Fault{
			What: "no mutual TLS", Expected: "a plugin that does mutual TLS", Found: "plaintext = true in its plugin.hcl",
			Remedy: fmt.Sprintf("allow it by name: plugins { plaintext = [%q] }", l.plugin), Permanent: true,
		}
	}
	place, err := l.runtime.reserve(l.plugin)
	if err != nil {
		return nil, err
	}
	p := &process{place: place, timing: l.timing, log: l.log, yields: l.yields, started: time.Now()}
	p.runner = newRunner(l.path, l.stderr.read, p.noteStart)
	p.runner.plaintext = l.plaintext
	if p.bounds, err = l.sandbox.confine(p.runner.cmd); err != nil {
		place.remove()
		return nil, err
	}
	place.record.Cgroup = p.bounds.group.at()
	config, err := p.config(l)
	if err != nil {
		place.remove()
		p.bounds.group.remove()
		return nil, err
	}
	p.client = goplugin.NewClient(config)
	connected := make(chan error, 1)
	go func() { connected <- p.connect() }()
	select {
	case err = <-connected:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil {
		return p, nil
	}
	err = p.explain(err, l.stderr)
	p.end(false)
	return nil, err
}

// noteStart records the process, so that it is found even if the gateway dies now.
func (p *process) noteStart(pid int) {
	if p.yields {
		p.runner.yield(background)
	}
	if err := p.bounds.limit(pid); err != nil {
		p.log.Warn("plugin process runs without some of its bounds", "pid", pid, "error", err)
	}
	if err := p.place.note(pid); err != nil {
		p.log.Error("plugin process is not recorded and may outlive a crash of the gateway", "pid", pid, "error", err)
	}
}

func (p *process) config(l launch) (*goplugin.ClientConfig, error) {
	env := inherit(l.env)
	var settings *tls.Config
	if !l.plaintext {
		certificate, mutual, err := sdk.ClientIdentity()
		if err != nil {
			return nil, err
		}
		env, settings = append(env, certificate), mutual
	}
	stdout, stderr := l.stderr.printed(), l.stderr.printed()
	p.printed = []io.Closer{stdout, stderr}
	return &goplugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake,
		Plugins:          goplugin.PluginSet{sdk.PluginName: sdk.ClientPlugin{}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, socketDir string) (pluginrunner.Runner, error) {
			if err := p.bounds.open(p.place.folder, socketDir); err != nil {
				return nil, err
			}
			p.runner.socketDir = socketDir
			p.runner.cmd.Env = slices.Concat(env, cmd.Env)
			return p.runner, nil
		},
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: p.place.folder},
		SkipHostEnv:      true,
		TLSConfig:        settings,
		StartTimeout:     l.timing.Start,
		Logger:           newQuietLogger(l.log),
		SyncStdout:       stdout,
		SyncStderr:       stderr,
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
			grpc.WithDisableRetry(), // dispatch alone repeats, and only what was surely not sent
			grpc.WithDisableServiceConfig(),
			grpc.WithStreamInterceptor(p.conns.intercept),
		},
	}, nil
}

// inherit returns the environment of a plugin: what programs commonly need, and extra.
func inherit(extra []string) []string {
	var env []string
	common := []string{"PATH", "TZ", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"}
	for _, name := range append(common, extra...) {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// connect starts the process and returns once its service can be called.
func (p *process) connect() error {
	protocol, err := p.client.Client()
	if err != nil {
		return err
	}
	service, err := protocol.Dispense(sdk.PluginName)
	if err != nil {
		return fmt.Errorf("dispense: %w", err)
	}
	client, ok := service.(channelv1.ChannelServiceClient)
	if !ok {
		return fmt.Errorf("dispense: got %T", service)
	}
	p.service = client
	return nil
}

// explain names the reason why the process cannot be used.
func (p *process) explain(err error, stderr *stderrLog) error {
	var named *catalog.Fault
	switch refused := p.runner.refusal(); {
	case refused != nil:
		return refused
	case errors.As(err, &named):
		return named
	case errors.Is(err, context.Canceled):
		return err
	case p.runner.ID() == "" && !errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("start process: %w", err)
	case !p.runner.greeted():
		if !errors.Is(err, context.DeadlineExceeded) {
			within(p.runner.drained, reapWait) // the reason stands in its last words
		}
		return noHandshake(p.runner.exited(), stderr.tail.String(), p.timing.Start)
	}
	return p.endedEarly("a connection after the handshake", err)
}

// endedEarly tells an error from its cause, where that is the end of the process.
func (p *process) endedEarly(expected string, err error) error {
	within(p.runner.ended, drainOutput) // the connection breaks a moment before
	exit := p.runner.exited()
	if !exit.ended {
		return fmt.Errorf("expected %s: %w", expected, err)
	}
	return ended(&catalog.Fault{
		What: "ended during the start", Expected: expected, Found: "that " + exit.String(), Remedy: "see its standard error", Cause: err,
	}, exit)
}

// end ends the process, waits until it is gone and removes what it leaves behind. It returns within
// the sum of the timing's steps, whatever the process does. Graceful asks it first and kills it
// later; a process that hangs is not worth asking.
func (p *process) end(graceful bool) {
	if !graceful {
		p.runner.signal(syscall.SIGKILL)
	}
	ended := make(chan struct{})
	go func() {
		// Without our signals this could take forever: go-plugin asks the plugin to shut down and sets
		// no deadline for the answer.
		p.client.Kill()
		if p.runner.ID() != "" {
			<-p.runner.drained
		}
		close(ended)
	}()
	if !within(ended, p.timing.Exit) {
		p.runner.signal(syscall.SIGTERM)
		if !within(ended, p.timing.Terminate) {
			p.runner.signal(syscall.SIGKILL)
			if !within(ended, reapWait) {
				p.log.Error("plugin process cannot be ended", "pid", p.runner.ID())
			}
		}
	}
	p.conns.close()
	for _, stream := range p.printed {
		_ = stream.Close() // what was printed without a line feed is read now
	}
	p.place.remove()
	p.bounds.group.remove()
}

// within says whether done is closed before limit has passed.
func within(done <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// connections remembers the gRPC connections that go-plugin makes: where its own start fails half-way,
// it forgets them, and their goroutines would stay.
type connections struct {
	mu   sync.Mutex
	seen map[*grpc.ClientConn]struct{}
}

func (c *connections) intercept(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	c.mu.Lock()
	if c.seen == nil {
		c.seen = map[*grpc.ClientConn]struct{}{}
	}
	c.seen[conn] = struct{}{}
	c.mu.Unlock()
	return next(ctx, desc, conn, method, opts...)
}

func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.seen {
		_ = conn.Close() // go-plugin closed it already: ErrClientConnClosing
	}
}
