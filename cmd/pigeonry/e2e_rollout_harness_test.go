package main_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// rollout is what the API tells of a rollout, as far as the tests look.
type rollout struct {
	ID        int64
	State     string
	Step      int
	Reason    string
	UpdatedAt time.Time `json:"updated_at"`
}

func (r rollout) over() bool { return r.State == "promoted" || r.State == "rolled_back" }

type rolloutDetail struct {
	Rollout    rollout
	New        struct{ Samples int }
	WaitingFor string `json:"waiting_for"`
	Events     []struct {
		At            time.Time
		State, Reason string
		Share         float64
	}
}

// when returns when a state was first entered, zero if it never was.
func (d rolloutDetail) when(state string) time.Time {
	for _, e := range d.Events {
		if e.State == state {
			return e.At
		}
	}
	return time.Time{}
}

// begin begins a rollout. Options are those of the API.
func (s *system) begin(plugin, version, strategy string, options map[string]any) int64 {
	s.t.Helper()
	return get[rollout](s, http.MethodPost, "/api/plugins/"+plugin+"/rollouts", map[string]any{
		"version": version, "strategy": strategy, "options": options,
	}).ID
}

func (s *system) rollout(plugin string, id int64) rolloutDetail {
	s.t.Helper()
	return get[rolloutDetail](s, http.MethodGet, fmt.Sprintf("/api/plugins/%s/rollouts/%d", plugin, id), nil)
}

// order gives a rollout a command: promote, pause, resume, rollback.
func (s *system) order(plugin string, id int64, command string) {
	s.t.Helper()
	get[rollout](s, http.MethodPost, fmt.Sprintf("/api/plugins/%s/rollouts/%d/%s", plugin, id, command), map[string]any{})
}

// awaitRollout waits until a rollout is as it should be.
func (s *system) awaitRollout(what, plugin string, id int64, patience time.Duration, holds func(rolloutDetail) bool) rolloutDetail {
	s.t.Helper()
	var d rolloutDetail
	s.await(what, patience, func() bool {
		d = s.rollout(plugin, id)
		s.last = fmt.Sprintf("%+v", d)
		return holds(d)
	})
	return d
}

// generation is a version of a plugin, as the API tells it.
type generation struct {
	Version, State string
	PID            int
	Share          float64
}

// generations returns the active version of a plugin, and all that are known.
func (s *system) generations(plugin string) (active string, all []generation) {
	s.t.Helper()
	plugins := get[struct {
		Items []struct {
			Name, Active string
			Generations  []generation
		}
	}](s, http.MethodGet, "/api/plugins", nil)
	for _, p := range plugins.Items {
		if p.Name == plugin {
			return p.Active, p.Generations
		}
	}
	return "", nil
}

// alone says whether a version is the active one and no other has a process.
func (s *system) alone(plugin, version string) bool {
	s.t.Helper()
	active, all := s.generations(plugin)
	s.last = fmt.Sprintf("%s of %+v", active, all)
	return active == version && !slices.ContainsFunc(all, func(g generation) bool {
		return g.Version != version && g.PID != 0 || g.Version == version && g.State != "active"
	})
}

// quarantine tells why a version is in quarantine, "" if it is not.
func (s *system) quarantine(plugin, version string) string {
	s.t.Helper()
	versions := get[struct {
		Items []struct{ Version, Quarantine string }
	}](s, http.MethodGet, "/api/plugins/"+plugin+"/versions", nil)
	for _, v := range versions.Items {
		if v.Version == version {
			return v.Quarantine
		}
	}
	s.t.Errorf("%s has no version %s", plugin, version)
	return ""
}

