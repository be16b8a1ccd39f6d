package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// paths are the fields that an error of validate names.
func paths(err error) []string {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []string
		for _, e := range many.Unwrap() {
			out = append(out, paths(e)...)
		}
		return out
	}
	e, ok := errors.AsType[*sdk.ConfigError](err)
	if !ok || e.Summary == "" || e.Detail == "" {
		return []string{"no help: " + err.Error()}
	}
	return []string{e.Path}
}

func TestValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(*config)
		want []string
	}{
		"good":                             {func(*config) {}, nil},
		"no callbacks":                     {func(c *config) { c.Token, c.EncodingAESKey = "", "" }, nil},
		"plaintext callbacks":              {plaintext, nil},
		"a change of keys":                 {func(c *config) { c.PreviousEncodingAESKey = publishedKey }, nil},
		"the AppID of another kind":        {func(c *config) { c.AppID = "ww0123456789abcdef" }, []string{"app_id"}},
		"a secret with a line feed":        {func(c *config) { c.AppSecret += "\n" }, []string{"app_secret"}},
		"a token that is none":             {func(c *config) { c.Token = "no token!" }, []string{"token"}},
		"a key that is too short":          {func(c *config) { c.EncodingAESKey = "abc" }, []string{"encoding_aes_key"}},
		"a key that is none":               {func(c *config) { c.EncodingAESKey = sdk.Secret(strings.Repeat("!", 43)) }, []string{"encoding_aes_key"}},
		"a former key that is none":        {func(c *config) { c.PreviousEncodingAESKey = "abc" }, []string{"previous_encoding_aes_key"}},
		"a former key alone":               {func(c *config) { plaintext(c); c.PreviousEncodingAESKey = publishedKey }, []string{"encoding_aes_key"}},
		"a key without a token":            {func(c *config) { c.Token = "" }, []string{"token"}},
		"a token without a key":            {func(c *config) { c.EncodingAESKey = "" }, []string{"encoding_aes_key"}},
		"a key and plaintext":              {func(c *config) { c.PlaintextCallbacks = true }, []string{"plaintext_callbacks"}},
		"http to another machine":          {func(c *config) { c.BaseURL = "http://sandbox:8025" }, []string{"base_url"}},
		"http that is allowed":             {func(c *config) { c.BaseURL, c.WithoutTLS = "http://sandbox:8025", true }, nil},
		"http to this machine":             {func(c *config) { c.BaseURL = "http://127.0.0.1:8025" }, nil},
		"http to this machine by its name": {func(c *config) { c.BaseURL = "http://localhost:8025/wechat/" }, nil},
		"another scheme":                   {func(c *config) { c.BaseURL = "ftp://example.com" }, []string{"base_url"}},
		"a query":                          {func(c *config) { c.BaseURL += "?a=b" }, []string{"base_url"}},
		"several faults":                   {func(c *config) { c.AppID, c.BaseURL = "x", "ftp://x" }, []string{"app_id", "base_url"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := settings("https://api.weixin.qq.com")
			tc.edit(&c)
			if got := paths(validate(c)); !slices.Equal(got, tc.want) {
				t.Errorf("faults %q, want %q", got, tc.want)
			}
		})
	}
}

func TestOpenRefusesAKeyThatIsNone(t *testing.T) {
	c := settings("https://api.weixin.qq.com")
	c.EncodingAESKey = "abc"
	if _, err := open(t.Context(), c); err == nil {
		t.Error("opened")
	}
}

// The plugin takes every connector of the examples, also that of the README, with credentials of the right form.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/wechat/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	sources := map[string][]byte{}
	for _, file := range files {
		if sources[file], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```hcl\n(connector .*?)```").FindSubmatch(readme)
	if shown == nil {
		t.Fatal("README.md shows no connector")
	}
	sources["README.md"] = shown[1]
	for name, source := range sources {
		parsed, diagnostics := hclsyntax.ParseConfig(source, name, hcl.InitialPos)
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		found := 0
		for _, connector := range parsed.Body.(*hclsyntax.Body).Blocks {
			for _, block := range connector.Body.Blocks {
				if block.Type == "config" {
					found++
					takes(t, name, evaluated(t, block.Body))
				}
			}
		}
		if found == 0 {
			t.Errorf("%s shows no connector", name)
		}
	}
}

// evaluated is a config block as the plugin gets it, where env("…_AES_KEY") and its like are set.
func evaluated(t *testing.T, body *hclsyntax.Body) map[string]string {
	t.Helper()
	env := function.New(&function.Spec{
		Params: []function.Parameter{{Name: "name", Type: cty.String}}, Type: function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			switch name := args[0].AsString(); {
			case strings.HasSuffix(name, "_AES_KEY"):
				return cty.StringVal(testKey), nil
			case strings.HasSuffix(name, "_TOKEN"):
				return cty.StringVal(testToken), nil
			default:
				return cty.StringVal(testSecret), nil
			}
		},
	})
	out := map[string]string{}
	for name, attribute := range body.Attributes {
		value, diagnostics := attribute.Expr.Value(&hcl.EvalContext{Functions: map[string]function.Function{"env": env}})
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		out[name] = value.AsString()
	}
	return out
}

func takes(t *testing.T, name string, config map[string]string) {
	t.Helper()
	server := sdk.NewServer(plugin())
	server.LogTo(io.Discard)
	defer server.Close()
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.ValidateConfig(t.Context(), &channelv1.ValidateConfigRequest{Config: raw, Channel: "wechat"})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range resp.GetDiagnostics() {
		t.Errorf("%s: %v: %s; %s", name, d.GetPath(), d.GetSummary(), d.GetDetail())
	}
}
