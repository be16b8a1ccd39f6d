package cli_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/cli"
)

// testPlugin builds one of the plugins on which the kit proves itself.
func testPlugin(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	out, err := exec.Command("go", "build", "-o", path, "../../../sdk/channeltest/testdata/"+name).CombinedOutput()
	if err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}

func pluginTest(t *testing.T, environ []string, args ...string) outcome {
	t.Helper()
	return run(t, cli.Process{Args: append([]string{"plugin", "test"}, args...), Environ: environ})
}

// A good plugin passes every case, and the flags reach the kit.
func TestPluginTestPasses(t *testing.T) {
	good := testPlugin(t, "goodplugin")
	config := write(t, "good.hcl", "host = \"127.0.0.1:25\"\ntoken = env(\"TOKEN\")\ntls {\n  key = \"top-secret-key\"\n}\n")
	bad := write(t, "bad.json", `{"host": "localhost", "token": "s3cret-token"}`)
	item := write(t, "item.json", `{"content": {"subject": "hello"}}`)
	ledger := filepath.Join(t.TempDir(), "ledger")
	o := pluginTest(t, []string{"TOKEN=s3cret-token"}, good, "--sent", ledger, "--env", "LEDGER="+ledger, "--config", config, "--bad-config", "host="+bad, "--item", item,
		"--slow", "slow", "--fails", "fail", "--panics", "panic", "--noisy", "noisy", "--env", "TOKEN", "--env", "X=1", "--secret", "other-secret")
	o.expect(t, 0, " passed, 0 failed, 0 skipped in ", "")
	o.expect(t, 0, "pass     handshake\n", "")
	o.expect(t, 0, "pass     orphan exits (gone after ", "")
	if strings.Contains(o.out, "skipped  ") {
		t.Errorf("a case was skipped:\n%s", o.out)
	}
}

// A bad one is an error, and the line says what it did wrong.
func TestPluginTestFails(t *testing.T) {
	bad := testPlugin(t, "badplugin")
	config := write(t, "config.json", `{"host": "localhost", "token": "s3cret-token"}`)
	test := func(fault string, args ...string) outcome {
		return pluginTest(t, nil, append([]string{bad, "--config", config, "--env", "FAULT=" + fault}, args...)...)
	}
	o := test("revisions", "--case", "revisions", "--case", "schema")
	o.expect(t, 1, "FAIL     revisions: call Configure: it takes revision 4 after revision 5\n", "badplugin does not conform: 1 case failed")
	o.expect(t, 1, "pass     schema\n", "")
	o.expect(t, 1, "2 cases: 1 passed, 1 failed, 0 skipped in ", "")

	o = test("no handshake")
	o.expect(t, 1, "FAIL     handshake: start the plugin: no handshake line came on the standard output, only [\"hello, world\"]", "")
	o.expect(t, 1, "skipped  revisions: the handshake failed\n", "")

	test("", "--case", "a panic costs one item").expect(t, 0, "skipped  a panic costs one item: --panics is not set\n", "")
	test("", "--case", "expired items unsent").expect(t, 0, "skipped  expired items unsent: --sent is not set", "")
	ledger := filepath.Join(t.TempDir(), "ledger")
	test("sends what has expired", "--sent", ledger, "--env", "LEDGER="+ledger, "--case", "expired items unsent").
		expect(t, 1, "one of two items was expired, yet 2 reached the provider", "1 case failed")

	o = test("revisions", "--case", "revisions", "--case", "a panic costs one item", "--json")
	var report struct {
		Plugin                  string
		Passed, Failed, Skipped int
		Cases                   []struct{ Name, Result, Reason string }
	}
	if err := json.Unmarshal([]byte(o.out), &report); err != nil {
		t.Fatalf("%v:\n%s", err, o.out)
	}
	if report.Plugin != bad || report.Failed != 1 || report.Skipped != 1 || report.Cases[0].Name != "revisions" ||
		report.Cases[0].Result != "fail" || !strings.Contains(report.Cases[0].Reason, "revision 4") {
		t.Errorf("report: %+v", report)
	}
	o.expect(t, 1, "", "1 case failed")
}

// What cannot be tested is said before anything starts.
func TestPluginTestArguments(t *testing.T) {
	plugin := write(t, "plugin", "")
	body := write(t, "body.hcl", "host = \"x\"\ntoken = env(\"NOT_SET\")\n")
	broken := write(t, "broken.json", `{"host": `)
	for _, tt := range []struct {
		says string
		args []string
	}{
		{"accepts 1 arg(s), received 0", nil},
		{"find the plugin: stat /no/such/plugin", []string{"/no/such/plugin"}},
		{`read the config: ` + body + `:2:9: env: the environment variable "NOT_SET" is not set`, []string{plugin, "--config", body}},
		{"read the config " + broken, []string{plugin, "--config", broken}},
		{`there is no case "x"; there are: handshake, `, []string{plugin, "--case", "x"}},
		{`--bad-config "x": want <field>=<file>`, []string{plugin, "--bad-config", "x"}},
		{"read --item", []string{plugin, "--item", body}},
	} {
		pluginTest(t, nil, tt.args...).expect(t, 1, "", tt.says)
	}
}

// The built-in provider takes the place of one that an author would have to write.
func TestPluginTestProvider(t *testing.T) {
	hello := filepath.Join(t.TempDir(), "hello")
	build := exec.Command("go", "build", "-o", hello, ".")
	build.Dir = "../../../examples/hello-plugin"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	config := write(t, "config.json", `{"url": "{{provider}}/messages", "token": "s3cret-token"}`)
	o := pluginTest(t, nil, hello, "--config", config, "--provider",
		"--case", "expired items unsent", "--case", "deadline honoured", "--case", "no secret in any log")
	o.expect(t, 0, "3 passed, 0 failed, 0 skipped", "")
}
