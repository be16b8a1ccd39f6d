package api

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/rollout"
)

const (
	maxReason = 500 // characters
	// maxPlanAccounts bounds the accounts that a rollout may name.
	maxPlanAccounts = 1_000
)

// BeginRollout begins the way to another version of a plugin.
func (s *server) BeginRollout(c *gin.Context, plugin string, _ BeginRolloutParams) {
	body, raw, err := bodyOf[RolloutRequest](c, maxBody)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.create(c, raw, func() (path, message string, data any, err error) {
		ctx := c.Request.Context()
		plan, err := s.planOf(ctx, plugin, &body)
		if err != nil {
			return "", "", nil, err
		}
		r, err := s.o.Rollouts.Begin(ctx, rollout.Request{
			Plugin: plugin, Version: body.Version, Plan: plan, Force: body.Options.Force, Actor: actorOf(c),
		})
		if err != nil {
			return "", "", nil, notRollable(err)
		}
		answer, err := s.rolloutOf(ctx, &r, accountNames{})
		path = "/api/plugins/" + plugin + "/rollouts/" + strconv.FormatInt(r.ID, 10)
		return path, "the rollout has begun", answer, err
	})
}

// notRollable gives an error of Begin its code, and its fields their place in the body.
func notRollable(err error) error {
	err = coded(conflict(err, CodeNotRollable), core.KindNotFound, CodeVersionNotFound)
	return placed(err, func(field string) string {
		switch field {
		case "/strategy":
			return field
		case "/window", "/bake":
			return "/options" + field + "_ms"
		default:
			return "/options" + field
		}
	})
}

// planOf lays the options of a request over the plan that the settings give.
func (s *server) planOf(ctx context.Context, plugin string, body *RolloutRequest) (core.RolloutPlan, error) {
	strategy := core.RolloutStrategy(body.Strategy)
	if strategy == "" {
		strategy = core.StrategyCanary
	}
	var wrong problems
	if body.Version == "" {
		wrong.add("/version", "missing; name the version that is to take over, as GET /api/plugins/{name}/versions lists it")
	}
	switch strategy {
	case core.StrategyImmediate, core.StrategyCanary, core.StrategyShadow:
	default:
		wrong.add("/strategy", "is no strategy; give immediate, canary or shadow")
		return core.RolloutPlan{}, wrong.err()
	}
	plan := s.o.Records.Plan(plugin, strategy)
	options := &body.Options
	wrong.options(&plan, options)
	accounts, err := s.accountsOf(ctx, options.Accounts, &wrong)
	if err != nil {
		return plan, err
	}
	if options.Accounts != nil {
		plan.Accounts = accounts
	}
	return plan, wrong.err()
}

// options puts what was given into the plan. What is wrong with the plan as a whole Begin finds out.
func (p *problems) options(plan *core.RolloutPlan, o *RolloutOptions) {
	if len(o.Steps) > core.MaxRolloutSteps {
		p.add("/options/steps", fmt.Sprintf("has %d steps; give at most %d", len(o.Steps), core.MaxRolloutSteps))
	} else if o.Steps != nil {
		plan.Steps = o.Steps
	}
	if o.MinSamples != nil {
		plan.MinSamples = *o.MinSamples
		p.between("/options/min_samples", float64(*o.MinSamples), 1, core.MaxRolloutSamples)
	}
	p.duration("/options/window_ms", o.WindowMs, &plan.Window, core.MinRolloutWindow, core.MaxRolloutWindow)
	p.duration("/options/bake_ms", o.BakeMs, &plan.Bake, 0, core.MaxRolloutBake)
	switch by := core.RolloutBy(o.By); by {
	case "":
	case core.ByMessage, core.ByAccount:
		plan.By = by
	default:
		p.add("/options/by", "is neither message nor account; give one of them")
	}
	p.number("/options/gates/failure_rate", o.Gates.FailureRate, &plan.Gates.FailureRate, 0, 1)
	p.number("/options/gates/uncertain_rate", o.Gates.UncertainRate, &plan.Gates.UncertainRate, 0, 1)
	p.number("/options/gates/latency_ratio", o.Gates.LatencyRatio, &plan.Gates.LatencyRatio, 1, core.MaxRolloutRatio)
	p.number("/options/gates/memory_ratio", o.Gates.MemoryRatio, &plan.Gates.MemoryRatio, 1, core.MaxRolloutRatio)
}

