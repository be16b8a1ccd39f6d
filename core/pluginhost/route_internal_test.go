package pluginhost

import (
	"testing"

	"github.com/pigeonry/pigeonry/core"
)

func messages(n int, account core.AccountID) []core.Delivery {
	var batch []core.Delivery
	for id := range n {
		batch = append(batch, core.Delivery{Message: &core.Message{ID: core.RecordID(id + 1), Account: account}})
	}
	return batch
}

// A message keeps its way as long as the route stays, and what has come to the new version stays with it
// while its share grows.
func TestRouteSharesByMessage(t *testing.T) {
	a, b := &generation{version: "a"}, &generation{version: "b"}
	before := map[core.RecordID]bool{}
	for _, share := range []float64{0, 1, 5, 25, 50, 100} {
		r := newRoute(core.Arrangement{Share: share}, a, b)
		active, beside := r.split(messages(10_000, 1))
		if len(active)+len(beside) != 10_000 {
			t.Fatalf("%v %%: %d + %d of 10,000", share, len(active), len(beside))
		}
		if got := float64(len(beside)) / 100; got < share*0.7-0.3 || got > share*1.3+0.3 {
			t.Errorf("%v %%: it got %v %%", share, got)
		}
		now := map[core.RecordID]bool{}
		for _, d := range beside {
			now[d.Message.ID] = true
		}
		for id := range before {
			if !now[id] {
				t.Fatalf("message %d went back when the share grew to %v %%", id, share)
			}
		}
		before = now
	}
}

// By account, all messages of one have one version.
func TestRouteSharesByAccount(t *testing.T) {
	r := newRoute(core.Arrangement{Share: 50, By: core.ByAccount}, &generation{}, &generation{})
	moved := 0
	for account := range core.AccountID(200) {
		active, beside := r.split(messages(20, account))
		if len(active) > 0 && len(beside) > 0 {
			t.Fatalf("account %d sees two versions", account)
		}
		if len(beside) > 0 {
			moved++
		}
	}
	if moved < 60 || moved > 140 {
		t.Errorf("%d of 200 accounts have the new version at 50 %%", moved)
	}
}

func TestRouteForNamedAccounts(t *testing.T) {
	r := newRoute(core.Arrangement{Share: 100, Accounts: []core.AccountID{7}}, &generation{}, &generation{})
	for account, want := range map[core.AccountID]int{7: 20, 8: 0} {
		if _, beside := r.split(messages(20, account)); len(beside) != want {
			t.Errorf("account %d: %d of 20 beside, want %d", account, len(beside), want)
		}
	}
}

// Accounts that see one version only, and were named, have the new one at the first step.
func TestRouteForNamedAccountsWhole(t *testing.T) {
	named := []core.AccountID{7, 8, 9}
	r := newRoute(core.Arrangement{Share: 0.01, By: core.ByAccount, Accounts: named}, &generation{}, &generation{})
	for _, account := range named {
		if active, beside := r.split(messages(20, account)); len(active) != 0 || len(beside) != 20 {
			t.Errorf("account %d: %d and %d", account, len(active), len(beside))
		}
	}
	if _, beside := r.split(messages(20, 10)); len(beside) != 0 {
		t.Errorf("an account that was not named has %d of 20 beside", len(beside))
	}
}

// Every share that a plan may have is as it stands there.
func TestRouteKeepsSmallShares(t *testing.T) {
	for share, want := range map[float64]uint64{0.01: 1, 0.07: 7, 0.29: 29, 1.13: 113, 99.99: 9999, 100: wholeShare} {
		if r := newRoute(core.Arrangement{Share: share}, nil, nil); r.share != want {
			t.Errorf("%v %% is %d, want %d", share, r.share, want)
		}
	}
}

func TestRouteGivesAShadowNothing(t *testing.T) {
	for name, r := range map[string]*route{
		"shadow": newRoute(core.Arrangement{Share: 100, Shadow: true}, &generation{}, &generation{}),
		"alone":  newRoute(core.Arrangement{Share: 100}, &generation{}, nil),
		"warm":   newRoute(core.Arrangement{}, &generation{}, &generation{}),
	} {
		if active, beside := r.split(messages(20, 1)); len(active) != 20 || len(beside) != 0 {
			t.Errorf("%s: %d and %d", name, len(active), len(beside))
		}
	}
}
