package author_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/author"
)

func TestDescribe(t *testing.T) {
	tests := []struct{ name, script, fault string }{
		{"good", `echo '{"name": "pager", "version": "1.0.0", "channels": ["a", "b"], "more": 1}'`, ""},
		{"not JSON", `echo hello`, `found "hello"`},
		{"nothing", `:`, `found "nothing"`},
		{"it fails", `echo 'what is -describe?' >&2; exit 3`, "found exit status 3: what is -describe?"},
		{"no name", `echo '{"version": "1.0.0"}'`, `the name ""`},
		{"no version", `echo '{"name": "pager", "version": "one"}'`, `the version "one"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, err := author.Describe(t.Context(), program(t, filepath.Join(t.TempDir(), "p"), test.script))
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) || !strings.Contains(err.Error(), "expected JSON") {
					t.Errorf("have %v, want %q", err, test.fault)
				}
				return
			}
			if err != nil || d.Name != "pager" || d.Version != "1.0.0" || !slices.Equal(d.Channels, []string{"a", "b"}) {
				t.Errorf("have %+v, %v", d, err)
			}
		})
	}
	if _, err := author.Describe(t.Context(), filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("an absent program is described")
	}
}

func TestExecutable(t *testing.T) {
	dir := t.TempDir()
	one := program(t, filepath.Join(dir, "one", "p"), ":")
	program(t, filepath.Join(dir, "two", "p"), ":")
	program(t, filepath.Join(dir, "two", "q"), ":")
	for _, test := range []struct{ path, want, fault string }{
		{one, one, ""},
		{filepath.Join(dir, "one"), one, ""},
		{filepath.Join(dir, "two"), "", "more than one executable: p, q; name one of them"},
		{dir, "", "holds no executable; build the plugin first"},
		{filepath.Join(dir, "absent"), "", "no such file"},
	} {
		found, err := author.Executable(test.path)
		if found != test.want || (err == nil) != (test.fault == "") || (err != nil && !strings.Contains(err.Error(), test.fault)) {
			t.Errorf("%s: have %q, %v", test.path, found, err)
		}
	}
}
