package catalog

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// How much of a manifest has to be there.
const (
	whole = false
	draft = true // the checksum may be missing
)

// manifestParser collects what is wrong with a manifest while it reads it.
type manifestParser struct {
	file     string
	manifest Manifest
	faults   []manifestFault
}

type manifestFault struct {
	at   hcl.Pos
	text string
}

// attribute is what may stand in a manifest.
type attribute struct {
	required bool
	set      func(*manifestParser, hclsyntax.Expression)
}

// attributes are all that a manifest may say.
func attributes(isDraft bool) map[string]attribute {
	return map[string]attribute{
		"name":       {true, text(func(m *Manifest) *string { return &m.Name }, ValidName, "use a–z, 0–9, - and _, at most 63 characters")},
		"version":    {true, text(func(m *Manifest) *string { return &m.Version }, ValidVersion, `write a semantic version, such as "1.4.0"`)},
		"sha256":     {!isDraft, text(func(m *Manifest) *string { return &m.SHA256 }, digest.MatchString, "write the 64 digits that sha256sum prints, in small letters")},
		"executable": {false, text(func(m *Manifest) *string { return &m.Executable }, isExecutableName, "name a file beside plugin.hcl, without a folder")},
		"signature":  {false, text(func(m *Manifest) *string { return &m.Signature }, isPlain, "name a file beside plugin.hcl, without a folder")},
		"channels":   {false, (*manifestParser).channels},
		"plaintext":  {false, (*manifestParser).plaintext},
	}
}

func isPlain(s string) bool { return plainFile.MatchString(s) && s != ManifestFile }

// isExecutableName keeps the executable apart from the manifest and its signatures.
func isExecutableName(s string) bool { return isPlain(s) && !strings.HasPrefix(s, ManifestFile) }

// parseManifest reads the text of a manifest; file is its name in faults.
func parseManifest(source []byte, file string, isDraft bool) (Manifest, error) {
	p := &manifestParser{file: file}
	if p.nested(source) {
		return Manifest{}, p.err()
	}
	parsed, diagnostics := hclsyntax.ParseConfig(source, file, hcl.InitialPos)
	p.report(diagnostics)
	if body, ok := parsed.Body.(*hclsyntax.Body); ok {
		p.body(body, attributes(isDraft), !diagnostics.HasErrors())
	}
	if err := p.err(); err != nil {
		return Manifest{}, err
	}
	if p.manifest.Executable == "" {
		p.manifest.Executable = p.manifest.Name
	}
	return p.manifest, nil
}

// body reads the attributes; complete says that nothing was lost in a syntax error.
func (p *manifestParser) body(body *hclsyntax.Body, known map[string]attribute, complete bool) {
	for key, a := range body.Attributes {
		kind, ok := known[key]
		switch {
		case ok && complete:
			kind.set(p, a.Expr)
			continue
		case ok:
			continue // its value may be what the parser made of an error
		}
		p.fault(a.NameRange.Start, fmt.Sprintf("unknown key %q — %s", key, didYouMean(key, known)))
	}
	for _, b := range body.Blocks {
		p.fault(b.TypeRange.Start, fmt.Sprintf("unknown block %q — a manifest has keys alone: write key = …", b.Type))
	}
	for key, kind := range known {
		if _, ok := body.Attributes[key]; kind.required && !ok && complete {
			p.fault(hcl.InitialPos, fmt.Sprintf("the manifest has no %s — add %s = …", key, key))
		}
	}
	m := &p.manifest
	if m.Signature != "" && m.Signature == m.Executable {
		p.fault(body.Attributes["signature"].Expr.Range().Start, "signature and executable are the same file — name two files")
	}
}

// text makes the reader of a text that has to pass a check.
func text(field func(*Manifest) *string, valid func(string) bool, remedy string) func(*manifestParser, hclsyntax.Expression) {
	return func(p *manifestParser, e hclsyntax.Expression) {
		s, ok := p.literal(e)
		if !ok {
			return
		}
		if !valid(s) {
			p.fault(e.Range().Start, fmt.Sprintf("%q is not possible here — %s", s, remedy))
			return
		}
		*field(&p.manifest) = s
	}
}

