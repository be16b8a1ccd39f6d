package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// functions are what an expression in the file may call: they keep secrets out of it.
func functions(lookup func(string) (string, bool)) map[string]function.Function {
	return map[string]function.Function{"env": envFunction(lookup), "file": fileFunction()}
}

// envFunction makes env("NAME"), the value of an environment variable, which must be set.
func envFunction(lookup func(string) (string, bool)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "name", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			variable := args[0].AsString()
			value, ok := lookup(variable)
			if !ok || value == "" {
				return cty.NilVal, wrong("the environment variable "+quote(variable)+" is not set", "set it where the gateway is started")
			}
			return cty.StringVal(value), nil
		},
	})
}

// maxSecretFile bounds what file() reads: a key or a certificate, not a disk.
const maxSecretFile = 1 << 20

// fileFunction makes file("path"), the content of a file without the line ends at its end.
func fileFunction() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			content, err := readBounded(args[0].AsString(), maxSecretFile)
			if err != nil {
				return cty.NilVal, err
			}
			return cty.StringVal(strings.TrimRight(string(content), "\r\n")), nil
		},
	})
}

// readBounded reads a regular file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, wrong("cannot read "+quote(path)+": "+reason(err), "give the path of a readable file, relative to the working directory")
	case !info.Mode().IsRegular():
		return nil, wrong("cannot read "+quote(path)+": it is not a regular file", "give the path of a file")
	case info.Size() > limit:
		return nil, wrong(fmt.Sprintf("cannot read %q: it has %d bytes", path, info.Size()), fmt.Sprintf("at most %d are read", limit))
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, wrong("cannot read "+quote(path)+": "+reason(err), "give the path of a readable file, relative to the working directory")
	}
	return content, nil
}

// reason is the system's word for what went wrong, without the operation and the path.
func reason(err error) string {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err.Error()
	}
	return err.Error()
}
