package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/pigeonry/pigeonry/sdk"
)

// maxRendered bounds what one template makes.
const maxRendered = 16 << 20

// fields are what a template may insert, see fields.go.
type fields = map[string]any

// sampler makes samples for a template that reads fields of these names.
type sampler func(names []string) []fields

// tmpl is one template of the config.
type tmpl struct {
	field  string // where it stands in the config
	parsed *template.Template
	names  map[string]struct{} // every field name in it, of whatever it is a field
	keys   map[string]struct{} // every text in it: a name, too, in {{index .attributes "name"}}
}

// parseTemplate reads a template.
func parseTemplate(field, source string) (*tmpl, error) {
	t, err := template.New("template").Option("missingkey=error").Funcs(functions).Parse(source)
	if err != nil {
		return nil, sdk.FieldError(field, "template: "+place(err), "functions: "+functionNames())
	}
	out := &tmpl{field: field, parsed: t, names: make(map[string]struct{}), keys: make(map[string]struct{})}
	for _, part := range t.Templates() {
		if part.Tree != nil {
			visit(part.Root, out.note)
		}
	}
	return out, nil
}

// compile reads a template and tries it on samples: a misspelt field then shows when the config is
// checked, and not with the first message.
func compile(field, source string, samples sampler) (*tmpl, error) {
	t, err := parseTemplate(field, source)
	if err != nil {
		return nil, err
	}
	_, err = t.try(samples)
	return t, err
}

// try renders the template for each sample.
func (t *tmpl) try(samples sampler) ([]string, error) {
	sampled, err := t.parsed.Clone()
	if err != nil {
		return nil, sdk.FieldError(t.field, "template: "+place(err), "")
	}
	sampled.Funcs(sampleFunctions)
	var out []string
	names := maps.Clone(t.names)
	maps.Copy(names, t.keys)
	for _, data := range samples(slices.Sorted(maps.Keys(names))) {
		text, err := execute(sampled, data)
		if err != nil {
			return nil, sdk.FieldError(t.field, "template: "+place(err),
				"fields here: "+strings.Join(slices.Sorted(maps.Keys(data)), ", "))
		}
		out = append(out, text)
	}
	return out, nil
}

// render makes the text for one message or request.
func (t *tmpl) render(data fields) (string, error) {
	text, err := execute(t.parsed, data)
	if err != nil {
		return "", fmt.Errorf("template %s: %s", t.field, place(err))
	}
	return text, nil
}

// note remembers the names of the fields that a node reads, and the texts that may be such names.
func (t *tmpl) note(n parse.Node) {
	var names []string
	switch n := n.(type) {
	case *parse.FieldNode:
		names = n.Ident
	case *parse.VariableNode:
		names = n.Ident[1:]
	case *parse.ChainNode:
		names = n.Field
	case *parse.StringNode:
		t.keys[n.Text] = struct{}{}
	}
	for _, name := range names {
		t.names[name] = struct{}{}
	}
}

// reads says whether the template reads a field of that name.
func (t *tmpl) reads(name string) bool {
	_, ok := t.names[name]
	return ok
}

func execute(t *template.Template, data fields) (string, error) {
	w := &boundedBuffer{}
	err := t.Execute(w, data)
	return w.String(), err
}

// boundedBuffer refuses to grow past maxRendered.
type boundedBuffer struct{ bytes.Buffer }

var errTooLong = errors.New("it makes more than " + strconv.Itoa(maxRendered>>20) + " MiB")

// Write appends p.
func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxRendered {
		return 0, errTooLong
	}
	return b.Buffer.Write(p) //nolint:wrapcheck // a buffer never fails
}

// visit calls f for n and all nodes below it.
func visit(n parse.Node, f func(parse.Node)) {
	f(n)
	switch n := n.(type) {
	case *parse.ListNode:
		if n != nil {
			visitAll(n.Nodes, f)
		}
	case *parse.ActionNode:
		visit(n.Pipe, f)
	case *parse.PipeNode:
		if n != nil {
			visitAll(n.Cmds, f)
		}
	case *parse.CommandNode:
		visitAll(n.Args, f)
	case *parse.ChainNode:
		visit(n.Node, f)
	case *parse.IfNode:
		visitBranch(&n.BranchNode, f)
	case *parse.RangeNode:
		visitBranch(&n.BranchNode, f)
	case *parse.WithNode:
		visitBranch(&n.BranchNode, f)
	case *parse.TemplateNode:
		visit(n.Pipe, f)
	}
}

func visitBranch(n *parse.BranchNode, f func(parse.Node)) {
	visit(n.Pipe, f)
	visit(n.List, f)
	visit(n.ElseList, f)
}

func visitAll[N parse.Node](nodes []N, f func(parse.Node)) {
	for _, n := range nodes {
		visit(n, f)
	}
}

var (
	templateError = regexp.MustCompile(`(?s)^template: template:(\d+)(?::(\d+))?: (?:executing "[^"]*" at )?(.*)$`)
	noEntry       = regexp.MustCompile(`map has no entry for key ("[^"]*")$`)
)

// place says what is wrong with a template and where in it.
func place(err error) string {
	parts := templateError.FindStringSubmatch(err.Error())
	if parts == nil {
		return err.Error()
	}
	where, what := "line "+parts[1], noEntry.ReplaceAllString(parts[3], "there is no $1")
	if column, err := strconv.Atoi(parts[2]); err == nil {
		where += ", column " + strconv.Itoa(column+1)
	}
	return where + ": " + what
}
