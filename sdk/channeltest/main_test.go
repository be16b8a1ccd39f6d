package channeltest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// binaries is where TestMain puts the executables under testdata.
var binaries string

func TestMain(m *testing.M) {
	var err error
	if binaries, err = build("goodplugin", "badplugin"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(binaries)
		os.Exit(code)
	}))
}

func build(names ...string) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "channeltest"); err != nil {
		return "", err
	}
	for _, name := range names {
		out, err := exec.Command("go", "build", "-o", filepath.Join(dir, name), "./testdata/"+name).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return dir, nil
}
