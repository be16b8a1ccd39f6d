package pluginhost

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schema is the JSON Schema of a connector's config. The host does not judge configs by it, the
// plugin's ValidateConfig does; it reads there which fields are secret.
type schema struct{ root any }

// schemas remembers the schemas that were parsed: every process of a version gives the same one, and to judge a schema
// costs more than the rest of a start.
type schemas struct {
	mu     sync.Mutex
	parsed map[[sha256.Size]byte]*schema
}

// maxSchemas bounds how many are remembered; a plugin could give another one each time.
const maxSchemas = 64

// parse is parseSchema.
func (s *schemas) parse(text []byte) (*schema, error) {
	key := sha256.Sum256(text)
	s.mu.Lock()
	known := s.parsed[key]
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	parsed, err := parseSchema(text)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parsed == nil || len(s.parsed) >= maxSchemas {
		s.parsed = map[[sha256.Size]byte]*schema{}
	}
	s.parsed[key] = parsed
	return parsed, nil
}

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

// secrets returns the values of the fields of config that the schema marks with "x-secret".
func (s *schema) secrets(config []byte) []string {
	if s == nil {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(config))
	decoder.UseNumber() // a number is written as its plugin will write it, not as 1.2345678e+07
	var value any
	if decoder.Decode(&value) != nil {
		return nil
	}
	return s.collect(nil, []any{s.root}, value)
}

// collect adds the secrets in a value to which all of nodes apply. It goes down the value, so it ends
// also where the schema refers to itself.
func (s *schema) collect(found []string, nodes []any, value any) []string {
	rules := s.expand(nodes)
	for _, r := range rules {
		if r["x-secret"] == true {
			return texts(found, value)
		}
	}
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			var inner []any
			for _, r := range rules {
				properties, _ := r["properties"].(map[string]any)
				if property, ok := properties[name]; ok {
					inner = append(inner, property)
				} else {
					inner = append(inner, r["additionalProperties"])
				}
			}
			found = s.collect(found, inner, field)
		}
	case []any:
		var inner []any
		for _, r := range rules {
			inner = append(inner, r["items"])
		}
		for _, element := range value {
			found = s.collect(found, inner, element)
		}
	}
	return found
}

// expand lists nodes and all that they refer to for the same value, each once.
func (s *schema) expand(nodes []any) []map[string]any {
	var rules []map[string]any
	seen := map[uintptr]struct{}{}
	for len(nodes) > 0 {
		r, ok := nodes[0].(map[string]any)
		nodes = nodes[1:]
		identity := reflect.ValueOf(r).Pointer()
		if _, known := seen[identity]; !ok || known {
			continue
		}
		seen[identity] = struct{}{}
		rules = append(rules, r)
		if ref, ok := r["$ref"].(string); ok {
			nodes = append(nodes, s.resolve(ref))
		}
		for _, word := range []string{"allOf", "anyOf", "oneOf"} {
			branches, _ := r[word].([]any)
			nodes = append(nodes, branches...)
		}
	}
	return rules
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
	case json.Number:
		return append(found, value.String())
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
