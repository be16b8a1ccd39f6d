package pluginhost

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// quietLogger carries go-plugin's own messages to slog at debug level: whatever of them matters, the
// host says itself. Its named children are off, because go-plugin parses a plugin's standard error
// with one and that parser panics on a line such as {"@message": 1}; with the level Off it does not
// parse (and runner.Stderr gives it nothing to parse).
type quietLogger struct {
	hclog.Logger // discards whatever is not overridden
	log          *slog.Logger
}

func newQuietLogger(log *slog.Logger) quietLogger {
	return quietLogger{Logger: hclog.NewNullLogger(), log: log}
}

// Named returns a logger that is off.
func (quietLogger) Named(string) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
}

// Info passes msg on at debug level.
func (l quietLogger) Info(msg string, args ...any) { l.debug(msg, args) }

// Warn passes msg on at debug level.
func (l quietLogger) Warn(msg string, args ...any) { l.debug(msg, args) }

// Error passes msg on at debug level.
func (l quietLogger) Error(msg string, args ...any) { l.debug(msg, args) }

func (l quietLogger) debug(msg string, args []any) {
	l.log.Debug("go-plugin reports", "message", msg, "detail", fmt.Sprint(args...))
}
