package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// settings uses every tag and every type.
type settings struct {
	Host     string            `cfg:"host,required,format=hostport" doc:"Where the provider listens"`
	URL      string            `cfg:"url,format=uri"`
	From     string            `cfg:"from,format=email"`
	Mode     string            `cfg:"mode,enum=plain|starttls|tls,default=starttls"`
	Port     int               `cfg:"port,min=1,max=65535,default=25"`
	Small    int8              `cfg:"small"`
	Window   uint              `cfg:"window,max=100"`
	Rate     float64           `cfg:"rate,min=0.5"`
	Verify   bool              `cfg:"verify,default=true"`
	Optional *bool             `cfg:"optional"`
	Timeout  time.Duration     `cfg:"timeout,default=5s,min=1s,max=1m"`
	Password sdk.Secret        `cfg:"password"`
	Tags     []string          `cfg:"tags,enum=a|b|c,max=2"`
	Headers  map[string]string `cfg:"headers"`
	Keys     []sdk.Secret      `cfg:"keys"`
	TLS      struct {
		Name string `cfg:"name,default=mail"`
	} `cfg:"tls"`
	Proxy   *proxy   `cfg:"proxy"`
	Servers []server `cfg:"servers"`
	BaseURL string   // named base_url
	Ignored string   `cfg:"-"`
	common
}

type proxy struct {
	Address string `cfg:"address,required"`
}

type server struct {
	Host string `cfg:"host,required"`
	Port int    `cfg:"port"`
}

// common is embedded: its fields stand beside the others.
type common struct {
	Label string `cfg:"label"`
}

// configured returns what the plugin got as config, and the diagnostics in short.
func configured(t testing.TB, config string) (got settings, diagnostics []string) {
	t.Helper()
	gw := start(t, sdk.Plugin[settings]{
		Name: "test", Version: "1.0.0",
		Open: func(_ context.Context, c settings) (sdk.Sender, error) {
			got = c
			return instant{}, nil
		},
	})
	resp, err := gw.Configure(t.Context(), &channelv1.ConfigureRequest{Connector: "test/a", Config: []byte(config)})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range resp.GetDiagnostics() {
		diagnostics = append(diagnostics, show(d))
	}
	return got, diagnostics
}

// A config becomes the struct, with defaults for what it leaves out.
func TestConfigDecode(t *testing.T) {
	got, diagnostics := configured(t, `{
		"host": "mail.example.com:25", "port": 1e3, "small": -8, "window": 7, "rate": 2.5, "verify": false, "optional": true,
		"timeout": "1m", "password": "s3cret-word", "tags": ["a", "b"], "headers": {"X-A": "1"}, "keys": ["key-one"],
		"tls": {}, "proxy": {"address": "p"}, "servers": [{"host": "one"}, {"host": "two", "port": 2}], "base_url": "u",
		"label": "shop", "from": null
	}`)
	if len(diagnostics) > 0 {
		t.Fatal(diagnostics)
	}
	if got.Host != "mail.example.com:25" || got.Port != 1000 || got.Small != -8 || got.Window != 7 || got.Rate != 2.5 ||
		got.Verify || got.Optional == nil || !*got.Optional || got.Timeout != time.Minute || got.Mode != "starttls" ||
		got.Password.Reveal() != "s3cret-word" || len(got.Tags) != 2 || got.Headers["X-A"] != "1" ||
		got.Keys[0].Reveal() != "key-one" || got.TLS.Name != "mail" || got.Proxy.Address != "p" ||
		got.Servers[1] != (server{"two", 2}) || got.BaseURL != "u" || got.Label != "shop" {
		t.Errorf("got %+v", got)
	}
	minimal, diagnostics := configured(t, `{"host": "h:1"}`)
	if len(diagnostics) > 0 || minimal.Port != 25 || !minimal.Verify || minimal.Optional != nil || minimal.Proxy != nil ||
		minimal.Timeout != 5*time.Second || minimal.TLS.Name != "mail" {
		t.Errorf("defaults: got %+v, %v", minimal, diagnostics)
	}
}

