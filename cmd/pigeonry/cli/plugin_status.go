package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pigeonry/pigeonry/core/api/client"
)

const (
	shownTime = "2006-01-02 15:04:05"
	// watchInterval is the time between two looks at a rollout.
	watchInterval = 500 * time.Millisecond
	// remindAfter is how long a watch that is not at a terminal is silent at most.
	remindAfter = 10 * time.Second
	// barWidth is the length of a bar in characters.
	barWidth = 30
)

func addWatchFlag(cmd *cobra.Command, watch *bool) {
	cmd.Flags().BoolVarP(watch, "watch", "w", false, "stay until the rollout has ended, and show how it goes")
}

func (p Process) pluginStatus() *cobra.Command {
	var watch bool
	var id int64
	cmd := &cobra.Command{
		Use:   "status <plugin>",
		Short: "Show how a rollout goes",
		Long: `Shows the latest rollout of a plugin: the share of the new version, what it waits for, what both
versions did in the present window side by side, and what happened so far.

It ends with 1 when the new version was taken back. With --watch it shows a picture that
moves, or, where the output is no terminal, a line for whatever happens.`,
		Example: `  pigeonry plugin status sms
  pigeonry plugin status sms --watch
  pigeonry plugin status sms --rollout 7 --json`,
		Args: cobra.ExactArgs(1),
	}
	addWatchFlag(cmd, &watch)
	cmd.Flags().Int64Var(&id, "rollout", 0, "id of an earlier rollout (default: the latest)")
	return p.remoteCommand(cmd, func(ctx context.Context, r *remote, args []string, out printer) error {
		rollout := id
		if rollout == 0 {
			newest, err := newestRollout(ctx, r, args[0])
			if err != nil {
				return err
			}
			if newest == nil {
				return out.answer(nil, func() { fmt.Fprintf(out, "%s has had no rollout\n", args[0]) })
			}
			rollout = newest.Id
		}
		if watch {
			return newWatcher(r, out).follow(ctx, args[0], rollout)
		}
		detail, err := rolloutDetail(ctx, r, args[0], rollout)
		if err != nil {
			return err
		}
		err = out.answer(detail, func() { write(out, slices.Concat(picture(&detail), timeline(&detail))) })
		return errors.Join(err, rolledBack(&detail.Rollout))
	})
}

func rolloutDetail(ctx context.Context, r *remote, plugin string, id int64) (client.RolloutDetail, error) {
	return ask[client.RolloutDetail](ctx, r, func() (*http.Response, error) { return r.GetRollout(ctx, plugin, id) })
}

// rolledBack is an error for a rollout that went back.
func rolledBack(r *client.Rollout) error {
	if r.State != "rolled_back" {
		return nil
	}
	return fmt.Errorf("version %s of %s was rolled back: %s", r.To, r.Plugin, cmp.Or(r.Reason, "no reason was given"))
}

// watcher shows how a rollout goes until it has ended.
type watcher struct {
	remote *remote
	out    printer
	height func() int // of the terminal in lines; nil: there is none

	drawn  int       // lines of the picture that stand on the terminal
	told   int       // events that were printed as lines
	silent time.Time // when the latest line was printed
}

func newWatcher(r *remote, out printer) *watcher {
	w := &watcher{remote: r, out: out}
	if file, ok := out.Writer.(*os.File); ok && isTerminal(file) && !out.asJSON {
		w.height = func() int {
			_, height, err := term.GetSize(int(file.Fd()))
			if err != nil {
				return 24
			}
			return height
		}
	}
	return w
}

