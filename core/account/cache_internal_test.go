package account

import (
	"testing"
	"time"
)

func TestCacheForgetsInTime(t *testing.T) {
	c, now := newCache[int](8, 2*time.Second), time.Now()
	c.put([32]byte{1}, 7, now, 0)
	if v, ok := c.get([32]byte{1}, now.Add(2*time.Second-1)); !ok || v != 7 {
		t.Errorf("before its time: %d, %t", v, ok)
	}
	if _, ok := c.get([32]byte{1}, now.Add(2*time.Second)); ok {
		t.Error("after its time it is still there")
	}
}

func TestCacheIsBounded(t *testing.T) {
	c, now := newCache[int](8, time.Second), time.Now()
	for i := range 1000 {
		c.put([32]byte{byte(i), byte(i >> 8)}, i, now, 0)
		if len(c.entries) > 8 {
			t.Fatalf("%d entries; at most 8", len(c.entries))
		}
	}
	if v, ok := c.get([32]byte{byte(999 & 0xff), byte(999 >> 8)}, now); !ok || v != 999 {
		t.Errorf("the latest entry: %d, %t", v, ok)
	}
	c.put([32]byte{255, 255}, 1, now.Add(time.Hour), 0)
	if len(c.entries) != 1 {
		t.Errorf("%d entries; those past their time make room first", len(c.entries))
	}
}

func TestCacheForgetsWhatIsBeingAskedFor(t *testing.T) {
	c, now := newCache[int](8, time.Second), time.Now()
	epoch := c.current()
	c.clear()
	c.put([32]byte{1}, 7, now, epoch)
	if _, ok := c.get([32]byte{1}, now); ok {
		t.Error("an answer from before everything was forgotten is there")
	}
	c.put([32]byte{1}, 8, now, c.current())
	if v, ok := c.get([32]byte{1}, now); !ok || v != 8 {
		t.Errorf("a later answer: %d, %t", v, ok)
	}
}
