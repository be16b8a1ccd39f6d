package author

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// devVersion is a version that dev made.
var devVersion = regexp.MustCompile(`[-.]dev\.\d{8}T\d{6}$`)

// devTime is how a time is written in a version: so that later ones are higher.
const devTime = "20060102T150405"

// nextVersion is the version of the next build under development: a pre-release of what the source says, or of the
// version after the highest that is released, and above every one before it.
func nextVersion(source string, known []string, now time.Time) string {
	base, _, _ := strings.Cut(source, "+")
	for _, k := range known {
		if v := "v" + k; semver.Prerelease(v) == "" && semver.Compare(v, "v"+base) >= 0 {
			base = nextPatch(semver.Canonical(v))
		}
	}
	separator := "-"
	if semver.Prerelease("v"+base) != "" {
		separator = "."
	}
	for {
		version := base + separator + "dev." + now.UTC().Format(devTime)
		if !overtaken(version, known) {
			return version
		}
		now = now.Add(time.Second)
	}
}

// overtaken says whether a version under development is not above all earlier ones of its kind.
func overtaken(version string, known []string) bool {
	kind, _, _ := strings.Cut(version, "dev.")
	for _, k := range known {
		if devVersion.MatchString(k) && strings.HasPrefix(k, kind+"dev.") && semver.Compare("v"+k, "v"+version) >= 0 {
			return true
		}
	}
	return false
}

// nextPatch is the release after a canonical version.
func nextPatch(version string) string {
	var major, minor, patch uint64
	if _, err := fmt.Sscanf(version, "v%d.%d.%d", &major, &minor, &patch); err != nil {
		return strings.TrimPrefix(version, "v") // too large to count
	}
	return fmt.Sprintf("%d.%d.%d", major, minor, patch+1)
}
