package channeltest_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

// A plugin made with the SDK passes every case, as the binary that ships.
func TestGoodBinary(t *testing.T) {
	ledger := filepath.Join(t.TempDir(), "ledger")
	channeltest.Run(t, channeltest.Suite{
		Binary: filepath.Join(binaries, "goodplugin"), Env: []string{"LEDGER=" + ledger}, Sent: linesOf(ledger),
		Config: map[string]any{
			"host": "127.0.0.1:25", "token": `s3cret "token" & more`, "tls": map[string]any{"key": "-----BEGIN\nmultiline\nEND-----"},
		},
		BadConfigs: []channeltest.BadConfig{
			{Name: "a host without a port", Path: "host", Config: map[string]any{"host": "localhost", "token": "s3cret-token"}},
			{Name: "a typo below", Path: "tls.kez", Config: map[string]any{
				"host": "localhost:25", "token": "s3cret-token", "tls": map[string]any{"kez": "x"},
			}},
		},
		Slow: channeltest.To("slow"), Panics: channeltest.To("panic"), Noisy: channeltest.To("noisy"), Fails: channeltest.To("fail"),
	})
}

// Noise before the handshake is survived, and named.
func TestNoiseBeforeHandshake(t *testing.T) {
	s := subject(t, "noise before handshake")
	var notes strings.Builder
	s.Note = func(_ string, args ...any) {
		for _, a := range args {
			if lines, ok := a.([]string); ok {
				notes.WriteString(strings.Join(lines, "\n"))
			}
		}
	}
	if err := run(t, s, "noise on stdout"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(notes.String(), "starting up...") {
		t.Errorf("the noise is not named: %q", notes.String())
	}
}

// Lines that no SDK has cut are survived.
func TestRawLongLines(t *testing.T) {
	s := subject(t, "raw long lines")
	for _, name := range []string{"64 KiB stderr lines", "noise on stdout"} {
		if err := run(t, s, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// run runs the case with that name.
func run(t *testing.T, s *channeltest.Subject, name string) error {
	t.Helper()
	for _, c := range channeltest.Cases() {
		if c.Name == name {
			return c.Run(t.Context(), s)
		}
	}
	t.Fatalf("there is no case %q", name)
	return nil
}
