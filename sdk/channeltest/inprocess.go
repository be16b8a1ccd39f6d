package channeltest

import (
	"context"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// startInProcess serves a fresh server over real gRPC, through a pipe in memory.
func (s *Subject) startInProcess() (*session, error) {
	s.output.begin()
	service := s.Plugin()
	if logs, ok := service.(interface{ LogTo(io.Writer) }); ok {
		logs.LogTo(s.output.writer("log"))
	}
	server := newServer(service)
	pipe := bufconn.Listen(1 << 20)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(pipe) // ends with Stop
	}()
	stop := func() {
		if closer, ok := service.(interface{ Close() }); ok {
			closer.Close()
		}
		server.Stop()
		<-served
	}
	conn, err := grpc.NewClient("passthrough:///plugin",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	if err != nil {
		stop()
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &session{
		ChannelServiceClient: channelv1.NewChannelServiceClient(conn), subject: s,
		close: func() {
			_ = conn.Close()
			stop()
		},
	}, nil
}

// newServer takes the SDK's settings where the service is the SDK's.
func newServer(service channelv1.ChannelServiceServer) *grpc.Server {
	if own, ok := service.(interface{ NewGRPCServer() *grpc.Server }); ok {
		return own.NewGRPCServer()
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(sdk.MaxReceiveBytes))
	channelv1.RegisterChannelServiceServer(server, service)
	return server
}
