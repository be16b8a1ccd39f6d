package api_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/api"
	"github.com/pigeonry/pigeonry/core/rollout"
)

// rollouts plays the policy of rollouts for one plugin, sms. It keeps what it was asked for.
type rollouts struct {
	err      error // of the next call
	requests []rollout.Request
	calls    []string
	all      []core.Rollout // newest first
	detail   rollout.Detail
	versions []rollout.Version
}

func newRollouts() *rollouts {
	return &rollouts{
		all: []core.Rollout{{ID: 7, Plugin: "sms", From: "1.0.0", To: "1.1.0", State: core.RolloutCanary, Plan: rollout.Defaults(core.StrategyCanary)}},
		versions: []rollout.Version{
			{PluginVersion: core.PluginVersion{Plugin: "sms", Version: "1.0.0", SHA256: "aa"}, Active: true, Here: true},
			{PluginVersion: core.PluginVersion{Plugin: "sms", Version: "1.1.0", SHA256: "bb", Quarantine: "it crashed"}, Here: true},
		},
	}
}

// fault returns the error that the test wants, once.
func (f *rollouts) fault() error {
	err := f.err
	f.err = nil
	return err
}

func (f *rollouts) Begin(_ context.Context, r rollout.Request) (core.Rollout, error) {
	if err := f.fault(); err != nil {
		return core.Rollout{}, err
	}
	if r.Plugin != "sms" {
		return core.Rollout{}, &core.Error{Kind: core.KindNotFound, Code: core.CodePluginNotFound, Message: "plugin " + r.Plugin + " not found"}
	}
	if !slices.ContainsFunc(f.versions, func(v rollout.Version) bool { return v.Version == r.Version }) {
		return core.Rollout{}, core.Errorf(core.KindNotFound, "plugin sms has no version %q; installed: 1.0.0, 1.1.0", r.Version)
	}
	f.requests = append(f.requests, r)
	return core.Rollout{ID: int64(7 + len(f.requests)), Plugin: r.Plugin, From: "1.0.0", To: r.Version, Plan: r.Plan, State: core.RolloutStarting, Actor: r.Actor}, nil
}

func (f *rollouts) change(what, plugin string, id int64, actor, reason string) (core.Rollout, error) {
	if err := f.fault(); err != nil {
		return core.Rollout{}, err
	}
	if plugin != "sms" || id != 7 {
		return core.Rollout{}, core.NotFound("rollout")
	}
	f.calls = append(f.calls, fmt.Sprintf("%s %s %d by %s: %s", what, plugin, id, actor, reason))
	r := f.all[0]
	r.Paused = what == "pause"
	return r, nil
}

func (f *rollouts) Promote(_ context.Context, plugin string, id int64, actor, reason string) (core.Rollout, error) {
	return f.change("promote", plugin, id, actor, reason)
}

func (f *rollouts) Pause(_ context.Context, plugin string, id int64, actor, reason string) (core.Rollout, error) {
	return f.change("pause", plugin, id, actor, reason)
}

func (f *rollouts) Resume(_ context.Context, plugin string, id int64, actor, reason string) (core.Rollout, error) {
	return f.change("resume", plugin, id, actor, reason)
}

func (f *rollouts) Rollback(_ context.Context, plugin string, id int64, actor, reason string) (core.Rollout, error) {
	return f.change("rollback", plugin, id, actor, reason)
}

func (f *rollouts) Plan(_ string, strategy core.RolloutStrategy) core.RolloutPlan {
	return rollout.Defaults(strategy)
}

func (f *rollouts) List(_ context.Context, plugin string, before int64, limit int) ([]core.Rollout, error) {
	var page []core.Rollout
	for _, r := range f.all {
		if r.Plugin == plugin && (before == 0 || r.ID < before) && len(page) < limit {
			page = append(page, r)
		}
	}
	return page, f.fault()
}

func (f *rollouts) Get(_ context.Context, plugin string, id int64) (rollout.Detail, error) {
	if plugin != "sms" || id != f.detail.ID {
		return rollout.Detail{}, core.NotFound("rollout")
	}
	return f.detail, f.fault()
}

