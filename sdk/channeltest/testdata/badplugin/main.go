// Command badplugin does what a plugin must not do, as the variable FAULT says. A fault that bears the
// name of a case of the kit breaks what that case guards and nothing else; the others show what the kit
// says of, or survives in, less subtle plugins. Without a fault it is a good plugin. The file in LEDGER
// grows by a line with each message that reaches the provider.
package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

type config struct {
	Host  string     `cfg:"host,required"`
	Token sdk.Secret `cfg:"token,required"`
}

type channel struct{ config }

// fault is what this process does wrong.
var fault = os.Getenv("FAULT")

// The files themselves: go-plugin replaces the variables.
var stdout, stderr = os.Stdout, os.Stderr

// noisy counts the messages for the recipient of that name.
var noisy atomic.Int64

func (c *channel) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	switch fault {
	case "no secret in any log":
		fmt.Fprintln(stderr, "connecting with", c.Token.Reveal())
	case "a secret in base64":
		fmt.Fprintln(stderr, "Authorization: Basic", base64.StdEncoding.EncodeToString([]byte(c.Token.Reveal())))
	}
	switch m.Recipient {
	case "slow":
		return sdk.Receipt{}, sendSlowly(ctx)
	case "panic":
		panic("as asked")
	case "fail":
		return sdk.Receipt{}, c.refused()
	case "noisy":
		shout()
	}
	reach(1)
	return sdk.Receipt{}, nil
}

// sendSlowly takes longer than a deadline that is short.
func sendSlowly(ctx context.Context) error {
	reach(1)
	select {
	case <-time.After(1100 * time.Millisecond):
		return nil
	case <-ctx.Done():
	}
	switch fault {
	case "a timeout is retryable":
		return sdk.Retryable(errors.New("the provider did not answer in time"))
	case "begun and not started":
		return sdk.Retryable(errors.New("no time was left"), sdk.Code(sdk.CodeNotStarted))
	}
	return ctx.Err()
}

// refused is what the provider says to the recipient "fail".
func (c *channel) refused() error {
	err := fmt.Errorf("401 for %s", c.Token.Reveal())
	switch fault {
	case "a refusal is no acceptance":
		return nil
	case "a refusal without a code":
		return sdk.Permanent(err, sdk.Code(""))
	}
	return sdk.Permanent(err)
}

// reach notes that messages have reached the provider.
func reach(n int) {
	path := os.Getenv("LEDGER")
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	if _, err := file.WriteString(strings.Repeat("sent\n", n)); err != nil {
		panic(err)
	}
}

// HandleCallback knows no request.
func (c *channel) HandleCallback(context.Context, *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events, error) {
	return &sdk.CallbackResponse{Status: 401}, sdk.Events{}, nil
}

// Query knows no attempt.
func (c *channel) Query(context.Context, []sdk.Attempt) ([]sdk.QueryResult, error) { return nil, nil }

// Receive brings nothing.
func (c *channel) Receive(ctx context.Context, _ sdk.Emit) error {
	<-ctx.Done()
	return nil
}

// Check reaches nobody.
func (c *channel) Check(context.Context) error { return nil }

// shout prints long lines.
func shout() {
	size := 70 << 10
	switch fault {
	case "64 KiB stderr lines":
		size = 1 << 10
	case "noise on stdout":
		if noisy.Add(1) == 3 {
			os.Exit(3)
		}
	case "raw long lines": // on the descriptors themselves: this is no fault, the kit must survive it
		size = 300 << 10
	}
	fmt.Fprintln(stderr, strings.Repeat("x", size))
	fmt.Fprintln(stdout, strings.Repeat("y", size))
}

// wire serves a service through go-plugin without what sdk.Serve adds.
type wire struct {
	goplugin.NetRPCUnsupportedPlugin
	service channelv1.ChannelServiceServer
}

func (w wire) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	channelv1.RegisterChannelServiceServer(s, w.service)
	return nil
}

func (wire) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func plugin() sdk.Plugin[config] {
	return sdk.Plugin[config]{
		Name: "bad", Version: "1.0.0", Prototype: (*channel)(nil), Limits: sdk.Limits{MaxInFlight: 256},
		Open: func(_ context.Context, c config) (sdk.Sender, error) { return &channel{c}, nil },
	}
}

func main() {
	if slices.Contains(os.Args, "-describe") {
		p := plugin()
		if fault == "describe by hand" {
			p.Version = "2.0.0"
		}
		sdk.Serve(p)
		return
	}
	switch fault {
	case "no handshake":
		fmt.Println("hello, world")
		return
	case "says nothing":
		return
	case "listens elsewhere":
		fmt.Println("1|1|tcp|127.0.0.1:1234|grpc|")
		select {}
	case "noise before handshake":
		fmt.Println("starting up...")
		fmt.Println(strings.Repeat("y", 70<<10))
	case "SIGKILL in mid-batch":
		hide()
	}
	ignoreSignals()
	go watchParent()

	s := sdk.NewServer(plugin())
	s.LogTo(io.Discard)
	b := &bad{Server: s}
	if fault == "strangers stay out" {
		serveAnybody(b)
		return
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: sdk.Handshake,
		Plugins:         goplugin.PluginSet{sdk.PluginName: wire{service: b}},
		GRPCServer:      newServer,
		Logger:          hclog.NewNullLogger(),
	})
	if fault == "ends when asked" && b.drained.Load() {
		select {}
	}
}

// newServer makes a server with the bound of the SDK's, or with gRPC's own.
func newServer(opts []grpc.ServerOption) *grpc.Server {
	if fault != "a large message" {
		opts = append(opts, grpc.MaxRecvMsgSize(sdk.MaxReceiveBytes))
	}
	return grpc.NewServer(opts...)
}

func ignoreSignals() {
	if fault == "signals ignored until drained" {
		go func() {
			c := make(chan os.Signal, 1)
			signal.Notify(c, syscall.SIGTERM)
			<-c
			os.Exit(0)
		}()
		return
	}
	signal.Ignore(syscall.SIGTERM, os.Interrupt, syscall.SIGPIPE)
}

// watchParent ends an orphan. GRACE is for what it has in flight.
func watchParent() {
	if fault == "orphan exits" {
		return
	}
	for parent := os.Getppid(); os.Getppid() == parent; {
		time.Sleep(50 * time.Millisecond)
	}
	grace, _ := time.ParseDuration(os.Getenv("GRACE"))
	time.Sleep(grace)
	os.Exit(1)
}
