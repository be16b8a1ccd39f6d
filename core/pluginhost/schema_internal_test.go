package pluginhost

import (
	"fmt"
	"slices"
	"testing"
)

func TestSchemaFindsSecrets(t *testing.T) {
	s, err := parseSchema([]byte(`{
		"type": "object",
		"properties": {
			"host": {"type": "string"},
			"password": {"type": "string", "x-secret": true},
			"pin": {"type": "integer", "x-secret": true},
			"tls": {"$ref": "#/$defs/tls"},
			"keys": {"type": "array", "items": {"type": "string", "x-secret": true}},
			"headers": {"type": "object", "additionalProperties": {"type": "string", "x-secret": true}},
			"auth": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/tls"}]},
			"loop": {"$ref": "#"}
		},
		"$defs": {"tls": {"type": "object", "properties": {"key": {"type": "string", "x-secret": true}}}}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	got := s.secrets([]byte(`{
		"host": "example.com", "password": "p1", "pin": 12345678, "tls": {"key": "k1", "other": "o"}, "keys": ["k2", "k3"],
		"headers": {"X-A": "h1"}, "auth": {"key": "k4"}, "loop": {"loop": {"password": "p2"}}, "unknown": "u"
	}`))
	slices.Sort(got)
	if want := []string{"12345678", "h1", "k1", "k2", "k3", "k4", "p1", "p2"}; !slices.Equal(got, want) {
		t.Errorf("secrets: %q, want %q", got, want)
	}
	for _, config := range []string{"", "{", "7", "null", `{"password": null}`} {
		if got := s.secrets([]byte(config)); len(got) != 0 {
			t.Errorf("secrets of %q: %q", config, got)
		}
	}
}

// A schema whose references multiply does not hold the gateway up.
func TestSchemaThatRefersToItself(t *testing.T) {
	s, err := parseSchema([]byte(`{"type": "object", "allOf": [{"$ref": "#/$defs/a"}], "$defs": {
		"a": {"anyOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}]},
		"b": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}], "properties": {"k": {"x-secret": true}}}
	}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.secrets([]byte(`{"k": "v"}`)); !slices.Contains(got, "v") {
		t.Errorf("secrets: %d found, without the one", len(got))
	}
}

// A schema is judged once, and a faulty one each time.
func TestSchemasAreRemembered(t *testing.T) {
	var known schemas
	first, err := known.parse([]byte(`{"type": "object"}`))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := known.parse([]byte(`{"type": "object"}`)); err != nil || again != first {
		t.Errorf("it was parsed again: %v", err)
	}
	for range 2 {
		if _, err := known.parse([]byte("{")); err == nil {
			t.Error("a faulty schema is taken")
		}
	}
	for i := range 3 * maxSchemas {
		if _, err := known.parse(fmt.Appendf(nil, `{"type": "object", "minProperties": %d}`, i)); err != nil || len(known.parsed) > maxSchemas {
			t.Fatalf("%d are remembered: %v", len(known.parsed), err)
		}
	}
}

func TestParseSchemaRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":        "  ",
		"no JSON":        "{",
		"no schema":      `{"type": "object", "minProperties": "many"}`,
		"another type":   `{"type": "string"}`,
		"a boolean":      `true`,
		"a far document": `{"type": "object", "properties": {"a": {"$ref": "https://example.com/schema"}}}`,
	} {
		if _, err := parseSchema([]byte(text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzSchema(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"x-secret":true}}}`, `{"a":"b"}`)
	f.Add(`{"type":"object","$ref":"#"}`, `{"a":[1,{"b":null}]}`)
	f.Fuzz(func(_ *testing.T, text, config string) {
		s, err := parseSchema([]byte(text))
		if err == nil {
			s.secrets([]byte(config)) // must end
		}
	})
}
