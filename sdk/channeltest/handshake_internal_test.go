package channeltest

import (
	"strings"
	"testing"
)

// What the gateway would refuse is refused, with the number of the field.
func TestHandshakeFault(t *testing.T) {
	const dir = "/tmp/pgn1"
	for _, tt := range []struct {
		line      string
		plaintext bool
		says      string // "": the line is fine
	}{
		{"1|1|unix|/tmp/pgn1/plugin.sock|grpc|MIIB\n", false, ""},
		{"1|1|unix|/tmp/pgn1/plugin.sock|grpc|MIIB|true\n", false, ""},
		{"1|1|unix|/tmp/pgn1/plugin.sock|grpc|\n", true, ""},
		{"1|1|unix|/tmp/pgn1/plugin.sock|grpc\n", true, ""},
		{"2|1|unix|/tmp/pgn1/plugin.sock|grpc|MIIB\n", false, "field 1"},
		{"1|2|unix|/tmp/pgn1/plugin.sock|grpc|MIIB\n", false, "field 2"},
		{"1|1|tcp|127.0.0.1:1234|grpc|MIIB\n", false, "field 3"},
		{"1|1|unix|/tmp/plugin.sock|grpc|MIIB\n", false, "field 4"},
		{"1|1|unix|/tmp/pgn1/a/plugin.sock|grpc|MIIB\n", false, "field 4"},
		{"1|1|unix|/tmp/pgn1/plugin.sock|netrpc|MIIB\n", false, "field 5"},
		{"1|1|unix|/tmp/pgn1/plugin.sock\n", false, "field 5"},
		{"1|1|unix|/tmp/pgn1/plugin.sock|grpc|\n", false, "field 6"},
		{"1|1|unix|/tmp/pgn1/plugin.sock|grpc|MIIB==\n", false, "field 6"},
	} {
		address, fault := handshakeFault(tt.line, dir, tt.plaintext)
		switch {
		case tt.says == "" && (fault != nil || address != "/tmp/pgn1/plugin.sock"):
			t.Errorf("%q: got %q, %v", tt.line, address, fault)
		case tt.says != "" && (fault == nil || !strings.Contains(fault.Error(), tt.says)):
			t.Errorf("%q: want an error with %q, got: %v", tt.line, tt.says, fault)
		}
	}
}
