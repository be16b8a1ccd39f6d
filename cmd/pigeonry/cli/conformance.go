package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

func (p Process) pluginTest() *cobra.Command {
	var t conformance
	cmd := &cobra.Command{
		Use:   "test <executable>",
		Short: "Test whether a plugin, in whatever language, does what the gateway relies on",
		Long: `Starts the executable as the gateway would and runs the conformance kit on it: one line
for each case. It ends with 1 if one failed.

It sends messages through the channel, so give it a connector's config with which a test
provider accepts them. For a channel that calls an HTTP provider, --provider starts one that
takes anything; {{provider}} in the config is its address.

The more the kit can make happen, the more it can test: --slow, --fails, --panics and
--noisy are recipients for which your provider, or the plugin under test, behaves so.
Cases without their recipient are skipped. --sent is how the kit sees what reaches your
provider, and whether "surely not sent" is true.`,
		Example: `  pigeonry plugin test bin/plugins/email/1.0.0/email --config email.hcl --recipient ann@example.com
  echo '{"url": "{{provider}}", "token": "s3cret-token"}' >config.json
  pigeonry plugin test ./webhook --config config.json --provider`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t.environ, t.out = p.Environ, cmd.OutOrStdout()
			return t.run(cmd.Context(), args[0])
		},
	}
	t.addFlags(cmd.Flags())
	return cmd
}

// conformance is one run of the kit.
type conformance struct {
	environ []string
	out     io.Writer

	config, item, channel          string
	recipient, sent                string
	slow, fails, panics, noisy     string // recipients
	badConfigs, env, secrets, only []string
	plaintext, provider, asJSON    bool
}

func (t *conformance) addFlags(f *pflag.FlagSet) {
	f.StringVar(&t.config, "config", "", "file with a connector's config: a JSON object, or HCL as between the braces of config { }")
	f.StringArrayVar(&t.badConfigs, "bad-config", nil, "<field>=<file>: a config to be refused because of that field, e.g. tls.mode=bad.json")
	f.StringVar(&t.channel, "channel", "", "channel of the connector (default: the first one that the plugin describes)")
	f.StringVar(&t.recipient, "recipient", "channeltest", "recipient whose messages are accepted")
	f.StringVar(&t.item, "item", "", "JSON file with more of each message: {\"content\": {\"subject\": \"…\"}}")
	f.StringVar(&t.slow, "slow", "", "recipient whose message takes between one and five seconds")
	f.StringVar(&t.fails, "fails", "", "recipient that the provider refuses, best with an answer that quotes the credentials")
	f.StringVar(&t.panics, "panics", "", "recipient at which the plugin's own code fails")
	f.StringVar(&t.noisy, "noisy", "", "recipient at which the plugin prints lines of more than 64 KiB to both outputs")
	f.StringVar(&t.sent, "sent", "", "file to which your provider adds a line for each message that reaches it and is not refused")
	f.StringArrayVar(&t.secrets, "secret", nil, "text that must show up in no log or error, beside the config's secrets; may be repeated")
	f.StringArrayVar(&t.env, "env", nil, "NAME=value, or NAME for its value here: a variable for the plugin; may be repeated")
	f.BoolVar(&t.plaintext, "plaintext", false, "the plugin cannot do mutual TLS, as its plugin.hcl says")
	f.BoolVar(&t.provider, "provider", false, "start an HTTP provider that takes anything; {{provider}} in the config is its address")
	f.StringArrayVar(&t.only, "case", nil, "run this case alone; may be repeated")
	f.BoolVar(&t.asJSON, "json", false, "print the outcome as JSON")
}

func (t *conformance) run(ctx context.Context, executable string) (err error) {
	address := ""
	complete := func(s channeltest.Suite) channeltest.Suite { return s }
	if t.provider {
		provider, err := channeltest.StartProvider()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, provider.Close()) }()
		address, complete = provider.URL, provider.Suite
	}
	suite, err := t.suite(executable, address)
	if err != nil {
		return err
	}
	subject, err := channeltest.NewSubject(complete(suite))
	if err != nil {
		return err
	}
	cases, err := t.cases()
	if err != nil {
		return err
	}
	verdicts, err := t.try(ctx, subject, cases)
	if err != nil {
		return err
	}
	return t.conclude(executable, verdicts)
}

// suite turns the flags into what the kit wants to know.
func (t *conformance) suite(executable, provider string) (channeltest.Suite, error) {
	if _, err := os.Stat(executable); err != nil {
		return channeltest.Suite{}, fmt.Errorf("find the plugin: %w", err)
	}
	s := channeltest.Suite{
		Binary: executable, Channel: t.channel, Recipient: t.recipient, Secrets: t.secrets, Plaintext: t.plaintext,
		Slow: behaviour(t.slow), Fails: behaviour(t.fails), Panics: behaviour(t.panics), Noisy: behaviour(t.noisy),
	}
	if t.sent != "" {
		s.Sent = func() int { return linesOf(t.sent) }
	}
	for _, e := range t.env {
		if !strings.Contains(e, "=") {
			e += "=" + (Process{Environ: t.environ}).getenv(e)
		}
		s.Env = append(s.Env, e)
	}
	var err error
	if s.Config, err = readConnectorConfig(t.config, t.environ, provider); err != nil {
		return s, err
	}
	for _, b := range t.badConfigs {
		field, file, ok := strings.Cut(b, "=")
		if !ok {
			return s, fmt.Errorf("--bad-config %q: want <field>=<file>", b)
		}
		config, err := readConnectorConfig(file, t.environ, provider)
		if err != nil {
			return s, err
		}
		s.BadConfigs = append(s.BadConfigs, channeltest.BadConfig{Name: file, Path: field, Config: config})
	}
	s.Prepare, err = t.prepare()
	return s, err
}

