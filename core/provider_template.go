package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bounds of the templates of providers that a message or a template names.
const (
	maxProviderTemplates     = 50
	maxProviderTemplateID    = 200  // bytes
	maxProviderParameters    = 50   // of a template
	maxProviderParameterName = 64   // bytes
	MaxProviderParameter     = 1024 // bytes of a parameter's text, before and after it is rendered
)

// CheckProviderTemplates finds what is too much or missing in templates of providers. Fields are JSON pointers, in their order. Whether the
// connectors are there, and whose they are, is not its business.
func CheckProviderTemplates(own map[ConnectorID]ProviderTemplate) []FieldError {
	var wrong []FieldError
	add := func(field, format string, args ...any) {
		wrong = append(wrong, FieldError{Field: field, Reason: fmt.Sprintf(format, args...)})
	}
	if n := len(own); n > maxProviderTemplates {
		add("/provider_templates", "has %d entries; at most %d", n, maxProviderTemplates)
		return wrong
	}
	for _, connector := range slices.Sorted(maps.Keys(own)) {
		t := own[connector]
		field := ProviderTemplateField(connector)
		if t.ID == "" || len(t.ID) > maxProviderTemplateID {
			add(field+"/id", "give the template's id at the provider, at most %d bytes", maxProviderTemplateID)
		}
		if n := len(t.Parameters); n > maxProviderParameters {
			add(field+"/parameters", "has %d entries; at most %d", n, maxProviderParameters)
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(t.Parameters)) {
			switch n := len(t.Parameters[name]); {
			case name == "" || len(name) > maxProviderParameterName:
				add(field+"/parameters", "has a name that is empty or longer than %d bytes", maxProviderParameterName)
			case n > MaxProviderParameter:
				add(ProviderTemplateField(connector, "parameters", name), "is %d bytes long; at most %d", n, MaxProviderParameter)
			}
		}
	}
	return wrong
}

// ProviderTemplateField is the JSON pointer (RFC 6901) to a connector's template in a request, or to a place in it.
func ProviderTemplateField(connector ConnectorID, below ...string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	var field strings.Builder
	field.WriteString("/provider_templates/" + escape.Replace(string(connector)))
	for _, step := range below {
		field.WriteString("/" + escape.Replace(step))
	}
	return field.String()
}
