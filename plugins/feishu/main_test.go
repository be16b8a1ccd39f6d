package main

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // what the plugin says of refused callbacks drowns the rest
	goleak.VerifyTestMain(m)
}
