package author

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

const (
	// noticeTimeout is how long a gateway may take to see what was installed.
	noticeTimeout = 20 * time.Second
	// noticeEvery is the time between two looks.
	noticeEvery = 100 * time.Millisecond
	// quietTime is how long nothing must have changed before a build begins.
	quietTime = 200 * time.Millisecond
)

// Gateway is the gateway beside which a plugin is developed.
type Gateway interface {
	// Versions are those of a plugin that the gateway knows; none if it has never seen the plugin.
	Versions(ctx context.Context, plugin string) ([]Version, error)
	// RollOut gives a version everything, and returns when it has it. An error says why it was taken back.
	RollOut(ctx context.Context, plugin, version string) error
	// Remove removes a version that is not in use.
	Remove(ctx context.Context, plugin, version string) error
}

// Version is one version of a plugin on a gateway.
type Version struct {
	Version string
	Active  bool
	Running bool   // its process is up
	Problem string // why it failed
}

// Dev keeps a plugin running on a gateway while its source changes.
type Dev struct {
	Source  string   // folder of the sources
	Others  []string // folders in it that hold no sources, such as the gateway's data
	Plugins string   // the gateway's plugins folder
	Install catalog.InstallOptions
	Sign    func(manifest string) error // nil: nothing is signed
	Gateway Gateway
	Out     io.Writer

	sources *sources
	name    string // of the plugin; empty until the first build
	version string // that the sources say
	saying  string // fingerprint of the lines of the sources in which the version stands
	current string // the version that carries messages as far as is known
	built   string // fingerprint of the sources that were built and rolled out last
	told    bool   // that the build does not heed VERSION
}

// Run builds, installs and rolls out at once and then at each change, until ctx ends. What goes wrong is told and
// changes nothing; only a folder that holds no plugin is an error.
func (d *Dev) Run(ctx context.Context) error {
	if err := d.open(); err != nil {
		return err
	}
	if _, err := buildCommand(ctx, d.sources.dir, "", ""); err != nil {
		return err
	}
	changed, err := d.sources.watch(ctx, quietTime)
	if err != nil {
		return err
	}
	d.turn(ctx, time.Now())
	for at := range changed { // ends with ctx
		d.turn(ctx, at)
	}
	d.say("stopped; %s", d.stays())
	return nil
}

func (d *Dev) open() error {
	dir, err := filepath.Abs(d.Source) // what is built is executed from there
	if err != nil {
		return err
	}
	if info, err := os.Stat(dir); err != nil {
		return fmt.Errorf("find the plugin's sources: %w", err)
	} else if !info.IsDir() {
		return fmt.Errorf("%s is no folder; name the one with the plugin's sources", d.Source)
	}
	d.sources = &sources{dir: dir}
	for _, o := range append([]string{d.Plugins}, d.Others...) {
		if o, err := filepath.Abs(o); err == nil {
			d.sources.others = append(d.sources.others, o)
		}
	}
	return nil
}

// stays says what carries messages.
func (d *Dev) stays() string {
	if d.current == "" {
		return "nothing was rolled out"
	}
	return d.name + " " + d.current + " carries the messages"
}

// say prints a line with the time.
func (d *Dev) say(format string, args ...any) {
	fmt.Fprintf(d.Out, time.Now().Format("15:04:05")+"  "+format+"\n", args...)
}

// quote prints what others said, below a line.
func (d *Dev) quote(text string) {
	if text = strings.TrimSpace(text); text != "" {
		fmt.Fprintln(d.Out, "          "+strings.ReplaceAll(text, "\n", "\n          "))
	}
}

// turn brings a change of the sources to the gateway, and tells how that went.
func (d *Dev) turn(ctx context.Context, saved time.Time) {
	state, err := d.sources.fingerprint()
	if err == nil && state == d.built {
		return // saved as it was
	}
	if err == nil {
		err = d.bring(ctx, state, saved)
	}
	if err == nil {
		d.built = state
		d.clean(ctx)
		return
	}
	d.built = "" // the next save tries again, whatever it changes
	if ctx.Err() != nil {
		return
	}
	failed, ok := errors.AsType[*BuildError](err)
	if !ok {
		first, rest, _ := strings.Cut(err.Error(), "\n")
		d.say("failed: %s; %s. Save a file to try again", first, d.stays())
		d.quote(rest)
		return
	}
	d.say("the build failed after %s: %v; %s", since(saved), failed.Err, d.stays())
	d.quote(failed.Output)
}

func since(t time.Time) string { return time.Since(t).Round(100 * time.Millisecond).String() }

