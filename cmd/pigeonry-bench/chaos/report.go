package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Report is the result of a run.
type Report struct {
	Seed     uint64         `json:"seed"`
	Engines  string         `json:"engines"`
	Mixed    bool           `json:"mixed"`
	Seconds  float64        `json:"seconds"`
	Accepted int            `json:"accepted"`
	Stored   int            `json:"stored"`
	Statuses map[string]int `json:"statuses"`
	// Doubles are what providers took beyond the first time; Share is their part of the messages.
	Doubles int     `json:"doubles"`
	Share   float64 `json:"doubles_share"`
	// Counts are how many violations of each kind there are; Violations tells some of them.
	Counts     map[string]int `json:"violation_counts,omitempty"`
	Violations []Violation    `json:"violations,omitempty"`
	Faults     []Outcome      `json:"faults"`
	Growth     []Growth       `json:"growth"`
}

// Outcome is what a fault showed. Times are in seconds.
type Outcome struct {
	Name    string `json:"name"`
	Skipped string `json:"skipped,omitempty"`
	// At is when it was injected, since the beginning of the run.
	At float64 `json:"at"`
	// Outage is the time until it was healed.
	Outage float64 `json:"outage,omitempty"`
	// Recovery is the time from the heal, or from the injection of what heals itself, until messages accepted after
	// it arrived on every lane; -1: they did not.
	Recovery float64 `json:"recovery"`
	Limit    float64 `json:"limit"`
	// Alone says that no other fault was there meanwhile.
	Alone bool `json:"alone"`
	// Drained is how long it took until everything was in a final state once the load rested, and Doubles how
	// many came; both only where faults come one by one.
	Drained float64 `json:"drained,omitempty"`
	Doubles int     `json:"doubles"`
}

// Growth is what a gateway held at rest before and after.
type Growth struct {
	Gateway     string     `json:"gateway"`
	Goroutines  [2]float64 `json:"goroutines"`
	Descriptors [2]float64 `json:"descriptors"`
	MemoryMB    [2]float64 `json:"memory_mb"`
	Plugins     [2]int     `json:"plugins"`
}

// String tells the growth in one line.
func (g Growth) String() string {
	return fmt.Sprintf("%s: goroutines %.0f → %.0f, descriptors %.0f → %.0f, memory %.0f → %.0f MB, plugins %d → %d", g.Gateway,
		g.Goroutines[0], g.Goroutines[1], g.Descriptors[0], g.Descriptors[1], g.MemoryMB[0], g.MemoryMB[1], g.Plugins[0], g.Plugins[1])
}

// Holds says whether every promise was kept.
func (r *Report) Holds() bool { return len(r.Counts) == 0 }

// Print writes the report, as one JSON object or for people.
func (r *Report) Print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-20s %8s %8s %9s %7s %8s %7s\n", "fault", "at", "outage", "recovery", "limit", "drained", "doubles")
	for _, f := range r.Faults {
		f.write(&b)
	}
	for _, g := range r.Growth {
		fmt.Fprintf(&b, "\nat rest, %s", g)
	}
	fmt.Fprintf(&b, "\n\naccepted %d, stored %d:", r.Accepted, r.Stored)
	for _, status := range slices.Sorted(maps.Keys(r.Statuses)) {
		fmt.Fprintf(&b, " %s %d,", status, r.Statuses[status])
	}
	fmt.Fprintf(&b, " in %.0f s\ndoubles %d, %.3f %%\n", r.Seconds, r.Doubles, 100*r.Share)
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "\n%s", v)
	}
	verdict := "everything holds"
	if !r.Holds() {
		verdict = fmt.Sprintf("BROKEN: %v", r.Counts)
	}
	fmt.Fprintf(&b, "\n%s; engines %s, seed %d\n", verdict, r.Engines, r.Seed)
	_, err := io.WriteString(w, b.String())
	return err
}

func (o Outcome) write(b *strings.Builder) {
	if o.Skipped != "" {
		fmt.Fprintf(b, "%-20s left out: %s\n", o.Name, o.Skipped)
		return
	}
	note := ""
	if !o.Alone {
		note = "  beside other faults"
	}
	fmt.Fprintf(b, "%-20s %7.0fs %7.1fs %8.1fs %6.0fs %7.1fs %7d%s\n", o.Name, o.At, o.Outage, o.Recovery, o.Limit, o.Drained, o.Doubles, note)
}

// violate takes a violation into the report.
func (r *run) violate(v Violation) {
	r.reporting.Lock()
	defer r.reporting.Unlock()
	if r.report.Counts == nil {
		r.report.Counts = map[string]int{}
	}
	r.report.Counts[v.Kind]++
	if len(r.report.Violations) < judged {
		r.report.Violations = append(r.report.Violations, v)
	}
	if r.report.Counts[v.Kind] <= 3 {
		r.say("VIOLATION %s", v)
	}
}

// take brings the violations that are new since the last check into the report, with what the gateway tells of the
// first of them.
func (r *run) take(ctx context.Context, v *verdict, after string) {
	for _, x := range v.violations {
		identity := x.Kind + x.Trace + x.Detail
		if r.known[identity] {
			continue
		}
		if r.known == nil {
			r.known = map[string]bool{}
		}
		r.known[identity] = true
		if after != "" {
			x.Detail += " (found after " + after + ")"
		}
		if len(r.known) <= 10 && x.Trace != "" {
			x.Detail += "\n" + r.tell(ctx, x)
		}
		r.violate(x)
	}
}

// tell is what the gateway and the ledger say of a message.
func (r *run) tell(ctx context.Context, v Violation) string {
	var told strings.Builder
	for _, path := range []string{fmt.Sprintf("/api/messages/%d", v.Record), "/api/messages/traces/" + v.Trace} {
		status, body, err := get(ctx, "http://"+r.stage.addresses()[0]+path)
		if err != nil || status != http.StatusOK {
			body = fmt.Appendf(nil, "%s answers %d, %v", path, status, err)
		}
		fmt.Fprintf(&told, "    %s\n", strings.TrimSpace(string(body)))
	}
	return told.String()
}

// conclude puts the last verdict into the report.
func (r *run) conclude(v *verdict) {
	r.report.Accepted, r.report.Stored, r.report.Statuses, r.report.Doubles = v.accepted, v.stored, v.statuses, v.doubles
	if v.accepted > 0 {
		r.report.Share = float64(v.doubles) / float64(v.accepted)
	}
	if r.o.Mixed && !r.o.Brief && r.report.Share > doublesAllowed {
		r.violate(Violation{Kind: Doubles, Detail: fmt.Sprintf("%d doubles are %.3f %% of the messages; allowed are %.1f %%",
			v.doubles, 100*r.report.Share, 100*doublesAllowed)})
	}
}
