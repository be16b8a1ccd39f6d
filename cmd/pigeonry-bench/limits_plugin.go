package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// pluginRate calls the null plugin from 16 callers with batches of a size.
func pluginRate(o options, size int) func(context.Context, time.Duration) (float64, error) {
	return func(ctx context.Context, d time.Duration) (float64, error) {
		service, stop, err := startPlugin(ctx, o)
		if err != nil {
			return 0, err
		}
		defer stop()
		request := &channelv1.DeliverRequest{Connector: "null/main"}
		for i := range size {
			request.Items = append(request.Items, &channelv1.Item{
				AttemptId: fmt.Sprintf("%d.1", i), MessageId: fmt.Sprint(i), Attempt: 1, Connector: "null/main",
				Recipient: "bench", Content: &channelv1.Content{Text: rowBody()},
			})
		}
		return repeat(ctx, 16, d, func(int) (int, error) { return size, deliver(ctx, service, request) })
	}
}

func deliver(ctx context.Context, service channelv1.ChannelServiceClient, request *channelv1.DeliverRequest) error {
	stream, err := service.Deliver(ctx, request)
	if err != nil {
		return err
	}
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// startPlugin starts the null plugin without the gateway, over the same transport.
func startPlugin(ctx context.Context, o options) (channelv1.ChannelServiceClient, func(), error) {
	bin, err := binaries(o)
	if err != nil {
		return nil, nil, err
	}
	executable, err := nullPlugin(bin)
	if err != nil {
		return nil, nil, err
	}
	host := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: sdk.Handshake, AutoMTLS: true, Logger: hclog.NewNullLogger(),
		Plugins:          plugin.PluginSet{sdk.PluginName: sdk.ClientPlugin{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Cmd:              exec.Command(executable),
	})
	service, err := dispense(host)
	if err == nil {
		_, err = service.Configure(ctx, &channelv1.ConfigureRequest{Connector: "null/main", Revision: 1, Config: []byte("{}")})
	}
	if err != nil {
		host.Kill()
		return nil, nil, err
	}
	return service, host.Kill, nil
}

// nullPlugin is the built executable.
func nullPlugin(bin string) (string, error) {
	found, err := filepath.Glob(filepath.Join(bin, "examples", "plugins", "null", "*", "null"))
	if err != nil || len(found) == 0 {
		return "", errors.New("the null plugin is not built; build it with: make build")
	}
	return found[len(found)-1], nil
}

func dispense(host *plugin.Client) (channelv1.ChannelServiceClient, error) {
	protocol, err := host.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(sdk.PluginName)
	if err != nil {
		return nil, err
	}
	service, ok := raw.(channelv1.ChannelServiceClient)
	if !ok {
		return nil, fmt.Errorf("the plugin serves %T", raw)
	}
	return service, nil
}
