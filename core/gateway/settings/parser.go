package settings

import (
	"errors"
	"slices"
	"sort"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pigeonry/pigeonry/core"
)

// parser is a koanf.Parser for HCL 2 that holds the file to the schema. What it finds wrong is in faults;
// what koanf has no room for is kept beside the tree: positions, the order of blocks, config bodies.
type parser struct {
	filename  string
	context   *hcl.EvalContext
	positions positions
	faults    []located
	order     []core.ConnectorID
	limits    [][]any // the paths of the limit blocks
	configs   map[core.ConnectorID]Config
	shadows   map[core.ConnectorID]Config
}

// located is a fault with its place, to put faults in the order of the file.
type located struct {
	Fault
	start hcl.Pos
}

func newParser(filename string, lookup func(string) (string, bool)) *parser {
	return &parser{
		filename:  filename,
		context:   &hcl.EvalContext{Functions: functions(lookup)},
		positions: positions{},
		configs:   map[core.ConnectorID]Config{},
		shadows:   map[core.ConnectorID]Config{},
	}
}

// Unmarshal implements koanf.Parser. It reads as much as it can, so that all faults are found at once.
func (p *parser) Unmarshal(source []byte) (map[string]any, error) {
	if at, problem, deep := tooDeep(source, p.filename); deep {
		p.fault(at, "the file "+problem, "a configuration needs no more than a few levels")
		return map[string]any{}, nil
	}
	file, diagnostics := hclsyntax.ParseConfig(source, p.filename, hcl.InitialPos)
	p.report(diagnostics)
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return map[string]any{}, nil
	}
	values := map[string]any{}
	p.body(body, schema(), place{values: values})
	sort.SliceStable(p.faults, func(i, j int) bool { return p.faults[i].start.Byte < p.faults[j].start.Byte })
	return values, nil
}

// Marshal implements koanf.Parser; settings are never written.
func (p *parser) Marshal(map[string]any) ([]byte, error) {
	return nil, errors.New("settings are read and never written")
}

// place is where the content of a body goes.
type place struct {
	path   []any
	values map[string]any
	seen   map[string]hcl.Range // the blocks that stand there already
}

// body reads attributes and blocks into their place, holding them to the schema.
func (p *parser) body(body *hclsyntax.Body, schema block, into place) {
	for key, attribute := range body.Attributes {
		p.attribute(key, attribute, schema, into)
	}
	into.seen = map[string]hcl.Range{}
	for _, b := range body.Blocks {
		inner, known := schema.blocks[b.Type]
		if !known {
			p.unknown(b.TypeRange, b.Type, "block", schema)
			continue
		}
		if labels, ok := p.labels(b, inner); ok {
			p.block(b, inner, labels, into)
		}
	}
}

func (p *parser) attribute(key string, attribute *hclsyntax.Attribute, schema block, into place) {
	convert, known := schema.attributes[key]
	if !known {
		p.unknown(attribute.NameRange, key, "key", schema)
		return
	}
	p.positions.set(with(into.path, key), attribute.Expr.Range())
	value, ok := p.evaluate(attribute.Expr)
	if !ok || value.IsNull() { // null: as if the line were not there
		return
	}
	converted, err := convert(goValue(value))
	if err != nil {
		p.complain(attribute.Expr.Range(), key+" ", err)
		return
	}
	into.values[key] = converted
}

// unknown reports a word that the schema does not have, with the nearest one that it has.
func (p *parser) unknown(r hcl.Range, word, what string, schema block) {
	problem := "unknown " + what + " " + quote(word)
	_, isKey := schema.attributes[word]
	inner, isBlock := schema.blocks[word]
	switch {
	case isKey:
		p.fault(r, quote(word)+" is a key, not a block", "write "+word+" = …")
	case isBlock:
		p.fault(r, quote(word)+" is a block, not a key", "write "+blockForm(word, inner))
	default:
		p.fault(r, problem, didYouMean(word, schema.known()))
	}
}

func blockForm(word string, b block) string {
	for _, l := range b.labels {
		word += ` "<` + l.name + `>"`
	}
	return word + " { … }"
}

// labels checks the labels of a block.
func (p *parser) labels(b *hclsyntax.Block, schema block) ([]any, bool) {
	if len(b.Labels) != len(schema.labels) {
		p.fault(b.TypeRange, quote(b.Type)+" has "+itoa(len(b.Labels))+" labels and takes "+itoa(len(schema.labels)), "write "+blockForm(b.Type, schema))
		return nil, false
	}
	labels, ok := make([]any, len(b.Labels)), true
	for i, l := range schema.labels {
		labels[i] = b.Labels[i]
		if _, err := l.check(b.Labels[i]); err != nil {
			p.complain(b.LabelRanges[i], "the "+l.name+" "+quote(b.Labels[i])+" ", err)
			ok = false
		}
	}
	return labels, ok
}

