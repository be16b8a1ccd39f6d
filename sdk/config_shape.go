package sdk

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// kind is what a config value may be, in the words that diagnostics use.
type kind string

const (
	kindString   kind = "a string"
	kindSecret   kind = "a secret string"
	kindBool     kind = "true or false"
	kindInt      kind = "an integer"
	kindUint     kind = "a non-negative integer"
	kindFloat    kind = "a number"
	kindDuration kind = `a duration such as "5s"`
	kindList     kind = "a list"
	kindMap      kind = "a map"
	kindObject   kind = "an object"
)

// shape is a Go type as a config sees it. It is derived once, when the plugin starts, and then
// drives the decoder and the JSON Schema alike: the two cannot disagree.
type shape struct {
	kind   kind
	typ    reflect.Type // without a pointer
	elem   *shape       // of a list or a map
	fields []field      // of an object
}

// field is one field of a config struct with what its tags say.
type field struct {
	name     string
	doc      string
	index    []int
	shape    *shape
	pointer  bool
	required bool
	format   string   // of a string or of the strings in a list
	enum     []string // likewise
	def      any      // default as encoding/json would decode it; nil: none
	min, max *bound
}

// bound is a lower or upper bound: of a number, a duration, the length of a string or of a list.
type bound struct {
	text  string
	value float64 // nanoseconds for a duration
}

// shapeOf derives the shape of a config struct. An error is a mistake of the plugin's author.
func shapeOf(t reflect.Type) (*shape, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("config type %s is not a struct", t)
	}
	return deriveShape(t, nil)
}

func deriveShape(t reflect.Type, within []reflect.Type) (*shape, error) {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return &shape{kind: kindDuration, typ: t}, nil
	case reflect.TypeFor[Secret]():
		return &shape{kind: kindSecret, typ: t}, nil
	}
	switch t.Kind() {
	case reflect.String:
		return &shape{kind: kindString, typ: t}, nil
	case reflect.Bool:
		return &shape{kind: kindBool, typ: t}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return &shape{kind: kindInt, typ: t}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &shape{kind: kindUint, typ: t}, nil
	case reflect.Float32, reflect.Float64:
		return &shape{kind: kindFloat, typ: t}, nil
	case reflect.Slice:
		return deriveElem(kindList, t, within)
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return nil, fmt.Errorf("%s: the keys of a map must be strings", t)
		}
		return deriveElem(kindMap, t, within)
	case reflect.Struct:
		return deriveObject(t, within)
	default:
		return nil, fmt.Errorf("type %s is not supported in a config", t)
	}
}

func deriveElem(k kind, t reflect.Type, within []reflect.Type) (*shape, error) {
	elem, err := deriveShape(t.Elem(), within)
	if err != nil {
		return nil, err
	}
	return &shape{kind: k, typ: t, elem: elem}, nil
}

func deriveObject(t reflect.Type, within []reflect.Type) (*shape, error) {
	if slices.Contains(within, t) {
		return nil, fmt.Errorf("%s contains itself", t)
	}
	s := &shape{kind: kindObject, typ: t}
	var errs []error
	for _, sf := range reflect.VisibleFields(t) {
		tag, tagged := sf.Tag.Lookup("cfg")
		if sf.Anonymous && !tagged && sf.Type.Kind() == reflect.Pointer {
			errs = append(errs, fmt.Errorf("field %s: embed the struct itself, not a pointer", sf.Name))
			continue
		}
		// The fields of an embedded struct are visible themselves; a tag makes it an object.
		if !sf.IsExported() || tag == "-" || (sf.Anonymous && !tagged) || belowTagged(t, sf.Index) {
			continue
		}
		f, err := deriveField(sf, tag, append(slices.Clip(within), t))
		if err == nil && s.field(f.name) != nil {
			err = errors.New("the name is taken by another field")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("field %s: %w", sf.Name, err))
			continue
		}
		s.fields = append(s.fields, f)
	}
	return s, errors.Join(errs...)
}

