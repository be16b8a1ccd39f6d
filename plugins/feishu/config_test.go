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
)

func TestConfig(t *testing.T) {
	const url = "https://open.larksuite.com"
	hook := func(fields settings) settings {
		return settings{"base_url": url, "webhook": settings{"hooks": settings{"ops": fields}}}
	}
	for name, c := range map[string]struct {
		config settings
		want   string // the beginning of the only diagnostic; empty: none
	}{
		"bots":          {hookSettings(url), ""},
		"an app":        {appSettings(url), ""},
		"no bots":       {settings{"webhook": settings{}}, ""},
		"this machine":  {appSettings("http://127.0.0.1:8025"), ""},
		"a slash":       {appSettings(url + "/"), ""},
		"nothing":       {settings{}, ": says nothing about what to send with"},
		"both":          {with(hookSettings(url), appSettings(url)), "app: stands beside webhook"},
		"no address":    {appSettings("open.feishu.cn"), "base_url: "},
		"another kind":  {appSettings("ftp://open.feishu.cn"), `base_url: "ftp://open.feishu.cn" is no address of a server; write it as https://open.feishu.cn`},
		"a path":        {appSettings(url + "/open-apis"), `base_url: "https://open.larksuite.com/open-apis" has more than scheme, host and port`},
		"in clear":      {appSettings("http://open.feishu.cn"), "base_url: would send the credentials over the network in clear"},
		"a whole URL":   {hook(settings{"token": "https://open.feishu.cn/open-apis/bot/v2/hook/0123"}), "webhook.hooks.ops.token: is no token of a custom bot; give the last part"},
		"no token":      {hook(settings{"secret": "x"}), "webhook.hooks.ops.token: "},
		"a bad name":    {settings{"webhook": settings{"hooks": settings{"a b": settings{"token": testHook}}}}, `webhook.hooks: "a b" is no name`},
		"no app_secret": {settings{"app": settings{"app_id": "cli_1"}}, "app.app_secret: "},
		"a rate of 0":   {settings{"webhook": settings{"per_second": 0}}, "webhook.per_second: "},
		"unknown":       {with(hookSettings(url), settings{"hook": "x"}), "hook: "},
	} {
		t.Run(name, func(t *testing.T) {
			got := configure(t, plugin(), c.config)
			if c.want == "" {
				if len(got) > 0 {
					t.Errorf("refused: %q", got)
				}
				return
			}
			if len(got) != 1 || !strings.HasPrefix(got[0], c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// The examples are sound, those of the README too.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/feishu/*.hcl")
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
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		for _, inner := range b.Body.Blocks {
			if b.Type != "connector" || inner.Type != "config" {
				continue
			}
			if got := configure(t, plugin(), tree(t, inner.Body)); len(got) > 0 {
				t.Errorf("%s: %s", name, strings.Join(got, "\n"))
			}
		}
	}
}

// tree reads a block as the gateway does; every variable is set to something.
func tree(t *testing.T, body *hclsyntax.Body) settings {
	t.Helper()
	env := function.New(&function.Spec{
		Params: []function.Parameter{{Name: "name", Type: cty.String}}, Type: function.StaticReturnType(cty.String),
		Impl: func([]cty.Value, cty.Type) (cty.Value, error) { return cty.StringVal(testHook), nil },
	})
	scope := &hcl.EvalContext{Functions: map[string]function.Function{"env": env}}
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
