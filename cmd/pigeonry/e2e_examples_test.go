package main_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/apns"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/fcm"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/webpush"
)

// keyPEM is a private key as `openssl genpkey` writes it.
func keyPEM(t *testing.T, key any, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// secrets are what the examples ask the environment for, where not any text will do.
func secrets(t *testing.T) map[string]string {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	rsaPEM := keyPEM(t, rsaKey, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	return map[string]string{
		"APNS_KEY": apns.PrivateKey, "FCM_SERVICE_ACCOUNT": fcm.ServiceAccount, "VAPID_PRIVATE_KEY": webpush.PrivateKey,
		"DKIM_RSA": rsaPEM, "DKIM_ED25519": keyPEM(t, edKey, err),
		"TWILIO_ACCOUNT_SID": "AC0123456789abcdef0123456789abcdef", "SHOP_AES_KEY": strings.Repeat("k", 42) + "0",
		"PIGEONRY_POSTGRES_URL": "postgres://gateway@127.0.0.1/gateway", "PIGEONRY_RABBITMQ_URL": "amqp://127.0.0.1/",
		"PIGEONRY_REDIS_URL": "redis://127.0.0.1/",
	}
}

// check runs `pigeonry config check` on a file, with the plugins that are built, and returns what it writes and how it ends.
func check(t *testing.T, file string, known map[string]string) (string, error) {
	t.Helper()
	binaries, err := built()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"PIGEONRY_PLUGINS_DIR=" + filepath.Join(binaries, "plugins")}
	for _, match := range regexp.MustCompile(`env\("([A-Z0-9_]+)"\)`).FindAllStringSubmatch(string(text), -1) {
		value, ok := known[match[1]]
		if !ok {
			value = "0123456789abcdef"
		}
		env = append(env, match[1]+"="+value)
	}
	p := launch(t, "pigeonry", env, nil, "config", "check", "-c", file)
	select {
	case <-p.exited:
		return p.output.String(), p.err
	case <-time.After(60 * time.Second):
		t.Fatal("config check does not end")
		return "", nil
	}
}

// Every example is accepted, by the plugins too.
func TestExamplesAreAccepted(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../examples/*/*.hcl")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	known := secrets(t)
	for _, file := range append(files, "../../gateway.hcl") {
		name := strings.TrimPrefix(file, "../../")
		t.Run(name, func(t *testing.T) {
			if out, err := check(t, file, known); err != nil || strings.Contains(out, "not checked") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// A wrong field of a plugin's is named with its place and with what would be right.
func TestConfigCheckAsksThePlugins(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "gateway.hcl")
	config := `connector "wechat" "main" {
  plugin = "wechat"
  config {
    app_idd          = "wx0123456789abcdef"
    app_secret       = "secret-of-the-account"
    encoding_aes_key = "short"
  }
}
connector "sms" "twilio" {
  plugin = "sms"
  config {
    twilio {
      account_sid = "AC1"
      auth_token  = "token-of-the-account"
      from        = "+15005550006"
    }
  }
}
connector "sms" "acme" {
  plugin = "acme"
}
`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := check(t, file, nil)
	if err == nil {
		t.Error("it is called sound")
	}
	for _, want := range []string{
		`gateway.hcl:4:5: unknown field "app_idd" — did you mean "app_id"?`,
		`gateway.hcl:13:7: is no SID — copy it from the console: AC and 32 hexadecimal digits`,
		`warning: the config of connector sms/acme is not checked: plugin acme is not installed`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
}
