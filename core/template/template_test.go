package template_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core/template"
)

func mustParse(tb testing.TB, text string) *template.Template {
	tb.Helper()
	parsed, err := template.Parse(text)
	if err != nil {
		tb.Fatalf("Parse(%q): %v", text, err)
	}
	return parsed
}

func TestRender(t *testing.T) {
	vars := map[string]string{
		"name": "Ann", "code": "042", "order.no": "A-7", "_x-1": "under", "empty": "", "html": `<b>"&'</b>`,
		"tag": "{{name}}", "lines": "a\r\n\r\nBcc: b",
	}
	tests := []struct {
		about, text string
		escape      template.Escape
		want        string
	}{
		{"text alone", "no variables", nil, "no variables"},
		{"nothing", "", nil, ""},
		{"a variable alone", "{{name}}", nil, "Ann"},
		{"spaces and tabs around a name", "Hi {{ name }}{{\tcode\t}}!", nil, "Hi Ann042!"},
		{"every kind of name", "{{order.no}} {{_x-1}}", nil, "A-7 under"},
		{"one variable twice", "{{name}}, {{name}}", nil, "Ann, Ann"},
		{"an empty value is a value", "[{{empty}}]", nil, "[]"},
		{"a value is never parsed", "{{tag}}", nil, "{{name}}"},
		{"four braces are two that mean themselves", "{{{{name}} is {{name}}", nil, "{{name}} is Ann"},
		{"six braces are two and a variable", "{{{{{{name}}", nil, "{{Ann"},
		{"JSON around a variable", `{"a":{"b":"{{name}}"}}`, nil, `{"a":{"b":"Ann"}}`},
		{"a variable before a brace", `{"n":{{code}}}`, nil, `{"n":042}`},
		{"one brace means itself", "{name} }", nil, "{name} }"},
		{"other scripts", "您好，{{name}}：😀", nil, "您好，Ann：😀"},
		{"plain", "{{html}}", template.Plain, `<b>"&'</b>`},
		{"HTML escapes values and not the text", "<p>{{html}}</p>", template.HTML, "<p>&lt;b&gt;&#34;&amp;&#39;&lt;/b&gt;</p>"},
		{"a header stays on one line", "Hi {{lines}}", template.Header, "Hi a Bcc: b"},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			got, err := mustParse(t, test.text).Render(vars, test.escape, 0)
			if err != nil || got != test.want {
				t.Errorf("Render(%q) = %q, %v; want %q", test.text, got, err, test.want)
			}
		})
	}
}

func TestRenderNamesEveryMissingVariable(t *testing.T) {
	parsed := mustParse(t, "{{a}} {{b}} {{c}} {{a}}")
	_, err := parsed.Render(map[string]string{"b": "", "A": "another name"}, nil, 0)
	missing, ok := errors.AsType[*template.MissingError](err)
	if !ok || !slices.Equal(missing.Names, []string{"a", "c"}) {
		t.Fatalf("Render: %v; want a MissingError with a and c", err)
	}
	if !strings.Contains(err.Error(), "a, c") {
		t.Errorf("message %q does not name the variables", err)
	}
}

func TestRenderLimit(t *testing.T) {
	parsed := mustParse(t, "1234{{v}}{{v}}")
	vars := map[string]string{"v": "<56"}
	tests := []struct {
		escape template.Escape
		limit  int
		size   int // 0: rendered
	}{
		{template.Plain, 10, 0},
		{template.Plain, 9, 10},
		{template.HTML, 16, 0}, // what counts is the length after escaping
		{template.HTML, 15, 16},
	}
	for _, test := range tests {
		_, err := parsed.Render(vars, test.escape, test.limit)
		tooLong, failed := errors.AsType[*template.SizeError](err)
		if failed != (test.size > 0) || failed && (tooLong.Size != test.size || tooLong.Limit != test.limit) {
			t.Errorf("Render with limit %d: %v; want size %d in the error", test.limit, err, test.size)
		}
	}
	long := map[string]string{"v": strings.Repeat("x", template.MaxOutput/2)}
	if _, err := parsed.Render(long, nil, 0); err == nil {
		t.Error("Render wrote more than MaxOutput without a limit of the caller")
	}
}

func TestRenderOfManyVariables(t *testing.T) {
	var text, want strings.Builder
	vars := map[string]string{}
	for i := range 100 {
		name := fmt.Sprintf("v%d", i)
		fmt.Fprintf(&text, "{{%s}};", name)
		fmt.Fprintf(&want, "%d;", i)
		vars[name] = fmt.Sprint(i)
	}
	got, err := mustParse(t, text.String()).Render(vars, nil, 0)
	if err != nil || got != want.String() {
		t.Errorf("Render = %q, %v; want %q", got, err, want.String())
	}
}

func TestDeclared(t *testing.T) {
	parsed := mustParse(t, "{{b}} {{a}} {{b}} {{{{no}} {{c}}")
	if got := parsed.Variables(); !slices.Equal(got, []string{"b", "a", "c"}) {
		t.Errorf("Variables = %q", got)
	}
	if got := parsed.Undeclared([]string{"a", "x"}); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("Undeclared = %q", got)
	}
	if got := parsed.Unused([]string{"y", "a", "x"}); !slices.Equal(got, []string{"y", "x"}) {
		t.Errorf("Unused = %q", got)
	}
	if got := parsed.Undeclared([]string{"c", "b", "a"}); got != nil {
		t.Errorf("Undeclared = %q where all are declared", got)
	}
}

func TestHeader(t *testing.T) {
	tests := map[string]string{
		"plain":                  "plain",
		"":                       "",
		"您好 😀":                   "您好 😀",
		"a\nb":                   "a b",
		"a\r\n\x00\tb\r":         "a b ",
		"\r\nBcc: x@example.com": " Bcc: x@example.com",
		"\u0085next line":        " next line",
	}
	for in, want := range tests {
		if got := template.Header(in); got != want {
			t.Errorf("Header(%q) = %q, want %q", in, got, want)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	parsed := mustParse(b, "Dear {{name}}, your order {{order_no}} of {{date}} is on its way; the code is {{code}}.")
	vars := map[string]string{"name": "Ann Lee", "order_no": "SO-20260112-0042", "date": "12 January", "code": "482913"}
	for name, escape := range map[string]template.Escape{"plain": nil, "html": template.HTML, "header": template.Header} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parsed.Render(vars, escape, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
