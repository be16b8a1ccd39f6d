package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

// Every row is a manifest that cannot be used, with all that is to be said about it.
func TestManifestFaults(t *testing.T) {
	good := "name = \"sms\"\nversion = \"1.0.0\"\nsha256 = \"" + zeros + "\"\n"
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{
			"1:1: the manifest has no name — add name = …",
			"1:1: the manifest has no sha256 — add sha256 = …",
			"1:1: the manifest has no version — add version = …",
		}},
		{"syntax", good + "channels = [\n", []string{
			"5:1: missing expression — Expected the start of an expression, but found the end of the file.",
		}},
		{"unknown key", good + "chanels = []\n", []string{`4:1: unknown key "chanels" — did you mean "channels"?`}},
		{"key of another world", good + "dependencies = []\n", []string{
			`4:1: unknown key "dependencies" — known here: channels, executable, name, plaintext, sha256, signature, version`,
		}},
		{"block", good + "channels {}\n", []string{`4:1: unknown block "channels" — a manifest has keys alone: write key = …`}},
		{"twice", good + "name = \"sms\"\n", []string{
			`4:1: attribute redefined — The argument "name" was already set at plugin.hcl:1,1-5. Each argument may be set only once.`,
		}},
		{"all at once", "name = \"S M S\"\nversion = \"v1\"\nsha256 = \"abc\"\nexecutable = \"../../bin/sh\"\nsignature = \"/etc/passwd\"\nchannels = [\"sms\", \"sms\", \"S\", 1]\nplaintext = \"yes\"\n", []string{
			`1:8: "S M S" is not possible here — use a–z, 0–9, - and _, at most 63 characters`,
			`2:11: "v1" is not possible here — write a semantic version, such as "1.4.0"`,
			`3:10: "abc" is not possible here — write the 64 digits that sha256sum prints, in small letters`,
			`4:14: "../../bin/sh" is not possible here — name a file beside plugin.hcl, without a folder`,
			`5:13: "/etc/passwd" is not possible here — name a file beside plugin.hcl, without a folder`,
			`6:20: the channel "sms" is given twice — keep one`,
			`6:27: "S" is not possible as a channel — use a–z, 0–9, - and _, at most 63 characters`,
			`6:32: not a plain text — write it in quotes, like "1.4.0", without ${ }`,
			`7:13: plaintext is neither true nor false — write one of them without quotes`,
		}},
		{"short version", strings.Replace(good, "1.0.0", "1.0", 1), []string{`2:11: "1.0" is not possible here — write a semantic version, such as "1.4.0"`}},
		{"without quotes", strings.Replace(good, `"sms"`, "sms", 1), []string{`1:8: not a plain text — write it in quotes, like "1.4.0", without ${ }`}},
		{"computed", strings.Replace(good, `"sms"`, `"${"s"}ms"`, 1), []string{`1:8: not a plain text — write it in quotes, like "1.4.0", without ${ }`}},
		{"computed list", good + "channels = [for a in [1,2]: \"x${a}\"]\n", []string{`4:12: channels is not a list — write channels = ["sms"]`}},
		{"manifest as executable", good + "executable = \"plugin.hcl\"\n", []string{`4:14: "plugin.hcl" is not possible here — name a file beside plugin.hcl, without a folder`}},
		{"signature as executable", good + "executable = \"plugin.hcl.sig\"\n", []string{`4:14: "plugin.hcl.sig" is not possible here — name a file beside plugin.hcl, without a folder`}},
		{"one file for two", good + "executable = \"x\"\nsignature = \"x\"\n", []string{"5:13: signature and executable are the same file — name two files"}},
		{"hidden executable", good + "executable = \".sms\"\n", []string{`4:14: ".sms" is not possible here — name a file beside plugin.hcl, without a folder`}},
		{"deep", good + "channels = " + strings.Repeat("[", 60_000), []string{"4:28: the manifest is nested too deeply — it needs plain texts and one list"}},
		{"endless signs", good + "plaintext = " + strings.Repeat("!", 60_000) + "true\n", []string{"4:29: the manifest is nested too deeply — it needs plain texts and one list"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			write(t, "plugin.hcl", test.text, 0o644)
			_, err := catalog.ReadManifest("plugin.hcl")
			found, ok := errors.AsType[catalog.ManifestError](err)
			if !ok {
				t.Fatalf("want faults, have %v", err)
			}
			for i := range test.want {
				test.want[i] = "plugin.hcl:" + test.want[i]
			}
			if want := strings.Join(test.want, "\n"); found.Error() != want {
				t.Errorf("want\n%s\nhave\n%s", want, found)
			}
		})
	}
}

