package channeltest_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

// badPlugins holds, for each case, what it says of the plugin in testdata/badplugin with the fault of the
// same name.
var badPlugins = map[string]string{
	"handshake":                     "same nonce",
	"describe by hand":              "differ in version: 2.0.0 and 1.0.0",
	"strangers stay out":            "a client without a certificate is served",
	"schema":                        "it refuses Suite.Config: no config will do",
	"bad config":                    "an unknown field: call ValidateConfig: no error diagnostic",
	"revisions":                     "it takes revision 4 after revision 5",
	"check":                         "login failed",
	"one result per attempt":        "a batch of 50",
	"unknown connector":             "want outcome retryable, got accepted",
	"a large message":               "larger than max",
	"expired items unsent":          "after not_after: ",
	"deadline honoured":             "the deadline of 500ms came first",
	"concurrent batches":            "busy",
	"a panic costs one item":        "item 1 of 5",
	"remove":                        "after Remove: ",
	"health":                        "the new connector does not show up",
	"drain":                         "after Drain: ",
	"signals ignored until drained": "after terminated: ",
	"ends when asked":               "it had to be killed",
	"SIGKILL in mid-batch":          "a killed plugin still delivers",
	"orphan exits":                  "it still runs",
	"noise on stdout":               "printing to the standard output: ",
	"64 KiB stderr lines":           "of a line of 65536 bytes only",
	"no secret in any log":          "<the secret>",
}

// Every case can fail: for each there is a bad plugin that fails there, and there alone.
func TestEachCaseHasItsBadPlugin(t *testing.T) {
	known := make(map[string]bool)
	var runs sync.WaitGroup
	slots := make(chan struct{}, 6) // mostly they wait
	for _, c := range channeltest.Cases() {
		known[c.Name] = true
		says, ok := badPlugins[c.Name]
		if !ok {
			t.Errorf("no bad plugin fails the case %q: add a fault of that name to testdata/badplugin", c.Name)
			continue
		}
		runs.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			failsThere(t, c, says)
			if !testing.Short() {
				failsNowhereElse(t, c)
			}
		})
	}
	runs.Wait()
	for name := range badPlugins {
		if !known[name] {
			t.Errorf("there is a bad plugin for the case %q, which there is not", name)
		}
	}
}

func failsThere(t *testing.T, c channeltest.Case, says string) {
	t.Helper()
	err := subject(t, c.Name).Try(t.Context(), c)
	if skip, ok := errors.AsType[*channeltest.SkipError](err); ok {
		t.Errorf("case %q: skipped: %s", c.Name, skip.Reason)
	} else if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("case %q: want an error with %q, got: %v", c.Name, says, err)
	}
}

// failsNowhereElse runs all other cases on the bad plugin of one.
func failsNowhereElse(t *testing.T, own channeltest.Case) {
	t.Helper()
	s := subject(t, own.Name)
	for _, c := range channeltest.Cases() {
		if c.Name == own.Name {
			continue
		}
		err := s.Try(t.Context(), c)
		if err != nil { // once more: some cases count in fractions of a second, and the machine is busy
			err = s.Try(t.Context(), c)
		}
		if err != nil {
			t.Errorf("the bad plugin for %q fails %q as well: %v", own.Name, c.Name, err)
		}
	}
}

// A good plugin passes: what fails above does so for its fault.
func TestBadPluginWithoutFault(t *testing.T) {
	channeltest.Run(t, subject(t, "").Suite)
}

// Faults that no plugin gets past the first case with.
func TestBadStart(t *testing.T) {
	for fault, says := range map[string]string{
		"no handshake":      `no handshake line came on the standard output, only ["hello, world"]`,
		"says nothing":      "no handshake line came on the standard output",
		"listens elsewhere": `want unix, got "tcp"`,
	} {
		t.Run(fault, func(t *testing.T) {
			err := run(t, subject(t, fault), "handshake")
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("want an error with %q, got: %v", says, err)
			}
		})
	}
}

// subject is the bad plugin with that fault.
func subject(t *testing.T, fault string) *channeltest.Subject {
	t.Helper()
	s, err := channeltest.NewSubject(channeltest.Suite{
		Binary: filepath.Join(binaries, "badplugin"),
		Env:    []string{"FAULT=" + fault},
		Config: map[string]any{"host": "localhost", "token": "s3cret-token"},
		Slow:   channeltest.To("slow"), Panics: channeltest.To("panic"),
		Noisy: channeltest.To("noisy"), Fails: channeltest.To("fail"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
