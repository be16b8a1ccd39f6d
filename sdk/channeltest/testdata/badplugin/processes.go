package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/emptypb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// hide runs the plugin in a session of its own, where a signal to the process group does not reach it:
// what the gateway kills is a husk, and the plugin goes on for a while.
func hide() {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FAULT=", "GRACE=3s")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	signal.Ignore(syscall.SIGTERM, os.Interrupt)
	go watchParent()
	if err := cmd.Wait(); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// serveAnybody serves over TLS without asking the client who it is. It does by hand what go-plugin does
// better.
func serveAnybody(service channelv1.ChannelServiceServer) {
	certificate, err := selfSigned()
	if err != nil {
		panic(err)
	}
	address := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "plugin.sock")
	listener, err := net.Listen("unix", address)
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(sdk.MaxReceiveBytes),
		grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})),
	)
	channelv1.RegisterChannelServiceServer(server, service)
	state := health.NewServer()
	state.SetServingStatus("plugin", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, state)
	server.RegisterService(controller(server), nil)
	fmt.Printf("1|1|unix|%s|grpc|%s\n", address, base64.RawStdEncoding.EncodeToString(certificate.Certificate[0]))
	_ = server.Serve(listener) // ends with Stop
}

// controller is go-plugin's service that ends the process.
func controller(server *grpc.Server) *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "plugin.GRPCController", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Shutdown",
			Handler: func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
				time.AfterFunc(100*time.Millisecond, server.Stop)
				return &emptypb.Empty{}, nil
			},
		}},
	}
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
