package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// report is the result of one run. Rates are in messages a second, times in milliseconds.
type report struct {
	What     string  `json:"what"`
	Engines  string  `json:"engines"`
	Seconds  float64 `json:"seconds,omitempty"`
	Messages int     `json:"messages,omitempty"`

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

	// Limits are what the machine can do without the gateway, a second. Ratios are our rate as a part of each.
	Limits map[string]float64 `json:"limits,omitempty"`
	Ratios map[string]float64 `json:"ratios,omitempty"`
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
	if r.AcceptRate > 0 {
		line("accepted", "%s a second", thousands(r.AcceptRate))
	}
	at := ""
	if r.LatencyRate > 0 {
		at = " at " + thousands(r.LatencyRate) + " a second"
	}
	line("accept", "p50 %.1f ms, p99 %.1f ms%s", r.AcceptP50, r.AcceptP99, at)
	if r.EndToEndP50 > 0 {
		line("end to end", "p50 %.1f ms, p99 %.1f ms%s", r.EndToEndP50, r.EndToEndP99, at)
	}
	line("lost", "%d", r.Lost)
	line("doubles", "%d", r.Doubles)
	line("memory", "%.0f MB, with plugins %.0f MB", r.RSS, r.RSSWithPlugins)
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
