package storetest

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// version is one of a plugin, with a checksum of its own.
func version(plugin, number string) core.PluginVersion {
	return core.PluginVersion{Plugin: plugin, Version: number, SHA256: fmt.Sprintf("%x", plugin+number), FirstSeen: t0}
}

// register registers a version and returns what is known of it.
func (f *fixture) register(v core.PluginVersion) core.PluginVersion {
	f.Helper()
	known, err := f.RegisterVersion(f.ctx, v)
	f.check("RegisterVersion", err)
	return plainVersion(known)
}

// version returns what is known of a version.
func (f *fixture) version(plugin, number string) core.PluginVersion {
	f.Helper()
	list, err := f.PluginVersions(f.ctx, plugin)
	f.check("PluginVersions", err)
	for _, v := range list {
		if v.Version == number {
			return plainVersion(v)
		}
	}
	f.Fatalf("version %s of %s is not known", number, plugin)
	return core.PluginVersion{}
}

// wantVersions reports another list of versions of a plugin.
func (f *fixture) wantVersions(plugin string, want ...string) {
	f.Helper()
	list, err := f.PluginVersions(f.ctx, plugin)
	f.check("PluginVersions", err)
	got := make([]string, len(list))
	for i, v := range list {
		got[i] = v.Plugin + " " + v.Version
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		f.Errorf("versions %q, want %q", got, want)
	}
}

// remove removes version 1.0.0 of sms.
func (f *fixture) remove(now time.Time) {
	f.Helper()
	f.check("RemoveVersion", f.RemoveVersion(f.ctx, "sms", "1.0.0", now))
}

// quarantine rolls a version of sms out and back again, for a reason that puts it into quarantine unless it is empty.
func (f *fixture) quarantine(number, sha256, reason string) {
	f.Helper()
	f.activate("sms", "0.1.0")
	r := upgrade()
	r.From, r.To, r.SHA256 = "0.1.0", number, sha256
	r = next(f.beginOne(r), core.RolloutRolledBack)
	_, err := f.AdvanceRollout(f.ctx, r, eventOf(r), reason)
	f.check("AdvanceRollout", err)
}

// plainVersion has its times as they are kept.
func plainVersion(v core.PluginVersion) core.PluginVersion {
	v.FirstSeen, v.RemovedAt = plainTime(v.FirstSeen), plainTime(v.RemovedAt)
	return v
}

func plainTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// wantConflict reports an error that is not one of a conflict, or does not say what it is about.
func (f *fixture) wantConflict(what string, err error, words ...string) {
	f.Helper()
	f.wantKind(what, err, core.KindConflict)
	for _, word := range words {
		if err != nil && !strings.Contains(err.Error(), word) {
			f.Errorf("%s: error %q does not say %q", what, err, word)
		}
	}
}

