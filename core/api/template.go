package api

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/template"
)

const (
	maxTemplateName      = 100
	maxTemplateVariables = 100
	templateStatusRule   = "is no status of a template; give active or disabled"
	channelSMS           = "sms"
)

// channelName is what a plugin may call a channel.
var channelName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

func validTemplateStatus(s core.TemplateStatus) bool {
	return s == core.TemplateActive || s == core.TemplateDisabled
}

// checkTemplate finds all that is wrong with a template and returns the names of its variables: those
// declared, or where nothing is declared those that the texts use.
func checkTemplate(t core.Template, declared *[]string) ([]string, error) {
	var wrong problems
	switch n := utf8.RuneCountInString(t.Name); {
	case strings.TrimSpace(t.Name) == "":
		wrong.add("/name", "is missing")
	case n > maxTemplateName || strings.ContainsFunc(t.Name, unicode.IsControl):
		wrong.add("/name", fmt.Sprintf("give at most %d characters without line breaks", maxTemplateName))
	}
	switch {
	case t.Channel == "":
		wrong.add("/channel", "is missing; give the channel that the template is for, such as email")
	case !channelName.MatchString(t.Channel):
		wrong.add("/channel", "is no name of a channel; those begin with a small letter and have letters, digits, - and _")
	}
	if !validTemplateStatus(t.Status) {
		wrong.add("/status", templateStatusRule)
	}
	if t.Content == "" && t.HTML == "" && len(t.ProviderTemplates) == 0 {
		wrong.add("/content", "is missing; give content, html, or both")
	}
	checkProviderTemplates(t, &wrong)
	used := checkTexts(t, declared, &wrong)
	if declared == nil {
		return used, wrong.err()
	}
	checkDeclared(*declared, &wrong)
	return *declared, wrong.err()
}

// checkTexts parses the texts and returns the names they use, in order of first use.
func checkTexts(t core.Template, declared *[]string, wrong *problems) []string {
	var used []string
	seen := map[string]bool{}
	for _, text := range textsOf(t) {
		parsed, err := template.Parse(text.source)
		if err != nil {
			wrong.add(text.field, err.Error())
			continue
		}
		if declared != nil {
			for _, name := range parsed.Undeclared(*declared) {
				wrong.add(text.field, fmt.Sprintf("uses {{%s}}, which variables does not declare; add it there", name))
			}
		}
		for _, name := range parsed.Variables() {
			if !seen[name] {
				seen[name] = true
				used = append(used, name)
			}
		}
	}
	return used
}

func checkDeclared(names []string, wrong *problems) {
	if len(names) > maxTemplateVariables {
		wrong.add("/variables", fmt.Sprintf("has %d names; at most %d", len(names), maxTemplateVariables))
		return
	}
	seen := map[string]bool{}
	for i, name := range names {
		field := pointer("variables", strconv.Itoa(i))
		switch {
		case !template.ValidName(name):
			wrong.add(field, "is no name; a name is a letter or _, then letters, digits, _, . and -")
		case seen[name]:
			wrong.add(field, "is declared twice; leave one out")
		}
		seen[name] = true
	}
}

// text is one part of a template and what makes values harmless in it.
type text struct {
	field  string
	source string
	escape template.Escape
}

// textsOf are the subject, the content, the HTML, and then the parameters of the providers' templates.
func textsOf(t core.Template) []text {
	texts := []text{
		{"/subject", t.Subject, template.Header},
		{"/content", t.Content, template.Plain},
		{"/html", t.HTML, template.HTML},
	}
	for _, connector := range slices.Sorted(maps.Keys(t.ProviderTemplates)) {
		own := t.ProviderTemplates[connector]
		for _, name := range slices.Sorted(maps.Keys(own.Parameters)) {
			field := core.ProviderTemplateField(connector, "parameters", name)
			texts = append(texts, text{field, own.Parameters[name], template.Plain})
		}
	}
	return texts
}

// checkProviderTemplates checks what names the templates of providers. A connector may be configured later.
func checkProviderTemplates(t core.Template, wrong *problems) {
	*wrong = append(*wrong, core.CheckProviderTemplates(t.ProviderTemplates)...)
	for connector := range t.ProviderTemplates {
		if connector != core.AnyConnector && connector.Channel() != t.Channel {
			wrong.add(core.ProviderTemplateField(connector), fmt.Sprintf("is no connector of the channel; give %s/<name>, or * for all", t.Channel))
		}
	}
}

// preview renders a template as sending it would.
func preview(t core.Template, variables Variables) (Preview, error) {
	var wrong problems
	texts := textsOf(t)
	rendered := make([]string, len(texts))
	missing := map[string]bool{}
	for i, text := range texts {
		parsed, err := template.Parse(text.source)
		if err == nil {
			rendered[i], err = parsed.Render(variables, text.escape, template.MaxOutput)
		}
		addRenderError(err, text.field, missing, &wrong)
	}
	if err := wrong.err(); err != nil {
		return Preview{}, err
	}
	p := Preview{
		Subject: template.Header(rendered[0]), Content: rendered[1], Html: rendered[2],
		ProviderTemplates: previewOwn(t.ProviderTemplates, rendered[3:]),
	}
	if t.Channel == channelSMS {
		n := template.Segments(p.Content)
		p.Segments = Segments{Encoding: SegmentsEncoding(n.Encoding), Units: n.Units, Segments: n.Segments}
	}
	return p, nil
}

// previewOwn puts the rendered parameters into their places, in the order of textsOf.
func previewOwn(own map[core.ConnectorID]core.ProviderTemplate, rendered []string) ProviderTemplates {
	told := providerTemplatesOf(own)
	for _, connector := range slices.Sorted(maps.Keys(told)) {
		parameters := make(TextMap, len(told[connector].Parameters))
		for _, name := range slices.Sorted(maps.Keys(told[connector].Parameters)) {
			parameters[name], rendered = rendered[0], rendered[1:]
		}
		told[connector] = ProviderTemplate{Id: told[connector].Id, Parameters: parameters}
	}
	return told
}

// addRenderError names each missing variable once, however many texts use it.
func addRenderError(err error, field string, missing map[string]bool, wrong *problems) {
	if err == nil {
		return
	}
	m, ok := errors.AsType[*template.MissingError](err)
	if !ok {
		wrong.add(field, err.Error())
		return
	}
	for _, name := range m.Names {
		if !missing[name] {
			wrong.add(pointer("variables", name), fmt.Sprintf("missing; the text uses {{%s}}", name))
		}
		missing[name] = true
	}
}