func (f *rollouts) Versions(_ context.Context, plugin string) ([]rollout.Version, error) {
	if plugin != "sms" {
		return nil, f.fault()
	}
	return f.versions, f.fault()
}

func (f *rollouts) Remove(_ context.Context, plugin, version, actor string) error {
	if err := f.fault(); err != nil {
		return err
	}
	f.calls = append(f.calls, fmt.Sprintf("remove %s %s by %s", plugin, version, actor))
	return nil
}

const smsRollouts = "/api/plugins/sms/rollouts"

func TestBeginRollout(t *testing.T) {
	h := newHarness(t)
	a := h.want(h.do("POST", smsRollouts, `{"version":"1.1.0"}`), 201, 0)
	if r := data[api.Rollout](t, a); r.Id != 8 || r.State != "starting" || r.From != "1.0.0" || r.To != "1.1.0" || r.Actor != "default/bootstrap" ||
		r.Plan.Strategy != "canary" || len(r.Plan.Accounts) != 0 || a.Header.Get("Location") != smsRollouts+"/8" {
		t.Errorf("rollout %+v, Location %q", r, a.Header.Get("Location"))
	}
	h.want(h.do("POST", smsRollouts, `{"version":"1.1.0","strategy":"canary","options":{"steps":[0.5,20],"min_samples":5,"window_ms":1500,
		"bake_ms":0,"by":"account","accounts":["other","default"],"gates":{"failure_rate":0,"latency_ratio":3},"force":true}}`), 201, 0)
	want := rollout.Defaults(core.StrategyCanary)
	if have := h.rollouts.requests[0]; !reflect.DeepEqual(have.Plan, want) || have.Force {
		t.Errorf("want %+v\nhave %+v", want, have)
	}
	other, err := h.store.AccountByName(t.Context(), "other")
	must(t, err)
	want.Steps, want.MinSamples, want.Window, want.Bake, want.By = []float64{0.5, 20}, 5, 1500*time.Millisecond, 0, core.ByAccount
	want.Accounts = []core.AccountID{other.ID, h.account.ID}
	want.Gates.FailureRate, want.Gates.LatencyRatio = 0, 3
	if have := h.rollouts.requests[1]; !reflect.DeepEqual(have.Plan, want) || !have.Force || have.Version != "1.1.0" || have.Actor != "default/bootstrap" {
		t.Errorf("want %+v\nhave %+v", want, have)
	}
	for _, strategy := range []core.RolloutStrategy{core.StrategyImmediate, core.StrategyShadow} {
		r := data[api.Rollout](t, h.want(h.do("POST", smsRollouts, `{"version":"1.1.0","strategy":"`+string(strategy)+`"}`), 201, 0))
		if string(r.Plan.Strategy) != string(strategy) {
			t.Errorf("rollout %+v", r)
		}
	}
}

func TestBeginRolloutOnce(t *testing.T) {
	h := newHarness(t)
	body := `{"version":"1.1.0"}`
	first := h.want(h.do("POST", smsRollouts, body, "Idempotency-Key", "k"), 201, 0)
	again := h.want(h.do("POST", smsRollouts, body, "Idempotency-Key", "k"), 201, 0)
	if again.Header.Get("Idempotency-Replay") != "true" || string(again.Raw) != string(first.Raw) || len(h.rollouts.requests) != 1 {
		t.Errorf("the repeat: %s, %d requests", again.Raw, len(h.rollouts.requests))
	}
	h.want(h.do("POST", smsRollouts, `{"version":"1.0.0"}`, "Idempotency-Key", "k"), 422, core.CodeKeyReused)
	h.rollouts.err = core.Errorf(core.KindConflict, "rollout 7 of plugin sms to version 1.1.0 is canary: promote it or roll it back first")
	h.want(h.do("POST", smsRollouts, body, "Idempotency-Key", "other"), 409, api.CodeNotRollable)
	h.want(h.do("POST", smsRollouts, body, "Idempotency-Key", "other"), 201, 0) // what failed did not use up the key
}

