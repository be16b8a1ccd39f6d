package channeltest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// Item is one attempt to send one message, as the gateway hands it over.
type Item = channelv1.Item

// Server serves the contract.
type Server = channelv1.ChannelServiceServer

// caseTimeout bounds one case.
const caseTimeout = time.Minute

// Suite says what to test and how to reach a provider that accepts messages.
type Suite struct {
	// Binary is the path of an executable. Plugin makes a fresh server in this process. Exactly one
	// of the two is set.
	Binary string
	Plugin func() Server

	// Env is the environment of the Binary, as "NAME=value", beside PATH, HOME and TMPDIR.
	Env []string
	// Plaintext is for a Binary whose language cannot do mutual TLS, as its plugin.hcl says. Operators
	// have to allow each such plugin by name.
	Plaintext bool

	// Config is a connector's config with which messages are accepted. Durations are strings.
	Config map[string]any
	// BadConfigs are configs the plugin must refuse. The kit makes some of its own out of Config
	// and the schema.
	BadConfigs []BadConfig
	// Channel is the connector's channel. Empty: the first one the plugin describes.
	Channel string

	// Recipient is one that the provider accepts. Empty: "channeltest".
	Recipient string
	// Prepare, if set, changes each item before it is sent: a subject, a template.
	Prepare func(item *Item)

	// Slow makes sending the item take between one and five seconds.
	Slow func(item *Item)
	// Panics makes the plugin panic while it sends the item.
	Panics func(item *Item)
	// Noisy makes the plugin print lines of more than 64 KiB to its standard output and its standard
	// error, and then accept the item.
	Noisy func(item *Item)
	// Fails makes the provider refuse the item, best with an answer that quotes the credentials.
	Fails func(item *Item)
	// Sent counts the messages that have reached the provider, without those that it refused. It shows
	// whether "surely not sent" is true.
	Sent func() int
	// Secrets must not show up in any log or error, beside the values of the config's fields that
	// the schema marks with x-secret.
	Secrets []string
}

// InProcess is Suite.Plugin for a plugin made with the SDK.
func InProcess[C any](p sdk.Plugin[C]) func() Server {
	return func() Server { return sdk.NewServer(p) }
}

// To sends an item to the recipient: for test providers where the recipient says what happens.
func To(recipient string) func(*Item) { return func(item *Item) { item.Recipient = recipient } }

// BadConfig is a config to be refused.
type BadConfig struct {
	Name   string
	Config map[string]any
	// Path is where the diagnostic must point, e.g. "tls.mode" or "servers[0].host".
	Path string
}

// Run runs every case as a subtest.
func Run(t *testing.T, suite Suite) {
	t.Helper()
	subject, err := NewSubject(suite)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			subject.Note = t.Logf
			err := subject.Try(t.Context(), c)
			if skip, ok := errors.AsType[*SkipError](err); ok {
				t.Skipf("%s: skipped: %s", c.Name, skip.Reason)
			}
			if err != nil {
				t.Errorf("%v\n(%s)\n%s", err, c.About, subject.LastOutput())
			}
		})
	}
}

// Try runs one case, for at most a minute.
func (s *Subject) Try(ctx context.Context, c Case) error {
	ctx, cancel := context.WithTimeout(ctx, caseTimeout)
	defer cancel()
	return c.Run(ctx, s)
}

// Case is one thing a plugin must do.
type Case struct {
	// Name is short and stable; About says what it proves.
	Name, About string
	// Run returns nil, a *SkipError, or what the plugin did wrong.
	Run func(ctx context.Context, s *Subject) error
}

// SkipError says why a case does not apply.
type SkipError struct{ Reason string }

// Error returns the reason.
func (e *SkipError) Error() string { return "skipped: " + e.Reason }

func skipf(format string, args ...any) error { return &SkipError{fmt.Sprintf(format, args...)} }

// Cases returns every case in the order to run them. The last one judges what all of them made the
// plugin print.
func Cases() []Case {
	return []Case{
		{"handshake", "the plugin starts, is connected to and says who it is", handshake},
		{"describe by hand", "started by hand with -describe it prints the same as JSON", describeFlag},
		{"strangers stay out", "who does not have the gateway's certificate is not served", strangers},
		{"schema", "the config schema is valid JSON Schema 2020-12 and matches the config", schemaMatches},
		{"bad config", "a bad config is refused with the path of the field, and opens nothing", badConfig},
		{"revisions", "a newer config replaces the old one, an older one is refused", revisions},
		{"check", "Check reaches the provider", check},
		{"callback", "a request that is not the provider's is answered and brings no events", callback},
		{"query", "an attempt that was never made is not accepted", query},
		{"receive", "the stream of events opens, closes and opens again", receive},
		{"share", "values are shared with another process of the plugin through the gateway", share},
		{"one result per attempt", "every attempt gets exactly one result", onePerAttempt},
		{"a refusal is no acceptance", "what the provider refuses is not accepted, and says why", refusal},
		{"unknown connector", "items of a connector that is not configured come back retryable", unknownConnector},
		{"a large message", "a message of 5 MiB gets its result", large},
		{"expired items unsent", "an item after its not_after is rejected as expired and not sent", expired},
		{"deadline honoured", "a call ends at its deadline and leaves the plugin well", deadline},
		{"concurrent batches", "batches do not mix", concurrent},
		{"a panic costs one item", "a panic makes its item uncertain and nothing else", panics},
		{"remove", "a removed connector takes nothing more", remove},
		{"health", "the state comes at once, and at each change", health},
		{"drain", "draining finishes what is in flight and takes nothing more", drain},
		{"signals ignored until drained", "SIGTERM and SIGINT do not end a plugin that has work", signals},
		{"ends when asked", "go-plugin's Shutdown ends the process within two seconds, with code 0", endsWhenAsked},
		{"SIGKILL in mid-batch", "a killed plugin loses only what it had not reported, and nobody waits", killed},
		{"orphan exits", "a plugin whose gateway is gone ends within five seconds", orphan},
		{"noise on stdout", "what is printed to the standard output breaks nothing", noise},
		{"64 KiB stderr lines", "very long lines on the standard error break nothing", longLines},
		{"no secret in any log", "no secret shows up in logs and errors", secrets},
	}
}
