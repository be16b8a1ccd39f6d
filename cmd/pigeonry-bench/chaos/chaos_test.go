package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/chaos"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/engine"
)

// bin is the folder of the programs that the tests run.
var bin string

// build builds the gateway and the plugins into bin, without the race detector: it is the gateway's behavior that
// counts here, and its speed.
var build = sync.OnceValue(func() error {
	err := chaos.Build(context.Background(), repository, filepath.Join(bin, "pigeonry"), nil, nil)
	for _, name := range []string{"email", "sms"} {
		err = errors.Join(err, buildPlugin(bin, name))
	}
	return err
})

const repository = "../../.."

// buildPlugin builds a plugin to where its own version belongs.
func buildPlugin(dir, name string) error {
	program := filepath.Join(dir, name+".built")
	compile := exec.Command("go", "build", "-o", program, "./plugins/"+name)
	compile.Dir = repository
	if out, err := compile.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", name, err, out)
	}
	out, err := exec.Command(program, "-describe").Output()
	if err != nil {
		return err
	}
	var description struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(out, &description); err != nil {
		return err
	}
	folder := filepath.Join(dir, "plugins", name, description.Version)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.Rename(program, filepath.Join(folder, name))
}

func TestMain(m *testing.M) {
	var err error
	if bin, err = os.MkdirTemp("", "pigeonry-chaos-bin-"); err != nil {
		panic(err)
	}
	// The proxy's own: a connection whose far end breaks while bytes are on the way leaves the stage before the end in its send.
	proxied := goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*NoopToxic).Pipe")
	goleak.VerifyTestMain(m, proxied, goleak.Cleanup(func(code int) {
		os.RemoveAll(bin)
		os.Exit(code)
	}))
}

