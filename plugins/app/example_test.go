package main

import (
	"encoding/json"
	"fmt"
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

	apnsdouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/apns"
	fcmdouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/fcm"
	webpushdouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/webpush"
)

// The examples are sound, those of the README too.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/app/*.hcl")
	if err != nil || len(files) != 4 {
		t.Fatalf("the examples are %q, %v", files, err)
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
	if len(blocks) != 4 {
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
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		if b.Type != "connector" {
			continue
		}
		for _, inner := range b.Body.Blocks {
			if inner.Type != "config" {
				continue
			}
			if got := diagnose(t, tree(t, inner.Body)); len(got) > 0 {
				t.Errorf("%s: %s", name, strings.Join(got, "\n"))
			}
		}
	}
}

// secrets is what the operator would put into the environment, or into a file.
var secrets = map[string]string{
	"FCM_SERVICE_ACCOUNT": fcmdouble.ServiceAccount, "service-account.json": fcmdouble.ServiceAccount,
	"APNS_KEY": apnsdouble.PrivateKey, "AuthKey_ABCDE12345.p8": apnsdouble.PrivateKey, "VAPID_PRIVATE_KEY": webpushdouble.PrivateKey,
}

// tree evaluates a body as the gateway does, with texts for the environment and for files.
func tree(t *testing.T, body *hclsyntax.Body) settings {
	t.Helper()
	lookup := function.New(&function.Spec{
		Params: []function.Parameter{{Name: "name", Type: cty.String}}, Type: function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if value := secrets[args[0].AsString()]; value != "" {
				return cty.StringVal(value), nil
			}
			return cty.StringVal("a-secret-of-some-length"), nil
		},
	})
	scope := &hcl.EvalContext{Functions: map[string]function.Function{"env": lookup, "file": lookup}}
	out := settings{}
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
