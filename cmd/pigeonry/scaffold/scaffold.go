// Package scaffold writes the first state of a plugin's project: code, tests, build script and README, in Go, Python
// or JavaScript.
//
// What it writes is source that is built and tested here: the folder golang is a program of this module; what serves
// the contract in the other languages are the examples; and what stands beside it is tested in the projects that come
// out of it.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pigeonry/pigeonry/examples"
	"github.com/pigeonry/pigeonry/proto"
)

//go:embed common golang python node
var templates embed.FS

// Project is what can be chosen about a new plugin.
type Project struct {
	Name     string // of the plugin
	Channel  string // that it serves
	Language string // one of Languages
	Module   string // the Go module; Go alone
	SDK      string // folder of a checkout of Pigeonry; Go alone
}

// language is how a project in it is put together.
type language struct {
	folder string                          // of its own templates
	next   []string                        // what to do first, in the project's folder
	more   func(p Project, f *files) error // what else it consists of
}

var languages = map[string]language{
	"go":     {"golang", []string{"go test ./...", "./build.sh dist"}, goModule},
	"python": {"python", []string{"python3 -m unittest", "./build.sh dist"}, pythonSources},
	"node":   {"node", []string{"npm install", "npm test", "./build.sh dist"}, nodeSources},
}

// Languages are the names of those in which a project can be written.
func Languages() []string { return slices.Sorted(maps.Keys(languages)) }

// Next are the commands that an author runs first, in the folder of the project.
func (p Project) Next() []string { return languages[p.Language].next }

// Write writes the project into a folder, which is absent or empty, and returns the files in it.
func (p Project) Write(dir string) ([]string, error) {
	l, ok := languages[p.Language]
	if !ok {
		return nil, fmt.Errorf("there is no project in %q; choose one of %s", p.Language, strings.Join(Languages(), ", "))
	}
	f := &files{content: map[string][]byte{}}
	f.take(templates, "common")
	f.take(templates, l.folder)
	f.err = errors.Join(f.err, l.more(p, f))
	if f.err != nil {
		return nil, f.err
	}
	f.personalize(p)
	return f.write(dir)
}

// files are those of a project by their paths in it.
type files struct {
	content map[string][]byte
	err     error
}

// take adds all files of a folder.
func (f *files) take(source fs.FS, folder string) {
	f.err = errors.Join(f.err, fs.WalkDir(source, folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(source, name)
		inside := strings.TrimPrefix(name, folder+"/")
		if inside == "gitignore" { // with its dot it would be a rule of this repository
			inside = ".gitignore"
		}
		f.content[inside] = content
		return err
	}))
}

// replace changes a text that must be there.
func (f *files) replace(file, from, to string) {
	if !bytes.Contains(f.content[file], []byte(from)) {
		f.err = errors.Join(f.err, fmt.Errorf("the template %s lacks %q", file, from))
		return
	}
	f.content[file] = bytes.ReplaceAll(f.content[file], []byte(from), []byte(to))
}

// What the templates call the plugin and its channel.
const (
	placeholderName    = "my-plugin"
	placeholderChannel = "my-channel"
)

// personalize gives the plugin its name.
func (f *files) personalize(p Project) {
	for name, content := range f.content {
		content = bytes.ReplaceAll(content, []byte(placeholderName), []byte(p.Name))
		f.content[name] = bytes.ReplaceAll(content, []byte(placeholderChannel), []byte(p.Channel))
	}
}

// write puts the files into a folder.
func (f *files) write(dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // sources are no secret
		return nil, err
	}
	if there, err := os.ReadDir(dir); err != nil {
		return nil, err
	} else if len(there) > 0 {
		return nil, fmt.Errorf("%s is not empty: it has %s; name another folder, or empty this one", dir, there[0].Name())
	}
	names := slices.Sorted(maps.Keys(f.content))
	for _, name := range names {
		file := filepath.Join(dir, filepath.FromSlash(name))
		mode := fs.FileMode(0o644)
		if path.Ext(name) == ".sh" {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // sources are no secret
			return nil, err
		}
		if err := os.WriteFile(file, f.content[name], mode); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// pythonSources makes the project of the example in Python.
func pythonSources(_ Project, f *files) error {
	f.take(examples.Files, "python-plugin")
	f.content["channel.proto"] = proto.Channel
	f.replace("plugin/channel.py", "webhook-python", placeholderName)
	f.replace("plugin/channel.py", `"webhook"`, `"`+placeholderChannel+`"`)
	return nil
}

// nodeSources makes the project of the example in JavaScript.
func nodeSources(_ Project, f *files) error {
	f.take(examples.Files, "node-plugin")
	f.content["src/channel.proto"] = proto.Channel
	f.replace("src/channel.js", "webhook-node", placeholderName)
	f.replace("src/channel.js", "'webhook'", "'"+placeholderChannel+"'")
	f.replace("src/gateway.js", "../../../proto/channel/v1/channel.proto", "./channel.proto")
	f.replace("package.json", `"pigeonry-node-plugin"`, `"`+placeholderName+`"`)
	f.replace("package.json", "A channel plugin of Pigeonry in JavaScript, without an SDK", "A channel of Pigeonry")
	f.replace("package.json", "  \"license\": \"Apache-2.0\",\n", "")
	// The sources are modules; what is built of them is not, wherever it lies.
	f.replace("package.json", "  \"type\": \"module\",\n", "")
	f.content["src/package.json"] = []byte("{\n  \"type\": \"module\"\n}\n")
	f.replace("package.json", "  \"engines\"", "  \"scripts\": {\n    \"build\": \"./build.sh dist\",\n    \"test\": \"node --test test/\"\n  },\n  \"engines\"")
	f.replace("package-lock.json", `"pigeonry-node-plugin"`, `"`+placeholderName+`"`)
	return nil
}
