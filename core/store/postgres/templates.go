package postgres

import (
	"context"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

const templateColumns = "id, account_id, name, channel, subject, content, html, provider_templates, variables, status, revision, created_at, updated_at"

func readTemplate(r *row) core.Template {
	t := core.Template{
		ID: core.TemplateID(r.int()), Account: core.AccountID(r.int()), Name: r.text(), Channel: r.text(),
		Subject: r.text(), Content: r.text(), HTML: r.text(),
	}
	r.json(&t.ProviderTemplates)
	r.json(&t.Variables)
	t.Status, t.Revision = core.TemplateStatus(r.text()), int(r.int())
	t.CreatedAt, t.UpdatedAt = r.time(), r.time()
	return t
}

// CreateTemplate implements store.Templates.
func (s *Store) CreateTemplate(ctx context.Context, t core.Template) (core.Template, error) {
	own, err := toJSON(t.ProviderTemplates, len(t.ProviderTemplates))
	if err != nil {
		return core.Template{}, err
	}
	return s.oneTemplate(ctx, "create a template", t.Name, `INSERT INTO message_templates (account_id, name, channel, subject, content, html,
			variables, status, updated_at, created_at, provider_templates, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1)
		RETURNING `+templateColumns, int64(t.Account), t.Name, t.Channel, t.Subject, t.Content, t.HTML,
		stringsJSON(t.Variables), string(t.Status), at(t.UpdatedAt), at(t.CreatedAt), own)
}

// UpdateTemplate implements store.Templates.
func (s *Store) UpdateTemplate(ctx context.Context, t core.Template) (core.Template, error) {
	own, err := toJSON(t.ProviderTemplates, len(t.ProviderTemplates))
	if err != nil {
		return core.Template{}, err
	}
	return s.oneTemplate(ctx, "update a template", t.Name, `UPDATE message_templates SET name = $1, channel = $2, subject = $3, content = $4,
			html = $5, variables = $6, status = $7, updated_at = $8, provider_templates = $11, revision = revision + 1 WHERE id = $9 AND account_id = $10
		RETURNING `+templateColumns, t.Name, t.Channel, t.Subject, t.Content, t.HTML, stringsJSON(t.Variables), string(t.Status),
		at(t.UpdatedAt), int64(t.ID), int64(t.Account), own)
}

// Template implements store.Templates.
func (s *Store) Template(ctx context.Context, account core.AccountID, id core.TemplateID) (core.Template, error) {
	return s.oneTemplate(ctx, "read a template", "", "SELECT "+templateColumns+" FROM message_templates WHERE id = $1 AND account_id = $2",
		int64(id), int64(account))
}

// oneTemplate runs a statement that returns the template. A name that is taken, and a template that is not there,
// are refused.
func (s *Store) oneTemplate(ctx context.Context, what, name, sql string, args ...any) (core.Template, error) {
	var t core.Template
	found, err := first(ctx, s.pool, func(r *row) { t = readTemplate(r) }, sql, args...)
	if isCode(err, codeUniqueViolation) {
		return core.Template{}, &core.Error{
			Kind: core.KindConflict, Code: core.CodeTemplateNameTaken,
			Message: "a template named " + name + " exists; choose another name or change that one",
		}
	}
	return t, notFoundUnless(found, "template", explain(what, err))
}

// ListTemplates implements store.Templates.
func (s *Store) ListTemplates(ctx context.Context, account core.AccountID, f store.TemplateFilter) ([]core.Template, error) {
	var templates []core.Template
	err := each(ctx, s.pool, func(r *row) error {
		templates = append(templates, readTemplate(r))
		return nil
	}, `SELECT `+templateColumns+` FROM message_templates WHERE account_id = $1
		AND ($2::text IS NULL OR channel = $2) AND ($3::text IS NULL OR status = $3) AND ($4::bigint IS NULL OR id < $4)
		ORDER BY id DESC LIMIT $5`,
		int64(account), orNull(f.Channel), orNull(string(f.Status)), orNull(int64(f.Before)), f.Limit)
	return templates, explain("list templates", err)
}

// DeleteTemplate implements store.Templates.
func (s *Store) DeleteTemplate(ctx context.Context, account core.AccountID, id core.TemplateID) error {
	n, err := exec(ctx, s.pool, "DELETE FROM message_templates WHERE id = $1 AND account_id = $2", int64(id), int64(account))
	return notFoundUnless(n > 0, "template", explain("delete a template", err))
}