// installFlaky puts a version of the plugin flaky into the plugins folder of the system, under a name and with a fault.
// Each has bytes of its own.
func (s *system) installFlaky(name, version, fault string) {
	s.t.Helper()
	dir, err := built()
	if err != nil {
		s.t.Fatal(err)
	}
	program, err := os.ReadFile(filepath.Join(dir, "flaky"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.installVersion(name, version, append(program, fmt.Sprintf("\nversion:%s\nfault:%s", version, fault)...))
}

// installVersion puts an executable into the plugins folder of the system, in one step as installers do.
func (s *system) installVersion(name, version string, program []byte) {
	s.t.Helper()
	folder := filepath.Join(s.plugins, name, version)
	fresh := folder + ".tmp"
	if err := os.MkdirAll(fresh, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(fresh, name), program, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(fresh, folder); err != nil {
		s.t.Fatal(err)
	}
}

// startFlaky runs a gateway with a connector flaky/<name> for each name, of a plugin of the same name at version 1.0.0,
// which takes 200 ms for each batch: so long that it stands out against what a busy machine adds. The steps of its canary
// are short.
func startFlaky(t *testing.T, engines string, names ...string) *system {
	t.Helper()
	s := &system{t: t, dir: t.TempDir(), plugins: t.TempDir(), address: freeAddress(t)}
	s.config = filepath.Join(s.dir, "gateway.hcl")
	var config strings.Builder
	config.WriteString(engines)
	fmt.Fprintf(&config, "listen = %q\ndata_dir = %q\n", s.address, filepath.Join(s.dir, "data"))
	fmt.Fprintf(&config, "plugins {\n  dir = %q\n  canary {\n    steps = [1, 100]\n    min_samples = 20\n    window = \"500ms\"\n    bake = \"0s\"\n  }\n}\n",
		s.plugins)
	for _, name := range names {
		s.installFlaky(name, "1.0.0", "")
		fmt.Fprintf(&config, "connector \"flaky\" %q {\n  plugin = %q\n  retry { first_delay = \"100ms\" }\n", name, name)
		fmt.Fprintf(&config, "  config {\n    ledger  = %q\n    latency = \"200ms\"\n  }\n", s.flakyLedger(name))
		fmt.Fprintf(&config, "  shadow_config { ledger = %q }\n}\n", s.flakyLedger(name)+".shadow")
	}
	if err := os.WriteFile(s.config, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	return s
}

func (s *system) flakyLedger(name string) string { return filepath.Join(s.dir, name+".ledger") }

// flood sends batches at an even pace until it is told to end.
type flood struct {
	s       *system
	next    func() map[string]any // the next request
	stop    chan struct{}
	ended   sync.WaitGroup
	batches []batch
	failed  []string // answers that were none of success
}

// floodEvery is the time between two batches.
const floodEvery = 200 * time.Millisecond

// flood begins to send. Whoever ends it looks at what came of it.
func (s *system) flood(next func() map[string]any) *flood {
	f := &flood{s: s, next: next, stop: make(chan struct{})}
	f.ended.Go(func() {
		tick := time.NewTicker(floodEvery)
		defer tick.Stop()
		for {
			f.send()
			select {
			case <-f.stop:
				return
			case <-tick.C:
			}
		}
	})
	s.t.Cleanup(f.halt)
	return f
}

// halt ends the flood, if it still goes on.
func (f *flood) halt() {
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
	f.ended.Wait()
}

// end ends the flood and returns all that was accepted. A request that failed fails the test.
func (f *flood) end() []batch {
	f.s.t.Helper()
	f.halt()
	if len(f.failed) > 0 {
		f.s.t.Errorf("%d of %d requests failed, the first with %s", len(f.failed), len(f.failed)+len(f.batches), f.failed[0])
	}
	return f.batches
}

func (f *flood) send() {
	status, answer, err := f.s.call(http.MethodPost, "/api/messages/send-batch", f.next())
	b, decoded := decode[batch](answer)
	if err != nil || status != http.StatusOK || decoded != nil || len(b.Rejected) > 0 {
		f.failed = append(f.failed, fmt.Sprintf("%d, %v: %s", status, err, answer))
		return
	}
	f.batches = append(f.batches, b)
}

// flakyMail is a request to a connector of the channel flaky, of so many messages.
func flakyMail(connector string, messages int) map[string]any {
	recipients := make([]string, messages)
	for i := range recipients {
		recipients[i] = "recipient-" + strconv.Itoa(i)
	}
	return map[string]any{"channel": "flaky", "connector": connector, "content": "Everything must go.", "recipients": recipients}
}

// auditFlaky waits until every message of the batches is sent, and compares with the ledger: each was sent, and whatever
// was sent twice says so. It returns the number of repeats, and of messages that versions with a fault noted.
func (s *system) auditFlaky(name string, batches []batch) (repeats, faulty int) {
	s.t.Helper()
	for _, b := range batches {
		s.await("every message is sent", 60*time.Second, func() bool {
			progress := s.progress(b)
			s.last = fmt.Sprint(progress)
			return progress["sent"] == b.Accepted
		})
	}
	taken, faulty := s.readFlakyLedger(name)
	for _, b := range batches {
		for id := b.BatchID + 1; id <= b.BatchID+int64(b.Accepted); id++ {
			n := taken[id]
			if n == 0 {
				s.t.Errorf("message %d is sent, and the provider never got it", id)
			}
			if n > 1 && !get[message](s, http.MethodGet, fmt.Sprintf("/api/messages/%d", id), nil).Doubtful {
				s.t.Errorf("message %d was sent %d times without the mark", id, n)
			}
			repeats += max(0, n-1)
		}
	}
	return repeats, faulty
}

// readFlakyLedger counts how often each message was sent, and how many by versions that have a fault.
func (s *system) readFlakyLedger(name string) (taken map[int64]int, faulty int) {
	s.t.Helper()
	b, err := os.ReadFile(s.flakyLedger(name))
	if err != nil {
		s.t.Fatal(err)
	}
	taken = map[int64]int{}
	for line := range bytes.Lines(b) {
		var id int64
		var fault string
		if _, err := fmt.Sscanf(string(line), "%d %q", &id, &fault); err != nil {
			s.t.Fatalf("ledger: %v in %q", err, line)
		}
		taken[id]++
		if fault != "" {
			faulty++
		}
	}
	return taken, faulty
}
