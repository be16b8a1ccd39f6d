package api

import (
	"fmt"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// ListTemplates lists templates of the account.
func (s *server) ListTemplates(c *gin.Context, params ListTemplatesParams) {
	filter, p, err := templateFilter(c, params)
	if err != nil {
		s.fail(c, err)
		return
	}
	templates, err := s.o.Templates.ListTemplates(c.Request.Context(), accountOf(c), filter)
	if err != nil {
		s.fail(c, fmt.Errorf("list templates: %w", err))
		return
	}
	templates, next := cut(p, templates, func(t core.Template) int64 { return int64(t.ID) })
	list := TemplateList{Items: make([]Template, len(templates)), NextCursor: next}
	for i, t := range templates {
		list.Items[i] = templateOf(t)
	}
	s.ok(c, "templates", list)
}

func templateFilter(c *gin.Context, params ListTemplatesParams) (store.TemplateFilter, page, error) {
	if err := knownQuery[ListTemplatesParams](c); err != nil {
		return store.TemplateFilter{}, page{}, err
	}
	p, err := pageOf(params.Limit, params.Cursor)
	if err != nil {
		return store.TemplateFilter{}, page{}, err
	}
	status := core.TemplateStatus(params.Status)
	if status != "" && !validTemplateStatus(status) {
		return store.TemplateFilter{}, page{}, problems{{Field: "status", Reason: templateStatusRule}}.err()
	}
	return store.TemplateFilter{
		Channel: params.Channel, Status: status, Before: core.TemplateID(p.before), Limit: p.limit + 1,
	}, p, nil
}

// CreateTemplate saves a new template.
func (s *server) CreateTemplate(c *gin.Context, _ CreateTemplateParams) {
	t, raw, err := s.templateBody(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.create(c, raw, func() (path, message string, data any, err error) {
		created, err := s.o.Templates.CreateTemplate(c.Request.Context(), t)
		if err != nil {
			return "", "", nil, noTemplate(err)
		}
		path = "/api/messages/templates/" + strconv.FormatInt(int64(created.ID), 10)
		return path, "the template is created", templateOf(created), nil
	})
}

// GetTemplate tells of one template.
func (s *server) GetTemplate(c *gin.Context, id TemplateId) {
	t, err := s.o.Templates.Template(c.Request.Context(), accountOf(c), core.TemplateID(id))
	if err != nil {
		s.fail(c, noTemplate(err))
		return
	}
	s.ok(c, "the template", templateOf(t))
}

// ReplaceTemplate puts another template in the place of one.
func (s *server) ReplaceTemplate(c *gin.Context, id TemplateId) {
	t, _, err := s.templateBody(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	t.ID = core.TemplateID(id)
	t, err = s.o.Templates.UpdateTemplate(c.Request.Context(), t)
	if err != nil {
		s.fail(c, noTemplate(err))
		return
	}
	s.ok(c, "the template is replaced", templateOf(t))
}

// DeleteTemplate removes a template.
func (s *server) DeleteTemplate(c *gin.Context, id TemplateId) {
	if err := s.o.Templates.DeleteTemplate(c.Request.Context(), accountOf(c), core.TemplateID(id)); err != nil {
		s.fail(c, noTemplate(err))
		return
	}
	s.ok(c, "the template is deleted", DeletedResult{Id: id})
}

// PreviewTemplate renders a template.
func (s *server) PreviewTemplate(c *gin.Context, id TemplateId) {
	body, _, err := bodyOf[PreviewRequest](c, maxBody)
	if err != nil {
		s.fail(c, err)
		return
	}
	t, err := s.o.Templates.Template(c.Request.Context(), accountOf(c), core.TemplateID(id))
	if err != nil {
		s.fail(c, noTemplate(err))
		return
	}
	rendered, err := preview(t, body.Variables)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.ok(c, "the preview", rendered)
}

// noTemplate gives a store's error the code of templates.
func noTemplate(err error) error {
	err = conflict(err, core.CodeTemplateNameTaken)
	return absent(err, core.CodeTemplateNotFound, "template")
}

// templateBody reads a template of the caller's account from the body and checks it.
func (s *server) templateBody(c *gin.Context) (core.Template, []byte, error) {
	body, raw, err := bodyOf[TemplateRequest](c, maxBody)
	if err != nil {
		return core.Template{}, nil, err
	}
	now := s.o.Now()
	t := core.Template{
		Account: accountOf(c), Name: body.Name, Channel: body.Channel, Subject: body.Subject, Content: body.Content,
		HTML: body.Html, ProviderTemplates: providerTemplates(body.ProviderTemplates), Status: core.TemplateStatus(body.Status), CreatedAt: now, UpdatedAt: now,
	}
	if t.Status == "" {
		t.Status = core.TemplateActive
	}
	t.Variables, err = checkTemplate(t, body.Variables)
	return t, raw, err
}

func templateOf(t core.Template) Template {
	return Template{
		Id: int64(t.ID), Name: t.Name, Channel: t.Channel, Subject: t.Subject, Content: t.Content, Html: t.HTML,
		ProviderTemplates: providerTemplatesOf(t.ProviderTemplates),
		Variables:         append([]string{}, t.Variables...), Status: TemplateStatus(t.Status), Revision: t.Revision,
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt,
	}
}
