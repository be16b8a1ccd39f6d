package author

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// describeTimeout bounds how long a program may take to say who it is.
const describeTimeout = 10 * time.Second

// maxExcerpt bounds what is shown of the words of a program, in bytes.
const maxExcerpt = 2 << 10

// Description is what a plugin's program says of itself with -describe.
type Description struct {
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Channels []string `json:"channels"`
}

// Describe asks a program who it is.
func Describe(ctx context.Context, executable string) (Description, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	path, err := filepath.Abs(executable)
	if err != nil {
		return Description{}, err
	}
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, path, "-describe")
	cmd.Stdout, cmd.Stderr = &out, &complaint
	cmd.WaitDelay = time.Second
	refuse := func(found string) error {
		return fmt.Errorf("ask %s who it is: expected JSON with name and version from -describe, found %s; a plugin made with the SDK prints it by itself",
			executable, found)
	}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return Description{}, refuse("no end within " + describeTimeout.String())
		}
		return Description{}, refuse(fmt.Sprintf("%v: %s", err, excerpt(complaint.String())))
	}
	var d Description
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		return Description{}, refuse(fmt.Sprintf("%q", excerpt(out.String())))
	}
	switch {
	case !catalog.ValidName(d.Name):
		return d, refuse(fmt.Sprintf("the name %q, which is not made of a–z, 0–9, - and _", d.Name))
	case !catalog.ValidVersion(d.Version):
		return d, refuse(fmt.Sprintf("the version %q, which is no semantic version such as 1.4.0", d.Version))
	}
	return d, nil
}

// excerpt is the end of a text, or says that there is none.
func excerpt(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > maxExcerpt {
		text = "…" + strings.ToValidUTF8(text[len(text)-maxExcerpt:], "")
	}
	return cmp.Or(text, "nothing")
}

// Executable finds the program that a path names: the file itself, or in a folder the one that its plugin.hcl names,
// or the only one that can be executed.
func Executable(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return path, nil
	}
	manifest, err := catalog.ReadManifest(filepath.Join(path, catalog.ManifestFile))
	if err == nil {
		return filepath.Join(path, manifest.Executable), nil
	}
	var found []string
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), catalog.ManifestFile) {
			continue // whatever its mode
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			found = append(found, e.Name())
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%s holds no executable; build the plugin first, and name the folder of one version of it", path)
	case 1:
		return filepath.Join(path, found[0]), nil
	default:
		return "", errors.New(path + " holds more than one executable: " + strings.Join(found, ", ") + "; name one of them")
	}
}
