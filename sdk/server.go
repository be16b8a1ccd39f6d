package sdk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// closeTimeout bounds how long Close waits for connectors. go-plugin kills the process two seconds
// after it asked it to end.
const closeTimeout = 1500 * time.Millisecond

// Server serves the contract for one plugin. Serve makes one; tests make their own with NewServer.
type Server struct {
	channelv1.UnimplementedChannelServiceServer

	plugin      definition
	description *channelv1.DescribeResponse
	redact      redactor
	logs        *redactWriter
	log         *slog.Logger
	http        *http.Transport

	gate          gate          // counts items in flight and shuts the door when draining
	drainOnce     sync.Once     // starts the drain
	drained       chan struct{} // closed when the drain is over
	giveUpOnce    sync.Once
	giveUp        chan struct{} // closed when items in flight have had their time
	healthChanged broadcast
	inbox         inbox
	shares        sharing
	entries       sync.Map // connector id → *entry

	ctx        context.Context // of everything that outlives a call; ends with Close
	cancel     context.CancelFunc
	background sync.WaitGroup
	stopOnce   sync.Once // ends the process: see serve
}

// definition is a Plugin without its type parameter.
type definition struct {
	name, version string
	channels      []string
	shape         *shape
	limits        Limits
	// parse decodes a config; the functions in its result close over the decoded value.
	parse func(config []byte) parsedConfig
}

// parsedConfig is a decoded config and what the plugin does with it.
type parsedConfig struct {
	secrets     []string
	diagnostics []*channelv1.Diagnostic
	validate    func() error
	open        func(context.Context) (Sender, error)
}

// NewServer returns the server of p, to be registered on a grpc.Server; Close it at the end. It
// panics when p itself is faulty: no name, no Open, or a config struct with bad tags.
func NewServer[C any](p Plugin[C]) *Server {
	s, err := newServer(p)
	if err != nil {
		panic("sdk: " + err.Error())
	}
	return s
}

func newServer[C any](p Plugin[C]) (*Server, error) {
	def, err := define(p)
	if err != nil {
		return nil, err
	}
	s := &Server{plugin: def, drained: make(chan struct{}), giveUp: make(chan struct{})}
	if s.description, err = describe(p, def); err != nil {
		return nil, err
	}
	s.logs = &redactWriter{r: &s.redact, w: os.Stderr}
	s.log = newLogger(s.logs, def.name)
	s.http = newHTTPTransport()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

func define[C any](p Plugin[C]) (definition, error) {
	if p.Name == "" || p.Version == "" || p.Open == nil {
		return definition{}, errors.New("a Plugin needs Name, Version and Open")
	}
	shape, err := shapeOf(reflect.TypeFor[C]())
	if err != nil {
		return definition{}, fmt.Errorf("config of plugin %s: %w", p.Name, err)
	}
	d := definition{name: p.Name, version: p.Version, channels: p.Channels, shape: shape, limits: p.Limits}
	if len(d.channels) == 0 {
		d.channels = []string{p.Name}
	}
	d.parse = func(config []byte) parsedConfig {
		var c C
		var out parsedConfig
		out.secrets, out.diagnostics = decodeConfig(shape, config, reflect.ValueOf(&c).Elem())
		out.open = func(ctx context.Context) (Sender, error) { return p.Open(ctx, c) }
		out.validate = func() error {
			if p.Validate == nil {
				return nil
			}
			return p.Validate(c)
		}
		return out
	}
	return d, nil
}

// LogTo sends the log lines to w instead of the standard error.
func (s *Server) LogTo(w io.Writer) { s.logs.redirect(w) }

// Close closes every connector and waits for what runs in the background, at most a second and a
// half. It takes no messages afterwards.
func (s *Server) Close() {
	s.gate.shut()
	s.stopReceivers()
	for _, e := range s.allEntries() {
		if c := e.current.Swap(nil); c != nil {
			s.background.Go(func() { c.retire(s.ctx) })
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.background.Wait()
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout):
		s.log.Warn("connectors did not close in time", "after", closeTimeout.String())
	}
	s.stopWaiting()
	s.cancel()
	s.http.CloseIdleConnections()
}

// stopWaiting makes every batch in flight give up its items.
func (s *Server) stopWaiting() { s.giveUpOnce.Do(func() { close(s.giveUp) }) }

// guard runs an author's function and turns a panic into an error, with its stack in the log.
func (s *Server) guard(what string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = s.panicked(what, v)
		}
	}()
	return f()
}

// panicked logs a panic; call it from the deferred function itself, so that the stack is still there.
func (s *Server) panicked(what string, v any) error {
	s.log.Error("plugin panicked", "in", what, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	return fmt.Errorf("%s panicked: %v", what, v)
}

// context makes the ctx for an author's method of the connector id.
func (s *Server) context(ctx context.Context, id string, h *healthSlot) context.Context {
	return &call{Context: ctx, server: s, connector: id, health: h}
}

// grpcOptions are the settings of every gRPC server of the SDK.
func grpcOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxReceiveBytes),
		// Streams reuse a few goroutines whose stacks have grown already.
		grpc.NumStreamWorkers(uint32(runtime.GOMAXPROCS(0))),
		// A gateway that pings an idle connection must not be shown the door (too_many_pings). The
		// server pings nobody itself: a gateway stopped by a debugger shall not lose its plugins.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: time.Second, PermitWithoutStream: true,
		}),
	}
}

// NewGRPCServer returns a grpc.Server with the SDK's settings that serves s: for tests, which choose
// their own listener.
func (s *Server) NewGRPCServer() *grpc.Server {
	g := grpc.NewServer(grpcOptions()...)
	channelv1.RegisterChannelServiceServer(g, s)
	return g
}

// nonce is new in every process.
func nonce() string { return rand.Text() }
