package sdk

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

const (
	// orphanPoll is how often the parent's process id is looked at.
	orphanPoll = 250 * time.Millisecond
	// orphanDrain is how long items in flight may take once the gateway is gone.
	orphanDrain = 2 * time.Second
	// orphanExit is when an orphan ends whatever happens.
	orphanExit = 4 * time.Second
)

// Serve is the whole main of a plugin: it serves p to the gateway that started the process, and ends
// the process when the gateway says so or is gone. Started by hand it says what it is; with -describe
// it prints its description as JSON.
//
// The process belongs to Serve from then on. SIGTERM and SIGINT are ignored until the plugin has
// been drained: a service manager that signals the whole group must not take the plugins away before
// the gateway has finished. What is printed to the standard output, or through the log package,
// becomes a line of the log. The standard input is left alone.
func Serve[C any](p Plugin[C]) {
	s, err := newServer(p)
	if err != nil {
		fmt.Fprintf(os.Stderr, "This plugin is faulty: %v\n", err)
		os.Exit(1)
	}
	switch {
	case slices.ContainsFunc(os.Args[1:], func(a string) bool { return a == "-describe" || a == "--describe" }):
		if err := printDescription(os.Stdout, s.description); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case os.Getenv(Handshake.MagicCookieKey) != Handshake.MagicCookieValue:
		greet(os.Stderr, &s.plugin)
		os.Exit(1)
	default:
		s.serve()
	}
}

// greet tells a person what the file is.
func greet(w io.Writer, d *definition) {
	exe := filepath.Base(os.Args[0])
	_, _ = fmt.Fprintf(w, `%[1]s %[2]s is a channel plugin of Pigeonry. The gateway starts it; by itself it does nothing.

To use it:    install it as <plugins dir>/%[1]s/%[2]s/%[1]s and name it in a connector: plugin = "%[1]s"
To look:      %[3]s -describe
`, d.name, d.version, exe)
}

// serve runs until the gateway ends the connection or the process is orphaned.
func (s *Server) serve() {
	s.shares.expect()
	s.LogTo(os.Stderr) // the file itself: go-plugin and capture replace the variable later
	slog.SetDefault(s.log)
	ctx, cancel := context.WithCancel(context.Background())
	stop := make(chan struct{}) // closed when the gRPC server shall stop
	go s.watchSignals(ctx, stop)
	go s.watchParent(ctx, os.Getppid(), orphanPoll, stop)

	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: Handshake,
		Plugins:         goplugin.PluginSet{PluginName: serverPlugin{service: s}},
		Logger: hclog.New(&hclog.LoggerOptions{
			Name: s.plugin.name, Level: hclog.Warn, Output: s.logs, JSONFormat: true,
		}),
		TLSProvider: s.identify,
		// go-plugin's own options come first: the connection's credentials are among them.
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			output := &capture{log: s.log}
			opts = append(opts, grpcOptions()...)
			opts = append(opts,
				grpc.ChainUnaryInterceptor(output.unary), grpc.ChainStreamInterceptor(output.stream))
			g := grpc.NewServer(opts...)
			go func() {
				<-stop
				g.Stop() // lets goplugin.Serve return, which removes the socket
			}()
			return g
		},
	})
	cancel()
	s.Close()
	os.Exit(0)
}

// identify is called by go-plugin before it announces the address. If it returns nothing, go-plugin does without mutual
// TLS, or by its own certificates where the client has shown one.
func (s *Server) identify() (*tls.Config, error) {
	client := os.Getenv(clientCertVariable)
	if client == "" {
		return nil, nil
	}
	settings, certificate, err := serverIdentity(client)
	if err == nil {
		err = announceWith(certificate)
	}
	if err != nil {
		s.log.Warn("go-plugin's own certificates are used", "error", err.Error())
		return nil, nil
	}
	return settings, nil
}

// announceWith adds a certificate to the handshake line: go-plugin has no place for one that it did not make. A pipe
// stands in for the standard output until go-plugin puts its own there, right after that line.
func announceWith(certificate string) error {
	lines, pipe, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe for the handshake: %w", err)
	}
	out := os.Stdout
	os.Stdout = pipe // which is closed once nobody has it any more
	go passOn(out, lines, certificate)
	return nil
}

// passOn copies lines, and adds the certificate to the handshake line where it has room for it: behind the protocol.
func passOn(out io.Writer, lines io.Reader, certificate string) {
	const before = "|" + string(goplugin.ProtocolGRPC) + "|"
	in := bufio.NewReader(lines)
	for announced := false; ; {
		line, err := in.ReadString('\n')
		head, tail, found := strings.Cut(line, before)
		if found && !announced && (tail == "\n" || tail == "|true\n") { // "true": go-plugin can multiplex, if it was asked
			line, announced = head+before+certificate+tail, true
		}
		if _, failed := io.WriteString(out, line); err != nil || failed != nil {
			return
		}
	}
}

// watchSignals ignores SIGTERM and SIGINT until the plugin has been drained.
func (s *Server) watchSignals(ctx context.Context, stop chan<- struct{}) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-signals:
			select {
			case <-s.drained:
				s.stopOnce.Do(func() { close(stop) })
				return
			default:
				s.log.Info("signal ignored: the gateway decides when this plugin ends", "signal", sig.String())
			}
		}
	}
}

// watchParent ends the plugin when its gateway is gone, which shows in a new parent process: items
// in flight may finish, then the process ends, in any case after orphanExit.
func (s *Server) watchParent(ctx context.Context, parent int, every time.Duration, stop chan<- struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for os.Getppid() == parent {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	time.AfterFunc(orphanExit, func() { os.Exit(1) })
	s.log.Warn("the gateway is gone: finishing what is in flight, then ending", "parent", parent)
	s.startDrain(orphanDrain, "the gateway is gone")
	time.AfterFunc(orphanDrain, s.stopWaiting) // also when a slower drain was under way
	<-s.drained
	s.stopOnce.Do(func() { close(stop) })
}