// run runs chaos on the built gateway.
func run(t *testing.T, o chaos.Options) *chaos.Report {
	t.Helper()
	needEngines(t, o.Engines)
	if err := build(); err != nil {
		t.Fatal(err)
	}
	var progress bytes.Buffer
	o.Bin, o.Brief, o.AtEnd, o.Progress = bin, true, true, &progress
	o.Slack = 3 // three runs at a time share the machine
	report, err := chaos.Run(t.Context(), o)
	t.Logf("%s", progress.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// needEngines leaves a test out when an engine is missing, which is a failure under CI.
func needEngines(t *testing.T, engines string) {
	t.Helper()
	if engines == chaos.Embedded {
		return
	}
	for _, name := range engine.Names() {
		_, err := engine.New(name, engine.Options{Dir: filepath.Join(t.TempDir(), name)})
		switch {
		case errors.Is(err, engine.ErrMissing) && os.Getenv("CI") != "true":
			t.Skipf("left out: %v", err)
		case err != nil:
			t.Fatal(err)
		}
	}
}

func mustHold(t *testing.T, r *chaos.Report) {
	t.Helper()
	var out strings.Builder
	if err := r.Print(&out, false); err != nil {
		t.Fatal(err)
	}
	if !r.Holds() {
		t.Errorf("%s", out.String())
	}
	if r.Accepted < 500 {
		t.Errorf("only %d messages were accepted:\n%s", r.Accepted, out.String())
	}
}

// The essential faults, one after the other, with one check at the end. The seed of a run stands in its report.
func TestChaosShort(t *testing.T) {
	if testing.Short() {
		t.Skip("left out: chaos takes a minute")
	}
	t.Parallel()
	for engines, faults := range map[string][]string{
		chaos.Embedded: {
			"gateway-kill", "plugin-kill", "plugin-stop", "provider-unanswered", "receipts-early", "gateway-full", "gateway-term",
		},
		chaos.Production: {
			"worker-kill", "front-kill", "postgres-kill", "rabbitmq-wipe", "redis-kill", "postgres-cut", "receipts-disordered", "all-term",
		},
	} {
		t.Run(engines, func(t *testing.T) {
			t.Parallel()
			mustHold(t, run(t, chaos.Options{Engines: engines, Faults: faults, Rate: 150, Patience: 90 * time.Second}))
		})
	}
}

// sabotage is a way to break a promise, and the faults that bring it to light.
type sabotage struct {
	name    string
	patches []chaos.Patch
	engines string
	faults  []string
	want    string // the kind of violation
}

// The connectors are slow, so that messages wait at every station when the fault comes.
const slow = "rate = 25"

var sabotages = []sabotage{
	{
		name: "the answer before the commit", engines: chaos.Embedded, faults: []string{"gateway-kill", "gateway-kill"}, want: chaos.Lost,
		patches: []chaos.Patch{
			{File: "core/accept/commit.go", Old: "\treturn c.intake.Accept(ctx, submissions)\n", New: `	for _, p := range group {
		close(p.done)
	}
	time.Sleep(100 * time.Millisecond) // a disk that takes its time
	return c.intake.Accept(ctx, submissions)
`},
			{File: "core/accept/commit.go", Old: "\t\tclose(p.done)\n\t}\n\tif len(envelopes) > 0 {", New: `		select {
		case <-p.done:
		default:
			close(p.done)
		}
	}
	if len(envelopes) > 0 {`},
		},
	},
	{
		name: "no sweep of the outbox", engines: chaos.Embedded, faults: []string{"gateway-kill"}, want: chaos.Unfinished,
		patches: []chaos.Patch{{
			File: "core/relay/relay.go", Old: "\tif generation == 0 {\n\t\treturn nil // the queue has not been reached yet",
			New: "\tif generation >= 0 {\n\t\treturn nil // the queue has not been reached yet",
		}},
	},
	{
		name: "a claim without compare-and-set", engines: chaos.Production, want: chaos.Unexplained,
		faults: []string{"rabbitmq-reset", "rabbitmq-reset", "rabbitmq-reset"},
		patches: []chaos.Patch{{
			File: "core/store/postgres/dispatch.go", Old: " AND r.status = 'queued' AND r.attempt = c.attempt - 1\n", New: "\n",
		}},
	},
	{
		name: "acknowledged before the result", engines: chaos.Embedded, want: chaos.Unfinished,
		faults: []string{"gateway-term", "gateway-term", "gateway-term"},
		patches: []chaos.Patch{{
			File: "core/dispatch/work.go", Old: "\trest := d.spread(ctx, ch, messages, taken)\n", New: `	d.o.Settled(received.ID)
	_ = received.Ack(ctx)
	for d.spread(ctx, ch, messages, taken) && ctx.Err() == nil && d.stopping.Err() == nil {
		taken = time.Now()
		messages, _ = d.load(ctx, received.Records)
		messages = d.triage(ctx, messages)
	}
	rest := false
	if len(received.Records) > 0 {
		return
	}
`,
		}},
	},
}

// Each promise that is broken on purpose turns the run red, in the way that it must, and the gateway as it is stays
// green under the same faults.
func TestSabotageIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("left out: builds four gateways and runs them")
	}
	t.Parallel()
	for _, engines := range []string{chaos.Embedded, chaos.Production} {
		t.Run("none, "+engines, func(t *testing.T) {
			t.Parallel()
			faults := map[string][]string{chaos.Embedded: {"gateway-kill", "gateway-term"}, chaos.Production: sabotages[2].faults}
			mustHold(t, run(t, chaos.Options{Engines: engines, Faults: faults[engines], Rate: 100, Settings: slow, Patience: 90 * time.Second, Targeted: true}))
		})
	}
	for _, s := range sabotages {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			gateway := filepath.Join(t.TempDir(), "pigeonry")
			if err := chaos.Build(t.Context(), repository, gateway, s.patches, nil); err != nil {
				t.Fatal(err)
			}
			r := run(t, chaos.Options{
				Engines: s.engines, Faults: s.faults, Rate: 100, Settings: slow, Gateway: gateway, Patience: 30 * time.Second, Targeted: true,
			})
			if r.Counts[s.want] == 0 {
				t.Errorf("the run found %v, want %q", r.Counts, s.want)
			}
		})
	}
}

func TestPatchMustFit(t *testing.T) {
	err := chaos.Build(t.Context(), repository, filepath.Join(t.TempDir(), "pigeonry"),
		[]chaos.Patch{{File: "core/relay/relay.go", Old: "text that is not there", New: "x"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "must follow the source") {
		t.Errorf("got %v", err)
	}
}
