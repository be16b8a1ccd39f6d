package pluginhost

import (
	"testing"

	"github.com/pigeonry/pigeonry/core"
)

func TestRouteSharesByWeight(t *testing.T) {
	a, b, none := &generation{version: "a"}, &generation{version: "b"}, &generation{version: "none"}
	r := route{{a, 95}, {none, 0}, {b, 5}}
	count := map[*generation]int{}
	for id := range uint64(10_000) {
		g := r.pick(id)
		count[g]++
		if g != r.pick(id) {
			t.Fatalf("message %d changes its way", id)
		}
	}
	if count[none] != 0 || count[b] < 400 || count[b] > 600 || count[a]+count[b] != 10_000 {
		t.Errorf("shares: a %d, b %d, none %d", count[a], count[b], count[none])
	}
	if r.main() != a {
		t.Errorf("main: %v", r.main())
	}
}

func TestRouteSplitKeepsEveryDelivery(t *testing.T) {
	a, b := &generation{}, &generation{}
	var batch []core.Delivery
	for id := range core.RecordID(100) {
		batch = append(batch, core.Delivery{Message: &core.Message{ID: id}})
	}
	for name, r := range map[string]route{"one": {{a, 1}}, "two": {{a, 1}, {b, 1}}} {
		total := 0
		for _, part := range r.split(batch) {
			total += len(part)
		}
		if total != len(batch) || len(r.split(batch)) != len(r) {
			t.Errorf("%s: %d parts with %d deliveries", name, len(r.split(batch)), total)
		}
	}
}

func TestEmptyRoutes(t *testing.T) {
	if (route{}).pick(1) != nil || (route{}).main() != nil || (route{{&generation{}, 0}, {&generation{}, 0}}).pick(1) != nil {
		t.Error("a route without weight has a generation")
	}
}
