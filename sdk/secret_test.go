package sdk_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// No way of printing a secret shows it.
func TestSecretNeverPrints(t *testing.T) {
	const value = "hunter22"
	s := struct {
		Password sdk.Secret `json:"password"`
	}{value}
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10s"} {
		fmt.Fprintf(&b, verb+"\n", s.Password)
		fmt.Fprintf(&b, verb+"\n", s)
		fmt.Fprintf(&b, verb+"\n", &s)
	}
	if err := json.NewEncoder(&b).Encode(s); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "secret", s.Password)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "struct", s)
	for _, form := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value)} {
		if strings.Contains(b.String(), form) {
			t.Errorf("found %q in\n%s", form, b.String())
		}
	}
	if s.Password.Reveal() != value || sdk.Secret("").String() != "" || s.Password.String() != "[redacted]" {
		t.Error("Reveal gives the value, String never does")
	}
}

// logged is a log that can be read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Whatever the author logs, returns or panics with: no form of a secret comes out.
func TestRedaction(t *testing.T) {
	type config struct {
		Token sdk.Secret `cfg:"token"`
	}
	for name, secret := range map[string]string{
		"plain":      "s3cret-token",
		"quotes":     `a "quoted" <secret> & more`,
		"url":        "a/b+c=d e",
		"lines":      "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----",
		"unicode":    "pässwörd-密码",
		"backslash":  `c:\secret\file`,
		"one prefix": "s3cret-token-and-more",
	} {
		t.Run(name, func(t *testing.T) {
			var out logged
			gw := start(t, sdk.Plugin[config]{
				Name: "test", Version: "1.0.0",
				Open: func(_ context.Context, c config) (sdk.Sender, error) {
					return senderFunc(func(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
						raw := c.Token.Reveal()
						sdk.Logger(ctx).Info("with "+raw, "token", raw, "error", errors.New(raw),
							"url", url.QueryEscape(raw), "basic", base64.StdEncoding.EncodeToString([]byte(raw)))
						sdk.Logger(ctx).With("with", raw).WithGroup(raw).Warn("x", "list", []string{raw})
						if m.Recipient == "r1" {
							panic(raw)
						}
						return sdk.Receipt{}, sdk.Permanent(fmt.Errorf("get https://x/?q=%s: %q", url.QueryEscape(raw), raw), sdk.ProviderCode(raw))
					}), nil
				},
			})
			gw.server.LogTo(&out)
			short, err := json.Marshal(map[string]string{"token": "s3cret-token"})
			if err != nil {
				t.Fatal(err)
			}
			long, err := json.Marshal(map[string]string{"token": secret})
			if err != nil {
				t.Fatal(err)
			}
			gw.configure("test/other", 1, string(short)) // another connector whose secret may be a prefix
			gw.configure("test/a", 1, string(long))
			results, err := gw.deliver(t.Context(), batchOf("test/a", 2))
			if err != nil {
				t.Fatal(err)
			}
			text := out.String() + results["a0"].String() + results["a1"].String()
			inner, _ := json.Marshal(secret)
			for _, form := range []string{
				secret, string(inner[1 : len(inner)-1]), url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)),
				"MIIEvQIBADANBg", "-and-more",
			} {
				if strings.Contains(text, form) {
					t.Errorf("found %q in\n%s", form, text)
				}
			}
			if !strings.Contains(text, "[redacted]") {
				t.Errorf("nothing is redacted:\n%s", text)
			}
		})
	}
}

// Log lines are what hclog writes; no attribute of the author's can pass for one of its fields.
func TestLogFormat(t *testing.T) {
	var out logged
	gw := opened(t, senderFunc(func(ctx context.Context, _ *sdk.Message) (sdk.Receipt, error) {
		l := sdk.Logger(ctx)
		l.Warn("careful", "@level", 7, "@message", []int{1}, "@timestamp", 0, "level", 1, "msg", 2, "time", 3, "n", 4)
		l.With("@module", 1).WithGroup("g").Debug("grouped", "level", 5)
		return sdk.Receipt{}, nil
	}))
	gw.server.LogTo(&out)
	gw.one("test/a", func(item *channelv1.Item) { item.Traceparent = "00-aa-bb-01" })
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("got %q", lines)
	}
	for i, want := range []map[string]any{
		{
			"@level": "warn", "@message": "careful", "@module": "test", "connector": "test/a", "message_id": "m0", "attempt_id": "a0",
			"traceparent": "00-aa-bb-01", "attr_level": 1.0, "attr_msg": 2.0, "attr_time": 3.0, "n": 4.0,
		},
		{"@level": "debug", "@message": "grouped", "@module": "test", "attr_module": 1.0},
	} {
		var got map[string]any
		if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
			t.Fatal(err)
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("line %d: %s is %v, want %v", i, k, got[k], v)
			}
		}
		if ts, ok := got["@timestamp"].(string); !ok || len(ts) < 20 {
			t.Errorf("line %d: timestamp %v", i, got["@timestamp"])
		}
		if strings.Count(lines[i], `"@level"`) != 1 || strings.Count(lines[i], `"@message"`) != 1 {
			t.Errorf("a field stands twice: %s", lines[i])
		}
	}
}