func TestBeginRolloutRefuses(t *testing.T) {
	h := newHarness(t)
	tests := []struct{ about, body, field, reason string }{
		{"no version", `{}`, "/version", "missing"},
		{"strategy", `{"version":"1.1.0","strategy":"blue-green"}`, "/strategy", "immediate, canary or shadow"},
		{"samples", `{"version":"1.1.0","options":{"min_samples":0}}`, "/options/min_samples", "is 0; give 1 to 1000000"},
		{"window", `{"version":"1.1.0","options":{"window_ms":99}}`, "/options/window_ms", "is 99; give 100 to 86400000"},
		{"endless window", `{"version":"1.1.0","options":{"window_ms":9223372036854775807}}`, "/options/window_ms", "give 100 to 86400000"},
		{"bake", `{"version":"1.1.0","options":{"bake_ms":-1}}`, "/options/bake_ms", "is -1; give 0 to 604800000"},
		{"by", `{"version":"1.1.0","options":{"by":"recipient"}}`, "/options/by", "message nor account"},
		{"account", `{"version":"1.1.0","options":{"accounts":["default","nobody"]}}`, "/options/accounts/1", "name of no account"},
		{"accounts", `{"version":"1.1.0","options":{"accounts":["a"` + strings.Repeat(`,"a"`, 1000) + `]}}`, "/options/accounts", "at most 1000"},
		{"steps", `{"version":"1.1.0","options":{"steps":[1` + strings.Repeat(`,1`, 100) + `]}}`, "/options/steps", "at most 100"},
		{"failures", `{"version":"1.1.0","options":{"gates":{"failure_rate":1.5}}}`, "/options/gates/failure_rate", "is 1.5; give 0 to 1"},
		{"uncertain", `{"version":"1.1.0","options":{"gates":{"uncertain_rate":-1}}}`, "/options/gates/uncertain_rate", "give 0 to 1"},
		{"latency", `{"version":"1.1.0","options":{"gates":{"latency_ratio":0.5}}}`, "/options/gates/latency_ratio", "give 1 to 1000"},
		{"memory", `{"version":"1.1.0","options":{"gates":{"memory_ratio":1001}}}`, "/options/gates/memory_ratio", "give 1 to 1000"},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			a := h.want(h.do("POST", smsRollouts, test.body), 422, core.CodeInvalidField)
			if !strings.Contains(a.field(test.field), test.reason) {
				t.Errorf("errors %v; want %s with %q", a.Errors, test.field, test.reason)
			}
		})
	}
	a := h.want(h.do("POST", smsRollouts, `{"options":{"min_samples":0,"by":"x"}}`), 422, core.CodeInvalidField)
	if len(a.Errors) != 3 {
		t.Errorf("errors %v; want all three at once", a.Errors)
	}
	a = h.want(h.do("POST", smsRollouts, `{"version":"1.1.0","options":{"window_ms":1.5}}`), 400, core.CodeMalformed)
	if a.field("/options/window_ms") == "" {
		t.Errorf("errors %v", a.Errors)
	}
	a = h.want(h.do("POST", smsRollouts, `{"version":"1.1.0","options":{"gates":{"failure_rate":"much"}}}`), 400, core.CodeMalformed)
	if !strings.Contains(a.field("/options/gates/failure_rate"), "a number without quotes") {
		t.Errorf("errors %v", a.Errors)
	}
	if len(h.rollouts.requests) != 0 {
		t.Errorf("begun: %+v", h.rollouts.requests)
	}
}

// What Begin finds wrong with a plan stands in the request under options.
func TestBeginRolloutPlacesFields(t *testing.T) {
	h := newHarness(t)
	for field, want := range map[string]string{
		"/steps/1": "/options/steps/1", "/window": "/options/window_ms", "/bake": "/options/bake_ms", "/strategy": "/strategy",
		"/gates/failure_rate": "/options/gates/failure_rate",
	} {
		h.rollouts.err = core.Invalid(field, "is wrong")
		a := h.want(h.do("POST", smsRollouts, `{"version":"1.1.0"}`), 422, core.CodeInvalidField)
		if a.field(want) != "is wrong" || a.Message != want+": is wrong" {
			t.Errorf("%s: %s %v", field, a.Message, a.Errors)
		}
	}
}

