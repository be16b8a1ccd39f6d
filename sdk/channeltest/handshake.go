package channeltest

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/pigeonry/pigeonry/sdk"
)

// handshakeLine begins what a plugin prints to say where it is: core protocol, protocol, network.
var handshakeLine = regexp.MustCompile(`^\d+\|\d+\|(unix|tcp)\|`)

// handshakeFields are the fields of the line that count.
const handshakeFields = 6

// handshakeFault says what the gateway would refuse in the line: go-plugin itself is content with
// less. It also returns the socket's path.
func handshakeFault(line, socketDir string, plaintext bool) (address string, fault error) {
	fields := strings.Split(strings.TrimSpace(line), "|")
	for len(fields) < handshakeFields {
		fields = append(fields, "")
	}
	address = fields[3]
	certificate := fields[5]
	switch {
	case fields[0] != fmt.Sprint(goplugin.CoreProtocolVersion):
		fault = fmt.Errorf("field 1 of the handshake line is go-plugin's core protocol: want %d, got %q", goplugin.CoreProtocolVersion, fields[0])
	case fields[1] != fmt.Sprint(sdk.Handshake.ProtocolVersion):
		fault = fmt.Errorf("field 2 of the handshake line is the protocol: want %d, got %q", sdk.Handshake.ProtocolVersion, fields[1])
	case fields[2] != "unix":
		fault = fmt.Errorf("field 3 of the handshake line is the network: want unix, got %q", fields[2])
	case filepath.Dir(filepath.Clean(address)) != filepath.Clean(socketDir):
		fault = fmt.Errorf("field 4 of the handshake line is the socket, which must lie in $PLUGIN_UNIX_SOCKET_DIR (%s), got %q", socketDir, address)
	case fields[4] != string(goplugin.ProtocolGRPC):
		fault = fmt.Errorf("field 5 of the handshake line is the transport: want grpc, got %q", fields[4])
	case certificate == "" && !plaintext:
		fault = fmt.Errorf("field 6 of the handshake line is the plugin's certificate, which is missing: answer $PLUGIN_CLIENT_CERT with one, as go-plugin's AutoMTLS does")
	case strings.HasSuffix(certificate, "="):
		fault = fmt.Errorf("field 6 of the handshake line is the plugin's certificate in base64 without padding, got one that ends in =")
	}
	return address, fault
}
