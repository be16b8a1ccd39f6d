package catalog

import (
	"cmp"
	"regexp"
	"strings"

	"golang.org/x/mod/semver"
)

// name is what a plugin or a channel may be called: it appears in paths and URLs.
var name = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// ValidName says whether a plugin or a channel may be called so.
func ValidName(s string) bool { return name.MatchString(s) }

// maxVersion bounds the length of a version, which is the name of a folder.
const maxVersion = 128

// ValidVersion says whether s is a whole semantic version (https://semver.org) without a leading v.
func ValidVersion(s string) bool {
	v := "v" + s
	return len(s) <= maxVersion && semver.IsValid(v) && semver.Canonical(v)+semver.Build(v) == v
}

// CompareVersions orders versions as semver does, and by their text where semver sees no difference; what is
// not a version comes first.
func CompareVersions(a, b string) int {
	return cmp.Or(semver.Compare("v"+a, "v"+b), strings.Compare(a, b))
}

// digest is how checksums are written.
var digest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// plainFile is a file name without a folder, and not hidden.
var plainFile = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
