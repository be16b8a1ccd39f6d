package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// The examples are sound, those of the README too.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/email/*.hcl")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		checkExample(t, file, source)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```hcl\n(connector .*?)```").FindAllSubmatch(readme, -1)
	if len(blocks) < 2 {
		t.Errorf("README.md has %d examples", len(blocks))
	}
	for i, b := range blocks {
		checkExample(t, fmt.Sprintf("README.md example %d", i+1), b[1])
	}
}

// checkExample validates each connector in a configuration file.
func checkExample(t *testing.T, name string, source []byte) {
	t.Helper()
	file, diagnostics := hclsyntax.ParseConfig(source, name, hcl.InitialPos)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	server := sdk.NewServer(plugin())
	server.LogTo(io.Discard)
	defer server.Close()
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		for _, inner := range b.Body.Blocks {
			if b.Type != "connector" || inner.Type != "config" {
				continue
			}
			text, err := json.Marshal(tree(t, inner.Body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := server.ValidateConfig(t.Context(), &channelv1.ValidateConfigRequest{Config: text, Channel: "email"})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range resp.GetDiagnostics() {
				t.Errorf("%s: %v %s; %s", name, d.GetPath(), d.GetSummary(), d.GetDetail())
			}
		}
	}
}

// tree reads a block as the gateway does. Variables and files of keys hold a key, the others some text.
func tree(t *testing.T, body *hclsyntax.Body) map[string]any {
	t.Helper()
	key := newKeyring(t).config[0].Key.Reveal()
	named := function.New(&function.Spec{
		Params: []function.Parameter{{Name: "name", Type: cty.String}}, Type: function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if regexp.MustCompile(`(?i)dkim`).MatchString(args[0].AsString()) {
				return cty.StringVal(key), nil
			}
			return cty.StringVal("a secret of the example"), nil
		},
	})
	scope := &hcl.EvalContext{Functions: map[string]function.Function{"env": named, "file": named}}
	out := map[string]any{}
	for key, a := range body.Attributes {
		value, diagnostics := a.Expr.Value(scope)
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		text, err := ctyjson.Marshal(value, value.Type())
		if err != nil {
			t.Fatal(err)
		}
		out[key] = json.RawMessage(text)
	}
	for _, b := range body.Blocks {
		out[b.Type] = tree(t, b.Body)
	}
	return out
}
