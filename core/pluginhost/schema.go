package pluginhost

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schema is the JSON Schema of a connector's config. The host does not judge configs by it, the
// plugin's ValidateConfig does; it reads there which fields are secret.
type schema struct{ root any }

// noLoader refuses references to other documents: a schema must stand by itself.
type noLoader struct{}

// Load always fails.
func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("reference to %s: a config schema must hold all it refers to", url)
}

// parseSchema checks that text is a JSON Schema 2020-12 of an object.
func parseSchema(text []byte) (*schema, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("it is empty")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	const name = "config.json"
	if err := c.AddResource(name, doc); err != nil {
		return nil, fmt.Errorf("it is not a schema: %w", err)
	}
	if _, err := c.Compile(name); err != nil {
		return nil, fmt.Errorf("it is not a schema: %w", err)
	}
	root, ok := doc.(map[string]any)
	if !ok || root["type"] != "object" {
		return nil, errors.New(`its type is not "object"`)
	}
	return &schema{root: root}, nil
}

// maxSchemaDepth ends the search in schemas that refer to themselves.
const maxSchemaDepth = 32

// secrets returns the values of the fields of config that the schema marks with "x-secret".
func (s *schema) secrets(config []byte) []string {
	var value any
	if s == nil || json.Unmarshal(config, &value) != nil {
		return nil
	}
	return s.collect(nil, s.root, value, maxSchemaDepth)
}

func (s *schema) collect(found []string, node, value any, depth int) []string {
	rules, ok := node.(map[string]any)
	if !ok || depth == 0 {
		return found
	}
	if rules["x-secret"] == true {
		return texts(found, value)
	}
	if ref, ok := rules["$ref"].(string); ok {
		found = s.collect(found, s.resolve(ref), value, depth-1)
	}
	for _, word := range []string{"allOf", "anyOf", "oneOf"} {
		if branches, ok := rules[word].([]any); ok {
			for _, branch := range branches {
				found = s.collect(found, branch, value, depth-1)
			}
		}
	}
	switch value := value.(type) {
	case map[string]any:
		properties, _ := rules["properties"].(map[string]any)
		for name, field := range value {
			if property, ok := properties[name]; ok {
				found = s.collect(found, property, field, depth-1)
			} else {
				found = s.collect(found, rules["additionalProperties"], field, depth-1)
			}
		}
	case []any:
		for _, element := range value {
			found = s.collect(found, rules["items"], element, depth-1)
		}
	}
	return found
}

// resolve follows a reference within the schema, e.g. "#/$defs/tls".
func (s *schema) resolve(ref string) any {
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return s.root
	}
	node := s.root
	for step := range strings.SplitSeq(path, "/") {
		fields, ok := node.(map[string]any)
		if !ok {
			return nil
		}
		node = fields[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]
	}
	return node
}

// texts returns every string and number in value.
func texts(found []string, value any) []string {
	switch value := value.(type) {
	case string:
		return append(found, value)
	case float64:
		return append(found, strings.TrimSpace(fmt.Sprint(value)))
	case map[string]any:
		for _, field := range value {
			found = texts(found, field)
		}
	case []any:
		for _, element := range value {
			found = texts(found, element)
		}
	}
	return found
}
