package channeltest_test

import (
	"errors"
	"os"
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
	"callback":                      "it brought 1 events",
	"query":                         "which was never made: it is accepted",
	"receive":                       "the stream goes on 10s after the gateway closed its side",
	"share":                         "a shared value has a name of 1 to 200 bytes, this one has 0",
	"one result per attempt":        "a batch of 50",
	"a refusal is no acceptance":    "the provider refused attempt",
	"unknown connector":             "want outcome retryable, got accepted",
	"a large message":               "larger than max",
	"expired items unsent":          "after not_after: ",
	"deadline honoured":             "the deadline of 800ms came first",
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

// others are faults besides, by the case that finds each.
var others = []struct{ fault, name, says string }{
	{"a timeout is retryable", "deadline honoured", "at the deadline of 800ms 3 of 3 items came back as surely not sent, yet 3 reached the provider"},
	{"begun and not started", "deadline honoured", "at the deadline of 800ms 3 of 3 items came back as surely not sent, yet 3 reached the provider"},
	{"sends what it gives back", "unknown connector", "3 items came back as surely not sent, yet 3 reached the provider"},
	{"sends what it gives back", "remove", "2 items came back as surely not sent, yet 2 reached the provider"},
	{"sends what it gives back", "drain", "3 items came back as surely not sent, yet 3 reached the provider"},
	{"sends what has expired", "expired items unsent", "one of two items was expired, yet 2 reached the provider"},
	{"a refusal without a code", "a refusal is no acceptance", "the result has no error with a code"},
	{"callback unserved", "callback", "describes the capability callback and does not serve HandleCallback"},
	{"callback fails", "callback", "want an answer, such as status 400 or 401"},
	{"callback with an odd status", "callback", "the answer has the status 7"},
	{"query unserved", "query", "describes the capability query and does not serve Query"},
	{"query about another", "query", "it answers about another"},
	{"query without outcome", "query", "the result has no outcome"},
	{"receive unserved", "receive", "describes the capability receive and does not serve Receive"},
	{"receive ends", "receive", "the stream ended before the gateway closed it"},
	{"receive for a stranger", "receive", `of the connector "bad/another", which there is not`},
	{"receive counts wrongly", "receive", "a batch of events has the number 2 after 0"},
	{"share unserved", "share", "describes the capability share and does not serve Share"},
	{"share never ends", "share", "the stream goes on 10s after the gateway closed its side"},
	{"share asks nothing", "share", `the question about "token" asks nothing`},
	{"share keeps too much", "share", `the shared value "token" has 17408 bytes: want 1 to 16384`},
	{"share keeps for ever", "share", "want within 31 days"},
	{"share in clear", "no secret in any log", "shared value: <the secret>"},
	{"a secret in base64", "no secret in any log", "Basic <the secret>"},
}

func TestOtherFaults(t *testing.T) {
	for _, o := range others {
		t.Run(o.name+"/"+o.fault, func(t *testing.T) {
			t.Parallel()
			if err := run(t, subject(t, o.fault), o.name); err == nil || !strings.Contains(err.Error(), o.says) {
				t.Errorf("want an error with %q, got: %v", o.says, err)
			}
		})
	}
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
	ledger := filepath.Join(t.TempDir(), "ledger")
	s, err := channeltest.NewSubject(channeltest.Suite{
		Binary: filepath.Join(binaries, "badplugin"),
		Env:    []string{"FAULT=" + fault, "LEDGER=" + ledger},
		Config: map[string]any{"host": "localhost", "token": "s3cret-token"},
		Slow:   channeltest.To("slow"), Panics: channeltest.To("panic"),
		Noisy: channeltest.To("noisy"), Fails: channeltest.To("fail"),
		Sent: linesOf(ledger),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// linesOf counts the lines of a file; there is none before the first.
func linesOf(path string) func() int {
	return func() int {
		text, err := os.ReadFile(path)
		if err != nil {
			return 0
		}
		return strings.Count(string(text), "\n")
	}
}
