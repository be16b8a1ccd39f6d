// Package template turns a text with {{variables}} into what a recipient reads. It is logic-less on
// purpose: tenants write templates, so there is nothing in one that could loop, call or include.
//
//	Hello {{name}}, your code is {{ code }}.
//
// A name is a letter or '_', then letters, digits, '_', '.' and '-'. Spaces and tabs around it mean
// nothing. "{{{{" writes two opening braces that mean themselves; closing braces outside a variable
// need no such care, so "{{{{name}}" reads "{{name}}". The text itself is never escaped, the values are,
// by the Escape that fits the place.
package template

import (
	"fmt"
	"slices"
	"strings"
)

// MaxOutput is how many bytes a rendered text may have where the caller gives no limit of its own.
const MaxOutput = 100 << 10

// Template is a parsed text. It never changes, so any number of goroutines may render it.
type Template struct {
	parts []part
	tail  string   // the text after the last variable
	names []string // in order of first use
	text  int      // bytes of all text around the variables
}

// part is a piece of text and the variable that follows it.
type part struct {
	text string
	name int // index in names
}

// Variables returns the names that the text uses, each once, in order of first use.
func (t *Template) Variables() []string { return slices.Clone(t.names) }

// Undeclared returns the names that the text uses and declared lacks, in order of first use.
func (t *Template) Undeclared(declared []string) []string {
	return without(t.names, declared)
}

// Unused returns the declared names that the text does not use, in the order declared. A template of
// several texts is unused only where each of its texts says so.
func (t *Template) Unused(declared []string) []string {
	return without(declared, t.names)
}

// without returns the names that others lacks.
func without(names, others []string) []string {
	known := make(map[string]bool, len(others))
	for _, name := range others {
		known[name] = true
	}
	var left []string
	for _, name := range names {
		if !known[name] {
			left = append(left, name)
		}
	}
	return left
}

// MissingError says which variables a text uses and the caller did not give.
type MissingError struct {
	Names []string // all of them, in order of first use
}

// Error names every missing variable.
func (e *MissingError) Error() string {
	return "missing variables: " + strings.Join(e.Names, ", ") + "; give each a value, which may be empty"
}

// SizeError says that a rendered text would be too long.
type SizeError struct {
	Size, Limit int // bytes
}

// Error names both sizes.
func (e *SizeError) Error() string {
	return fmt.Sprintf("the rendered text has %d bytes, the limit is %d; shorten the template or its variables",
		e.Size, e.Limit)
}

// stackValues is how many variables are rendered without a slice of their own.
const stackValues = 16

// Render puts escaped values in the place of their variables. A nil escape is Plain; a limit of 0 is
// MaxOutput bytes. Variables that the text does not use are ignored. It returns a *MissingError or a
// *SizeError, and builds nothing then.
func (t *Template) Render(vars map[string]string, escape Escape, limit int) (string, error) {
	var buf [stackValues]string
	values := buf[:0]
	for _, name := range t.names {
		value, ok := vars[name]
		if !ok {
			return "", t.missing(vars)
		}
		if escape != nil {
			value = escape(value)
		}
		values = append(values, value)
	}
	if limit <= 0 {
		limit = MaxOutput
	}
	size := t.size(values)
	if size > limit {
		return "", &SizeError{Size: size, Limit: limit}
	}
	if len(t.parts) == 0 {
		return t.tail, nil
	}
	return t.join(values, size), nil
}

// missing lists what vars lacks.
func (t *Template) missing(vars map[string]string) *MissingError {
	e := &MissingError{}
	for _, name := range t.names {
		if _, ok := vars[name]; !ok {
			e.Names = append(e.Names, name)
		}
	}
	return e
}

// size is the length of the rendered text.
func (t *Template) size(values []string) int {
	size := t.text
	for _, p := range t.parts {
		size += len(values[p.name])
	}
	return size
}

// join writes the rendered text of the given size.
func (t *Template) join(values []string, size int) string {
	var b strings.Builder
	b.Grow(size)
	for _, p := range t.parts {
		b.WriteString(p.text)
		b.WriteString(values[p.name])
	}
	b.WriteString(t.tail)
	return b.String()
}
