// Command badplugin does what a plugin must not do, as the variable FAULT says; each fault makes one
// case of the kit fail, or shows what it survives.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

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

// The files themselves: go-plugin replaces the variables.
var stdout, stderr = os.Stdout, os.Stderr

func (c *channel) Send(_ context.Context, m *sdk.Message) (sdk.Receipt, error) {
	switch os.Getenv("FAULT") {
	case "leaks":
		fmt.Fprintln(stderr, "connecting with", c.Token.Reveal())
	case "raw long lines": // on the descriptor itself: this is no fault, the kit must survive it
		if m.Recipient == "noisy" {
			fmt.Fprintln(stderr, strings.Repeat("x", 300<<10))
			fmt.Fprintln(stdout, strings.Repeat("y", 300<<10))
		}
	case "swallows":
		if m.Recipient == "noisy" {
			fmt.Fprintln(stderr, strings.Repeat("x", 1<<10))
		}
	case "dies of noise":
		if m.Recipient == "noisy" {
			os.Exit(3)
		}
	}
	return sdk.Receipt{}, nil
}

// wire serves the SDK's server through go-plugin without what sdk.Serve adds.
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

func main() {
	switch os.Getenv("FAULT") {
	case "no handshake":
		fmt.Println("hello, world")
		return
	case "noise before handshake":
		fmt.Println("starting up...")
		fmt.Println(strings.Repeat("y", 70<<10))
	case "dies of SIGTERM":
		go func() {
			c := make(chan os.Signal, 1)
			signal.Notify(c, syscall.SIGTERM)
			<-c
			os.Exit(0)
		}()
	case "stays":
		signal.Ignore(syscall.SIGTERM, syscall.SIGPIPE)
	}
	s := sdk.NewServer(sdk.Plugin[config]{
		Name: "bad", Version: "1.0.0",
		Open: func(_ context.Context, c config) (sdk.Sender, error) { return &channel{c}, nil },
	})
	s.LogTo(io.Discard)
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: sdk.Handshake,
		Plugins:         goplugin.PluginSet{sdk.PluginName: wire{service: s}},
		GRPCServer:      goplugin.DefaultGRPCServer,
		Logger:          hclog.NewNullLogger(),
	})
}
