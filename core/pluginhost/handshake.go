package pluginhost

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
	"github.com/pigeonry/pigeonry/sdk"
)

// handshake is the line by which a plugin says where and how it can be reached:
// core version | protocol version | network | address | protocol | certificate.
type handshake struct {
	core        string
	protocol    string
	network     string
	address     string
	kind        string // "grpc"
	certificate string // base64; empty: the plugin cannot do mutual TLS
}

// handshakePattern finds the handshake in a line, behind whatever was printed without a line feed.
var handshakePattern = regexp.MustCompile(`\d\|\d+\|(?:unix|tcp)\|[^|]+(?:\|[^|]*)*$`)

// findHandshake returns the handshake that the line holds.
func findHandshake(line []byte) (handshake, string, bool) {
	text := string(handshakePattern.Find(line))
	if text == "" {
		return handshake{}, "", false
	}
	parts := strings.Split(strings.TrimSpace(text), "|")
	for len(parts) < 6 {
		parts = append(parts, "")
	}
	return handshake{
		core: parts[0], protocol: parts[1], network: parts[2], address: parts[3],
		kind: parts[4], certificate: parts[5],
	}, text, true
}

// check says what makes the handshake unacceptable. socketDir is where the socket must lie: in a
// folder that nobody but the gateway may enter. Plaintext allows the plugin to do without mutual TLS.
func (h handshake) check(socketDir string, plaintext bool) error {
	reject := func(what, expected, found, remedy string) error {
		return &catalog.Fault{What: what, Expected: expected, Found: found, Remedy: remedy, Permanent: true}
	}
	wantCore := strconv.Itoa(goplugin.CoreProtocolVersion)
	wantProtocol := strconv.Itoa(int(sdk.Handshake.ProtocolVersion))
	switch {
	case h.core != wantCore:
		return reject("core protocol mismatch", "go-plugin's core protocol "+wantCore, h.core,
			"rebuild the plugin with this gateway's SDK")
	case h.protocol != wantProtocol:
		return reject("protocol mismatch", "protocol version "+wantProtocol, h.protocol,
			"rebuild the plugin with this gateway's SDK, or update the gateway")
	case h.kind != string(goplugin.ProtocolGRPC):
		return reject("transport mismatch", "grpc", fmt.Sprintf("%q", h.kind), "serve the plugin over gRPC")
	case h.network != "unix":
		return reject("transport mismatch", "a unix socket", h.network, "listen on a unix socket in $PLUGIN_UNIX_SOCKET_DIR")
	case filepath.Dir(filepath.Clean(h.address)) != filepath.Clean(socketDir):
		return reject("socket in the wrong place", "a socket in "+socketDir, h.address, "listen on a unix socket in $PLUGIN_UNIX_SOCKET_DIR")
	case h.certificate != "" && plaintext:
		return reject("a certificate in plaintext", "no certificate, as plaintext = true in its plugin.hcl promises", "one",
			"leave plaintext out of plugin.hcl: the plugin can do mutual TLS")
	case h.certificate == "" && !plaintext:
		return reject("no certificate", "mutual TLS with the certificate in the handshake", "none",
			"answer $PLUGIN_CLIENT_CERT with a certificate, as go-plugin's AutoMTLS does")
	}
	return nil
}
