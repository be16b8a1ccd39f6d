package sdk

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// logTime is the form in which hclog writes @timestamp.
const logTime = "2006-01-02T15:04:05.000000Z07:00"

// newLogger writes hclog's JSON: one object a line with @level, @message and @timestamp.
func newLogger(w io.Writer, module string) *slog.Logger {
	inner := slog.NewJSONHandler(w, &slog.HandlerOptions{
		Level: slog.LevelDebug, // the gateway decides what to keep
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) > 0 {
				return a
			}
			switch a.Key {
			case slog.TimeKey:
				return slog.String("@timestamp", a.Value.Time().Format(logTime))
			case slog.LevelKey:
				return slog.String("@level", strings.ToLower(a.Value.String()))
			case slog.MessageKey:
				a.Key = "@message"
			}
			return a
		},
	})
	return slog.New(reservedKeys{inner.WithAttrs([]slog.Attr{slog.String("@module", module)})})
}

// reservedKeys renames attributes that would stand beside @level and its like under the same name:
// a reader that casts them to strings (go-plugin's does) dies of a number there.
type reservedKeys struct{ slog.Handler }

// Handle passes the record on with its attributes renamed.
func (h reservedKeys) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(rename(a))
		return true
	})
	if err := h.Handler.Handle(ctx, out); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}

// WithAttrs renames the attributes before the inner handler keeps them.
func (h reservedKeys) WithAttrs(attrs []slog.Attr) slog.Handler {
	renamed := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		renamed[i] = rename(a)
	}
	return reservedKeys{h.Handler.WithAttrs(renamed)}
}

// WithGroup keeps the wrapping.
func (h reservedKeys) WithGroup(name string) slog.Handler {
	return reservedKeys{h.Handler.WithGroup(name)}
}

func rename(a slog.Attr) slog.Attr {
	switch a.Key {
	case slog.TimeKey, slog.LevelKey, slog.MessageKey:
		a.Key = "attr_" + a.Key
	default:
		if strings.HasPrefix(a.Key, "@") {
			a.Key = "attr_" + a.Key[1:]
		}
	}
	return a
}

// Logger returns the logger of the connector that ctx belongs to, and of the message when ctx comes
// from Send. It writes to the gateway's log; secrets of the config are cut out of every line.
func Logger(ctx context.Context) *slog.Logger {
	c := callFrom(ctx)
	if c == nil {
		return slog.Default()
	}
	l := c.server.log
	if c.connector != "" {
		l = l.With("connector", c.connector)
	}
	if m := c.message; m != nil {
		l = l.With("message_id", m.ID, "attempt_id", m.AttemptID)
		if m.Traceparent != "" {
			l = l.With("traceparent", m.Traceparent)
		}
	}
	return l
}
