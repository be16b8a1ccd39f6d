package chaos

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// needsAtRest is what a gateway holds while it does nothing.
type needsAtRest struct {
	goroutines, descriptors, memory float64
	plugins                         int
}

// What a gateway may hold at rest beyond what it held before: pools of workers and connections are as large as the
// last load asked for, and Go's collector gives memory back slowly.
const (
	moreGoroutines  = 150
	moreDescriptors = 60
	moreMemory      = 128 << 20
	// settle is how long a gateway may take to come to rest.
	settle = 20 * time.Second
)

// measure asks the gateways at rest. One that does not answer has no entry.
func (r *run) measure(ctx context.Context) map[string]needsAtRest {
	pause := settle
	if r.o.Brief {
		pause = warmUp
	}
	r.load.client.CloseIdleConnections() // callers that rest hold nothing
	_ = sleep(ctx, pause, nil)
	found := map[string]needsAtRest{}
	for _, g := range r.stage.gateways {
		n, err := g.measure(ctx)
		if err != nil {
			r.violate(Violation{Kind: Ended, Detail: fmt.Sprintf("%s does not tell its metrics: %v", g.name, err)})
			continue
		}
		found[g.name] = n
	}
	return found
}

func (g *gateway) measure(ctx context.Context) (n needsAtRest, err error) {
	_, body, err := get(ctx, "http://"+g.address+"/metrics")
	if err != nil {
		return n, err
	}
	n.goroutines, n.memory = metric(body, "go_goroutines"), metric(body, "process_resident_memory_bytes")
	n.descriptors, n.plugins = metric(body, "process_open_fds"), len(g.plugins())
	if n.goroutines == 0 {
		return n, fmt.Errorf("no go_goroutines in %.200s", body)
	}
	if n.descriptors == 0 { // no metric where there is no /proc
		entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.pid()))
		n.descriptors = float64(len(entries))
	}
	return n, nil
}

// metric finds a metric without labels.
func metric(body []byte, name string) float64 {
	lines := bufio.NewScanner(bytes.NewReader(body))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, _ := strconv.ParseFloat(value, 64)
			return n
		}
	}
	return 0
}

// compare holds what gateways hold at rest against what they held before.
func (r *run) compare(before, after map[string]needsAtRest) {
	for _, g := range r.stage.gateways {
		was, is := before[g.name], after[g.name]
		growth := Growth{
			Gateway: g.name, Goroutines: [2]float64{was.goroutines, is.goroutines},
			Descriptors: [2]float64{was.descriptors, is.descriptors}, MemoryMB: [2]float64{was.memory / (1 << 20), is.memory / (1 << 20)},
			Plugins: [2]int{was.plugins, is.plugins},
		}
		r.report.Growth = append(r.report.Growth, growth)
		if is.goroutines > was.goroutines+moreGoroutines || is.descriptors > was.descriptors+moreDescriptors ||
			is.memory > 1.5*was.memory+moreMemory || is.plugins > was.plugins {
			r.violate(Violation{Kind: Grown, Detail: growth.String()})
		}
	}
}
