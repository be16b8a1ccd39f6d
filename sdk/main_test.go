package sdk_test

import (
	"context"
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// serveVariable makes the test binary a plugin: see serve_test.go.
const serveVariable = "SDK_TEST_SERVE"

func TestMain(m *testing.M) {
	if os.Getenv(serveVariable) != "" {
		sdk.Serve(plugin(instant{}))
		return
	}
	goleak.VerifyTestMain(m)
}

// senderFunc is a channel in one function.
type senderFunc func(ctx context.Context, m *sdk.Message) (sdk.Receipt, error)

func (f senderFunc) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) { return f(ctx, m) }

// plugin is a plugin without config whose connectors all use the sender.
func plugin(sender sdk.Sender) sdk.Plugin[struct{}] {
	return sdk.Plugin[struct{}]{
		Name: "test", Version: "1.0.0", Prototype: sender,
		Open: func(context.Context, struct{}) (sdk.Sender, error) { return sender, nil },
	}
}

// gateway is the other side of a plugin served in this process, over real gRPC.
type gateway struct {
	channelv1.ChannelServiceClient
	t      testing.TB
	server *sdk.Server
	dial   func() *grpc.ClientConn
}

// start serves p and connects to it.
func start[C any](t testing.TB, p sdk.Plugin[C]) *gateway {
	t.Helper()
	s := sdk.NewServer(p)
	s.LogTo(testLog{t})
	g := s.NewGRPCServer()
	pipe := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- g.Serve(pipe) }()
	gw := &gateway{t: t, server: s}
	gw.dial = func() *grpc.ClientConn {
		conn, err := grpc.NewClient("passthrough:///plugin",
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
		if err != nil {
			t.Fatalf("connect: %v", err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	t.Cleanup(func() {
		s.Close()
		g.Stop()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	gw.ChannelServiceClient = channelv1.NewChannelServiceClient(gw.dial())
	return gw
}

// testLog shows the plugin's log when the test fails.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}