// literal reads a text in quotes. Other expressions are refused unevaluated: a manifest comes from somebody
// else, and nested loops would keep the gateway busy for years.
func (p *manifestParser) literal(e hclsyntax.Expression) (string, bool) {
	if template, ok := e.(*hclsyntax.TemplateExpr); ok && template.IsStringLiteral() {
		value, diagnostics := template.Value(nil)
		p.report(diagnostics)
		if !diagnostics.HasErrors() && value.Type() == cty.String && utf8.ValidString(value.AsString()) {
			return value.AsString(), true
		}
	}
	p.fault(e.Range().Start, `not a plain text — write it in quotes, like "1.4.0", without ${ }`)
	return "", false
}

func (p *manifestParser) channels(e hclsyntax.Expression) {
	list, ok := e.(*hclsyntax.TupleConsExpr)
	if !ok {
		p.fault(e.Range().Start, `channels is not a list — write channels = ["sms"]`)
		return
	}
	for _, item := range list.Exprs {
		s, ok := p.literal(item)
		switch {
		case !ok:
		case !ValidName(s):
			p.fault(item.Range().Start, fmt.Sprintf("%q is not possible as a channel — use a–z, 0–9, - and _, at most 63 characters", s))
		case slices.Contains(p.manifest.Channels, s):
			p.fault(item.Range().Start, fmt.Sprintf("the channel %q is given twice — keep one", s))
		default:
			p.manifest.Channels = append(p.manifest.Channels, s)
		}
	}
}

func (p *manifestParser) plaintext(e hclsyntax.Expression) {
	if literal, ok := e.(*hclsyntax.LiteralValueExpr); ok && literal.Val.Type() == cty.Bool && literal.Val.IsKnown() && !literal.Val.IsNull() {
		p.manifest.Plaintext = literal.Val.True()
		return
	}
	p.fault(e.Range().Start, "plaintext is neither true nor false — write one of them without quotes")
}

// maxNesting is more than any manifest needs. The parser of HCL calls itself for every bracket, and a file of
// brackets would overflow the stack (https://github.com/hashicorp/hcl/issues/809).
const maxNesting = 16

// nested looks for brackets and signs that the parser would descend into.
func (p *manifestParser) nested(source []byte) bool {
	tokens, _ := hclsyntax.LexConfig(source, p.file, hcl.InitialPos)
	depth, signs := 0, 0
	for _, token := range tokens {
		switch token.Type {
		case hclsyntax.TokenOParen, hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOQuote,
			hclsyntax.TokenOHeredoc, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
		case hclsyntax.TokenCParen, hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCQuote,
			hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			depth--
		case hclsyntax.TokenBang, hclsyntax.TokenMinus, hclsyntax.TokenQuestion:
			signs++
		default:
		}
		if depth > maxNesting || signs > maxNesting {
			p.fault(token.Range.Start, "the manifest is nested too deeply — it needs plain texts and one list")
			return true
		}
	}
	return false
}

// report turns what HCL found into faults.
func (p *manifestParser) report(diagnostics hcl.Diagnostics) {
	for _, d := range diagnostics {
		if d.Severity != hcl.DiagError {
			continue
		}
		at := hcl.InitialPos
		if d.Subject != nil {
			at = d.Subject.Start
		}
		summary := strings.ToLower(d.Summary[:min(1, len(d.Summary))]) + d.Summary[min(1, len(d.Summary)):]
		p.fault(at, strings.ReplaceAll(summary+" — "+d.Detail, "\n", " "))
	}
}

func (p *manifestParser) fault(at hcl.Pos, text string) {
	p.faults = append(p.faults, manifestFault{at, text})
}

// err is all that was found in the order of the file, each once; nil if nothing was.
func (p *manifestParser) err() error {
	if len(p.faults) == 0 {
		return nil
	}
	sort.Slice(p.faults, func(i, j int) bool {
		a, b := p.faults[i], p.faults[j]
		return a.at.Byte < b.at.Byte || a.at.Byte == b.at.Byte && a.text < b.text
	})
	lines := make(ManifestError, len(p.faults))
	for i, f := range p.faults {
		lines[i] = fmt.Sprintf("%s:%d:%d: %s", p.file, f.at.Line, f.at.Column, f.text)
	}
	return slices.Compact(lines)
}

// didYouMean names the known key that is nearest to what was written, or else all of them.
func didYouMean(written string, known map[string]attribute) string {
	keys := make([]string, 0, len(known))
	for key := range known {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	best, distance := "", max(2, len(written)/3)+1
	for _, key := range keys {
		if d := levenshtein.Distance(strings.ToLower(written), key, nil); d < distance {
			best, distance = key, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known here: " + strings.Join(keys, ", ")
}
