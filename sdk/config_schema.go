package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// schemaURI is the dialect of the schemas this package writes.
const schemaURI = "https://json-schema.org/draft/2020-12/schema"

// durationPattern is what time.ParseDuration takes. JSON Schema's own format "duration" is ISO
// 8601 and would refuse "5s".
const durationPattern = `^[-+]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`

// schema is a JSON Schema in the order that people want to read.
type schema struct {
	Schema               string     `json:"$schema,omitempty"`
	Title                string     `json:"title,omitempty"`
	Type                 string     `json:"type"`
	Description          string     `json:"description,omitempty"`
	Properties           properties `json:"properties,omitempty"`
	Required             []string   `json:"required,omitempty"`
	AdditionalProperties any        `json:"additionalProperties,omitempty"`
	Items                *schema    `json:"items,omitempty"`
	Format               string     `json:"format,omitempty"`
	Pattern              string     `json:"pattern,omitempty"`
	Enum                 []string   `json:"enum,omitempty"`
	Default              any        `json:"default,omitempty"`
	Minimum              *number    `json:"minimum,omitempty"`
	Maximum              *number    `json:"maximum,omitempty"`
	MinLength            *number    `json:"minLength,omitempty"`
	MaxLength            *number    `json:"maxLength,omitempty"`
	MinItems             *number    `json:"minItems,omitempty"`
	MaxItems             *number    `json:"maxItems,omitempty"`
	MinProperties        *number    `json:"minProperties,omitempty"`
	MaxProperties        *number    `json:"maxProperties,omitempty"`
	Secret               bool       `json:"x-secret,omitempty"`
	Duration             bool       `json:"x-duration,omitempty"`
}

// number keeps a bound as the author wrote it.
type number = json.Number

type property struct {
	name   string
	schema *schema
}

// properties keeps the order of the struct's fields, which a Go map would lose: a form shows them
// in the order their author chose.
type properties []property

// MarshalJSON writes one object.
func (p properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, prop := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(prop.name)
		if err != nil {
			return nil, fmt.Errorf("name of property %q: %w", prop.name, err)
		}
		value, err := json.Marshal(prop.schema)
		if err != nil {
			return nil, fmt.Errorf("property %q: %w", prop.name, err)
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// configSchema writes the JSON Schema 2020-12 of a config.
func configSchema(s *shape, title string) ([]byte, error) {
	root := s.schema()
	root.Schema, root.Title = schemaURI, title
	b, err := json.Marshal(root)
	if err != nil {
		return nil, fmt.Errorf("write the config schema: %w", err)
	}
	return b, nil
}

func (s *shape) schema() *schema {
	switch s.kind {
	case kindBool:
		return &schema{Type: "boolean"}
	case kindInt:
		return &schema{Type: "integer"}
	case kindUint:
		zero := number("0")
		return &schema{Type: "integer", Minimum: &zero}
	case kindFloat:
		return &schema{Type: "number"}
	case kindDuration:
		return &schema{Type: "string", Pattern: durationPattern, Duration: true}
	case kindSecret:
		return &schema{Type: "string", Secret: true}
	case kindList:
		return &schema{Type: "array", Items: s.elem.schema()}
	case kindMap:
		return &schema{Type: "object", AdditionalProperties: s.elem.schema()}
	case kindObject:
		return s.objectSchema()
	default:
		return &schema{Type: "string"}
	}
}

func (s *shape) objectSchema() *schema {
	out := &schema{Type: "object", AdditionalProperties: false}
	for i := range s.fields {
		f := &s.fields[i]
		out.Properties = append(out.Properties, property{f.name, f.schema()})
		if f.required || f.demands() {
			out.Required = append(out.Required, f.name)
		}
	}
	return out
}

// demands tells whether a struct held by value has a required field inside: leaving the whole out
// is then as wrong as leaving that field out.
func (f *field) demands() bool {
	if f.pointer || f.shape.kind != kindObject {
		return false
	}
	for i := range f.shape.fields {
		if f.shape.fields[i].required || f.shape.fields[i].demands() {
			return true
		}
	}
	return false
}

func (f *field) schema() *schema {
	out := f.shape.schema()
	out.Description, out.Default = f.doc, f.def
	if f.shape.kind == kindSecret {
		out.Default = nil
	}
	text := out
	if f.shape.kind == kindList {
		text = out.Items
	}
	text.Format, text.Enum = f.format, f.enum
	f.bounds(out)
	return out
}

// bounds writes min and max under the keyword that fits the type; what is required is not empty. A duration has none: its
// bounds are the decoder's alone.
func (f *field) bounds(out *schema) {
	var low, high **number
	measured := true // by its length
	switch f.shape.kind {
	case kindInt, kindUint, kindFloat:
		low, high, measured = &out.Minimum, &out.Maximum, false
	case kindString, kindSecret:
		low, high = &out.MinLength, &out.MaxLength
	case kindList:
		low, high = &out.MinItems, &out.MaxItems
	case kindMap:
		low, high = &out.MinProperties, &out.MaxProperties
	default:
		return
	}
	if f.required && measured {
		one := number("1")
		*low = &one
	}
	if f.min != nil {
		n := number(f.min.text)
		*low = &n
	}
	if f.max != nil {
		n := number(f.max.text)
		*high = &n
	}
}
