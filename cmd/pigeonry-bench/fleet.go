package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/engine"
)

// fleet are engines that this program runs side by side, in a folder that goes with them. A nil one is
// that of the embedded engines: there is none.
type fleet struct {
	dir     string
	engines []*engine.Engine
}

// makeFleet prepares engines. Those whose programs are not installed are returned as errors.
func makeFleet(names []string, durable bool) (f *fleet, missing []error, err error) {
	dir, err := os.MkdirTemp("", "pigeonry-engines-")
	if err != nil {
		return nil, nil, err
	}
	f = &fleet{dir: dir}
	for _, name := range names {
		e, err := engine.New(name, engine.Options{Dir: filepath.Join(dir, name), Durable: durable})
		switch {
		case errors.Is(err, engine.ErrMissing):
			missing = append(missing, err)
		case err != nil:
			return nil, nil, errors.Join(err, os.RemoveAll(dir))
		default:
			f.engines = append(f.engines, e)
		}
	}
	return f, missing, nil
}

// start runs all of them, or none.
func (f *fleet) start(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, e := range f.engines {
		group.Go(func() error { return e.Start(ctx) })
	}
	err := group.Wait()
	if err != nil {
		err = errors.Join(err, f.stop(false))
	}
	return err
}

// stop ends all of them and removes the folder, unless it is to be kept.
func (f *fleet) stop(keep bool) error {
	if f == nil {
		return nil
	}
	var group errgroup.Group
	for _, e := range f.engines {
		group.Go(e.Stop)
	}
	err := group.Wait()
	if keep {
		fmt.Fprintln(os.Stderr, "kept:", f.dir)
		return err
	}
	return errors.Join(err, os.RemoveAll(f.dir))
}

// url is where an engine is reached.
func (f *fleet) url(name string) string {
	if f == nil {
		return ""
	}
	for _, e := range f.engines {
		if e.Name() == name {
			return e.URL()
		}
	}
	return ""
}

// gatewayEnvironment is what a gateway has to be told to use the engines.
func (f *fleet) gatewayEnvironment() []string {
	var environment []string
	for _, name := range engine.Names() {
		if url := f.url(name); url != "" {
			_, variable := engine.VariablesOf(name)
			environment = append(environment, variable+"="+url)
		}
	}
	return environment
}

// fleetFor runs the engines that a measurement is made on: none if they are embedded.
func fleetFor(ctx context.Context, o options) (*fleet, error) {
	if o.engines == embedded {
		return nil, nil
	}
	f, missing, err := makeFleet(engine.Names(), true)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, errors.Join(append(missing, f.stop(false))...)
	}
	if err := f.start(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

// foreign is the environment without what is meant for other gateways than ours.
func foreign() []string {
	var kept []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PIGEONRY_") {
			kept = append(kept, v)
		}
	}
	return kept
}

// printExports prints what a shell has to be told so that tests and gateways use the engines.
func printExports(w io.Writer, urls map[string]string) {
	for _, name := range engine.Names() {
		if url := urls[name]; url != "" {
			test, gateway := engine.VariablesOf(name)
			fmt.Fprintf(w, "export %s='%s'\nexport %s='%s'\n", test, url, gateway, url)
		}
	}
}