// What is required is not empty, be it a text, a list or a map; the schema says the same.
func TestRequiredIsNotEmpty(t *testing.T) {
	type config struct {
		Text string            `cfg:"text,required"`
		List []string          `cfg:"list,required"`
		Map  map[string]string `cfg:"map,required"`
		Some []string          `cfg:"some,required,min=2"`
	}
	gw := start(t, sdk.Plugin[config]{
		Name: "test", Version: "1.0.0", Open: func(context.Context, config) (sdk.Sender, error) { return instant{}, nil },
	})
	resp, err := gw.ValidateConfig(t.Context(), &channelv1.ValidateConfigRequest{Config: []byte(`{"text": "", "list": [], "map": {}, "some": ["a"]}`)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range resp.GetDiagnostics() {
		got = append(got, show(d))
	}
	want := []string{
		`text: "text" must not be empty`, `list: "list" must not be empty`, `map: "map" must not be empty`, "some: the number of entries must be at least 2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	about, err := gw.Describe(t.Context(), &channelv1.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"minLength":1`, `"minItems":1`, `"minProperties":1`, `"minItems":2`} {
		if !strings.Contains(string(about.GetConfigSchema()), part) {
			t.Errorf("the schema lacks %s: %s", part, about.GetConfigSchema())
		}
	}
}

// Every fault is named with its place and its remedy, and all of them at once.
func TestConfigDiagnostics(t *testing.T) {
	for name, tt := range map[string]struct {
		config string
		want   []string
	}{
		"not JSON":             {`{"host"`, []string{"the config is not a JSON object (it ends too early)"}},
		"syntax error":         {`{"host": s3cret}`, []string{"the config is not a JSON object (syntax error at byte 10)"}},
		"a list":               {`[]`, []string{"the config is not a JSON object (expected {…})"}},
		"two objects":          {`{"host":"h:1"} {}`, []string{"the config is not a JSON object (something follows it at byte 16)"}},
		"nothing":              {``, []string{`host: "host" is missing (set it to a string: Where the provider listens)`}},
		"null":                 {`{"host": null}`, []string{`host: "host" is missing (set it to a string: Where the provider listens)`}},
		"empty":                {`{"host": ""}`, []string{`host: "host" must not be empty (Where the provider listens)`}},
		"wrong type":           {`{"host": "h:1", "port": "25"}`, []string{`port: expected an integer, found the string "25"`}},
		"fraction":             {`{"host": "h:1", "port": 2.5}`, []string{`port: expected an integer, found the number 2.5`}},
		"overflow":             {`{"host": "h:1", "small": 300}`, []string{`small: expected an integer, found the number 300`}},
		"negative":             {`{"host": "h:1", "window": -1}`, []string{`window: expected a non-negative integer, found the number -1`}},
		"bare duration":        {`{"host": "h:1", "timeout": 5}`, []string{`timeout: expected a duration such as "5s", found the number 5`}},
		"out of bounds":        {`{"host": "h:1", "port": 0, "timeout": "2m"}`, []string{"port: the value must be at least 1", "timeout: the value must be at most 1m"}},
		"too many":             {`{"host": "h:1", "tags": ["a","b","c"]}`, []string{"tags: the number of entries must be at most 2"}},
		"enum":                 {`{"host": "h:1", "mode": "startls"}`, []string{`mode: "startls" is not allowed (did you mean "starttls"? one of: plain, starttls, tls)`}},
		"enum in a list":       {`{"host": "h:1", "tags": ["a", "z"]}`, []string{`tags[1]: "z" is not allowed (did you mean "a"? one of: a, b, c)`}},
		"format hostport":      {`{"host": "h"}`, []string{`host: not a valid hostport: expected "host:port" (Where the provider listens)`}},
		"format hostport port": {`{"host": "h:99999"}`, []string{`host: not a valid hostport: the port must be 1 to 65535 (Where the provider listens)`}},
		"format uri":           {`{"host": "h:1", "url": "example.com/x"}`, []string{`url: not a valid uri: the scheme is missing, e.g. "https://"`}},
		"format email":         {`{"host": "h:1", "from": "Shop <a@b.c>"}`, []string{`from: not a valid email: expected an address alone, e.g. "post@example.com"`}},
		"below":                {`{"host": "h:1", "proxy": {}, "servers": [{"host": "a"}, {}]}`, []string{`proxy.address: "address" is missing (set it to a string)`, `servers[1].host: "host" is missing (set it to a string)`}},
		"secret of wrong type": {`{"host": "h:1", "password": 12345678, "keys": [{"k": "s3cret"}]}`, []string{`password: expected a secret string, found a number`, `keys[0]: expected a secret string, found an object`}},
		"map of wrong type":    {`{"host": "h:1", "headers": {"A": 1}}`, []string{`headers.A: expected a string, found the number 1`}},
		"short secret":         {`{"host": "h:1", "password": "abc"}`, []string{`a secret shorter than 4 characters cannot be kept out of the logs (choose a longer one)`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, got := configured(t, tt.config)
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// An unknown field gets a guess and the list of the known ones.
func TestConfigUnknownField(t *testing.T) {
	_, got := configured(t, `{"host": "h:1", "pasword": "x", "tls": {"nam": "x"}}`)
	if len(got) != 2 ||
		!strings.HasPrefix(got[0], `pasword: unknown field "pasword" (did you mean "password"? known fields: host, url, `) ||
		got[1] != `tls.nam: unknown field "nam" (did you mean "name"? known fields: name)` {
		t.Errorf("got %q", got)
	}
}

// What Validate and Open say arrives as diagnostics, one for each joined error.
func TestConfigErrorsOfTheAuthor(t *testing.T) {
	type config struct {
		Token sdk.Secret `cfg:"token"`
	}
	var validate, open error
	gw := start(t, sdk.Plugin[config]{
		Name: "test", Version: "1.0.0",
		Validate: func(config) error { return validate },
		Open:     func(context.Context, config) (sdk.Sender, error) { return instant{}, open },
	})
	get := func() (out []string) {
		resp, err := gw.Configure(t.Context(), &channelv1.ConfigureRequest{Connector: "test/a", Config: []byte(`{"token": "s3cret-token"}`)})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range resp.GetDiagnostics() {
			out = append(out, show(d))
		}
		return out
	}
	validate = errors.Join(
		sdk.FieldError("tls.mode", "needs a certificate", "set tls.cert"),
		sdk.FieldError("servers[2].host", "is twice in the list", ""),
		errors.New("and s3cret-token is too simple"),
	)
	want := "tls.mode: needs a certificate (set tls.cert)|servers[2].host: is twice in the list|and [redacted] is too simple"
	if got := strings.Join(get(), "|"); got != want {
		t.Errorf("Validate: got %s\nwant %s", got, want)
	}
	validate, open = nil, errors.New("login with s3cret-token failed")
	if got := strings.Join(get(), "|"); got != "login with [redacted] failed" {
		t.Errorf("Open: got %s", got)
	}
	if r := gw.one("test/a", nil); verdict(r) != "retryable unknown_connector config" {
		t.Errorf("a connector that did not open: %s", verdict(r))
	}
}

// A channel the plugin does not serve is named.
func TestValidateConfigChannel(t *testing.T) {
	gw := start(t, plugin(instant{}))
	resp, err := gw.ValidateConfig(t.Context(), &channelv1.ValidateConfigRequest{Channel: "fax"})
	if err != nil || len(resp.GetDiagnostics()) != 1 {
		t.Fatalf("got %v, %v", resp, err)
	}
	if got := show(resp.GetDiagnostics()[0]); got != `plugin test does not serve the channel "fax" (it serves: test)` {
		t.Error(got)
	}
}

// The schema comes from the same tags: what it allows the decoder takes, and its secrets are marked.
func TestConfigSchema(t *testing.T) {
	schema := schemaOf[settings](t)
	compiled := compile(t, schema)
	for config, ok := range map[string]bool{
		`{"host": "h:1"}`: true,
		`{"host": "h:1", "timeout": "1.5s", "tags": ["a"], "headers": {"a": "b"}, "servers": [{"host": "x"}]}`: true,
		`{}`:                              false,
		`{"host": ""}`:                    false,
		`{"host": "h:1", "x": 1}`:         false,
		`{"host": "h:1", "port": 0}`:      false,
		`{"host": "h:1", "mode": "x"}`:    false,
		`{"host": "h:1", "timeout": "x"}`: false,
		`{"host": "h:1", "tags": ["z"]}`:  false,
		`{"host": "h:1", "proxy": {}}`:    false,
	} {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(config))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(doc); (err == nil) != ok {
			t.Errorf("schema: %s: %v", config, err)
		}
		if _, diagnostics := configured(t, config); (len(diagnostics) == 0) != ok {
			t.Errorf("decoder: %s: %v", config, diagnostics)
		}
	}
	var root struct {
		Properties map[string]struct {
			Secret  bool   `json:"x-secret"`
			Default any    `json:"default"`
			Doc     string `json:"description"`
			Items   struct {
				Secret bool `json:"x-secret"`
			} `json:"items"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(schema, &root); err != nil {
		t.Fatal(err)
	}
	if p := root.Properties; !p["password"].Secret || !p["keys"].Items.Secret || p["host"].Secret ||
		p["mode"].Default != "starttls" || p["host"].Doc != "Where the provider listens" {
		t.Errorf("schema: %s", schema)
	}
	if strings.Index(string(schema), `"host"`) > strings.Index(string(schema), `"url"`) {
		t.Error("the schema has lost the order of the fields")
	}
}

func schemaOf[C any](t testing.TB) []byte {
	t.Helper()
	s := sdk.NewServer(sdk.Plugin[C]{
		Name: "test", Version: "1.0.0",
		Open: func(context.Context, C) (sdk.Sender, error) { return instant{}, nil },
	})
	defer s.Close()
	d, err := s.Describe(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return d.GetConfigSchema()
}

func compile(t testing.TB, schema []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", doc); err != nil {
		t.Fatal(err)
	}
	return c.MustCompile("config.json")
}

// A struct with bad tags is the author's mistake: it shows when the plugin starts.
func TestFaultyConfigStruct(t *testing.T) {
	for want, try := range map[string]func(){
		"type chan int is not supported": func() { schemaOf[struct{ C chan int }](t) },
		`unknown option "requird"`: func() {
			schemaOf[struct {
				A string `cfg:"a,requird"`
			}](t)
		},
		"min and max do not apply": func() {
			schemaOf[struct {
				A bool `cfg:"a,min=1"`
			}](t)
		},
		"default: expected an integer": func() {
			schemaOf[struct {
				A int `cfg:"a,default=x"`
			}](t)
		},
		"default: the value must be at least": func() {
			schemaOf[struct {
				A int `cfg:"a,default=1,min=2"`
			}](t)
		},
		"a required field has no default": func() {
			schemaOf[struct {
				A int `cfg:"a,required,default=1"`
			}](t)
		},
		"the name is taken": func() {
			schemaOf[struct {
				A int `cfg:"a"`
				B int `cfg:"a"`
			}](t)
		},
		"keys of a map must be strings": func() { schemaOf[struct{ M map[int]string }](t) },
		"contains itself":               func() { schemaOf[recursive](t) },
		"is not a struct":               func() { schemaOf[string](t) },
		"format \"ip\"": func() {
			schemaOf[struct {
				A string `cfg:"a,format=ip"`
			}](t)
		},
		"enum is for strings": func() {
			schemaOf[struct {
				A int `cfg:"a,enum=1|2"`
			}](t)
		},
	} {
		t.Run(want, func(t *testing.T) {
			defer func() {
				if v, _ := recover().(string); !strings.Contains(v, want) {
					t.Errorf("got panic %q", v)
				}
			}()
			try()
		})
	}
}

type recursive struct{ Inner *recursive }

// The decoder takes any bytes: it reports or fills, and what it fills has a valid schema.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		`{"host": "h:1"}`, `{"host": "h:1", "port": 1e400}`, `{"servers": [{"host": 1}, null, []]}`, `{"tags": null, "": {}}`,
		`{"headers": {"a": "b", "\ud800": "c"}}`, `[[[[[[`, `{"host": "h:1", "timeout": "9999999h"}`, "{\"ho\xffst\": \"\xff\"}",
		`{"host":"h:1","password":"s3cret-word","keys":["","x"]}`, `null`, `{"host":"h:1","rate":-0,"window":18446744073709551616}`,
	} {
		f.Add([]byte(seed))
	}
	server := sdk.NewServer(sdk.Plugin[settings]{
		Name: "test", Version: "1.0.0",
		Open: func(context.Context, settings) (sdk.Sender, error) { return instant{}, nil },
	})
	f.Cleanup(server.Close)
	schema := compile(f, schemaOf[settings](f))
	f.Fuzz(func(t *testing.T, config []byte) {
		resp, err := server.ValidateConfig(t.Context(), &channelv1.ValidateConfigRequest{Config: config})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range resp.GetDiagnostics() {
			if d.GetSummary() == "" {
				t.Error("a diagnostic without summary")
			}
			if d.GetSeverity() == channelv1.Severity_SEVERITY_ERROR {
				return
			}
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(config))
		if err != nil || bytes.Contains(config, []byte("null")) {
			return // no config at all, or null, which a schema takes for a value
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("the decoder takes what the schema refuses: %s: %v", config, err)
		}
	})
}
