package pluginhost

import (
	"testing"
	"time"
)

// bounds adds crashes and returns the largest of many random waits after each.
func longestWait(t *testing.T, history []crash) time.Duration {
	t.Helper()
	var longest time.Duration
	for range 300 {
		var c crashes
		for i, one := range history {
			wait, again := c.add(one)
			if !again {
				t.Fatalf("gave up at crash %d", i+1)
			}
			if i == len(history)-1 {
				longest = max(longest, wait)
			}
		}
	}
	return longest
}

func TestWaitDoublesUntilThePluginIsOfUse(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	apart := func(n int, useful, outside bool) []crash {
		var history []crash
		for i := range n {
			// Three minutes apart, four fall into the window: never a loop.
			history = append(history, crash{at: start.Add(time.Duration(i) * 3 * time.Minute), useful: useful, outside: outside})
		}
		return history
	}
	for name, c := range map[string]struct {
		history []crash
		bound   time.Duration
	}{
		"first":         {apart(1, false, false), 200 * time.Millisecond},
		"second":        {apart(2, false, false), 400 * time.Millisecond},
		"fifth":         {apart(5, false, false), 3200 * time.Millisecond},
		"twentieth":     {apart(20, false, false), 30 * time.Second},
		"useful":        {apart(20, true, false), 200 * time.Millisecond},
		"from outside":  {apart(20, false, true), 200 * time.Millisecond},
		"useful at end": {append(apart(3, false, false), crash{at: start.Add(time.Hour), useful: true}), 200 * time.Millisecond},
	} {
		longest := longestWait(t, c.history)
		if longest > c.bound || longest < c.bound*8/10 {
			t.Errorf("%s: the longest of many waits is %v, want just under %v", name, longest, c.bound)
		}
	}
}

func TestCrashLoop(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		one    crash
		apart  time.Duration
		gaveUp int // 0: never
	}{
		"own, at once":        {crash{}, time.Second, 5},
		"own, useful":         {crash{useful: true}, time.Minute, 5},
		"own, in the window":  {crash{}, 149 * time.Second, 5},
		"own, now and then":   {crash{}, 150 * time.Second, 0},
		"outside":             {crash{outside: true}, time.Second, 60},
		"outside, now and th": {crash{outside: true}, 15 * time.Second, 0},
	} {
		var history crashes
		gaveUp := 0
		for i := range 100 {
			c.one.at = start.Add(time.Duration(i) * c.apart)
			if _, again := history.add(c.one); !again {
				gaveUp = i + 1
				break
			}
		}
		if gaveUp != c.gaveUp {
			t.Errorf("%s: gave up at crash %d, want %d", name, gaveUp, c.gaveUp)
		}
	}
}
