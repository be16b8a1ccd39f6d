package template_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/pigeonry/pigeonry/core/template"
)

func TestParseErrors(t *testing.T) {
	tests := []struct {
		about, text  string
		line, column int
		reason       string // a part of it
	}{
		{"never closed", "Hi {{name", 1, 4, "never closed"},
		{"one brace at the end", "Hi {{name}", 1, 4, "{{{{"},
		{"no name", "Hi {{ }}", 1, 4, "{{name}}"},
		{"a digit first", "{{1st}}", 1, 3, "a letter or '_'"},
		{"two words", "{{first name}}", 1, 8, "cannot stand here"},
		{"on the second line", "first\n  {{a b}}", 2, 6, "cannot stand here"},
		{"columns are characters", "您好{{é}}", 1, 5, "'é'"},
		{"a line break in a name", "{{a\nb}}", 1, 4, `'\n'`},
		{"a section", "{{#if}}", 1, 3, "no logic"},
		{"an include", "{{> footer}}", 1, 3, "no logic"},
		{"a Go template", "{{.Name}}", 1, 3, "without it"},
		{"a filter", "{{ name | upper }}", 1, 8, "no filters"},
		{"a filter without spaces", "{{name|upper}}", 1, 7, "no filters"},
		{"three braces", "{{{name}}}", 1, 3, "third brace"},
		{"a variable in another", "{{a{{b}}}}", 1, 4, "cannot stand here"},
		{"NUL", "a\x00b", 1, 2, "NUL"},
		{"not UTF-8", "ab\n\xffc", 2, 1, "UTF-8"},
		{"too long", strings.Repeat("x", template.MaxText+1), 1, template.MaxText + 1, "the limit is 102400"},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			_, err := template.Parse(test.text)
			syntax, ok := errors.AsType[*template.SyntaxError](err)
			if !ok {
				t.Fatalf("Parse: %v; want a SyntaxError", err)
			}
			if syntax.Line != test.line || syntax.Column != test.column || !strings.Contains(syntax.Reason, test.reason) {
				t.Errorf("Parse: %v; want line %d, column %d and %q", err, test.line, test.column, test.reason)
			}
		})
	}
}

func TestParseTakesTheReplacementCharacter(t *testing.T) {
	mustParse(t, "a \uFFFD that somebody wrote")
}

func TestValidName(t *testing.T) {
	tests := map[string]bool{
		"name": true, "_": true, "order.no": true, "A-1": true,
		"": false, "1a": false, ".a": false, "-a": false, "a b": false, "名": false, "a}": false,
	}
	for name, want := range tests {
		if got := template.ValidName(name); got != want {
			t.Errorf("ValidName(%q) = %t, want %t", name, got, want)
		}
	}
}

// FuzzTemplate holds the parser and the renderer to what their documentation promises.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"", "Hello {{name}}, {{ code }}", "{{{{x}} {{x}}", "{{", "}}", "{{}}", "{{a b}}", "{{{a}}}", "{{#a}}",
		"{{{{{{a}}", "a\x00", "\xff{{a}}", "您好{{é}}", `{"a":{"b":{{c}}}}`, "{{a\n}}",
	} {
		f.Add(seed, "value\r\n<b>")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		parsed, err := template.Parse(text)
		if err != nil {
			faultInside(t, text, err)
		} else {
			rendersAsPromised(t, parsed, value)
		}
		if utf8.ValidString(text) && !strings.ContainsRune(text, 0) && len(text) < template.MaxText/2 {
			meansItself(t, text)
		}
	})
}

// faultInside fails unless the error points into the text, or just behind it.
func faultInside(t *testing.T, text string, err error) {
	t.Helper()
	syntax, ok := errors.AsType[*template.SyntaxError](err)
	if !ok || syntax.Reason == "" {
		t.Fatalf("Parse(%q): %v", text, err)
	}
	lines := strings.Split(text, "\n")
	if syntax.Line < 1 || syntax.Line > len(lines) {
		t.Fatalf("Parse(%q): %v: no such line", text, err)
	}
	if n := utf8.RuneCountInString(lines[syntax.Line-1]); syntax.Column < 1 || syntax.Column > n+1 {
		t.Fatalf("Parse(%q): %v: no such column", text, err)
	}
}

// rendersAsPromised fails unless a parsed text needs exactly its variables and escapes every value.
func rendersAsPromised(t *testing.T, parsed *template.Template, value string) {
	t.Helper()
	names := parsed.Variables()
	_, err := parsed.Render(nil, nil, 0)
	missing, ok := errors.AsType[*template.MissingError](err)
	if ok != (len(names) > 0) || ok && !slices.Equal(missing.Names, names) {
		t.Fatalf("without variables: %v; variables are %q", err, names)
	}
	vars := map[string]string{}
	for _, name := range names {
		if !template.ValidName(name) {
			t.Fatalf("parsed a name %q", name)
		}
		vars[name] = ""
	}
	bare, err := parsed.Render(vars, nil, 0)
	if err != nil {
		t.Fatalf("with all variables: %v", err)
	}
	for name := range maps.Keys(vars) {
		vars[name] = value
	}
	controls := func(s string) int { return strings.Count(s, "\r") + strings.Count(s, "\n") + strings.Count(s, "\x00") }
	if out, err := parsed.Render(vars, template.Header, 0); err == nil && controls(out) != controls(bare) {
		t.Fatalf("a value brought a control character into a header: %q", out)
	}
	if out, err := parsed.Render(vars, template.HTML, 0); err == nil && strings.Count(out, "<") != strings.Count(bare, "<") {
		t.Fatalf("a value brought an element into HTML: %q", out)
	}
	if strings.IndexFunc(template.Header(value), unicode.IsControl) >= 0 {
		t.Fatalf("Header left a control character in %q", value)
	}
}

// meansItself fails unless a text with doubled braces renders to the text.
func meansItself(t *testing.T, text string) {
	t.Helper()
	parsed, err := template.Parse(strings.ReplaceAll(text, "{{", "{{{{"))
	if err != nil {
		t.Fatalf("escaped text: %v", err)
	}
	if got, err := parsed.Render(nil, nil, 2*template.MaxText); err != nil || got != text {
		t.Fatalf("escaped text renders to %q, %v; want %q", got, err, text)
	}
}
