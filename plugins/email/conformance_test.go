package main

import (
	"maps"
	"os/exec"
	"path/filepath"
	"testing"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

const kitPassword = "hunter2-of-the-kit"

// suite describes the plugin to the conformance kit, with a server that plays along.
func suite(t *testing.T) channeltest.Suite {
	t.Helper()
	server := startSink(t, sinkOptions{password: kitPassword})
	to := func(recipient string) func(*channelv1.Item) {
		return func(item *channelv1.Item) { item.Recipient = recipient }
	}
	good := func(edits map[string]any) map[string]any {
		config := map[string]any{
			"host": "127.0.0.1", "port": server.port, "tls": tlsNone, "from": "Shop <shop@example.com>",
			"username": "shop", "password": kitPassword, "timeout": "10s",
		}
		maps.Copy(config, edits)
		return config
	}
	return channeltest.Suite{
		Config:    good(nil),
		Recipient: "ann@example.com",
		BadConfigs: []channeltest.BadConfig{
			{Name: "a sender that is none", Config: good(map[string]any{"from": "Shop"}), Path: "from"},
			{Name: "a port that is none", Config: good(map[string]any{"port": 70000}), Path: "port"},
			{Name: "a mode that is none", Config: good(map[string]any{"tls": "ssl"}), Path: "tls"},
			{Name: "a password alone", Config: good(map[string]any{"username": ""}), Path: "password"},
		},
		Prepare: func(item *channelv1.Item) { item.Content.Subject = "channeltest" },
		Slow:    to(slowRecipient),
		Fails:   to(refusedRecipient),
		Sent:    func() int { return len(server.all()) },
	}
}

func TestConformanceInProcess(t *testing.T) {
	s := suite(t)
	s.Plugin = func() channelv1.ChannelServiceServer { return sdk.NewServer(plugin()) }
	channeltest.Run(t, s)
}

func TestConformanceOfTheBinary(t *testing.T) {
	s := suite(t)
	s.Binary = filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", s.Binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	channeltest.Run(t, s)
}
