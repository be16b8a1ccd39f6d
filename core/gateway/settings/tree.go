package settings

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// tree reads the body of a config block: any keys and blocks, as JSON values. A block is an object;
// several blocks of one name are a list of objects. The place of every value goes into the positions.
func (p *parser) tree(body *hclsyntax.Body, path []any) map[string]any {
	values := make(map[string]any, len(body.Attributes)+len(body.Blocks))
	for key, attribute := range body.Attributes {
		here := with(path, key)
		p.positions.set(here, attribute.NameRange)
		if value, ok := p.evaluate(attribute.Expr); ok {
			values[key] = goValue(value)
			p.locate(attribute.Expr, here)
		}
	}
	groups := map[string][]*hclsyntax.Block{}
	for _, b := range body.Blocks {
		groups[b.Type] = append(groups[b.Type], b)
	}
	for key, blocks := range groups {
		p.group(values, with(path, key), key, blocks)
	}
	return values
}

// group reads the blocks of one name into values[key].
func (p *parser) group(values map[string]any, path []any, key string, blocks []*hclsyntax.Block) {
	if _, taken := values[key]; taken {
		p.fault(blocks[0].TypeRange, quote(key)+" is given as a value and as a block", "keep one of them")
		return
	}
	for _, b := range blocks {
		if len(b.Labels) > 0 {
			p.fault(b.LabelRanges[0], "a block in config has no label", "remove "+quote(b.Labels[0]))
		}
	}
	p.positions.set(path, blocks[0].TypeRange)
	if len(blocks) == 1 {
		values[key] = p.tree(blocks[0].Body, path)
		return
	}
	list := make([]any, len(blocks))
	for i, b := range blocks {
		p.positions.set(with(path, i), b.TypeRange)
		list[i] = p.tree(b.Body, with(path, i))
	}
	values[key] = list
}

// locate records the places of what stands inside an object or a list.
func (p *parser) locate(expression hclsyntax.Expression, path []any) {
	switch e := expression.(type) {
	case *hclsyntax.ObjectConsExpr:
		for _, item := range e.Items {
			key, diagnostics := item.KeyExpr.Value(p.context)
			if diagnostics.HasErrors() || !key.Type().Equals(cty.String) || key.IsNull() || !key.IsKnown() {
				continue
			}
			here := with(path, key.AsString())
			p.positions.set(here, item.KeyExpr.Range())
			p.locate(item.ValueExpr, here)
		}
	case *hclsyntax.TupleConsExpr:
		for i, item := range e.Exprs {
			here := with(path, i)
			p.positions.set(here, item.Range())
			p.locate(item, here)
		}
	}
}

// with returns path and one more step, leaving path as it is.
func with(path []any, step any) []any {
	return append(slices.Clip(path), step)
}

// goValue turns a value of HCL into what encoding/json would make of it, whole numbers into int64.
func goValue(value cty.Value) any {
	value, _ = value.UnmarkDeep()
	if value.IsNull() || !value.IsKnown() {
		return nil
	}
	t := value.Type()
	switch {
	case t == cty.String:
		return value.AsString()
	case t == cty.Bool:
		return value.True()
	case t == cty.Number:
		if n, accuracy := value.AsBigFloat().Int64(); accuracy == 0 {
			return n
		}
		f, _ := value.AsBigFloat().Float64()
		return f
	case t.IsObjectType() || t.IsMapType():
		object := make(map[string]any, value.LengthInt())
		for key, element := range value.AsValueMap() {
			object[key] = goValue(element)
		}
		return object
	case t.IsTupleType() || t.IsListType() || t.IsSetType():
		list := make([]any, 0, value.LengthInt())
		for _, element := range value.AsValueSlice() {
			list = append(list, goValue(element))
		}
		return list
	default:
		return nil
	}
}

// position writes a place as file:line:column.
func position(r hcl.Range) string {
	return r.Filename + ":" + itoa(r.Start.Line) + ":" + itoa(r.Start.Column)
}