func TestBeginRolloutOfNothing(t *testing.T) {
	h := newHarness(t)
	h.want(h.do("POST", "/api/plugins/pager/rollouts", `{"version":"1.1.0"}`), 404, core.CodePluginNotFound)
	a := h.want(h.do("POST", smsRollouts, `{"version":"9.0.0"}`), 404, api.CodeVersionNotFound)
	if !strings.Contains(a.Message, "installed: 1.0.0, 1.1.0") {
		t.Errorf("message %q", a.Message)
	}
	h.rollouts.err = fmt.Errorf("store: %w", errSecret)
	if a := h.want(h.do("POST", smsRollouts, `{"version":"1.1.0"}`), 500, core.CodeInternal); strings.Contains(string(a.Raw), "hunter2") {
		t.Errorf("the answer shows the inside: %s", a.Raw)
	}
}

func TestChangeRollout(t *testing.T) {
	h := newHarness(t)
	path := smsRollouts + "/7/"
	for _, verb := range []string{"promote", "pause", "resume", "rollback"} {
		h.want(h.do("POST", path+verb, ""), 200, 0)
		r := data[api.Rollout](t, h.want(h.do("POST", path+verb, `{"reason":" looks good "}`), 200, 0))
		if r.Paused != (verb == "pause") {
			t.Errorf("%s: %+v", verb, r)
		}
		h.want(h.do("POST", path+verb, `{}`), 200, 0)
		h.want(h.do("POST", smsRollouts+"/8/"+verb, ""), 404, api.CodeRolloutNotFound)
		h.want(h.do("POST", "/api/plugins/pager/rollouts/7/"+verb, ""), 404, api.CodeRolloutNotFound)
		h.want(h.do("POST", smsRollouts+"/last/"+verb, ""), 400, core.CodeMalformed)
		h.want(h.do("POST", path+verb, `{"because":"x"}`), 400, core.CodeMalformed)
		for _, reason := range []string{strings.Repeat("é", 501), `a\nb`} {
			a := h.want(h.do("POST", path+verb, `{"reason":"`+reason+`"}`), 422, core.CodeInvalidField)
			if a.field("/reason") == "" {
				t.Errorf("errors %v", a.Errors)
			}
		}
		h.rollouts.err = core.Errorf(core.KindConflict, "rollout 7 of plugin sms has ended: promoted. Begin another one")
		if a := h.want(h.do("POST", path+verb, ""), 409, api.CodeRolloutState); !strings.Contains(a.Message, "has ended") {
			t.Errorf("message %q", a.Message)
		}
	}
	if want := []string{"promote sms 7 by default/bootstrap: ", "promote sms 7 by default/bootstrap: looks good"}; !slices.Equal(h.rollouts.calls[:2], want) || len(h.rollouts.calls) != 12 {
		t.Errorf("calls %q", h.rollouts.calls)
	}
}

func TestListRollouts(t *testing.T) {
	h := newHarness(t)
	h.rollouts.all = nil
	for id := range int64(5) {
		r := core.Rollout{ID: 5 - id, Plugin: "sms", From: "1.0.0", To: "1.1.0", State: core.RolloutBaking, Plan: rollout.Defaults(core.StrategyCanary)}
		r.Plan.Accounts = []core.AccountID{h.account.ID, 999}
		h.rollouts.all = append(h.rollouts.all, r)
	}
	list := data[api.RolloutList](t, h.want(h.do("GET", smsRollouts+"?limit=3", ""), 200, 0))
	if len(list.Items) != 3 || list.Items[0].Id != 5 || list.NextCursor == nil || list.Items[0].Share != 100 {
		t.Fatalf("list %+v", list)
	}
	if have := list.Items[0].Plan.Accounts; !slices.Equal(have, []string{"default", "account 999"}) {
		t.Errorf("accounts %q", have)
	}
	list = data[api.RolloutList](t, h.want(h.do("GET", smsRollouts+"?limit=3&cursor="+*list.NextCursor, ""), 200, 0))
	if len(list.Items) != 2 || list.Items[0].Id != 2 || list.NextCursor != nil {
		t.Errorf("list %+v", list)
	}
	h.want(h.do("GET", smsRollouts+"?state=canary", ""), 400, core.CodeMalformed)
	h.want(h.do("GET", smsRollouts+"?limit=0", ""), 422, core.CodeInvalidField)
	h.want(h.do("GET", "/api/plugins/pager/rollouts", ""), 404, core.CodePluginNotFound)
	h.plugins.plugins = []core.PluginStatus{{Name: "pager"}} // found, and never active
	if list := data[api.RolloutList](t, h.want(h.do("GET", "/api/plugins/pager/rollouts", ""), 200, 0)); len(list.Items) != 0 {
		t.Errorf("list %+v", list)
	}
}