// linesOf counts the lines of a file; there is none before the first.
func linesOf(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	return bytes.Count(text, []byte("\n"))
}

// behaviour is what the kit does to an item for the recipient; nil where there is none.
func behaviour(recipient string) func(*channeltest.Item) {
	if recipient == "" {
		return nil
	}
	return channeltest.To(recipient)
}

// prepare is what --item adds to each item.
func (t *conformance) prepare() (func(*channeltest.Item), error) {
	if t.item == "" {
		return nil, nil
	}
	text, err := os.ReadFile(t.item)
	if err != nil {
		return nil, fmt.Errorf("read --item: %w", err)
	}
	more := &channeltest.Item{}
	if err := protojson.Unmarshal(text, more); err != nil {
		return nil, fmt.Errorf("read --item %s: %w", t.item, err)
	}
	return func(item *channeltest.Item) { proto.Merge(item, more) }, nil
}

// cases are those that --case names, all without it.
func (t *conformance) cases() ([]channeltest.Case, error) {
	all := channeltest.Cases()
	if len(t.only) == 0 {
		return all, nil
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	for _, name := range t.only {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("there is no case %q; there are: %s", name, strings.Join(names, ", "))
		}
	}
	return slices.DeleteFunc(all, func(c channeltest.Case) bool { return !slices.Contains(t.only, c.Name) }), nil
}

// caseVerdict is what came of one case.
type caseVerdict struct {
	Name    string   `json:"name"`
	About   string   `json:"about"`
	Result  string   `json:"result"` // pass, fail, skipped
	Reason  string   `json:"reason,omitempty"`
	Notes   []string `json:"notes,omitempty"`
	Output  string   `json:"output,omitempty"` // the end of what a failed plugin printed
	Seconds float64  `json:"seconds"`
}

// try runs the cases and tells of each as it ends. Without a handshake the others mean nothing.
func (t *conformance) try(ctx context.Context, subject *channeltest.Subject, cases []channeltest.Case) ([]caseVerdict, error) {
	verdicts := make([]caseVerdict, 0, len(cases))
	started := true
	for _, c := range cases {
		v := caseVerdict{Name: c.Name, About: c.About, Result: "skipped", Reason: "the handshake failed"}
		if started {
			v = judge(ctx, subject, c)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("interrupted in the case %q", c.Name)
		}
		started = started && (c.Name != "handshake" || v.Result == "pass")
		verdicts = append(verdicts, v)
		if !t.asJSON {
			v.print(t.out)
		}
	}
	return verdicts, nil
}

// flagOf names the flag for a field of the kit's Suite.
var flagOf = strings.NewReplacer("Suite.Slow", "--slow", "Suite.Panics", "--panics", "Suite.Noisy", "--noisy",
	"Suite.Fails", "--fails", "Suite.Sent", "--sent", "Suite.Secrets", "--secret", "Suite.Config", "--config")

func judge(ctx context.Context, subject *channeltest.Subject, c channeltest.Case) caseVerdict {
	v := caseVerdict{Name: c.Name, About: c.About, Result: "pass"}
	subject.Note = func(format string, args ...any) { v.Notes = append(v.Notes, fmt.Sprintf(format, args...)) }
	began := time.Now()
	err := subject.Try(ctx, c)
	v.Seconds = time.Since(began).Round(time.Millisecond).Seconds()
	if skip, ok := errors.AsType[*channeltest.SkipError](err); ok {
		v.Result, v.Reason = "skipped", flagOf.Replace(skip.Reason)
	} else if err != nil {
		v.Result, v.Reason, v.Output = "fail", flagOf.Replace(err.Error()), subject.LastOutput()
	}
	return v
}

// print writes the verdict in one line, and below a failure what helps to find its cause.
func (v caseVerdict) print(out io.Writer) {
	word := v.Result
	if word == "fail" {
		word = "FAIL"
	}
	line := fmt.Sprintf("%-8s %s", word, v.Name)
	if v.Reason != "" {
		line += ": " + v.Reason
	}
	if len(v.Notes) > 0 {
		line += " (" + strings.Join(v.Notes, "; ") + ")"
	}
	fmt.Fprintln(out, line)
	if v.Result == "fail" {
		fmt.Fprintln(out, "         what it proves: "+v.About)
		fmt.Fprintln(out, "         "+strings.ReplaceAll(strings.TrimSpace(v.Output), "\n", "\n         "))
	}
}

// conclude sums up; a failed case is an error.
func (t *conformance) conclude(executable string, verdicts []caseVerdict) error {
	counts := map[string]int{}
	seconds := 0.0
	for _, v := range verdicts {
		counts[v.Result]++
		seconds += v.Seconds
	}
	if t.asJSON {
		enc := json.NewEncoder(t.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(struct {
			Plugin  string        `json:"plugin"`
			Passed  int           `json:"passed"`
			Failed  int           `json:"failed"`
			Skipped int           `json:"skipped"`
			Cases   []caseVerdict `json:"cases"`
		}{executable, counts["pass"], counts["fail"], counts["skipped"], verdicts}); err != nil {
			return fmt.Errorf("print the outcome: %w", err)
		}
	} else {
		fmt.Fprintf(t.out, "\n%s: %d passed, %d failed, %d skipped in %.1f s\n",
			count(len(verdicts), "case"), counts["pass"], counts["fail"], counts["skipped"], seconds)
	}
	if counts["fail"] > 0 {
		return fmt.Errorf("%s does not conform: %s failed", executable, count(counts["fail"], "case"))
	}
	return nil
}
