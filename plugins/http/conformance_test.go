package main

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

const (
	kitToken    = "s3cret-token-of-the-kit"
	kitKey      = "s3cret key & more"
	kitPassword = "hunter2-of-the-kit"
)

// suite describes the plugin to the conformance kit, with a provider that plays along: the recipient
// says what happens.
func suite(t *testing.T) channeltest.Suite {
	t.Helper()
	var sent atomic.Int64
	p := provide(t, func(w http.ResponseWriter, r *http.Request) {
		credentials := r.URL.RawQuery + " " + r.Header.Get("Authorization") + " " + r.Header.Get("X-Token")
		switch to := r.Header.Get("X-To"); to {
		case "refused":
			says(http.StatusBadRequest, fmt.Sprintf(`{"code":7,"message":%q}`, "no thanks, "+credentials))(w, r)
		default:
			if to == "slow" {
				<-time.After(1500 * time.Millisecond) // also when nobody waits for the answer any more
			}
			sent.Add(1)
			says(http.StatusOK, `{"code":0,"id":"1"}`)(w, r)
		}
	})
	config := settings{
		"url": p.URL + "/send?key={{.secrets.key}}", "headers": settings{"X-To": "{{.recipient}}"},
		"secrets": settings{"key": kitKey}, "secret_headers": settings{"X-Token": kitToken},
		"auth": settings{"username": "shop", "password": kitPassword}, "idempotency_header": "Idempotency-Key",
		"answer": settings{"id": "id", "code": "code", "message": "message", "results": []settings{
			{"codes": []string{"0"}, "outcome": "accepted"}, {"codes": []string{"*"}, "outcome": "rejected"},
		}},
		"check_url": p.URL + "/check?key={{.secrets.key}}",
	}
	return channeltest.Suite{
		Config: config,
		BadConfigs: []channeltest.BadConfig{
			{Name: "no host", Config: with(config, settings{"url": "example.com"}), Path: "url"},
			{Name: "a body that is no JSON", Config: with(config, settings{"body": settings{"json": "{{.text}}"}}), Path: "body.json"},
			{Name: "a path that is none", Config: with(config, settings{"answer": settings{"id": "a..b"}}), Path: "answer.id"},
		},
		Slow:    channeltest.To("slow"),
		Fails:   channeltest.To("refused"),
		Sent:    func() int { return int(sent.Load()) },
		Secrets: []string{basic("shop", kitPassword), percentEncode(kitKey)},
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

// No credential leaves by an error, whatever form the provider gives it back in.
func TestErrorsHoldNoCredentials(t *testing.T) {
	p := provide(t, func(w http.ResponseWriter, r *http.Request) {
		says(http.StatusBadRequest, r.URL.RawQuery+" "+r.Header.Get("Authorization"))(w, r)
	})
	_, err := connect(t, settings{
		"url": p.URL + "/?key={{.secrets.key}}", "secrets": settings{"key": kitKey}, "auth": settings{"username": "shop", "password": kitPassword},
	}).Send(t.Context(), message())
	if want := "key=[redacted] Basic [redacted]"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q in it", err, want)
	}
}
