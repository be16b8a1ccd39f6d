package sdk

import (
	"context"
	"errors"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// APIVersion names the contract this SDK serves. Describe reports it; the gateway refuses a
// plugin that shares no version with it.
const APIVersion = "channel.v1"

// PluginName is the key under which the gateway dispenses ChannelService from go-plugin.
const PluginName = "channel"

// MaxReceiveBytes bounds one gRPC message that the plugin receives. go-plugin leaves grpc's
// default of 4 MiB, which a batch with attachments passes easily.
const MaxReceiveBytes = 16 << 20

// Handshake must be the same on both sides. The protocol version moves only when the contract
// breaks; the cookie merely tells a gateway's child from a person who typed the file's name.
var Handshake = goplugin.HandshakeConfig{ //nolint:gochecknoglobals // go-plugin wants a struct; nobody writes it
	ProtocolVersion:  1,
	MagicCookieKey:   "PIGEONRY_PLUGIN",
	MagicCookieValue: "channel.v1",
}

// ClientPlugin is the gateway's side of the connection: dispensing PluginName yields a
// channelv1.ChannelServiceClient. Use it as goplugin.PluginSet{PluginName: ClientPlugin{}}.
type ClientPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

// GRPCServer always fails: the gateway serves nothing to its plugins.
func (ClientPlugin) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("sdk: ClientPlugin has no server side, use Serve")
}

// GRPCClient returns the channelv1.ChannelServiceClient that talks over conn.
func (ClientPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return channelv1.NewChannelServiceClient(conn), nil
}

// serverPlugin is the plugin's side of the connection.
type serverPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	service channelv1.ChannelServiceServer
}

// GRPCServer registers the service.
func (p serverPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	channelv1.RegisterChannelServiceServer(s, p.service)
	return nil
}

// GRPCClient always fails: a plugin is no client of itself.
func (serverPlugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("sdk: the serving side has no client, use ClientPlugin")
}

var (
	_ goplugin.GRPCPlugin = ClientPlugin{}
	_ goplugin.GRPCPlugin = serverPlugin{}
)
