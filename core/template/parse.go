package template

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxText is how many bytes the text of a template may have.
const MaxText = 100 << 10

// SyntaxError says where a text is not a template, why, and how to mend it.
type SyntaxError struct {
	Line   int // from 1
	Column int // from 1, in characters
	Reason string
}

// Error names the place and the reason.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Reason)
}

const (
	opening = "{{"
	closing = "}}"
	escaped = "{{{{" // stands for opening
)

// nameRule is what error messages say of names.
const nameRule = "a name is a letter or '_', then letters, digits, '_', '.' and '-'"

// Parse reads a text of at most MaxText bytes. Its error is a *SyntaxError about the first fault.
func Parse(text string) (*Template, error) {
	if err := check(text); err != nil {
		return nil, err
	}
	p := parser{text: text, index: map[string]int{}, t: &Template{}}
	for {
		i := strings.Index(p.text[p.at:], opening)
		if i < 0 {
			p.literal.WriteString(p.text[p.at:])
			return p.finish(), nil
		}
		p.literal.WriteString(p.text[p.at : p.at+i])
		p.at += i
		if strings.HasPrefix(p.text[p.at:], escaped) {
			p.literal.WriteString(opening)
			p.at += len(escaped)
			continue
		}
		if err := p.variable(); err != nil {
			return nil, err
		}
	}
}

// ValidName says whether a variable may have the name.
func ValidName(name string) bool {
	return name != "" && nameLength(name) == len(name)
}

// check refuses what no store and no provider would take.
func check(text string) error {
	if len(text) > MaxText {
		return syntaxError(text, MaxText, "the text has %d bytes, the limit is %d; shorten it", len(text), MaxText)
	}
	for i, r := range text {
		if r == 0 {
			return syntaxError(text, i, "a NUL character; remove it")
		}
		if r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)) {
			return syntaxError(text, i, "a byte that is not UTF-8; save the text as UTF-8")
		}
	}
	return nil
}

// parser reads a text from left to right.
type parser struct {
	text    string
	at      int             // bytes read
	literal strings.Builder // text since the last variable
	index   map[string]int  // of each name in t.names
	t       *Template
}

// variable reads "{{name}}", at which the parser stands.
func (p *parser) variable() error {
	body, _, closed := strings.Cut(p.text[p.at+len(opening):], closing)
	if !closed {
		return syntaxError(p.text, p.at, "%s is never closed; add %s, or write %s for two braces that mean themselves",
			opening, closing, escaped)
	}
	start := p.at + len(opening)
	name := strings.Trim(body, " \t")
	if name == "" {
		return syntaxError(p.text, p.at, "no name between %s and %s; write {{name}}", opening, closing)
	}
	if n := nameLength(name); n < len(name) {
		at := start + strings.Index(body, name) + n
		return syntaxError(p.text, at, "%s", nameFault(name[n:], n == 0))
	}
	p.add(name)
	p.at = start + len(body) + len(closing)
	return nil
}

// add ends the text before a variable and notes the variable.
func (p *parser) add(name string) {
	i, known := p.index[name]
	if !known {
		i = len(p.t.names)
		p.index[name] = i
		p.t.names = append(p.t.names, name)
	}
	p.t.parts = append(p.t.parts, part{text: p.cut(), name: i})
}

// finish returns the template.
func (p *parser) finish() *Template {
	p.t.tail = p.cut()
	return p.t
}

// cut takes the text read since the last variable.
func (p *parser) cut() string {
	text := p.literal.String()
	p.literal.Reset()
	p.t.text += len(text)
	return text
}

// nameLength is how many bytes of s a name can have from its beginning.
func nameLength(s string) int {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		inner := c == '.' || c == '-' || '0' <= c && c <= '9'
		if !letter && (i == 0 || !inner) {
			return i
		}
	}
	return len(s)
}

// nameFault says why rest, the part of a name from its first wrong character on, is wrong. What other
// template languages write gets its own remedy.
func nameFault(rest string, first bool) string {
	switch r, _ := utf8.DecodeRuneInString(rest); {
	case first && strings.ContainsRune("#/^>!&%", r):
		return fmt.Sprintf("%q begins a section, an include or a comment, and templates have no logic; "+
			"send what differs as a variable", r)
	case first && r == '{':
		return "a third brace; write {{name}}: values are escaped as the channel needs, and " +
			escaped + " writes two braces that mean themselves"
	case first && r == '.':
		return "'.' before a name; write {{name}} without it"
	case strings.HasPrefix(strings.TrimLeft(rest, " \t"), "|") || r == '(':
		return "there are no filters or functions; send the finished value"
	default:
		return fmt.Sprintf("%q cannot stand here; %s", r, nameRule)
	}
}

// syntaxError makes the error for a place, given in bytes.
func syntaxError(text string, at int, format string, args ...any) *SyntaxError {
	before := text[:at]
	line := before[strings.LastIndexByte(before, '\n')+1:]
	return &SyntaxError{
		Line:   strings.Count(before, "\n") + 1,
		Column: utf8.RuneCountInString(line) + 1,
		Reason: fmt.Sprintf(format, args...),
	}
}
