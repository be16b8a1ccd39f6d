package author

import (
	"testing"
	"time"
)

func TestNextVersion(t *testing.T) {
	at := time.Date(2026, 11, 27, 16, 15, 0, 0, time.UTC)
	tests := []struct {
		name, source string
		known        []string
		want         string
	}{
		{"the first", "0.1.0", nil, "0.1.0-dev.20261127T161500"},
		{"older builds", "0.1.0", []string{"0.1.0-dev.20261127T161459"}, "0.1.0-dev.20261127T161500"},
		{"twice in a second", "0.1.0", []string{"0.1.0-dev.20261127T161500"}, "0.1.0-dev.20261127T161501"},
		{"a clock that was put back", "0.1.0", []string{"0.1.0-dev.20261127T170000", "0.1.0"}, "0.1.1-dev.20261127T161500"},
		{"the clock of another kind of build", "0.1.0", []string{"0.1.1-dev.20261127T170000"}, "0.1.0-dev.20261127T161500"},
		{"released", "0.1.0", []string{"0.0.9", "0.1.0"}, "0.1.1-dev.20261127T161500"},
		{"long released", "0.1.0", []string{"0.1.0", "2.0.9", "0.3.0"}, "2.0.10-dev.20261127T161500"},
		{"a new one in the source", "0.2.0", []string{"0.1.0"}, "0.2.0-dev.20261127T161500"},
		{"a pre-release in the source", "0.2.0-rc.1", []string{"0.1.0"}, "0.2.0-rc.1.dev.20261127T161500"},
		{"a released pre-release", "0.2.0-rc.1", []string{"0.2.0"}, "0.2.1-dev.20261127T161500"},
		{"build metadata", "0.2.0+abc", []string{"0.1.0+def"}, "0.2.0-dev.20261127T161500"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			have := nextVersion(test.source, test.known, at)
			if have != test.want || !devVersion.MatchString(have) {
				t.Errorf("have %s, want %s", have, test.want)
			}
		})
	}
}
