package pluginhost

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"
)

// written runs text through a stderrLog that hides secrets, and returns the log and what is kept.
func written(text string, secrets ...string) (log, kept string) {
	var b bytes.Buffer
	withoutTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	s := &stderrLog{
		log:      slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug - 4, ReplaceAttr: withoutTime})),
		redactor: &redactor{},
	}
	s.redactor.set(secrets)
	s.read(strings.NewReader(text))
	return b.String(), s.tail.String()
}

func TestStandardErrorReachesTheLog(t *testing.T) {
	for line, want := range map[string]string{
		`{"@level":"warn","@message":"slow","@timestamp":"2026-01-01T00:00:00Z","@module":"smpp","ms":12}`: "level=WARN msg=slow module=smpp ms=12\n",
		`{"@level":"trace","@message":"x"}`:                     "level=DEBUG-4 msg=x\n",
		`{"@level":"odd","@message":"x"}`:                       "level=INFO msg=x\n",
		`{"@level":"info","@message":"x","a":{"b":[1,2]}}`:      "level=INFO msg=x a=\"map[b:[1 2]]\"\n",
		`{"@level":"info"}`:                                     `level=INFO msg="{\"@level\":\"info\"}"` + "\n",
		`[ERROR] out of paper`:                                  `level=ERROR msg="[ERROR] out of paper"` + "\n",
		"plain":                                                 "level=INFO msg=plain\n",
		"no line feed, \xff":                                    "level=INFO msg=\"no line feed, �\"\n",
		"panic: oh\n\ngoroutine 1 [running]:":                   "level=ERROR msg=\"panic: oh\"\nlevel=ERROR msg=\"\"\nlevel=ERROR msg=\"goroutine 1 [running]:\"\n",
		"windows\r\n":                                           "level=INFO msg=windows\n",
		`{"@level":"info","@message":"in","s":"pass\u0077ord"}`: "level=INFO msg=in s=[redacted]\n",
	} {
		if got, _ := written(line, "password"); got != want {
			t.Errorf("%q\n got %q\nwant %q", line, got, want)
		}
	}
}

func TestLongLineIsCutWithoutHalfASecret(t *testing.T) {
	const secret = "a-long-secret-value"
	log, kept := written(strings.Repeat("x", maxLine-10)+secret+" and more\nnext line", secret)
	for _, text := range []string{log, kept} {
		if strings.Contains(text, "a-long") {
			t.Error("half a secret is left")
		}
		if !strings.Contains(text, "next line") {
			t.Error("the next line is lost")
		}
	}
	if !strings.Contains(kept, "[line cut]") {
		t.Error("nothing says that the line was cut")
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	_, kept := written(strings.Repeat("0123456789abcde\n", 8<<10) + "the end\n")
	if len(kept) > tailBytes || len(kept) < tailBytes-16 || !strings.HasSuffix(kept, "the end\n") {
		t.Errorf("%d bytes kept, ending in %q", len(kept), kept[len(kept)-20:])
	}
	if _, kept := written(strings.Repeat("x", 3*tailBytes)); len(kept) != tailBytes {
		t.Errorf("of a line without an end %d bytes are kept", len(kept))
	}
}

// lineWriter passes on each line of a log.
type lineWriter chan string

func (w lineWriter) Write(line []byte) (int, error) {
	w <- string(line)
	return len(line), nil
}

// go-plugin carries what a plugin prints in pieces: a secret that comes in two of them is one all the same, and so is
// a line.
func TestPrintedPiecesAreLines(t *testing.T) {
	lines := make(lineWriter, 10)
	s := &stderrLog{log: slog.New(slog.NewTextHandler(lines, nil)), redactor: &redactor{}}
	s.redactor.set([]string{"canary-secret"})
	stdout, stderr := s.printed(), s.printed()
	for _, piece := range []string{"the token is canary-", "secret\nand this has no end"} {
		if _, err := stdout.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
		if _, err := stderr.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if line := <-lines; !strings.Contains(line, `msg="the token is [redacted]"`) {
		t.Errorf("first: %s", line)
	}
	stdout.Close()
	if line := <-lines; !strings.Contains(line, `msg="and this has no end"`) {
		t.Errorf("second: %s", line)
	}
	stderr.Close()
	if line := <-lines; !strings.Contains(line, "msg=xx") {
		t.Errorf("the other stream: %s", line)
	}
}

func TestRedactorHidesEveryForm(t *testing.T) {
	r := &redactor{}
	if got := r.redact("nothing to hide"); got != "nothing to hide" {
		t.Errorf("without secrets: %q", got)
	}
	r.set([]string{`say "x"`, "abc", "token", "token-2", "first line\nsecond line", "", "token"})
	for text, want := range map[string]string{
		`say "x"!`:           "[redacted]!",
		`{"k":"say \"x\""}`:  `{"k":"[redacted]"}`,
		"abc":                "abc", // too short to be hidden
		"token-2 token":      "[redacted] [redacted]",
		"> second line <":    "> [redacted] <",
		"first line\nand on": "[redacted]\nand on",
	} {
		if got := r.redact(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func FuzzStandardError(f *testing.F) {
	f.Add(`{"@message": 1, "@level": 2, "@timestamp": 3}`)
	f.Add(`{"@message":"m","@level":"info","k":null}`)
	f.Add("\x00\xff\n\n{")
	f.Add("panic: canary-secret")
	f.Fuzz(func(t *testing.T, text string) {
		log, kept := written(text, "canary-secret")
		if strings.Contains(log, "canary-secret") || strings.Contains(kept, "canary-secret") {
			t.Errorf("a secret is left: %q", text)
		}
		if !utf8.ValidString(kept) {
			t.Errorf("kept text is not UTF-8: %q", kept)
		}
	})
}
