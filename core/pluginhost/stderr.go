package pluginhost

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	tailBytes   = 64 << 10 // of the standard error that is kept for people
	maxLogText  = 8 << 10  // of a line that reaches the log
	maxLogAttrs = 32       // of a line that reach the log
)

// stderrLog takes the standard error of the processes of one generation: hclog's JSON or plain text.
// Each line goes to the log with secrets hidden, and its end is kept for the API.
type stderrLog struct {
	log      *slog.Logger
	redactor *redactor
	tail     tail
}

// read takes r until its end.
func (s *stderrLog) read(r io.Reader) {
	inPanic := false
	readLines(r, func(line []byte, cut bool) {
		text := s.clean(line, cut)
		s.tail.add(text)
		inPanic = inPanic || strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ")
		s.emit(text, inPanic)
	})
}

// printed takes what the plugin prints to one stream once it serves: go-plugin then replaces its standard output and
// error by pipes that travel over gRPC in pieces of 1 KiB, which may part a line and a secret in it. Whoever closes it
// ends the stream.
func (s *stderrLog) printed() io.WriteCloser {
	lines, pieces := io.Pipe()
	go s.read(lines)
	return pieces
}

// clean hides secrets. Of a line that was cut, it drops the end: half a secret may stand there.
func (s *stderrLog) clean(line []byte, cut bool) string {
	text := strings.ToValidUTF8(string(line), "\uFFFD")
	text = s.redactor.redact(text)
	if cut {
		text = text[:max(0, len(text)-s.redactor.longest())] + " [line cut]"
	}
	return text
}

func (s *stderrLog) emit(text string, inPanic bool) {
	if e, ok := parseEntry(text); ok {
		for i, a := range e.attrs {
			e.attrs[i].Value = slog.StringValue(s.redactor.redact(a.Value.String()))
		}
		s.log.LogAttrs(context.Background(), e.level, truncate(s.redactor.redact(e.message)), e.attrs...)
		return
	}
	level := plainLevel(text)
	if inPanic {
		level = slog.LevelError
	}
	s.log.Log(context.Background(), level, truncate(text))
}

// entry is one line that hclog wrote as JSON.
type entry struct {
	level   slog.Level
	message string
	attrs   []slog.Attr
}

// parseEntry reads a line in hclog's JSON format. Any other line is none, however odd: nothing here
// depends on the types of the values.
func parseEntry(line string) (entry, bool) {
	if !strings.HasPrefix(line, "{") {
		return entry{}, false
	}
	var fields map[string]any
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.UseNumber() // a large whole number stays as it was written
	if decoder.Decode(&fields) != nil || decoder.More() {
		return entry{}, false
	}
	message, isText := fields["@message"].(string)
	level, isLevel := fields["@level"].(string)
	if !isText || !isLevel {
		return entry{}, false
	}
	e := entry{level: parseLevel(level), message: message}
	for name, value := range fields {
		switch name {
		case "@message", "@level", "@timestamp":
		default:
			e.attrs = append(e.attrs, slog.String(strings.TrimPrefix(name, "@"), truncate(fmt.Sprint(value))))
		}
	}
	slices.SortFunc(e.attrs, func(a, b slog.Attr) int { return strings.Compare(a.Key, b.Key) })
	e.attrs = e.attrs[:min(len(e.attrs), maxLogAttrs)]
	return e, true
}

func parseLevel(s string) slog.Level {
	switch s {
	case "trace":
		return slog.LevelDebug - 4
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// plainLevel reads the level from a prefix such as "[WARN]".
func plainLevel(text string) slog.Level {
	if prefix, _, found := strings.Cut(text, "]"); found && strings.HasPrefix(prefix, "[") && len(prefix) <= 6 {
		return parseLevel(strings.ToLower(prefix[1:]))
	}
	return slog.LevelInfo
}

func truncate(s string) string { return truncateTo(s, maxLogText) }

// truncateTo shortens s to at most limit bytes without splitting a character.
func truncateTo(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}

// tail keeps the end of a text, tailBytes of it.
type tail struct {
	mu   sync.Mutex
	text []byte // up to twice as much, so that it is rarely moved
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(append(t.text, line...), '\n')
	if len(t.text) > 2*tailBytes {
		t.text = append(t.text[:0], lastBytes(t.text)...)
	}
}

// String returns what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(lastBytes(t.text)), "")
}

// lastBytes is the end of a text.
func lastBytes(text []byte) []byte { return text[max(0, len(text)-tailBytes):] }