// belowTagged tells whether the field at index was promoted out of an embedded struct that stands
// for itself or is left out: an object of its own or `cfg:"-"`.
func belowTagged(t reflect.Type, index []int) bool {
	for i := 1; i < len(index); i++ {
		outer := t.FieldByIndex(index[:i])
		if _, tagged := outer.Tag.Lookup("cfg"); tagged || outer.Type.Kind() == reflect.Pointer {
			return true
		}
	}
	return false
}

func deriveField(sf reflect.StructField, tag string, within []reflect.Type) (field, error) {
	f := field{name: snakeCase(sf.Name), doc: sf.Tag.Get("doc"), index: sf.Index}
	t := sf.Type
	if t.Kind() == reflect.Pointer {
		f.pointer, t = true, t.Elem()
	}
	var err error
	if f.shape, err = deriveShape(t, within); err != nil {
		return f, err
	}
	name, options, _ := strings.Cut(tag, ",")
	if name != "" {
		f.name = name
	}
	for option := range strings.SplitSeq(options, ",") {
		if err := f.apply(option); err != nil {
			return f, fmt.Errorf("tag %q: %w", tag, err)
		}
	}
	return f, f.checkDefault()
}

// apply reads one option of the tag.
func (f *field) apply(option string) error {
	key, value, _ := strings.Cut(option, "=")
	var err error
	switch key {
	case "":
	case "required":
		f.required = true
	case "format":
		f.format = value
		if _, known := formats[value]; !known || !f.textual() {
			return fmt.Errorf("format %q: want uri, email or hostport on a string", value)
		}
	case "enum":
		f.enum = strings.Split(value, "|")
		if !f.textual() {
			return errors.New("enum is for strings")
		}
	case "default":
		f.def = f.shape.parseDefault(value)
	case "min":
		f.min, err = f.shape.parseBound(value)
	case "max":
		f.max, err = f.shape.parseBound(value)
	default:
		return fmt.Errorf("unknown option %q", key)
	}
	return err
}

// textual tells whether format and enum can apply.
func (f *field) textual() bool {
	return f.shape.kind == kindString || (f.shape.kind == kindList && f.shape.elem.kind == kindString)
}

// parseDefault turns the text of a tag into what encoding/json would have decoded.
func (s *shape) parseDefault(text string) any {
	switch s.kind {
	case kindInt, kindUint, kindFloat:
		return jsonNumber(text)
	case kindBool:
		if b, err := strconv.ParseBool(text); err == nil {
			return b
		}
		return text
	case kindList:
		var list []any
		for part := range strings.SplitSeq(text, "|") {
			list = append(list, s.elem.parseDefault(part))
		}
		return list
	default:
		return text
	}
}

func (s *shape) parseBound(text string) (*bound, error) {
	switch s.kind {
	case kindDuration:
		d, err := time.ParseDuration(text)
		return &bound{text, float64(d)}, err
	case kindInt, kindUint, kindFloat, kindString, kindSecret, kindList, kindMap:
		v, err := strconv.ParseFloat(text, 64)
		return &bound{text, v}, err
	default:
		return nil, fmt.Errorf("min and max do not apply to %s", s.kind)
	}
}

// checkDefault decodes the default like a config, so that a bad one shows when the plugin starts
// and not when somebody leaves the field out.
func (f *field) checkDefault() error {
	if f.def == nil {
		return nil
	}
	if f.required {
		return errors.New("a required field has no default")
	}
	d := decoder{}
	d.field(f, f.def, reflect.New(f.shape.typ).Elem(), nil)
	if len(d.diagnostics) > 0 {
		return fmt.Errorf("default: %s", d.diagnostics[0].GetSummary())
	}
	return nil
}

// field returns the field with that name, or nil.
func (s *shape) field(name string) *field {
	for i := range s.fields {
		if s.fields[i].name == name {
			return &s.fields[i]
		}
	}
	return nil
}

// snakeCase names a field without a name in its tag: BaseURL becomes base_url.
func snakeCase(name string) string {
	runes := []rune(name)
	var b strings.Builder
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 &&
			(!unicode.IsUpper(runes[i-1]) || (i+1 < len(runes) && unicode.IsLower(runes[i+1]))) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
