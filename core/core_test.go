package core_test

import (
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

func TestTraceIDCarriesItsMessage(t *testing.T) {
	for _, id := range []core.RecordID{1, 4096, 1<<53 - 1} {
		trace := core.NewTraceID(id, 0)
		got, ok := trace.RecordID()
		if !ok || got != id {
			t.Errorf("%s: got %d, %v; want %d", trace, got, ok, id)
		}
	}
}

func TestTraceIDRefusesWhatIsNone(t *testing.T) {
	good := string(core.NewTraceID(7, 99))
	for name, id := range map[string]string{
		"empty":         "",
		"no prefix":     good[4:],
		"short":         good[:len(good)-1],
		"upper case":    "msg_" + "000000000000000A0000000000000001",
		"not hex":       good[:len(good)-1] + "g",
		"record zero":   "msg_00000000000000000000000000000001",
		"above 2 to 53": "msg_00200000000000000000000000000001",
	} {
		if record, ok := core.TraceID(id).RecordID(); ok {
			t.Errorf("%s: %q was read as record %d", name, id, record)
		}
	}
}

func TestTraceparentIsW3C(t *testing.T) {
	got := core.NewTraceID(1, 2).Traceparent(3)
	if want := "00-00000000000000010000000000000003-0000000000000003-01"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRecordIDsGrowWithTime(t *testing.T) {
	now := time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)
	id := core.FirstRecordID(now)
	if id >= 1<<53 {
		t.Errorf("%d is not below 2^53", id)
	}
	if next := core.FirstRecordID(now.Add(time.Millisecond)); next <= id {
		t.Errorf("a millisecond later the id is %d, not above %d", next, id)
	}
	if !id.Time().Equal(now) {
		t.Errorf("the id says %s, want %s", id.Time(), now)
	}
}

func TestPriorityChoosesTheLane(t *testing.T) {
	want := map[core.Lane][]core.Priority{
		core.LaneLow: {0, 1, 2}, core.LaneNormal: {3, 4, 5}, core.LaneHigh: {6, 7, 8}, core.LaneUrgent: {9, 10},
	}
	for lane, priorities := range want {
		for _, p := range priorities {
			if p.Lane() != lane {
				t.Errorf("priority %d travels %s, want %s", p, p.Lane(), lane)
			}
		}
	}
}

// A receipt may come early, late, twice or out of order: whatever the order, the rank never falls, and
// the same set of receipts ends in the same status.
func TestReceiptsNeverLowerTheRank(t *testing.T) {
	all := []core.ReceiptStatus{core.ReceiptProgress, core.ReceiptDelivered, core.ReceiptUndelivered, core.ReceiptRead}
	for _, start := range core.Statuses() {
		for _, first := range all {
			for _, second := range all {
				one := start.AfterReceipt(first)
				two := one.AfterReceipt(second)
				if one.Rank() < start.Rank() || two.Rank() < one.Rank() {
					t.Errorf("%s, %s, %s: the rank fell: %s, %s", start, first, second, one, two)
				}
				if again := two.AfterReceipt(second); again != two {
					t.Errorf("%s after %s twice: %s, then %s", one, second, two, again)
				}
			}
		}
	}
}

func TestStateMachine(t *testing.T) {
	tests := []struct {
		from, to core.Status
		ok       bool
	}{
		{core.StatusScheduled, core.StatusQueued, true},
		{core.StatusScheduled, core.StatusSending, false},
		{core.StatusQueued, core.StatusSending, true},
		{core.StatusSending, core.StatusQueued, true}, // a further attempt
		{core.StatusSending, core.StatusCanceled, false},
		{core.StatusUncertain, core.StatusSent, true},
		{core.StatusSent, core.StatusQueued, false}, // never sent twice on purpose
		{core.StatusSent, core.StatusDelivered, true},
		{core.StatusDelivered, core.StatusUndelivered, false},
		{core.StatusFailed, core.StatusQueued, true}, // the caller's retry
		{core.StatusRead, core.StatusDelivered, false},
	}
	for _, tt := range tests {
		if got := tt.from.CanBecome(tt.to); got != tt.ok {
			t.Errorf("%s → %s: %v, want %v", tt.from, tt.to, got, tt.ok)
		}
	}
}

func TestEveryStatusHasARankAndAWayOut(t *testing.T) {
	for _, s := range core.Statuses() {
		if s.Rank() < 0 || !s.Valid() {
			t.Errorf("%s has no rank", s)
		}
		if !s.Final() && !s.CanBecome(core.StatusExpired) && !s.CanBecome(core.StatusSent) {
			t.Errorf("%s leads nowhere", s)
		}
	}
	if core.Status("lost").Valid() {
		t.Error("an unknown status is valid")
	}
}
