package storetest

import (
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

func (f *fixture) template(name string, changes ...func(*core.Template)) core.Template {
	f.Helper()
	t := core.Template{
		Account: f.account, Name: name, Channel: "sms", Subject: "s", Content: "{{a}} {{b}}", HTML: "<i>",
		Variables: []string{"a", "b"}, Status: core.TemplateActive, CreatedAt: t0, UpdatedAt: t0,
	}
	for _, change := range changes {
		change(&t)
	}
	created, err := f.CreateTemplate(f.ctx, t)
	f.check("CreateTemplate", err)
	return created
}

var templateTests = []test{
	{"a template is kept as it was given", func(f *fixture) {
		t := f.template("welcome")
		if t.ID == 0 || t.Revision != 1 {
			f.Errorf("id %d and revision %d of a new template", t.ID, t.Revision)
		}
		got, err := f.Template(f.ctx, f.account, t.ID)
		f.check("Template", err)
		equal(f, "name", got.Name, "welcome")
		equal(f, "account", got.Account, f.account)
		equal(f, "channel", got.Channel, "sms")
		equal(f, "text", got.Subject+got.Content+got.HTML, "s{{a}} {{b}}<i>")
		equal(f, "variables", slices.Equal(got.Variables, []string{"a", "b"}), true)
		equal(f, "status", got.Status, core.TemplateActive)
		equalTime(f, "created", got.CreatedAt, t0)
	}},
	{"a template needs no variables", func(f *fixture) {
		t := f.template("plain", func(t *core.Template) { t.Variables = nil })
		equal(f, "variables", len(t.Variables), 0)
	}},
	{"a name is unique in its account", func(f *fixture) {
		t := f.template("welcome")
		_, err := f.CreateTemplate(f.ctx, t)
		f.wantKind("a second of the name", err, core.KindConflict)
		f.template("welcome", func(t *core.Template) { t.Account = f.other })
		second := f.template("second")
		second.Name = "welcome"
		_, err = f.UpdateTemplate(f.ctx, second)
		f.wantKind("renamed to a taken name", err, core.KindConflict)
		got, err := f.Template(f.ctx, f.account, second.ID)
		f.check("Template", err)
		equal(f, "name after that", got.Name, "second")
	}},
	{"an update replaces the template and raises its revision", func(f *fixture) {
		t := f.template("welcome")
		t.Content, t.Status, t.UpdatedAt, t.Variables = "bye", core.TemplateDisabled, at(time.Hour), []string{}
		t.CreatedAt = at(time.Hour)
		updated, err := f.UpdateTemplate(f.ctx, t)
		f.check("UpdateTemplate", err)
		got, err := f.Template(f.ctx, f.account, t.ID)
		f.check("Template", err)
		for _, x := range []core.Template{updated, got} {
			equal(f, "content", x.Content, "bye")
			equal(f, "status", x.Status, core.TemplateDisabled)
			equal(f, "revision", x.Revision, 2)
			equal(f, "variables", len(x.Variables), 0)
			equalTime(f, "updated", x.UpdatedAt, at(time.Hour))
			equalTime(f, "created", x.CreatedAt, t0)
		}
	}},
	{"what is absent is not found", func(f *fixture) {
		_, err := f.Template(f.ctx, f.account, 999)
		f.wantKind("Template", err, core.KindNotFound)
		_, err = f.UpdateTemplate(f.ctx, core.Template{ID: 999, Account: f.account, Name: "x"})
		f.wantKind("UpdateTemplate", err, core.KindNotFound)
		f.wantKind("DeleteTemplate", f.DeleteTemplate(f.ctx, f.account, 999), core.KindNotFound)
	}},
	{"a deleted template is gone and its id does not come back", func(f *fixture) {
		t := f.template("welcome")
		f.check("DeleteTemplate", f.DeleteTemplate(f.ctx, f.account, t.ID))
		_, err := f.Template(f.ctx, f.account, t.ID)
		f.wantKind("Template", err, core.KindNotFound)
		if again := f.template("welcome"); again.ID <= t.ID {
			f.Errorf("id %d after %d was deleted", again.ID, t.ID)
		}
	}},
	{"templates are listed newest first and filtered", func(f *fixture) {
		a := f.template("a")
		b := f.template("b", func(t *core.Template) { t.Channel = "email" })
		c := f.template("c", func(t *core.Template) { t.Status = core.TemplateDisabled })
		for name, x := range map[string]struct {
			filter store.TemplateFilter
			want   []core.TemplateID
		}{
			"all":      {store.TemplateFilter{Limit: 10}, []core.TemplateID{c.ID, b.ID, a.ID}},
			"limit":    {store.TemplateFilter{Limit: 2}, []core.TemplateID{c.ID, b.ID}},
			"cursor":   {store.TemplateFilter{Limit: 10, Before: b.ID}, []core.TemplateID{a.ID}},
			"channel":  {store.TemplateFilter{Limit: 10, Channel: "sms"}, []core.TemplateID{c.ID, a.ID}},
			"status":   {store.TemplateFilter{Limit: 10, Status: core.TemplateDisabled}, []core.TemplateID{c.ID}},
			"together": {store.TemplateFilter{Limit: 10, Channel: "sms", Status: core.TemplateActive}, []core.TemplateID{a.ID}},
		} {
			templates, err := f.ListTemplates(f.ctx, f.account, x.filter)
			f.check("ListTemplates", err)
			var got []core.TemplateID
			for _, t := range templates {
				got = append(got, t.ID)
			}
			equal(f, name, slices.Equal(got, x.want), true)
		}
	}},
}

func (f *fixture) key(name string, hash byte) core.Key {
	f.Helper()
	k, err := f.AddKey(f.ctx, core.Key{
		Account: f.account, Name: name, Hint: "pgn_live_1", Hash: [32]byte{hash}, CreatedAt: t0, ExpiresAt: at(time.Hour),
	})
	f.check("AddKey", err)
	return k
}

var accountTests = []test{
	{"an account is created once", func(f *fixture) {
		first := f.ensureAccount("new")
		second, err := f.EnsureAccount(f.ctx, core.Account{Name: "new", DefaultRegion: "DE", CreatedAt: at(time.Hour)})
		f.check("EnsureAccount", err)
		second.CreatedAt, first.CreatedAt = second.CreatedAt.UTC(), first.CreatedAt.UTC()
		equal(f, "the second time", second, first)
		got, err := f.Account(f.ctx, first.ID)
		f.check("Account", err)
		got.CreatedAt = got.CreatedAt.UTC()
		equal(f, "account", got, core.Account{ID: first.ID, Name: "new", DefaultRegion: "CN", CreatedAt: t0})
		named, err := f.AccountByName(f.ctx, "new")
		f.check("AccountByName", err)
		equal(f, "by name", named.ID, first.ID)
	}},
	{"an unknown account is not found", func(f *fixture) {
		_, err := f.Account(f.ctx, 999)
		f.wantKind("Account", err, core.KindNotFound)
		_, err = f.AccountByName(f.ctx, "nobody")
		f.wantKind("AccountByName", err, core.KindNotFound)
		_, err = f.AddKey(f.ctx, core.Key{Account: 999, Hash: [32]byte{1}, CreatedAt: t0})
		f.wantKind("AddKey", err, core.KindNotFound)
	}},
	{"a key is found by its hash, with its account", func(f *fixture) {
		k := f.key("ci", 1)
		got, account, err := f.KeyByHash(f.ctx, [32]byte{1})
		f.check("KeyByHash", err)
		equal(f, "id", got.ID, k.ID)
		equal(f, "name", got.Name, "ci")
		equal(f, "hint", got.Hint, "pgn_live_1")
		equal(f, "hash", got.Hash, [32]byte{1})
		equalTime(f, "expires", got.ExpiresAt, at(time.Hour))
		equal(f, "revoked", got.RevokedAt.IsZero(), true)
		equal(f, "account", account.Name, "acme")
		_, _, err = f.KeyByHash(f.ctx, [32]byte{2})
		f.wantKind("an unknown hash", err, core.KindNotFound)
	}},
	{"a hash that is there is left as it is", func(f *fixture) {
		first := f.key("first", 1)
		again, err := f.AddKey(f.ctx, core.Key{Account: f.other, Name: "again", Hash: [32]byte{1}, CreatedAt: at(time.Hour)})
		f.check("AddKey", err)
		equal(f, "id", again.ID, first.ID)
		equal(f, "name", again.Name, "first")
		equal(f, "account", again.Account, f.account)
	}},
	{"a revoked key is listed and keeps its time", func(f *fixture) {
		a, b := f.key("a", 1), f.key("b", 2)
		f.check("RevokeKey", f.RevokeKey(f.ctx, f.account, a.ID, at(time.Minute)))
		f.check("RevokeKey again", f.RevokeKey(f.ctx, f.account, a.ID, at(time.Hour)))
		keys, err := f.Keys(f.ctx, f.account)
		f.check("Keys", err)
		equal(f, "keys", len(keys), 2)
		equal(f, "oldest first", keys[0].ID, a.ID)
		equalTime(f, "revoked", keys[0].RevokedAt, at(time.Minute))
		equal(f, "the other", keys[1].ID, b.ID)
		equal(f, "is in force", keys[1].InForce(at(time.Minute)), true)
		f.wantKind("RevokeKey of an unknown one", f.RevokeKey(f.ctx, f.account, 999, t0), core.KindNotFound)
	}},
	{"the store can be checked", func(f *fixture) { f.check("Check", f.Check(f.ctx)) }},
	{"the store has a clock", func(f *fixture) {
		now, err := f.Now(f.ctx)
		f.check("Now", err)
		if off := time.Since(now).Abs(); off > 10*time.Second {
			f.Errorf("the store's clock is off by %v", off)
		}
		later, err := f.Now(f.ctx)
		f.check("Now", err)
		if !later.After(now) {
			f.Errorf("the store's clock stands at %v", now)
		}
	}},
}

// isolationTests: an id of another account answers exactly as one that does not exist.
var isolationTests = []test{
	{"another account's message is not found, listed, canceled or retried", func(f *fixture) {
		id := f.sending()
		f.record(t0, store.Transition{Record: id, Attempt: 1, Status: core.StatusFailed, Outcome: core.OutcomeRejected})
		waiting := f.queued(func(m *core.Message) { m.Template = 5 })
		_, _, err := f.Message(f.ctx, f.other, id)
		f.wantSameNotFound("Message", err, func(unknown core.RecordID) error {
			_, _, err := f.Message(f.ctx, f.other, unknown)
			return err
		})
		_, err = f.Cancel(f.ctx, f.other, store.Target{Record: waiting}, t0)
		f.wantSameNotFound("Cancel", err, func(unknown core.RecordID) error {
			_, err := f.Cancel(f.ctx, f.other, store.Target{Record: unknown}, t0)
			return err
		})
		_, err = f.Retry(f.ctx, f.other, id, 5, t0)
		f.wantSameNotFound("Retry", err, func(unknown core.RecordID) error {
			_, err := f.Retry(f.ctx, f.other, unknown, 5, t0)
			return err
		})
		f.wantStatus(waiting, core.StatusQueued)
		f.wantStatus(id, core.StatusFailed)
		for _, filter := range []store.Filter{
			{}, {Channel: "sms"}, {Recipient: "+8613800000001"}, {Template: 5}, {Status: core.StatusQueued}, {Status: core.StatusFailed}, {CreatedFrom: t0},
		} {
			filter.Limit = 10
			messages, err := f.List(f.ctx, f.other, filter)
			f.check("List", err)
			equal(f, "listed", len(messages), 0)
		}
	}},
	{"another account's batch is not found, listed or canceled", func(f *fixture) {
		b, ids := f.batch(f.account, 2)
		_, _, err := f.Batch(f.ctx, f.other, b)
		f.wantSameNotFound("Batch", err, func(unknown core.RecordID) error {
			_, _, err := f.Batch(f.ctx, f.other, core.BatchID(unknown))
			return err
		})
		_, err = f.Cancel(f.ctx, f.other, store.Target{Batch: b}, t0)
		f.wantSameNotFound("Cancel", err, func(unknown core.RecordID) error {
			_, err := f.Cancel(f.ctx, f.other, store.Target{Batch: core.BatchID(unknown)}, t0)
			return err
		})
		messages, err := f.List(f.ctx, f.other, store.Filter{Batch: b, Limit: 10})
		f.check("List", err)
		equal(f, "listed", len(messages), 0)
		f.wantStatus(ids[0], core.StatusQueued)
	}},
	{"another account's template is not found, listed, changed or deleted", func(f *fixture) {
		t := f.template("mine")
		_, err := f.Template(f.ctx, f.other, t.ID)
		f.wantKind("Template", err, core.KindNotFound)
		stolen := t
		stolen.Account, stolen.Content = f.other, "stolen"
		_, err = f.UpdateTemplate(f.ctx, stolen)
		f.wantKind("UpdateTemplate", err, core.KindNotFound)
		f.wantKind("DeleteTemplate", f.DeleteTemplate(f.ctx, f.other, t.ID), core.KindNotFound)
		templates, err := f.ListTemplates(f.ctx, f.other, store.TemplateFilter{Limit: 10})
		f.check("ListTemplates", err)
		equal(f, "listed", len(templates), 0)
		got, err := f.Template(f.ctx, f.account, t.ID)
		f.check("Template", err)
		equal(f, "content", got.Content, t.Content)
	}},
	{"another account's key is not listed or revoked", func(f *fixture) {
		k := f.key("mine", 1)
		keys, err := f.Keys(f.ctx, f.other)
		f.check("Keys", err)
		equal(f, "listed", len(keys), 0)
		f.wantKind("RevokeKey", f.RevokeKey(f.ctx, f.other, k.ID, t0), core.KindNotFound)
		got, _, err := f.KeyByHash(f.ctx, k.Hash)
		f.check("KeyByHash", err)
		equal(f, "in force", got.InForce(t0), true)
	}},
}

// wantSameNotFound reports an error that differs from the one for an id that does not exist.
func (f *fixture) wantSameNotFound(what string, err error, unknown func(core.RecordID) error) {
	f.Helper()
	f.wantKind(what, err, core.KindNotFound)
	if absent := unknown(f.next + 777); err == nil || absent == nil || err.Error() != absent.Error() {
		f.Errorf("%s: %q for another account's id and %q for none", what, err, absent)
	}
}
