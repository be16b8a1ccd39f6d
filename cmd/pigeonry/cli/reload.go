package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/pigeonry/pigeonry/core/gateway/settings"
)

// quiet is how long the folder of the configuration file must be quiet before the file is read: an editor
// or an orchestrator changes it in several steps.
const quiet = 200 * time.Millisecond

// reloader reads the settings again when their file changes or SIGHUP comes.
type reloader struct {
	file    string // "" is none
	seen    string // fingerprint of what was read last
	hangups <-chan os.Signal
	level   *slog.LevelVar // of logger
	logger  *slog.Logger
	load    func() (*settings.Settings, error)
}

// follow implements Follow.
func (r *reloader) follow(ctx context.Context, apply func(context.Context, *settings.Settings) error) {
	var events chan fsnotify.Event // nil: nothing is watched, and nothing ever comes
	var failures chan error
	if r.file != "" {
		watcher, err := watchFolder(filepath.Dir(r.file))
		if err != nil {
			r.logger.WarnContext(ctx, "settings: the configuration file is not watched; send SIGHUP after a change",
				"file", r.file, "error", err)
		} else {
			defer func() { _ = watcher.Close() }() // nothing can be done about it
			events, failures = watcher.Events, watcher.Errors
		}
	}
	// The file may have changed between its reading and the watch.
	settled := time.NewTimer(quiet)
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.hangups:
			r.logger.InfoContext(ctx, "settings: SIGHUP came, reading them again")
			r.reload(ctx, apply)
		case event := <-events:
			if r.concerns(event) {
				settled.Reset(quiet)
			}
		case err := <-failures:
			r.logger.WarnContext(ctx, "settings: a change of the configuration file may have been missed", "error", err)
			settled.Reset(quiet)
		case <-settled.C:
			if r.file != "" && fingerprint(r.file) != r.seen {
				r.logger.InfoContext(ctx, "settings: the configuration file changed, reading it again", "file", r.file)
				r.reload(ctx, apply)
			}
		}
	}
}

// watchFolder watches the folder of the configuration file, not the file: most programs replace a file
// instead of writing to it, and a watch would stay with the old one.
func watchFolder(folder string) (*fsnotify.Watcher, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", folder, err)
	}
	if err := watcher.Add(folder); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", folder, err), watcher.Close())
	}
	return watcher, nil
}

// concerns says whether something may have happened to the file. A neighbor that comes or goes may be the
// link that the file is behind, as in a mounted Kubernetes ConfigMap; one that is only written to is not.
func (r *reloader) concerns(event fsnotify.Event) bool {
	if filepath.Base(event.Name) == filepath.Base(r.file) {
		return true
	}
	return event.Has(fsnotify.Create) || event.Has(fsnotify.Rename) || event.Has(fsnotify.Remove)
}

// reload reads the settings and puts them in force, all or nothing.
func (r *reloader) reload(ctx context.Context, apply func(context.Context, *settings.Settings) error) {
	r.seen = fingerprint(r.file)
	s, err := r.load()
	if err == nil {
		err = apply(ctx, s)
	}
	if err != nil {
		r.refuse(ctx, err)
		return
	}
	r.level.Set(s.Log.Level)
	r.warn(ctx, s)
}

// refuse logs everything that is wrong with new settings.
func (r *reloader) refuse(ctx context.Context, err error) {
	const conclusion = "settings: the new ones are refused, the earlier ones stay in force"
	faults, ok := errors.AsType[settings.Faults](err)
	if !ok {
		r.logger.ErrorContext(ctx, conclusion, "error", err)
		return
	}
	for _, fault := range faults {
		r.logger.ErrorContext(ctx, "settings: fault", "at", fault.Position, "problem", fault.Problem, "remedy", fault.Remedy)
	}
	r.logger.ErrorContext(ctx, conclusion, "faults", len(faults))
}

func (r *reloader) warn(ctx context.Context, s *settings.Settings) {
	for _, warning := range s.Warnings {
		r.logger.WarnContext(ctx, "settings", "warning", warning)
	}
}

// fingerprint tells states of a file apart: by its content, or by why it cannot be read.
func fingerprint(file string) string {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return info.Mode().Type().String() // to open a pipe might take for ever
	}
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer f.Close() // only read
	sum := sha256.New()
	// More than settings.Load reads is refused by it whatever it says.
	if _, err := io.Copy(sum, io.LimitReader(f, 1<<24)); err != nil {
		return err.Error()
	}
	return hex.EncodeToString(sum.Sum(nil))
}
