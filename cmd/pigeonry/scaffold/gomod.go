package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/modfile"
)

// sdkModule is the module that a plugin in Go imports.
const sdkModule = "github.com/pigeonry/pigeonry"

// FindSDK looks for a checkout of Pigeonry: at the paths, and in the folders around each. It returns "" if there is
// none.
func FindSDK(paths ...string) string {
	for _, p := range paths {
		dir, err := filepath.Abs(p)
		if err != nil || p == "" {
			continue
		}
		for ; ; dir = filepath.Dir(dir) {
			if isSDK(dir) {
				return dir
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return ""
}

// isSDK says whether a folder is a checkout of Pigeonry.
func isSDK(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && modfile.ModulePath(text) == sdkModule
}

// goModule writes go.mod and go.sum for a project in Go: those of an example in the checkout, so that they fit it and
// the project builds without asking anybody.
func goModule(p Project, f *files) error {
	if p.SDK == "" {
		return errors.New("a plugin in Go needs a checkout of Pigeonry, since its module is not published; name its folder with --sdk or PIGEONRY_SDK")
	}
	sdk, err := filepath.Abs(p.SDK)
	if err != nil {
		return err
	}
	if !isSDK(sdk) {
		return fmt.Errorf("%s is no checkout of Pigeonry: it has no go.mod of the module %s", p.SDK, sdkModule)
	}
	example := filepath.Join(sdk, "examples", "hello-plugin")
	sums, err := os.ReadFile(filepath.Join(example, "go.sum"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the checkout %s is not whole: %w", p.SDK, err)
	} else if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(example, "go.mod"))
	if err != nil {
		return err
	}
	mod, err := modfile.Parse(filepath.Join(example, "go.mod"), text, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(mod.AddModuleStmt(p.Module), mod.AddReplace(sdkModule, "", sdk, "")); err != nil {
		return err
	}
	mod.Cleanup()
	f.content["go.sum"] = sums
	f.content["go.mod"], err = mod.Format()
	return err
}