// number takes a number that was given, if it is between two bounds.
func (p *problems) number(field string, given, into *float64, low, high float64) {
	if given != nil {
		*into = *given
		p.between(field, *given, low, high)
	}
}

// duration takes milliseconds that were given, if they are between two bounds.
func (p *problems) duration(field string, given *int64, into *time.Duration, low, high time.Duration) {
	if given == nil {
		return
	}
	p.between(field, float64(*given), float64(low.Milliseconds()), float64(high.Milliseconds()))
	*into = time.Duration(*given) * time.Millisecond
}

func (p *problems) between(field string, n, low, high float64) {
	if n < low || n > high {
		p.add(field, fmt.Sprintf("is %s; give %s to %s", decimal(n), decimal(low), decimal(high)))
	}
}

func decimal(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// accountsOf finds the accounts that a request names.
func (s *server) accountsOf(ctx context.Context, names []string, wrong *problems) ([]core.AccountID, error) {
	if len(names) > maxPlanAccounts {
		wrong.add("/options/accounts", fmt.Sprintf("has %d names; give at most %d", len(names), maxPlanAccounts))
		return nil, nil
	}
	ids := make([]core.AccountID, 0, len(names))
	for i, name := range names {
		account, err := s.o.Accounts.AccountByName(ctx, name)
		switch {
		case core.KindOf(err) == core.KindNotFound:
			wrong.add(fmt.Sprintf("/options/accounts/%d", i), "is the name of no account; pigeonry key create --account makes one")
		case err != nil:
			return nil, fmt.Errorf("find the accounts of a rollout: %w", err)
		default:
			ids = append(ids, account.ID)
		}
	}
	return ids, nil
}

// ListRollouts lists the rollouts of a plugin.
func (s *server) ListRollouts(c *gin.Context, plugin string, params ListRolloutsParams) {
	list, err := s.rollouts(c, plugin, params)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.ok(c, "rollouts", list)
}

func (s *server) rollouts(c *gin.Context, plugin string, params ListRolloutsParams) (RolloutList, error) {
	ctx := c.Request.Context()
	if err := knownQuery[ListRolloutsParams](c); err != nil {
		return RolloutList{}, err
	}
	p, err := pageOf(params.Limit, params.Cursor)
	if err != nil {
		return RolloutList{}, err
	}
	rollouts, err := s.o.Records.List(ctx, plugin, p.before, p.limit+1)
	if err != nil {
		return RolloutList{}, fmt.Errorf("list rollouts: %w", err)
	}
	if len(rollouts) == 0 {
		if _, err := s.versions(ctx, plugin); err != nil {
			return RolloutList{}, err
		}
	}
	rollouts, next := cut(p, rollouts, func(r core.Rollout) int64 { return r.ID })
	list, names := RolloutList{Items: make([]Rollout, len(rollouts)), NextCursor: next}, accountNames{}
	for i := range rollouts {
		if list.Items[i], err = s.rolloutOf(ctx, &rollouts[i], names); err != nil {
			return RolloutList{}, err
		}
	}
	return list, nil
}

// GetRollout tells all of one rollout.
func (s *server) GetRollout(c *gin.Context, plugin string, id RolloutId) {
	d, err := s.o.Records.Get(c.Request.Context(), plugin, id)
	if err != nil {
		s.fail(c, noRollout(err))
		return
	}
	answer, err := s.rolloutOf(c.Request.Context(), &d.Rollout, accountNames{})
	if err != nil {
		s.fail(c, err)
		return
	}
	s.ok(c, "the rollout", detailOf(&d, answer))
}

// PromoteRollout gives the new version everything.
func (s *server) PromoteRollout(c *gin.Context, plugin string, id RolloutId) {
	s.changeRollout(c, plugin, id, "the new version has everything", s.o.Rollouts.Promote)
}

// PauseRollout keeps a rollout where it is.
func (s *server) PauseRollout(c *gin.Context, plugin string, id RolloutId) {
	s.changeRollout(c, plugin, id, "the rollout is paused", s.o.Rollouts.Pause)
}

// ResumeRollout lets a paused rollout go on.
func (s *server) ResumeRollout(c *gin.Context, plugin string, id RolloutId) {
	s.changeRollout(c, plugin, id, "the rollout goes on", s.o.Rollouts.Resume)
}

// RollbackRollout gives the old version everything again.
func (s *server) RollbackRollout(c *gin.Context, plugin string, id RolloutId) {
	s.changeRollout(c, plugin, id, "the old version has everything again", s.o.Rollouts.Rollback)
}

type rolloutChange func(ctx context.Context, plugin string, id int64, actor, reason string) (core.Rollout, error)

func (s *server) changeRollout(c *gin.Context, plugin string, id int64, message string, change rolloutChange) {
	body, err := optionalBodyOf[ReasonRequest](c, maxBody)
	if err == nil {
		err = checkReason(body.Reason)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx := c.Request.Context()
	r, err := change(ctx, plugin, id, actorOf(c), strings.TrimSpace(body.Reason))
	if err != nil {
		s.fail(c, conflict(noRollout(err), CodeRolloutState))
		return
	}
	answer, err := s.rolloutOf(ctx, &r, accountNames{})
	if err != nil {
		s.fail(c, err)
		return
	}
	s.ok(c, message, answer)
}

func checkReason(reason string) error {
	var wrong problems
	switch {
	case utf8.RuneCountInString(reason) > maxReason:
		wrong.add("/reason", fmt.Sprintf("is longer than %d characters; shorten it", maxReason))
	case strings.ContainsFunc(reason, unicode.IsControl):
		wrong.add("/reason", "has a line break or another control character; leave it out")
	}
	return wrong.err()
}

func noRollout(err error) error { return absent(err, CodeRolloutNotFound, "rollout") }

// ListVersions lists the versions of a plugin.
func (s *server) ListVersions(c *gin.Context, plugin string) {
	versions, err := s.versions(c.Request.Context(), plugin)
	if err != nil {
		s.fail(c, err)
		return
	}
	running := s.running(plugin)
	list := VersionList{Items: make([]PluginVersion, len(versions))}
	for i := range versions {
		list.Items[i] = versionOf(&versions[i], running)
	}
	s.ok(c, "versions", list)
}

// versions lists the versions of a plugin. One that this gateway found and that has none yet has an empty list.
func (s *server) versions(ctx context.Context, plugin string) ([]rollout.Version, error) {
	versions, err := s.o.Versions.Versions(ctx, plugin)
	if err != nil {
		return nil, fmt.Errorf("list versions: %w", err)
	}
	if len(versions) > 0 {
		return versions, nil
	}
	for _, p := range s.o.Plugins.Plugins() {
		if p.Name == plugin {
			return nil, nil
		}
	}
	return nil, &core.Error{
		Kind: core.KindNotFound, Code: core.CodePluginNotFound, Message: "plugin not found; GET /api/plugins lists those there are",
	}
}

// running are the versions of a plugin that have a process on this gateway.
func (s *server) running(plugin string) map[string]bool {
	versions := map[string]bool{}
	for _, p := range s.o.Plugins.Plugins() {
		for _, g := range p.Generations {
			if p.Name == plugin && g.PID != 0 {
				versions[g.Version] = true
			}
		}
	}
	return versions
}

// RemoveVersion removes a version that is not in use.
func (s *server) RemoveVersion(c *gin.Context, plugin, version string) {
	if err := s.o.Versions.Remove(c.Request.Context(), plugin, version, actorOf(c)); err != nil {
		s.fail(c, coded(conflict(err, CodeVersionInUse), core.KindNotFound, CodeVersionNotFound))
		return
	}
	s.ok(c, "the version is removed", VersionResult{Plugin: plugin, Version: version})
}