// block reads one block whose labels are sound.
func (p *parser) block(b *hclsyntax.Block, schema block, labels []any, into place) {
	if schema.kinds != nil { // the label chooses; the block itself can stand once
		kind := b.Labels[0]
		schema, labels = schema.kinds[kind], nil
		defer func() {
			if inner, ok := into.values[b.Type].(map[string]any); ok {
				inner["kind"] = kind
			}
		}()
	}
	steps := append([]any{b.Type}, labels...)
	if schema.repeats {
		group, _ := nest(into.values, steps[:1])[b.Labels[0]].(map[string]any)
		steps = append(steps, itoa(len(group)))
	}
	if first, twice := into.seen[pathKey(steps)]; twice {
		p.fault(b.TypeRange, strings.Join(append([]string{b.Type}, b.Labels...), " ")+" is given twice",
			"it stands at "+position(first)+" already; keep one")
		return
	}
	into.seen[pathKey(steps)] = b.TypeRange
	here := slices.Concat(into.path, steps)
	p.positions.set(here, b.DefRange())
	if schema.free {
		return // the block around it reads it, with its own path
	}
	p.body(b.Body, schema, place{path: here, values: nest(into.values, steps)})
	p.require(b, schema)
	p.remember(b, here)
}

// require reports what must stand in a block and does not.
func (p *parser) require(b *hclsyntax.Block, schema block) {
	for _, key := range schema.required {
		if _, ok := b.Body.Attributes[key]; !ok {
			p.fault(b.DefRange(), b.Type+" has no "+key, "add "+key+" = …")
		}
	}
}

// remember keeps what koanf's tree has no room for.
func (p *parser) remember(b *hclsyntax.Block, path []any) {
	switch {
	case len(path) == 3 && b.Type == "connector":
		id := core.ConnectorID(b.Labels[0] + "/" + b.Labels[1])
		p.order = append(p.order, id)
		p.configs[id] = Config{}
		p.free(b, path, "config", id, p.configs)
		p.free(b, path, "shadow_config", id, p.shadows)
	case len(path) == 3 && b.Type == "limit":
		p.limits = append(p.limits, path)
	}
}

// free reads the first block of a kind that the plugin checks, if there is one.
func (p *parser) free(b *hclsyntax.Block, path []any, kind string, id core.ConnectorID, into map[core.ConnectorID]Config) {
	for _, inner := range b.Body.Blocks {
		if inner.Type == kind && len(inner.Labels) == 0 {
			into[id] = p.tree(inner.Body, with(path, kind))
			return
		}
	}
}

// nest returns the map at path inside values, made where it is missing.
func nest(values map[string]any, path []any) map[string]any {
	for _, step := range path {
		key, _ := step.(string)
		inner, ok := values[key].(map[string]any)
		if !ok {
			inner = map[string]any{}
			values[key] = inner
		}
		values = inner
	}
	return values
}

// evaluate computes an expression.
func (p *parser) evaluate(expression hclsyntax.Expression) (cty.Value, bool) {
	value, diagnostics := expression.Value(p.context)
	p.report(diagnostics)
	return value, !diagnostics.HasErrors() && value.IsWhollyKnown()
}

// report turns what HCL found into faults.
func (p *parser) report(diagnostics hcl.Diagnostics) {
	for _, d := range diagnostics {
		if d.Severity != hcl.DiagError {
			continue
		}
		r := hcl.Range{Filename: p.filename, Start: hcl.InitialPos}
		if d.Subject != nil {
			r = *d.Subject
		}
		var called hclsyntax.FunctionCallDiagExtra
		if extra, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); ok {
			called = extra
		}
		if called != nil && called.FunctionCallError() != nil {
			p.complain(r, called.CalledFunctionName()+": ", called.FunctionCallError())
			continue
		}
		remedy := d.Detail
		if d.Summary == "Variables not allowed" { // what HCL makes of a text without quotes
			remedy = `put a text in quotes; env("NAME") and file("path") are the only names that stand without`
		}
		p.fault(r, lowerFirst(d.Summary), remedy)
	}
}

func lowerFirst(s string) string {
	for i, r := range s {
		return string(unicode.ToLower(r)) + s[i+len(string(r)):]
	}
	return s
}

func (p *parser) fault(r hcl.Range, problem, remedy string) {
	p.faults = append(p.faults, located{Fault{position(r), problem, remedy}, r.Start})
}

func (p *parser) complain(r hcl.Range, prefix string, err error) {
	fault := at(position(r), err)
	fault.Problem = prefix + fault.Problem
	p.faults = append(p.faults, located{fault, r.Start})
}

// found returns the faults in the order of the file, each once.
func (p *parser) found() Faults {
	var faults Faults
	for _, f := range p.faults {
		if !slices.Contains(faults, f.Fault) {
			faults = append(faults, f.Fault)
		}
	}
	return faults
}