func TestUnreadableManifest(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "plugin.hcl")
	if _, err := catalog.ReadManifest(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing one gives %v", err)
	}
	if _, err := catalog.ReadManifest(dir); fault(t, err).Found != "a folder" {
		t.Errorf("a folder gives %v", err)
	}
	write(t, path, strings.Repeat("# long\n", 10_000), 0o644)
	if _, err := catalog.ReadManifest(path); fault(t, err).What != "oversize "+path {
		t.Errorf("a large one gives %v", err)
	}
}

func TestEncode(t *testing.T) {
	short := catalog.Manifest{Name: "sms", Version: "1.0.0", SHA256: zeros}
	want := "name    = \"sms\"\nversion = \"1.0.0\"\nsha256  = \"" + zeros + "\"\n"
	if have := string(short.Encode()); have != want {
		t.Errorf("want\n%s\nhave\n%s", want, have)
	}
	all := catalog.Manifest{
		Name: "sms", Version: "1.0.0-rc.1+b2", Channels: []string{"sms", "mms"}, SHA256: zeros, Executable: "sms.pyz",
		Plaintext: true, Signature: "sms.minisig",
	}
	path := filepath.Join(t.TempDir(), "plugin.hcl")
	write(t, path, string(all.Encode()), 0o644)
	if have, err := catalog.ReadManifest(path); err != nil || !reflect.DeepEqual(have, all) {
		t.Errorf("want %+v, have %+v, %v", all, have, err)
	}
}

// Whatever stands in the file, ReadManifest returns: a manifest that survives being written, or faults that each
// name their place.
func FuzzReadManifest(f *testing.F) {
	for _, seed := range []string{
		"", "name = \"sms\"\nversion = \"1.0.0\"\nsha256 = \"" + zeros + "\"\n",
		"name=\"a\"\nversion=\"0.0.0\"\nsha256=\"" + zeros + "\"\nchannels=[\"a\",\"b\"]\nplaintext=true\nexecutable=\"x.y\"\nsignature=\"z\"",
		"\xef\xbb\xbfname = \"x\"", "name = <<E\nsms\nE\n", "channels = [for a in [1]: a]", "name = \"${x}\"", "plaintext = !true", "a \"b\" {", "channels = ((((1",
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "plugin.hcl")
	again := filepath.Join(f.TempDir(), "again.hcl")
	f.Fuzz(func(t *testing.T, text []byte) {
		write(t, path, string(text), 0o644)
		m, err := catalog.ReadManifest(path)
		if err == nil {
			write(t, again, string(m.Encode()), 0o644)
			if have, err := catalog.ReadManifest(again); err != nil || !reflect.DeepEqual(have, m) {
				t.Errorf("want %+v, have %+v, %v", m, have, err)
			}
			return
		}
		if _, ok := errors.AsType[*catalog.Fault](err); ok {
			return // it is too large
		}
		found, ok := errors.AsType[catalog.ManifestError](err)
		if !ok || len(found) == 0 {
			t.Fatalf("want faults, have %v", err)
		}
		for _, line := range found {
			if !strings.HasPrefix(line, path+":") || !strings.Contains(line, " — ") || strings.Contains(line, "\n") {
				t.Errorf("a fault without place or remedy: %q", line)
			}
		}
	})
}