var versionTests = []test{
	{"a new store knows no version", func(f *fixture) {
		f.wantVersions("")
		f.wantVersions("sms")
	}},
	{"a version is kept as it was registered", func(f *fixture) {
		v := version("sms", "1.0.0")
		v.FirstSeen = at(1234567 * time.Microsecond)
		equal(f, "registered", f.register(v), plainVersion(v))
		equal(f, "kept", f.version("sms", "1.0.0"), plainVersion(v))
	}},
	{"a version with the same bytes is known since it was first seen", func(f *fixture) {
		v := version("sms", "1.0.0")
		f.register(v)
		again := v
		again.FirstSeen = at(time.Hour)
		equal(f, "registered again", f.register(again), v)
		f.wantVersions("sms", "sms 1.0.0")
	}},
	{"a version never means other bytes, even when it was removed", func(f *fixture) {
		v := version("sms", "1.0.0")
		f.register(v)
		changed := v
		changed.SHA256 = "fe"
		_, err := f.RegisterVersion(f.ctx, changed)
		f.wantConflict("register other bytes", err, "1.0.0", "sms", "checksum")
		equal(f, "kept", f.version("sms", "1.0.0"), v)

		f.remove(at(time.Hour))
		_, err = f.RegisterVersion(f.ctx, changed)
		f.wantConflict("register other bytes of what was removed", err, "1.0.0", "sms", "checksum")
		equalTime(f, "removed at", f.version("sms", "1.0.0").RemovedAt, at(time.Hour))
	}},
	{"versions of the same number and bytes of other plugins are others", func(f *fixture) {
		f.register(version("sms", "1.0.0"))
		other := version("sms", "1.0.0")
		other.Plugin = "email"
		f.register(other)
		f.wantVersions("email", "email 1.0.0")
		f.quarantine("1.0.0", other.SHA256, "bad")
		equal(f, "quarantine of the other", f.version("email", "1.0.0").Quarantine, "")
	}},
	{"versions are listed by plugin and then in the order in which they were first seen", func(f *fixture) {
		early := version("sms", "10.0.0")
		early.FirstSeen = at(-time.Hour)
		for _, v := range []core.PluginVersion{version("sms", "2.0.0"), version("email", "1.0.0"), version("sms", "1.0.0"), early} {
			f.register(v)
		}
		f.register(version("sms", "2.0.0"))
		f.wantVersions("", "email 1.0.0", "sms 10.0.0", "sms 2.0.0", "sms 1.0.0")
		f.wantVersions("sms", "sms 10.0.0", "sms 2.0.0", "sms 1.0.0")
		f.wantVersions("app")
	}},
	{"a quarantine is for all versions with the same bytes, those to come too", func(f *fixture) {
		v, same, other := version("sms", "1.0.0"), version("sms", "1.0.1"), version("sms", "2.0.0")
		same.SHA256 = v.SHA256
		f.register(v)
		f.register(other)
		f.quarantine("1.0.0", v.SHA256, "it crashed")
		equal(f, "quarantine when it is registered", f.register(same).Quarantine, "it crashed")
		equal(f, "quarantine", f.version("sms", "1.0.0").Quarantine, "it crashed")
		equal(f, "quarantine of other bytes", f.version("sms", "2.0.0").Quarantine, "")
		f.quarantine("1.0.1", v.SHA256, "it was slow")
		equal(f, "quarantine for another reason", f.version("sms", "1.0.0").Quarantine, "it was slow")
		f.quarantine("1.0.0", v.SHA256, "")
		equal(f, "quarantine that was taken away", f.version("sms", "1.0.0").Quarantine, "")
		equal(f, "quarantine of the same bytes", f.version("sms", "1.0.1").Quarantine, "")
	}},
	{"a removed version stays known, since when it is gone", func(f *fixture) {
		f.register(version("sms", "1.0.0"))
		f.remove(at(time.Hour))
		f.remove(at(2 * time.Hour))
		want := version("sms", "1.0.0")
		want.RemovedAt = at(time.Hour)
		equal(f, "kept", f.version("sms", "1.0.0"), want)
		f.wantKind("another version", f.RemoveVersion(f.ctx, "sms", "9.9.9", t0), core.KindNotFound)
		f.wantKind("another plugin", f.RemoveVersion(f.ctx, "email", "1.0.0", t0), core.KindNotFound)
	}},
	{"a removed version is installed again with the same bytes, and no better than it was", func(f *fixture) {
		v := version("sms", "1.0.0")
		f.register(v)
		f.quarantine("1.0.0", v.SHA256, "it crashed")
		f.remove(at(time.Hour))
		v.Quarantine = "it crashed"
		equal(f, "registered again", f.register(version("sms", "1.0.0")), v)
		equal(f, "kept", f.version("sms", "1.0.0"), v)
	}},
	{"a removed version is not installed again by files that were there before", func(f *fixture) {
		v := version("sms", "1.0.0")
		f.register(v)
		f.remove(at(time.Hour))
		for installed, removed := range map[time.Time]time.Time{
			at(time.Minute): at(time.Hour), at(time.Hour): at(time.Hour), at(2 * time.Hour): {},
		} {
			f.remove(at(time.Hour))
			again := v
			again.InstalledAt = installed
			equalTime(f, "registered again, removed at", f.register(again).RemovedAt, removed)
			equalTime(f, "kept, removed at", f.version("sms", "1.0.0").RemovedAt, removed)
		}
	}},
	{"the active version is not removed", func(f *fixture) {
		f.activate("sms", "1.0.0")
		f.register(version("sms", "1.0.0"))
		f.register(version("sms", "1.1.0"))
		f.wantConflict("remove", f.RemoveVersion(f.ctx, "sms", "1.0.0", at(time.Hour)), "1.0.0", "sms", "active")
		equal(f, "is installed", f.version("sms", "1.0.0").RemovedAt.IsZero(), true)
		f.check("RemoveVersion of another one", f.RemoveVersion(f.ctx, "sms", "1.1.0", at(time.Hour)))
	}},
	{"a version that is part of an open rollout is not removed before it ends", func(f *fixture) {
		f.register(version("sms", "1.0.0"))
		f.register(version("sms", "1.1.0"))
		r := f.begin()
		for _, state := range []core.RolloutState{core.RolloutStarting, core.RolloutBaking} {
			r = f.advance(r, state)
			for _, number := range []string{"1.0.0", "1.1.0"} {
				f.wantConflict("remove", f.RemoveVersion(f.ctx, "sms", number, t0), number, "sms", fmt.Sprintf("open rollout %d", r.ID))
				equal(f, "is installed", f.version("sms", number).RemovedAt.IsZero(), true)
			}
		}
		f.advance(r, core.RolloutPromoted)
		f.wantConflict("remove the new one", f.RemoveVersion(f.ctx, "sms", "1.1.0", t0), "active")
		f.remove(t0)
	}},
	{"of gateways that register other bytes as one version one is right", func(f *fixture) {
		var registered, refused atomic.Int64
		f.race(func(racer int, s store.Store) {
			v := version("sms", "1.0.0")
			v.SHA256 = fmt.Sprintf("%02x", racer%2)
			known, err := s.RegisterVersion(f.ctx, v)
			switch {
			case err == nil && known.SHA256 == v.SHA256:
				registered.Add(1)
			case core.KindOf(err) == core.KindConflict:
				refused.Add(1)
			default:
				f.Errorf("registered %s as %s, error %v", v.SHA256, known.SHA256, err)
			}
		})
		equal(f, "registered", registered.Load(), racers/2)
		equal(f, "refused", refused.Load(), racers/2)
		f.wantVersions("", "sms 1.0.0")
	}},
}
