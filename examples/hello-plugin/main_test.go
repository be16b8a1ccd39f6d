package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

const token = "s3cret-token"

// provider is what hello posts to. It counts the messages it took; the recipient decides what else
// happens.
func provider(t *testing.T) (url string, sent *atomic.Int64) {
	t.Helper()
	sent = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			http.Error(w, "wrong token: "+r.Header.Get("Authorization"), http.StatusUnauthorized)
		case r.Header.Get("To") == "refused":
			http.Error(w, "no thanks, "+r.Header.Get("Authorization"), http.StatusBadRequest)
		default:
			if r.Header.Get("To") == "slow" {
				<-time.After(1500 * time.Millisecond) // also when nobody waits for the answer any more
			}
			sent.Add(1)
			fmt.Fprintln(w, "thanks")
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, sent
}

func suite(t *testing.T) channeltest.Suite {
	t.Helper()
	url, sent := provider(t)
	return channeltest.Suite{
		Config: map[string]any{"url": url, "token": token},
		BadConfigs: []channeltest.BadConfig{
			{Name: "a URL without scheme", Path: "url", Config: map[string]any{"url": "example.com", "token": token}},
		},
		Sent:  func() int { return int(sent.Load()) },
		Slow:  channeltest.To("slow"),
		Fails: channeltest.To("refused"),
	}
}

// In process: quick, and with a debugger.
func TestInProcess(t *testing.T) {
	s := suite(t)
	s.Plugin = channeltest.InProcess(sdk.Plugin[config]{Name: "hello", Version: "0.1.0", Open: open})
	channeltest.Run(t, s)
}

// As the binary that ships.
func TestBinary(t *testing.T) {
	s := suite(t)
	s.Binary = filepath.Join(t.TempDir(), "hello")
	if out, err := exec.Command("go", "build", "-o", s.Binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	channeltest.Run(t, s)
}
