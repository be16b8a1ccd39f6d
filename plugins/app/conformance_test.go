package main

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	huaweidouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/huawei"
	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

// suite describes the plugin to the conformance kit, with a provider that plays along: the recipient says what happens.
func suite(t *testing.T) channeltest.Suite {
	t.Helper()
	d := startDoubles(t, false)
	d.instead(func(rw http.ResponseWriter, r *http.Request) bool {
		_, body := d.lastRequest(t, r.URL.Path)
		switch {
		case strings.Contains(string(body), "refused"):
			rw.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(rw, `{"code":"80100003","msg":%q}`, "no thanks, "+huaweidouble.ClientSecret+" "+r.Header.Get("Authorization"))
			return true
		case strings.Contains(string(body), "slow"):
			<-time.After(1500 * time.Millisecond) // also when nobody waits for the answer any more
		}
		return false
	})
	given := d.huaweiConfig()
	fcm := d.fcmConfig()["fcm"].(settings)
	return channeltest.Suite{
		Config: given,
		BadConfigs: []channeltest.BadConfig{
			{Name: "no host", Config: settings{"fcm": with(fcm, settings{"base_url": "fcm.googleapis.com"})}, Path: "fcm.base_url"},
			{Name: "no key", Config: settings{"fcm": with(fcm, settings{"service_account": "{}"})}, Path: "fcm.service_account"},
			{Name: "two providers", Config: with(given, settings{"fcm": fcm})},
			{Name: "a rate", Config: with(given, settings{"rate": -1}), Path: "rate"},
		},
		Slow:  channeltest.To("slow"),
		Fails: channeltest.To("refused"),
		Sent:  func() int { return len(d.messages()) },
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

// No credential leaves by an error, whatever the provider quotes.
func TestErrorsHoldNoCredentials(t *testing.T) {
	for name, to := range map[string]string{"fcm": "token-1", "apns": device, "huawei": "token-1", "webpush": ""} {
		d := startDoubles(t, false)
		d.instead(func(rw http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "token") {
				return false
			}
			rw.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(rw, "no thanks, "+r.Header.Get("Authorization"))
			return true
		})
		if name == "webpush" {
			to = d.subscription("ann")
		}
		c := connect(t, map[string]settings{
			"fcm": d.fcmConfig(), "apns": d.apnsConfig(), "huawei": d.huaweiConfig(), "webpush": d.webpushConfig(),
		}[name])
		_, err := c.Send(t.Context(), message(to))
		for _, r := range d.requests {
			_, credentials, found := strings.Cut(r.Header.Get("Authorization"), " ")
			if err == nil || found && strings.Contains(err.Error(), credentials) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
