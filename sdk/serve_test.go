package sdk_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/sdk"
)

// byHand runs this test binary as a plugin that a person started.
func byHand(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), serveVariable+"=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), code
}

// Started by hand, a plugin says what it is. (As a plugin it is tested by channeltest.)
func TestServeByHand(t *testing.T) {
	stdout, stderr, code := byHand(t)
	if code != 1 || stdout != "" || !strings.Contains(stderr, "test 1.0.0 is a channel plugin of Pigeonry") ||
		!strings.Contains(stderr, "-describe") {
		t.Errorf("exit code %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
	}
}

// With -describe it prints its description as JSON.
func TestServeDescribe(t *testing.T) {
	for _, flag := range []string{"-describe", "--describe"} {
		stdout, stderr, code := byHand(t, flag)
		var got struct {
			Name   string         `json:"name"`
			Schema map[string]any `json:"config_schema"`
		}
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Fatalf("%s: %v\n%s", flag, err, stderr)
		}
		if code != 0 || got.Name != "test" || got.Schema["type"] != "object" {
			t.Errorf("%s: exit code %d, %+v", flag, code, got)
		}
	}
}

// A plugin shows a certificate of its own in the handshake line, on a curve that costs little, and speaks with nobody
// but the client whose certificate it was given. Without one it does without TLS.
func TestServeAnnounces(t *testing.T) {
	for name, multiplex := range map[string]string{"as ever": "", "to a client that multiplexes": "true"} {
		t.Run(name, func(t *testing.T) {
			certificate, settings, err := sdk.ClientIdentity()
			if err != nil {
				t.Fatal(err)
			}
			fields := announced(t, certificate, "PLUGIN_MULTIPLEX_GRPC="+multiplex)
			if want := map[string]int{"": 6, "true": 7}[multiplex]; len(fields) != want {
				t.Fatalf("%d fields, want %d: %q", len(fields), want, fields)
			}
			der, err := base64.RawStdEncoding.DecodeString(fields[5])
			if err != nil {
				t.Fatal(err)
			}
			shown, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			if key, ok := shown.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
				t.Errorf("its key is %T", shown.PublicKey)
			}
			if multiplex != "" {
				return // the connection is another one
			}
			settings.NextProtos, settings.RootCAs = []string{"h2"}, x509.NewCertPool()
			settings.RootCAs.AddCert(shown)
			if err := greets(t, fields[3], settings); err != nil {
				t.Errorf("it does not speak with its client: %v", err)
			}
			settings.Certificates = nil
			if err := greets(t, fields[3], settings); err == nil {
				t.Error("it speaks with anybody")
			}
		})
	}
	if fields := announced(t, "PLUGIN_CLIENT_CERT="); len(fields) != 6 || fields[5] != "" {
		t.Errorf("without a client's certificate: %q", fields)
	}
}

// announced starts the plugin and returns the fields of its handshake line. It is ended with the test.
func announced(t *testing.T, env ...string) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(append(os.Environ(), serveVariable+"=1", "PLUGIN_UNIX_SOCKET_DIR="+t.TempDir(),
		sdk.Handshake.MagicCookieKey+"="+sdk.Handshake.MagicCookieValue), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(line, "\n"), "|")
}

// greets says what keeps a client from the first frame of HTTP/2 that every server begins with.
func greets(t *testing.T, socket string, settings *tls.Config) error {
	t.Helper()
	conn, err := tls.Dial("unix", socket, settings)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 9))
	return err
}