func TestGetRollout(t *testing.T) {
	h := newHarness(t)
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	figures := core.VersionFigures{Accepted: 90, Failed: 4, Uncertain: 1, Refused: 7, Throttled: 2, Memory: 1 << 20, Stalled: 1500 * time.Microsecond}
	for range 99 {
		figures.Latency.Observe(10 * time.Millisecond)
	}
	h.rollouts.detail = rollout.Detail{
		Rollout: core.Rollout{
			ID: 7, Plugin: "sms", From: "1.0.0", To: "1.1.0", SHA256: "bb", State: core.RolloutCanary, Step: 1, Since: at, Revision: 3,
			Actor: "policy", Plan: rollout.Defaults(core.StrategyCanary), CreatedAt: at, UpdatedAt: at,
		},
		Events: []core.RolloutEvent{
			{Rollout: 7, At: at, State: core.RolloutStarting, Actor: "policy", Reason: "from version 1.0.0 to 1.1.0"},
			{Rollout: 7, At: at, State: core.RolloutCanary, Share: 5, Actor: "gateway-1", Reason: "it is as good", Old: &core.VersionFigures{Accepted: 1}, New: &figures},
		},
		Waiting: "95 of 100 results", Old: core.VersionFigures{Crashes: 1}, New: figures,
		Reports: []core.RolloutReport{{Gateway: "gateway-1", Revision: 3, Ready: true, At: at}, {Gateway: "gateway-2", Revision: 2, Problem: "no such file", Gap: 120 * time.Millisecond, At: at}},
	}
	d := data[api.RolloutDetail](t, h.want(h.do("GET", smsRollouts+"/7", ""), 200, 0))
	if d.Rollout.Id != 7 || d.Rollout.Share != 5 || d.Rollout.Step != 1 || d.WaitingFor != "95 of 100 results" || d.Old.Crashes != 1 {
		t.Errorf("detail %+v", d)
	}
	if f := d.New; f.Samples != 95 || f.Accepted != 90 || f.Failed != 4 || f.Uncertain != 1 || f.Refused != 7 || f.Throttled != 2 ||
		f.MemoryBytes != 1<<20 || f.StalledMs != 1.5 || f.P50Ms < 10 || f.P50Ms > 12 || f.P99Ms != f.P50Ms {
		t.Errorf("figures %+v", f)
	}
	if e := d.Events; len(e) != 2 || e[0].New.Samples != 0 || e[1].New.Samples != 95 || e[1].Old.Accepted != 1 || e[1].Share != 5 || e[1].Actor != "gateway-1" {
		t.Errorf("events %+v", e)
	}
	if g := d.Gateways; len(g) != 2 || !g[0].Ready || !g[0].Current || g[1].Current || g[1].Problem != "no such file" || g[0].GapMs != 0 || g[1].GapMs != 120 {
		t.Errorf("gateways %+v", g)
	}
	// Once it has ended, what was judged last stays.
	h.rollouts.detail.State, h.rollouts.detail.Reports, h.rollouts.detail.Waiting = core.RolloutRolledBack, nil, ""
	h.rollouts.detail.Old, h.rollouts.detail.New = core.VersionFigures{}, core.VersionFigures{}
	if d := data[api.RolloutDetail](t, h.want(h.do("GET", smsRollouts+"/7", ""), 200, 0)); d.New.Samples != 95 || d.Rollout.State != "rolled_back" || d.Rollout.Share != 0 {
		t.Errorf("detail %+v", d)
	}
	h.want(h.do("GET", smsRollouts+"/6", ""), 404, api.CodeRolloutNotFound)
	h.want(h.do("GET", "/api/plugins/pager/rollouts/7", ""), 404, api.CodeRolloutNotFound)
}

