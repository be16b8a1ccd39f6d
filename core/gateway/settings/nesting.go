package settings

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// The parser of HCL calls itself for every nested bracket and its expressions for every operator, without
// a bound: a megabyte of "(" overflows the stack, which no Go program survives
// (https://github.com/hashicorp/hcl/issues/809). So the tokens are counted before they are parsed.
const (
	maxFileSize  = 4 << 20
	maxNesting   = 64
	maxOperators = 20_000
)

// tooDeep looks at the tokens of a file and returns the place where it is nested deeper, or has more
// operators, than any configuration needs.
func tooDeep(source []byte, filename string) (hcl.Range, string, bool) {
	tokens, _ := hclsyntax.LexConfig(source, filename, hcl.InitialPos)
	depth, operators := 0, 0
	for _, token := range tokens {
		switch token.Type {
		case hclsyntax.TokenOParen, hclsyntax.TokenOBrace, hclsyntax.TokenOBrack,
			hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc:
			depth++
		case hclsyntax.TokenCParen, hclsyntax.TokenCBrace, hclsyntax.TokenCBrack,
			hclsyntax.TokenTemplateSeqEnd, hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc:
			depth--
		case hclsyntax.TokenPlus, hclsyntax.TokenMinus, hclsyntax.TokenStar, hclsyntax.TokenSlash, hclsyntax.TokenPercent,
			hclsyntax.TokenAnd, hclsyntax.TokenOr, hclsyntax.TokenBang, hclsyntax.TokenQuestion, hclsyntax.TokenDot,
			hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual, hclsyntax.TokenGreaterThan, hclsyntax.TokenGreaterThanEq,
			hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq:
			operators++
		default:
		}
		if token.Type == hclsyntax.TokenOBrack {
			operators++ // an index on an index on an index
		}
		if depth > maxNesting {
			return token.Range, "is nested too deeply", true
		}
		if operators > maxOperators {
			return token.Range, "has too many operators", true
		}
	}
	return hcl.Range{}, "", false
}
