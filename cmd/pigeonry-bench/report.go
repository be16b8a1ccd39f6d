package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// report is the result of one run. Rates are in messages a second, times in milliseconds.
type report struct {
	What     string  `json:"what"`
	Engines  string  `json:"engines"`
	Seconds  float64 `json:"seconds,omitempty"`
	Messages int     `json:"messages,omitempty"`
	Callers  int     `json:"callers,omitempty"` // that sent at the same time

	Rate           float64 `json:"rate"`
	AcceptRate     float64 `json:"accept_rate,omitempty"`
	LatencyRate    float64 `json:"latency_at_rate,omitempty"` // the arrival rate that latencies were measured at
	AcceptP50      float64 `json:"accept_p50_ms"`
	AcceptP99      float64 `json:"accept_p99_ms"`
	EndToEndP50    float64 `json:"end_to_end_p50_ms"`
	EndToEndP99    float64 `json:"end_to_end_p99_ms"`
	Lost           int     `json:"lost"`
	Doubles        int     `json:"doubles"`
	RSS            float64 `json:"rss_mb"`
	RSSWithPlugins float64 `json:"rss_with_plugins_mb,omitempty"`
	*swapFigures           // nil: nothing was swapped

	// Parts are what was measured apart, and Aims what is judged.
	Parts []part `json:"parts,omitempty"`
	Aims  []aim  `json:"aims,omitempty"`
	// PerSecond is how many messages the provider saw in each whole second.
	PerSecond []int `json:"per_second,omitempty"`

	// Limits are what the machine can do without the gateway, a second. Ratios are our rate as a part of each.
	Limits map[string]float64 `json:"limits,omitempty"`
	Ratios map[string]float64 `json:"ratios,omitempty"`
}

// part is one of several things that a run measures: a lane, a phase, a kind of request.
type part struct {
	Name  string  `json:"name"`
	Count int     `json:"count,omitempty"` // messages or requests
	Rate  float64 `json:"rate,omitempty"`
	P50   float64 `json:"p50_ms,omitempty"`
	P99   float64 `json:"p99_ms,omitempty"`
	// Accepted is the p99 of the time until the gateway's answer.
	Accepted float64 `json:"accept_p99_ms,omitempty"`
}

// timed is a part that was measured by its times.
func timed(name string, times []time.Duration) part {
	return part{Name: name, Count: len(times), P50: quantile(times, 0.5), P99: quantile(times, 0.99)}
}

// sent is a part that was measured by messages that are at the plugin, with the time that their acceptance took.
func sent(name string, samples []sample, seen map[int64]time.Time) part {
	p := timed(name, endToEnd(samples, seen))
	p.Accepted = acceptP99(samples)
	return p
}

// acceptP99 is of the time until the gateway's answer.
func acceptP99(samples []sample) float64 {
	accept := make([]time.Duration, len(samples))
	for i, x := range samples {
		accept[i] = x.done.Sub(x.due)
	}
	return quantile(accept, 0.99)
}

// aim is a figure beside what it should be.
type aim struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	Aim   string  `json:"aim"`
	Met   bool    `json:"met"`
}

func atMost(name string, value, bound float64, unit string) aim {
	return aim{name, value, unit, "≤ " + figure(bound), value <= bound}
}

func atLeast(name string, value, bound float64, unit string) aim {
	return aim{name, value, unit, "≥ " + figure(bound), value >= bound}
}

// compare sets our rate beside the limits.
func (r *report) compare() {
	if r.Rate == 0 {
		return
	}
	r.Ratios = make(map[string]float64)
	for name, rate := range r.Limits {
		if rate > 0 {
			r.Ratios[name] = r.Rate / rate
		}
	}
}

func (r *report) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, engines %s, %.0f s\n", r.What, r.Engines, r.Seconds)
	if r.Messages > 0 {
		r.writeOurs(&b)
	}
	r.writeParts(&b)
	r.writeAims(&b)
	r.writeLimits(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) writeOurs(b *strings.Builder) {
	line := func(name, format string, values ...any) {
		fmt.Fprintf(b, "  %-12s "+format+"\n", append([]any{name}, values...)...)
	}
	line("messages", "%s", thousands(float64(r.Messages)))
	if r.Rate > 0 {
		line("rate", "%s a second", thousands(r.Rate))
	}
	if r.Callers > 0 {
		line("callers", "%d", r.Callers)
	}
	if r.AcceptRate > 0 {
		line("accepted", "%s a second", thousands(r.AcceptRate))
	}
	at := ""
	if r.LatencyRate > 0 {
		at = " at " + thousands(r.LatencyRate) + " a second"
	}
	if r.AcceptP50 > 0 {
		line("accept", "p50 %.1f ms, p99 %.1f ms%s", r.AcceptP50, r.AcceptP99, at)
	}
	if r.EndToEndP50 > 0 {
		line("end to end", "p50 %.1f ms, p99 %.1f ms%s", r.EndToEndP50, r.EndToEndP99, at)
	}
	if r.swapFigures != nil {
		line("swaps", "%d, p50 %.0f ms, p99 %.0f ms", r.Swaps, r.SwapP50, r.SwapP99)
		line("API errors", "%d", r.APIErrors)
	}
	line("lost", "%d", r.Lost)
	line("doubles", "%d", r.Doubles)
	line("memory", "%.0f MB, with plugins %.0f MB", r.RSS, r.RSSWithPlugins)
}

func (r *report) writeParts(b *strings.Builder) {
	if len(r.Parts) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%-42s %11s %11s %11s %11s %11s\n", "part", "number", "a second", "p50 ms", "p99 ms", "accept p99")
	for _, p := range r.Parts {
		line := fmt.Sprintf("  %-40s %11s %11s %11s %11s %11s", p.Name,
			orNone(float64(p.Count)), orNone(p.Rate), orNone(p.P50), orNone(p.P99), orNone(p.Accepted))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

func (r *report) writeAims(b *strings.Builder) {
	if len(r.Aims) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%-42s %11s %11s\n", "aim", "measured", "aim")
	for _, a := range r.Aims {
		verdict := "met"
		if !a.Met {
			verdict = "MISSED"
		}
		fmt.Fprintf(b, "  %-40s %11s %11s %-2s %s\n", a.Name, figure(a.Value), a.Aim, a.Unit, verdict)
	}
}

// figure writes a number with as many digits as say something.
func figure(n float64) string {
	switch {
	case n == math.Trunc(n) || math.Abs(n) >= 100:
		return thousands(n)
	case math.Abs(n) >= 10:
		return strconv.FormatFloat(n, 'f', 1, 64)
	default:
		return strconv.FormatFloat(n, 'f', 2, 64)
	}
}

// orNone is figure, and nothing for what was not measured.
func orNone(n float64) string {
	if n == 0 {
		return ""
	}
	return figure(n)
}

func (r *report) writeLimits(b *strings.Builder) {
	if len(r.Limits) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%-72s %11s", "raw limit of this machine", "a second")
	if r.Ratios != nil {
		fmt.Fprintf(b, " %8s", "ours")
	}
	b.WriteByte('\n')
	for _, l := range limitsOf(options{engines: r.Engines}, nil) {
		fmt.Fprintf(b, "  %-70s %11s", l.what, thousands(r.Limits[l.name]))
		if ratio, ok := r.Ratios[l.name]; ok {
			fmt.Fprintf(b, " %6.1f %%", 100*ratio)
		}
		b.WriteByte('\n')
	}
}

// thousands writes a number without its fraction, with a comma before every three digits.
func thousands(n float64) string {
	digits := strconv.FormatFloat(n, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