// follow looks at a rollout until it has ended or ctx ends.
func (w *watcher) follow(ctx context.Context, plugin string, id int64) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		detail, err := rolloutDetail(ctx, w.remote, plugin, id)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("stopped watching rollout %d of %s, which goes on", id, plugin)
		case err != nil:
			return err
		}
		w.show(&detail)
		if ended(&detail.Rollout) {
			return errors.Join(w.end(&detail), rolledBack(&detail.Rollout))
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// show brings what is shown up to date.
func (w *watcher) show(d *client.RolloutDetail) {
	switch {
	case w.out.asJSON: // at the end
	case w.height != nil:
		w.draw(d)
	default:
		w.tell(d)
	}
}

// end writes what a rollout came to.
func (w *watcher) end(d *client.RolloutDetail) error {
	return w.out.answer(d, func() {
		if w.height == nil {
			write(w.out, picture(d))
		}
	})
}

// What a terminal understands.
const (
	noWrap   = "\x1b[?7l" // cut lines at the edge
	wrap     = "\x1b[?7h"
	clearing = "\x1b[%dA\x1b[J" // go up so many lines, and clear what is below
)

// draw puts a new picture over the one before. Lines are cut at the edge and the oldest events left out, so that
// nothing scrolls.
func (w *watcher) draw(d *client.RolloutDetail) {
	lines, events := picture(d), timeline(d)
	if most := max(w.height()-1-len(lines), 2); len(events) > most { // the first is empty
		events = append(events[:1:1], events[len(events)-most+1:]...)
	}
	lines = append(lines, events...)
	var b strings.Builder
	if w.drawn > 0 {
		fmt.Fprintf(&b, clearing, w.drawn)
	}
	b.WriteString(noWrap)
	write(&b, lines)
	b.WriteString(wrap)
	w.drawn = len(lines)
	_, _ = io.WriteString(w.out, b.String())
}

// write writes lines, each as one.
func write(out io.Writer, lines []string) {
	for _, line := range lines {
		fmt.Fprintln(out, printable(line))
	}
}

// printable takes line breaks and what else would move a terminal out of a text: some of it comes from plugins.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// tell prints what has happened since the last look, or after a while what it waits for.
func (w *watcher) tell(d *client.RolloutDetail) {
	events := d.Events[min(w.told, len(d.Events)):]
	for i := range events {
		write(w.out, []string{eventLine(&events[i])})
	}
	w.told += len(events)
	now := time.Now()
	if len(events) > 0 || w.silent.IsZero() {
		w.silent = now
		return
	}
	if now.Sub(w.silent) >= remindAfter && !ended(&d.Rollout) {
		w.silent = now
		write(w.out, []string{fmt.Sprintf("%s  %s, %s; waits: %s",
			now.Format(shownTime), standing(&d.Rollout), count(d.New.Samples, "sample"), d.WaitingFor)})
	}
}

// standing says in a few words where a rollout is.
func standing(r *client.Rollout) string {
	return stateOf(r.State, r.Paused) + ", " + percent(r.Share)
}

func stateOf(state client.RolloutState, paused bool) string {
	text := strings.ReplaceAll(string(state), "_", " ")
	if paused {
		text += ", paused"
	}
	return text
}

// percent writes a share; small ones keep what they have behind the point.
func percent(share float64) string { return strconv.FormatFloat(share, 'f', -1, 64) + " %" }

// picture is where a rollout is and what both versions do, in lines.
func picture(d *client.RolloutDetail) []string {
	r := &d.Rollout
	lines := []string{
		fmt.Sprintf("%s %s → %s   rollout %d, %s, by %s", r.Plugin, r.From, r.To, r.Id, r.Plan.Strategy, r.Actor),
		"state    " + stateOf(r.State, r.Paused) + ", since " + r.Since.Local().Format(shownTime),
		"share    " + bar(r.Share/100) + " " + percent(r.Share) + stepOf(r),
	}
	if r.Plan.MinSamples > 0 {
		share := float64(d.New.Samples) / float64(r.Plan.MinSamples)
		lines = append(lines, fmt.Sprintf("samples  %s %d of at least %d", bar(share), d.New.Samples, r.Plan.MinSamples))
	}
	if len(r.Plan.Accounts) > 0 {
		lines = append(lines, "accounts "+strings.Join(r.Plan.Accounts, ", "))
	}
	if d.WaitingFor != "" {
		lines = append(lines, "waits    "+d.WaitingFor)
	}
	if r.Reason != "" {
		lines = append(lines, "reason   "+r.Reason)
	}
	for _, g := range d.Gateways {
		if g.Problem != "" {
			lines = append(lines, "gateway  "+g.Name+": "+g.Problem)
		}
		if g.GapMs > 0 {
			lines = append(lines, "gap      nobody held the session for "+duration(g.GapMs)+" on "+g.Name)
		}
	}
	return slices.Concat(lines, []string{""}, comparison(d))
}

// stepOf says which of a canary's steps it is.
func stepOf(r *client.Rollout) string {
	if r.State != "canary" {
		return ""
	}
	return fmt.Sprintf("   step %d of %d", r.Step+1, len(r.Plan.Steps))
}

// bar draws a share between 0 and 1; what is more than nothing is seen.
func bar(share float64) string {
	full := int(math.Ceil(min(max(share, 0), 1) * barWidth))
	return "[" + strings.Repeat("█", full) + strings.Repeat("░", barWidth-full) + "]"
}

// comparison is what both versions did, side by side.
func comparison(d *client.RolloutDetail) []string {
	old, fresh := &d.Old, &d.New
	lines := []string{fmt.Sprintf("%-16s %16s %16s", "", d.Rollout.From, d.Rollout.To)}
	row := func(name, a, b string) { lines = append(lines, fmt.Sprintf("%-16s %16s %16s", name, a, b)) }
	row("samples", strconv.Itoa(old.Samples), strconv.Itoa(fresh.Samples))
	row("accepted", strconv.Itoa(old.Accepted), strconv.Itoa(fresh.Accepted))
	row("failed", rate(old.Failed, old.Samples), rate(fresh.Failed, fresh.Samples))
	row("uncertain", rate(old.Uncertain, old.Samples), rate(fresh.Uncertain, fresh.Samples))
	row("recipient errors", strconv.Itoa(old.Refused), strconv.Itoa(fresh.Refused))
	row("throttled", strconv.Itoa(old.Throttled), strconv.Itoa(fresh.Throttled))
	row("p50", duration(old.P50Ms), duration(fresh.P50Ms))
	row("p99", duration(old.P99Ms), duration(fresh.P99Ms))
	row("memory", memory(old.MemoryBytes), memory(fresh.MemoryBytes))
	row("crashes", strconv.Itoa(old.Crashes), strconv.Itoa(fresh.Crashes))
	for _, rare := range []struct {
		name   string
		values [2]int
	}{
		{"disagreed", [2]int{old.Disagreed, fresh.Disagreed}}, {"violations", [2]int{old.Violations, fresh.Violations}},
	} {
		if rare.values != [2]int{} {
			row(rare.name, strconv.Itoa(rare.values[0]), strconv.Itoa(rare.values[1]))
		}
	}
	return lines
}

// rate is a number with its share of all.
func rate(n, all int) string {
	if n == 0 || all == 0 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d (%.1f %%)", n, 100*float64(n)/float64(all))
}

func duration(ms float64) string {
	if ms == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", ms)
}

func memory(bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20))
}

// timeline is what happened, below an empty line.
func timeline(d *client.RolloutDetail) []string {
	lines := []string{""}
	for i := range d.Events {
		lines = append(lines, eventLine(&d.Events[i]))
	}
	return lines
}

func eventLine(e *client.RolloutEvent) string {
	return fmt.Sprintf("%s  %-14s %6s  %s: %s", e.At.Local().Format(shownTime), stateOf(e.State, e.Paused), percent(e.Share), e.Actor, e.Reason)
}
