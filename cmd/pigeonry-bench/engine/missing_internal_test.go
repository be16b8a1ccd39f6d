package engine

import (
	"os"
	"path/filepath"
	"testing"
)

func TestNewestVersionIsFound(t *testing.T) {
	root := t.TempDir()
	for _, version := range []string{"9", "15", "17", "8.4"} {
		dir := filepath.Join(root, version, "bin")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if version == "17" {
			continue // removed but for its folder
		}
		if err := os.WriteFile(filepath.Join(dir, "postgres"), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got, err := locate("postgres", filepath.Join(root, "*", "bin"), "postgresql")
	if want := filepath.Join(root, "15", "bin", "postgres"); err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}