// bring builds the sources, which are in a state, and gives what came out of it all messages.
func (d *Dev) bring(ctx context.Context, state string, saved time.Time) (err error) {
	folder, err := os.MkdirTemp("", "pigeonry-dev-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	b, version, err := d.make(ctx, state, folder)
	if err != nil {
		return err
	}
	duration := since(saved)
	if err := d.install(b, version); err != nil {
		return err
	}
	began := time.Now()
	if err := d.takeOver(ctx, version); err != nil {
		return err
	}
	d.current = version
	d.say("%s %s carries the messages: built in %s, took over in %s", d.name, version, duration, since(began))
	return nil
}

// make builds the sources as a version of its own. What they say themselves it learns by building them as they are, first and
// whenever the lines in which the version stands have changed.
func (d *Dev) make(ctx context.Context, state, folder string) (built, string, error) {
	if d.version == "" || d.changedVersion() {
		b, err := build(ctx, d.sources.dir, filepath.Join(folder, "source"), "")
		if err != nil {
			return b, "", err
		}
		d.name, d.version = b.Name, b.Version
		d.saying, _ = d.sources.linesWith(d.version)
		if now, err := d.sources.fingerprint(); err != nil || now != state {
			d.saying = "" // they changed under the build; the next turn learns it anew
		}
	}
	version := nextVersion(d.version, d.known(ctx), time.Now())
	b, err := build(ctx, d.sources.dir, filepath.Join(folder, "version"), version)
	switch {
	case err != nil:
		return b, "", err
	case b.Name != d.name:
		d.name, d.current = b.Name, ""
	}
	if b.Version != version && !d.told {
		d.told = true
		d.say("the program calls itself %s, and not %s: build.sh should heed the variable VERSION, a Go program have a variable called version", b.Version, version)
	}
	return b, version, nil
}

// changedVersion says whether the sources may say another version than before.
func (d *Dev) changedVersion() bool {
	saying, err := d.sources.linesWith(d.version)
	return err != nil || saying == "" || saying != d.saying
}

// known are the versions that must not be used again: those in the plugins folder and those that the gateway knows.
func (d *Dev) known(ctx context.Context) []string {
	var known []string
	entries, _ := os.ReadDir(filepath.Join(d.Plugins, d.name)) // absent before the first installation
	for _, e := range entries {
		if catalog.ValidVersion(e.Name()) {
			known = append(known, e.Name())
		}
	}
	versions, _ := d.Gateway.Versions(ctx, d.name) // whoever needs the gateway next says what is wrong with it
	for _, v := range versions {
		if d.current == "" && v.Active {
			d.current = v.Version
		}
		known = append(known, v.Version)
	}
	return known
}

// install puts a build into the plugins folder.
func (d *Dev) install(b built, version string) error {
	manifest := catalog.Manifest{Name: b.Name, Version: version, Channels: b.Channels, Plaintext: d.Install.Manifest.Plaintext}
	if _, err := catalog.Pack(b.executable, catalog.PackOptions{Manifest: manifest}); err != nil {
		return err
	}
	folder := filepath.Dir(b.executable)
	if d.Sign != nil {
		if err := d.Sign(filepath.Join(folder, catalog.ManifestFile)); err != nil {
			return err
		}
	}
	options := d.Install
	options.Manifest = catalog.Manifest{}
	_, err := catalog.Install(d.Plugins, folder, options)
	return err
}

// takeOver waits until the gateway has seen a version, gives it all messages, and waits until it has them. The first
// version of a plugin gets them by itself.
func (d *Dev) takeOver(ctx context.Context, version string) error {
	wait, cancel := context.WithTimeout(ctx, noticeTimeout)
	defer cancel()
	tick := time.NewTicker(noticeEvery)
	defer tick.Stop()
	for begun := false; ; {
		v, first, err := d.find(wait, version)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && wait.Err() == nil:
			return err
		case v.Active && v.Problem != "":
			return fmt.Errorf("%s %s does not start: %s", d.name, version, v.Problem)
		case v.Active && v.Running:
			return nil
		case v.Version != "" && !v.Active && !first && !begun:
			if err := d.Gateway.RollOut(ctx, d.name, version); err != nil {
				return err
			}
			begun = true // and soon it is put in force
			continue
		}
		select {
		case <-tick.C:
		case <-wait.Done():
			if v.Version != "" {
				return fmt.Errorf("%s %s is not up within %s", d.name, version, noticeTimeout)
			}
			return fmt.Errorf("the gateway has not seen %s %s within %s; does it look for plugins in %s?", d.name, version, noticeTimeout, d.Plugins)
		}
	}
}

// find returns a version as the gateway knows it, a zero one if it does not. It is the first if the gateway has not
// made any version active so far: it will by itself.
func (d *Dev) find(ctx context.Context, version string) (found Version, first bool, err error) {
	versions, err := d.Gateway.Versions(ctx, d.name)
	first = true
	for _, v := range versions {
		if v.Version == version {
			found = v
		}
		first = first && !v.Active
	}
	return found, first, err
}

// clean removes the versions that dev made and that nobody needs any more.
func (d *Dev) clean(ctx context.Context) {
	versions, err := d.Gateway.Versions(ctx, d.name)
	for _, v := range versions {
		if devVersion.MatchString(v.Version) && !v.Active && v.Version != d.current {
			err = cmp.Or(err, d.Gateway.Remove(ctx, d.name, v.Version))
		}
	}
	if err != nil && ctx.Err() == nil {
		d.say("an old version was not removed: %v", err)
	}
}
