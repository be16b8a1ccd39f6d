package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
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
	files, err := filepath.Glob("../../examples/sms/*.hcl")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	sources := map[string][]byte{}
	for _, file := range append(files, "README.md") {
		if sources[file], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	blocks := regexp.MustCompile("(?s)```hcl\n(connector .*?)```").FindAllSubmatch(sources["README.md"], -1)
	delete(sources, "README.md")
	for i, b := range blocks {
		sources["README.md example "+string(rune('1'+i))] = b[1]
	}
	if len(blocks) < 4 {
		t.Errorf("README.md has %d examples", len(blocks))
	}
	for name, source := range sources {
		file, diagnostics := hclsyntax.ParseConfig(source, name, hcl.InitialPos)
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		for _, b := range file.Body.(*hclsyntax.Body).Blocks {
			for _, inner := range b.Body.Blocks {
				if b.Type == "connector" && inner.Type == "config" {
					checkExample(t, name, tree(t, inner.Body))
				}
			}
		}
	}
}

func checkExample(t *testing.T, name string, config map[string]any) {
	t.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := sdk.NewServer(plugin()).ValidateConfig(t.Context(), &channelv1.ValidateConfigRequest{Config: raw, Channel: "sms"})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range answer.GetDiagnostics() {
		t.Errorf("%s: %v", name, d)
	}
}

// tree reads a block as the gateway does; every variable is set to something that fits its name.
func tree(t *testing.T, body *hclsyntax.Body) map[string]any {
	t.Helper()
	env := function.New(&function.Spec{
		Params: []function.Parameter{{Name: "name", Type: cty.String}}, Type: function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if strings.HasSuffix(args[0].AsString(), "_SID") {
				return cty.StringVal(sid("AC")), nil
			}
			return cty.StringVal("secret-0123456789"), nil
		},
	})
	scope := &hcl.EvalContext{Functions: map[string]function.Function{"env": env}}
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
