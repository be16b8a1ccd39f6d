package main

import (
	"context"
	"maps"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

// Recipients that make the SMSC of the suite slow, or refuse.
const (
	slowRecipient    = "+8613800000001"
	refusedRecipient = "+8613800000002"
)

// suite describes the plugin to the conformance kit, with an SMSC that plays along.
func suite(t *testing.T) channeltest.Suite {
	t.Helper()
	const password = "hunter2-of-the-kit"
	smsc := newSMSC(t)
	smsc.server.Authenticate = func(_ context.Context, b smpp.Bind) smpp.Status {
		if b.Password != password {
			return smpp.StatusInvPassword
		}
		return smpp.StatusOK
	}
	take := smsc.server.Submit
	smsc.server.Submit = func(ctx context.Context, s *smpp.Session, m *smpp.ShortMessage) (string, smpp.Status) {
		switch "+" + m.Dest.Addr {
		case slowRecipient:
			select {
			case <-time.After(1500 * time.Millisecond):
			case <-ctx.Done():
			}
		case refusedRecipient:
			return "", smpp.StatusInvDstAddr
		}
		return take(ctx, s, m)
	}
	config := configFor(smsc.addr)
	good := func(edits map[string]any) map[string]any {
		all := map[string]any{
			"host": config.Host, "port": config.Port, "system_id": "shop", "password": password, "source": "Shop",
		}
		maps.Copy(all, edits)
		return all
	}
	return channeltest.Suite{
		Config:    good(nil),
		Recipient: "+8613800138000",
		BadConfigs: []channeltest.BadConfig{
			{Name: "no user", Config: good(map[string]any{"system_id": ""}), Path: "system_id"},
			{Name: "a port in the host", Config: good(map[string]any{"host": "smpp.example.com:2775"}), Path: "host"},
			{Name: "a bind mode that is none", Config: good(map[string]any{"bind_mode": "both"}), Path: "bind_mode"},
			{Name: "no window", Config: good(map[string]any{"window": 0}), Path: "window"},
			{Name: "a sender that is none", Config: good(map[string]any{"source": "A name too long"}), Path: "source"},
		},
		Slow:  channeltest.To(slowRecipient),
		Fails: channeltest.To(refusedRecipient),
		Sent:  func() int { return len(smsc.taken()) },
	}
}

func TestConformanceInProcess(t *testing.T) {
	s := suite(t)
	s.Plugin = channeltest.InProcess(plugin())
	channeltest.Run(t, s)
}

func TestConformanceOfTheBinary(t *testing.T) {
	s := suite(t)
	s.Binary = filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", s.Binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	channeltest.Run(t, s)
}
