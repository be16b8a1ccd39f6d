package main

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
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
			{Name: "two providers", Config: good(map[string]any{"twilio": map[string]any{
				"account_sid": sid("AC"), "auth_token": "sandboxsecret",
			}}), Path: "host"},
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

// withDelay makes a provider slow to answer about one recipient.
func withDelay(h http.Handler, recipient string) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if strings.Contains(r.URL.RawQuery+string(body), recipient) {
			select {
			case <-time.After(1500 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
		h.ServeHTTP(rw, r)
	})
}

// cloudSuite describes the plugin to the conformance kit, with a double that the block of a provider points to.
func cloudSuite(t *testing.T, d *counterDesk, p desk.Provider, block map[string]any) channeltest.Suite {
	t.Helper()
	mux := http.NewServeMux()
	p.Register(mux)
	if rooted, ok := p.(desk.Rooted); ok {
		mux.HandleFunc("POST /{$}", rooted.ServeHTTP)
	}
	server := httptest.NewServer(withDelay(mux, slowRecipient[3:]))
	t.Cleanup(server.Close)
	block["base_url"] = server.URL
	with := func(name string, value any) map[string]any {
		all := maps.Clone(block)
		all[name] = value
		return map[string]any{p.Name(): all}
	}
	return channeltest.Suite{
		Plugin:    channeltest.InProcess(plugin()),
		Config:    map[string]any{p.Name(): block},
		Recipient: "+8613800138000",
		BadConfigs: []channeltest.BadConfig{
			{Name: "a base_url that is none", Config: with("base_url", "nowhere"), Path: p.Name() + ".base_url"},
			{Name: "no timeout", Config: with("timeout", "0s"), Path: p.Name() + ".timeout"},
			{Name: "an SMSC beside it", Config: map[string]any{p.Name(): block, "host": "smpp.example.com"}, Path: "host"},
		},
		Slow:  channeltest.To(slowRecipient),
		Fails: channeltest.To(refusedRecipient),
		Sent:  func() int { return len(d.entries()) },
	}
}

func TestConformanceOfAliyun(t *testing.T) {
	d := newDesk()
	p := newAliyunDouble(d)
	setProvider(t, p, map[string]any{"refuse": map[string]string{refusedRecipient: "isv.MOBILE_NUMBER_ILLEGAL"}})
	channeltest.Run(t, cloudSuite(t, d, p, map[string]any{
		"access_key_id": "sandbox", "access_key_secret": "sandbox-secret", "sign_name": "Sandbox", "template": "SMS_SANDBOX",
		"max_batch": 1, // else a quick message may travel with a slow one
	}))
}

func TestConformanceOfTencent(t *testing.T) {
	d := newDesk()
	p := newTencentDouble(d)
	setProvider(t, p, map[string]any{"refuse": map[string]string{refusedRecipient: "InvalidParameterValue.IncorrectPhoneNumber"}})
	channeltest.Run(t, cloudSuite(t, d, p, map[string]any{
		"secret_id": "sandbox", "secret_key": "sandbox-secret", "app_id": "1400000000", "sign_name": "Sandbox", "template": "1000",
	}))
}

func TestConformanceOfTwilio(t *testing.T) {
	d := newDesk()
	p := newTwilioDouble(d)
	setProvider(t, p, map[string]any{"refuse": map[string]int{refusedRecipient: 21211}})
	channeltest.Run(t, cloudSuite(t, d, p, map[string]any{
		"account_sid": sid("AC"), "auth_token": "sandboxsecret", "from": "+15005550006",
	}))
}
