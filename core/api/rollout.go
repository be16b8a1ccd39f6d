package api

import (
	"context"
	"fmt"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/rollout"
)

// accountNames are the names of accounts that one answer has looked up.
type accountNames map[core.AccountID]string

// nameOf finds the name of an account.
func (s *server) nameOf(ctx context.Context, id core.AccountID, names accountNames) (string, error) {
	if name, ok := names[id]; ok {
		return name, nil
	}
	account, err := s.o.Accounts.Account(ctx, id)
	if core.KindOf(err) == core.KindNotFound {
		account.Name, err = fmt.Sprintf("account %d", id), nil
	}
	if err != nil {
		return "", fmt.Errorf("find an account of a rollout: %w", err)
	}
	names[id] = account.Name
	return account.Name, nil
}

func (s *server) rolloutOf(ctx context.Context, r *core.Rollout, names accountNames) (Rollout, error) {
	answer := Rollout{
		Id: r.ID, Plugin: r.Plugin, From: r.From, To: r.To, Sha256: r.SHA256, State: RolloutState(r.State), Share: r.Share(),
		Step: r.Step, Paused: r.Paused, Since: r.Since, Reason: r.Reason, Actor: r.Actor, Plan: planOf(&r.Plan),
		CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
	for _, id := range r.Plan.Accounts {
		name, err := s.nameOf(ctx, id, names)
		if err != nil {
			return answer, err
		}
		answer.Plan.Accounts = append(answer.Plan.Accounts, name)
	}
	return answer, nil
}

func planOf(p *core.RolloutPlan) RolloutPlan {
	return RolloutPlan{
		Strategy: RolloutPlanStrategy(p.Strategy), Steps: append([]float64{}, p.Steps...), MinSamples: p.MinSamples,
		WindowMs: p.Window.Milliseconds(), BakeMs: p.Bake.Milliseconds(), By: RolloutPlanBy(p.By), Accounts: []string{},
		Gates: RolloutGates{
			FailureRate: p.Gates.FailureRate, UncertainRate: p.Gates.UncertainRate,
			LatencyRatio: p.Gates.LatencyRatio, MemoryRatio: p.Gates.MemoryRatio,
		},
	}
}

func detailOf(d *rollout.Detail, answer Rollout) RolloutDetail {
	detail := RolloutDetail{
		Rollout: answer, Old: figuresOf(&d.Old), New: figuresOf(&d.New), WaitingFor: d.Waiting,
		Gateways: make([]RolloutGateway, len(d.Reports)), Events: make([]RolloutEvent, len(d.Events)),
	}
	for i := range d.Reports {
		g := &d.Reports[i]
		detail.Gateways[i] = RolloutGateway{
			Name: g.Gateway, Ready: g.Ready, Current: g.Revision == d.Revision, WaitingFor: g.Waiting, Problem: g.Problem,
			GapMs: milliseconds(g.Gap), At: g.At,
		}
	}
	for i := range d.Events {
		e := eventOf(&d.Events[i])
		detail.Events[i] = e
		if judged := d.Events[i].New != nil; judged && !d.State.Open() {
			detail.Old, detail.New = e.Old, e.New // the last ones stay
		}
	}
	return detail
}

func eventOf(e *core.RolloutEvent) RolloutEvent {
	answer := RolloutEvent{At: e.At, State: RolloutState(e.State), Share: e.Share, Paused: e.Paused, Actor: e.Actor, Reason: e.Reason}
	if e.Old != nil {
		answer.Old = figuresOf(e.Old)
	}
	if e.New != nil {
		answer.New = figuresOf(e.New)
	}
	return answer
}

func figuresOf(f *core.VersionFigures) VersionFigures {
	return VersionFigures{
		Samples: f.Samples(), Accepted: f.Accepted, Failed: f.Failed, Refused: f.Refused, Throttled: f.Throttled,
		Uncertain: f.Uncertain, Disagreed: f.Disagreed, Violations: f.Violations, Crashes: f.Crashes,
		P50Ms: milliseconds(f.Latency.Quantile(0.5)), P99Ms: milliseconds(f.Latency.Quantile(0.99)),
		StalledMs: milliseconds(f.Stalled), MemoryBytes: f.Memory,
	}
}

func versionOf(v *rollout.Version, running map[string]bool) PluginVersion {
	answer := PluginVersion{
		Version: v.Version, Sha256: v.SHA256, State: "installed", Active: v.Active, Quarantine: v.Quarantine, FirstSeen: v.FirstSeen,
	}
	switch {
	case !v.Here:
		answer.State = "missing"
	case running[v.Version]:
		answer.State = "running"
	}
	return answer
}
