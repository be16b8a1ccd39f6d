package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pigeonry/pigeonry/core/gateway/settings"
)

// readConnectorConfig reads the config of a connector from a file, JSON or HCL. Each {{provider}} in it
// becomes the address. Without a file it is empty.
func readConnectorConfig(file string, environ []string, provider string) (map[string]any, error) {
	if file == "" {
		return map[string]any{}, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the config: %w", err)
	}
	text = bytes.ReplaceAll(text, []byte("{{provider}}"), []byte(provider))
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return readConfigBody(file, text, environ)
	}
	var config map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // a large whole number stays as it was written
	if err := decoder.Decode(&config); err != nil {
		return nil, fmt.Errorf("read the config %s: %w", file, err)
	}
	return config, nil
}

// What is put around the body of a config block so that the gateway's own reader reads it.
const (
	beforeBody = "connector \"test\" \"test\" {\n  plugin = \"test\"\n  config {\n"
	afterBody  = "\n  }\n}\n"
)

// readConfigBody reads HCL as it stands in a config block of gateway.hcl, env() and file() included.
func readConfigBody(file string, text []byte, environ []string) (config map[string]any, err error) {
	dir, err := os.MkdirTemp("", "pigeonry")
	if err != nil {
		return nil, fmt.Errorf("read the config: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	whole := filepath.Join(dir, defaultFile)
	if err := os.WriteFile(whole, []byte(beforeBody+string(text)+afterBody), 0o600); err != nil {
		return nil, fmt.Errorf("read the config: %w", err)
	}
	s, err := settings.Load(settings.Sources{File: whole, Environ: withoutSettings(environ)})
	if faults, ok := errors.AsType[settings.Faults](err); ok {
		return nil, fmt.Errorf("read the config: %w", inBody(faults, whole, file))
	} else if err != nil {
		return nil, fmt.Errorf("read the config %s: %w", file, err)
	}
	return s.Connectors[0].Config, nil
}

// withoutSettings leaves out the variables that are settings of a gateway.
func withoutSettings(environ []string) []string {
	var out []string
	for _, e := range environ {
		if !strings.HasPrefix(e, "PIGEONRY_") {
			out = append(out, e)
		}
	}
	return out
}

// inBody moves the places of faults from the whole file to the body's own.
func inBody(faults settings.Faults, whole, file string) error {
	errs := make([]error, len(faults))
	for i, f := range faults {
		place := strings.Split(strings.TrimPrefix(f.Position, whole+":"), ":")
		if line, err := strconv.Atoi(place[0]); err == nil {
			place[0] = strconv.Itoa(line - strings.Count(beforeBody, "\n"))
			f.Position = file + ":" + strings.Join(place, ":")
		}
		errs[i] = errors.New(settings.Faults{f}.Error())
	}
	return errors.Join(errs...)
}
