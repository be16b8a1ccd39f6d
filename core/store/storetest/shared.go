package storetest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// look looks at the value "token" of a plugin at a time, for one that has a minute left, and leases it for half a minute.
func (f *fixture) look(plugin string, now time.Time) core.SharedValue {
	f.Helper()
	v, err := f.LookShared(f.ctx, plugin, "token", core.SharedLook{Now: now, Ahead: time.Minute, Lease: 30 * time.Second})
	f.check("LookShared", err)
	return v
}

func (f *fixture) keep(plugin, value string, expires time.Time, revision int64) {
	f.Helper()
	f.check("KeepShared", f.KeepShared(f.ctx, plugin, "token", core.SharedValue{Value: []byte(value), Expires: expires, Revision: revision}))
}

// wantShared reports another value than the one that is wanted.
func (f *fixture) wantShared(got core.SharedValue, value string, expires time.Time, renew bool) {
	f.Helper()
	if string(got.Value) != value || !got.Expires.Equal(expires) || got.Renew != renew {
		f.Errorf("got %q until %s, renew %t; want %q until %s, renew %t", got.Value, got.Expires, got.Renew, value, expires, renew)
	}
}

var sharedTests = []test{
	{"of those who look for a value that is missing, one is told to renew it", func(f *fixture) {
		first := f.look("sms", t0)
		f.wantShared(first, "", time.Time{}, true)
		f.wantShared(f.look("sms", t0), "", time.Time{}, false)
		f.keep("sms", "one", t0.Add(time.Hour), first.Revision)
		f.wantShared(f.look("sms", t0), "one", t0.Add(time.Hour), false)
	}},
	{"a value is renewed ahead of its end, and is there for all others until then", func(f *fixture) {
		f.keep("sms", "one", t0.Add(time.Hour), f.look("sms", t0).Revision)
		late := t0.Add(time.Hour - time.Minute)
		f.wantShared(f.look("sms", late.Add(-time.Second)), "one", t0.Add(time.Hour), false)
		told := f.look("sms", late)
		f.wantShared(told, "one", t0.Add(time.Hour), true)
		f.wantShared(f.look("sms", late), "one", t0.Add(time.Hour), false)
		f.keep("sms", "two", t0.Add(2*time.Hour), told.Revision)
		f.wantShared(f.look("sms", late), "two", t0.Add(2*time.Hour), false)
	}},
	{"who does not renew in time is passed over, however late", func(f *fixture) {
		slow := f.look("sms", t0)
		f.wantShared(f.look("sms", t0.Add(29*time.Second)), "", time.Time{}, false)
		quick := f.look("sms", t0.Add(30*time.Second))
		f.wantShared(quick, "", time.Time{}, true)
		f.keep("sms", "quick", t0.Add(time.Hour), quick.Revision)
		f.keep("sms", "slow", t0.Add(time.Hour), slow.Revision)
		f.wantShared(f.look("sms", t0.Add(time.Minute)), "quick", t0.Add(time.Hour), false)
	}},
	{"a value that is dropped is renewed at once, one that was renewed meanwhile is not dropped", func(f *fixture) {
		first := f.look("sms", t0)
		f.keep("sms", "one", t0.Add(time.Hour), first.Revision)
		f.check("DropShared", f.DropShared(f.ctx, "sms", "token", first.Revision))
		second := f.look("sms", t0)
		f.wantShared(second, "one", time.Time{}, true)
		f.keep("sms", "two", t0.Add(time.Hour), second.Revision)
		f.check("DropShared", f.DropShared(f.ctx, "sms", "token", first.Revision))
		f.wantShared(f.look("sms", t0), "two", t0.Add(time.Hour), false)
	}},
	{"who could not renew says so, and the next one is told to", func(f *fixture) {
		f.check("DropShared", f.DropShared(f.ctx, "sms", "token", f.look("sms", t0).Revision))
		f.wantShared(f.look("sms", t0), "", time.Time{}, true)
	}},
	{"plugins have values of their own", func(f *fixture) {
		f.keep("sms", "one", t0.Add(time.Hour), f.look("sms", t0).Revision)
		f.wantShared(f.look("wechat", t0), "", time.Time{}, true)
		f.check("DropShared", f.DropShared(f.ctx, "wechat", "absent", 1))
	}},
	{"of many who look at the same time, one is told to renew", func(f *fixture) {
		f.keep("sms", "one", t0.Add(time.Hour), f.look("sms", t0).Revision)
		var told atomic.Int32
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				v, err := f.LookShared(f.ctx, "sms", "token", core.SharedLook{Now: t0.Add(time.Hour), Ahead: time.Minute, Lease: time.Minute})
				if err != nil {
					f.Errorf("LookShared: %v", err)
				}
				if v.Renew {
					told.Add(1)
				}
			})
		}
		all.Wait()
		if told.Load() != 1 {
			f.Errorf("%d were told to renew, want 1", told.Load())
		}
	}},
}