func TestVersions(t *testing.T) {
	h := newHarness(t)
	h.rollouts.versions = append(h.rollouts.versions, rollout.Version{PluginVersion: core.PluginVersion{Version: "2.0.0", SHA256: "cc"}})
	h.plugins.plugins = []core.PluginStatus{
		{Name: "sms", Generations: []core.GenerationStatus{{Version: "1.0.0", PID: 42}, {Version: "1.1.0", State: core.GenerationFailed}}},
		{Name: "email", Generations: []core.GenerationStatus{{Version: "1.1.0", PID: 43}}},
	}
	list := data[api.VersionList](t, h.want(h.do("GET", "/api/plugins/sms/versions", ""), 200, 0))
	if v := list.Items; len(v) != 3 || v[0].State != "running" || !v[0].Active || v[1].State != "installed" || v[1].Active ||
		v[1].Quarantine != "it crashed" || v[1].Sha256 != "bb" || v[2].State != "missing" {
		t.Errorf("versions %+v", v)
	}
	if list := data[api.VersionList](t, h.want(h.do("GET", "/api/plugins/email/versions", ""), 200, 0)); len(list.Items) != 0 {
		t.Errorf("versions %+v", list)
	}
	h.want(h.do("GET", "/api/plugins/pager/versions", ""), 404, core.CodePluginNotFound)
	h.want(h.do("GET", "/api/plugins//versions", ""), 400, core.CodeMalformed) // and not the versions of all
	h.rollouts.err = fmt.Errorf("store: %w", errSecret)
	h.want(h.do("GET", "/api/plugins/sms/versions", ""), 500, core.CodeInternal)
}

func TestRemoveVersion(t *testing.T) {
	h := newHarness(t)
	path := "/api/plugins/sms/versions/1.1.0+build.7"
	if gone := data[api.VersionResult](t, h.want(h.do("DELETE", path, ""), 200, 0)); gone.Plugin != "sms" || gone.Version != "1.1.0+build.7" {
		t.Errorf("removed %+v", gone)
	}
	if want := []string{"remove sms 1.1.0+build.7 by default/bootstrap"}; !slices.Equal(h.rollouts.calls, want) {
		t.Errorf("calls %q", h.rollouts.calls)
	}
	h.rollouts.err = core.Errorf(core.KindConflict, "version 1.1.0 of the plugin sms is the active one; roll out another one first")
	h.want(h.do("DELETE", path, ""), 409, api.CodeVersionInUse)
	h.rollouts.err = core.Errorf(core.KindNotFound, "plugin sms has no version %q", "1.1.0")
	h.want(h.do("DELETE", path, ""), 404, api.CodeVersionNotFound)
	h.rollouts.err = &core.Error{Kind: core.KindNotFound, Code: core.CodePluginNotFound, Message: "plugin pager not found"}
	h.want(h.do("DELETE", "/api/plugins/pager/versions/1.1.0", ""), 404, core.CodePluginNotFound)
}

// TestOperatorsAlone sends each operation below a plugin the key of another account: nothing may be told or changed.
func TestOperatorsAlone(t *testing.T) {
	operators := []string{"default"}
	h := newHarness(t, func(o *api.Options) { o.Operators = func() []string { return operators } })
	n := 0
	for operation := range keyed() {
		method, path, _ := strings.Cut(operation, " ")
		if !strings.HasPrefix(path, "/api/plugins/") {
			continue
		}
		n++
		path = strings.NewReplacer("{name}", "sms", "{id}", "7", "{version}", "1.1.0").Replace(path)
		a := h.want(h.do(method, path, `{"version":"1.1.0"}`, as(h.other)...), 403, core.CodeForbidden)
		if !strings.Contains(a.Message, `"other"`) || len(a.Data) != 0 {
			t.Errorf("%s: %s", operation, a.Raw)
		}
	}
	if n < 9 || len(h.rollouts.requests)+len(h.rollouts.calls) != 0 {
		t.Errorf("%d operations, %d requests, calls %q", n, len(h.rollouts.requests), h.rollouts.calls)
	}
	h.want(h.do("GET", "/api/plugins", "", as(h.other)...), 200, 0)
	operators = []string{"other"}
	h.want(h.do("GET", smsRollouts, "", as(h.other)...), 200, 0)
	h.want(h.do("GET", smsRollouts, ""), 403, core.CodeForbidden)
}
