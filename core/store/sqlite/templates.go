package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

const templateColumns = "id, account_id, name, channel, subject, content, html, provider_templates, variables, status, revision, created_at, updated_at"

func readTemplate(r *row) (core.Template, error) {
	t := core.Template{
		ID: core.TemplateID(r.int()), Account: core.AccountID(r.int()), Name: r.text(), Channel: r.text(),
		Subject: r.text(), Content: r.text(), HTML: r.text(),
	}
	if err := r.json(&t.ProviderTemplates); err != nil {
		return t, err
	}
	err := r.json(&t.Variables)
	t.Status, t.Revision = core.TemplateStatus(r.text()), int(r.int())
	t.CreatedAt, t.UpdatedAt = r.time(), r.time()
	return t, err
}

// CreateTemplate implements store.Templates.
func (s *Store) CreateTemplate(ctx context.Context, t core.Template) (core.Template, error) {
	own, err := toJSON(t.ProviderTemplates, len(t.ProviderTemplates))
	if err != nil {
		return core.Template{}, err
	}
	return s.writeTemplate(ctx, "create a template", t, func(c conn) *statement {
		return c.prepare(`INSERT INTO message_templates (account_id, name, channel, subject, content, html, provider_templates, variables, status,
				updated_at, created_at, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
			RETURNING ` + templateColumns).int(int64(t.Account)).text(t.Name).text(t.Channel).text(t.Subject).text(t.Content).
			text(t.HTML).textOrNull(own).text(stringsJSON(t.Variables)).text(string(t.Status)).time(t.UpdatedAt).time(t.CreatedAt)
	})
}

// UpdateTemplate implements store.Templates.
func (s *Store) UpdateTemplate(ctx context.Context, t core.Template) (core.Template, error) {
	own, err := toJSON(t.ProviderTemplates, len(t.ProviderTemplates))
	if err != nil {
		return core.Template{}, err
	}
	return s.writeTemplate(ctx, "update a template", t, func(c conn) *statement {
		return c.prepare(`UPDATE message_templates SET name = ?, channel = ?, subject = ?, content = ?, html = ?, provider_templates = ?, variables = ?,
				status = ?, updated_at = ?, revision = revision + 1 WHERE id = ? AND account_id = ?
			RETURNING ` + templateColumns).text(t.Name).text(t.Channel).text(t.Subject).text(t.Content).text(t.HTML).
			textOrNull(own).text(stringsJSON(t.Variables)).text(string(t.Status)).time(t.UpdatedAt).int(int64(t.ID)).int(int64(t.Account))
	})
}

// writeTemplate runs a write that returns the template as it is afterwards. A name that is taken, and a
// template that is not there, are refused.
func (s *Store) writeTemplate(ctx context.Context, what string, t core.Template, query func(conn) *statement) (core.Template, error) {
	var written core.Template
	var refused error
	err := s.write(ctx, what, 1, func(c conn) error {
		found := false
		refused = nil
		err := query(c).each(func(r *row) (err error) {
			found = true
			written, err = readTemplate(r)
			return err
		})
		if sqlite.ErrCode(err) == sqlite.ResultConstraintUnique {
			refused = &core.Error{
				Kind: core.KindConflict, Code: core.CodeTemplateNameTaken,
				Message: "a template named " + t.Name + " exists; choose another name or change that one",
			}
			return nil // the statement alone was undone
		}
		refused = notFoundUnless(found, "template", err)
		return err
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return core.Template{}, err
	}
	return written, nil
}

// Template implements store.Templates.
func (s *Store) Template(ctx context.Context, account core.AccountID, id core.TemplateID) (core.Template, error) {
	var t core.Template
	found := false
	err := s.read(ctx, "read a template", func(c conn) error {
		return c.prepare("SELECT " + templateColumns + " FROM message_templates WHERE id = ? AND account_id = ?").
			int(int64(id)).int(int64(account)).each(func(r *row) (err error) {
			found = true
			t, err = readTemplate(r)
			return err
		})
	})
	return t, notFoundUnless(found, "template", err)
}

// ListTemplates implements store.Templates.
func (s *Store) ListTemplates(ctx context.Context, account core.AccountID, f store.TemplateFilter) ([]core.Template, error) {
	var templates []core.Template
	err := s.read(ctx, "list templates", func(c conn) error {
		return c.prepare(`SELECT ` + templateColumns + ` FROM message_templates WHERE account_id = ?1
			AND (?2 IS NULL OR channel = ?2) AND (?3 IS NULL OR status = ?3) AND (?4 IS NULL OR id < ?4) ORDER BY id DESC LIMIT ?5`).
			int(int64(account)).textOrNull(f.Channel).textOrNull(string(f.Status)).intOrNull(int64(f.Before)).int(int64(f.Limit)).
			each(func(r *row) error {
				t, err := readTemplate(r)
				templates = append(templates, t)
				return err
			})
	})
	return templates, err
}

// DeleteTemplate implements store.Templates.
func (s *Store) DeleteTemplate(ctx context.Context, account core.AccountID, id core.TemplateID) error {
	removed := 0
	err := s.write(ctx, "delete a template", 1, func(c conn) (err error) {
		removed, err = c.prepare("DELETE FROM message_templates WHERE id = ? AND account_id = ?").int(int64(id)).int(int64(account)).run()
		return err
	})
	return notFoundUnless(removed > 0, "template", err)
}
