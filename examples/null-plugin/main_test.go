package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

// The null channel passes the kit like any other, in process and as a binary.
func TestConformance(t *testing.T) {
	suite := channeltest.Suite{
		Config: map[string]any{"latency": "1ms"},
		BadConfigs: []channeltest.BadConfig{
			{Name: "a negative latency", Path: "latency", Config: map[string]any{"latency": "-1s"}},
			{Name: "a bare number", Path: "latency", Config: map[string]any{"latency": "20"}},
		},
	}
	t.Run("in process", func(t *testing.T) {
		suite.Plugin = channeltest.InProcess(plugin())
		channeltest.Run(t, suite)
	})
	t.Run("binary", func(t *testing.T) {
		suite.Plugin, suite.Binary = nil, filepath.Join(t.TempDir(), "null")
		if out, err := exec.Command("go", "build", "-o", suite.Binary, ".").CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
		channeltest.Run(t, suite)
	})
}
