package pluginhost

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

// validName is what a plugin or a channel may be called: it appears in paths and URLs.
var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// candidate is one version of one plugin in the plugins folder.
type candidate struct {
	name    string
	version string
	path    string      // absolute path of the executable
	problem *startError // why it cannot be started; nil: nothing known
}

// scan reads the catalog: every <dir>/<name>/<version>/<name>, sorted by name, then by version from
// the lowest. Names that begin with a dot or end in .tmp are installations in progress and skipped;
// whatever else is wrong is a candidate with a problem, so that people see it.
func scan(dir string) ([]candidate, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find plugins: %w", err)
	}
	names, err := folders(dir)
	if err != nil {
		return nil, fmt.Errorf("read the plugins folder: %w", err)
	}
	var found []candidate
	for _, name := range names {
		found = append(found, scanPlugin(dir, name)...)
	}
	return found, nil
}

// scanPlugin lists the versions of one plugin from the lowest to the highest.
func scanPlugin(dir, name string) []candidate {
	folder := filepath.Join(dir, name)
	if !validName.MatchString(name) {
		return []candidate{{name: name, path: folder, problem: &startError{
			what: "invalid plugin name", expected: "a folder named with a–z, 0–9, - and _, at most 63 characters",
			found: fmt.Sprintf("%q", name), remedy: "rename the folder", permanent: true,
		}}}
	}
	versions, err := folders(folder)
	if err != nil {
		return []candidate{{name: name, path: folder, problem: &startError{
			what: "unreadable plugin folder", expected: "a readable folder", found: err.Error(),
			remedy: "check the permissions of " + folder, permanent: true, cause: err,
		}}}
	}
	found := make([]candidate, 0, len(versions))
	for _, version := range versions {
		path := filepath.Join(folder, version, name)
		found = append(found, candidate{name: name, version: version, path: path, problem: inspect(version, path)})
	}
	slices.SortFunc(found, func(a, b candidate) int { return compareVersions(a.version, b.version) })
	return found
}

// folders lists the folders in dir, following symbolic links, without those that are being written.
func folders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && info.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// inspect finds what can be known to be wrong with an installed version without starting it.
func inspect(version, path string) *startError {
	if !isVersion(version) {
		return &startError{
			what: "invalid version", expected: "a folder named by a semantic version such as 1.4.0",
			found: fmt.Sprintf("%q", version), remedy: "rename the folder", permanent: true,
		}
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return &startError{
			what: "missing file", expected: "the executable " + path, found: "no such file",
			remedy: "install the plugin there, under the name of its folder", permanent: true, cause: err,
		}
	case !info.Mode().IsRegular():
		return &startError{
			what: "not a file", expected: "the executable " + path, found: info.Mode().Type().String(),
			remedy: "install the plugin there", permanent: true,
		}
	case info.Mode().Perm()&0o111 == 0:
		return notExecutable(path, info.Mode())
	}
	return nil
}

// isVersion says whether s is a whole semantic version (https://semver.org) without a leading v.
func isVersion(s string) bool {
	v := "v" + s
	return semver.IsValid(v) && semver.Canonical(v)+semver.Build(v) == v
}

// compareVersions orders versions as semver does; what is not a version comes first.
func compareVersions(a, b string) int {
	return cmp.Or(semver.Compare("v"+a, "v"+b), strings.Compare(a, b))
}

// checksum returns the SHA-256 of a file in hexadecimal digits.
func checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open plugin: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read plugin: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
