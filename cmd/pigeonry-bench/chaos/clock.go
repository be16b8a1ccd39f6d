package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The clock of a static Go program cannot be shifted from outside: it reads the kernel's in shared memory, and the
// kernel has one for all. So the clock is shifted where Go reads it. The gateway is built from its own unchanged
// source with a standard library whose time.Now adds what stands in a file. To the gateway that is what a
// step of the system's clock is: the wall clock jumps, the monotonic one does not.

// clockVariable names the file that holds the shift in seconds.
const clockVariable = "CHAOS_CLOCK"

// shiftingNow replaces the beginning of time.Now.
const (
	plainNow    = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {"
	shiftingNow = "\tsec, nsec, mono := runtimeNow()\n\tsec += chaosShift.Load()\n\tif mono == 0 {"
)

// shiftSource is the part of package time that reads the file.
const shiftSource = `package time

import (
	"sync/atomic"
	"syscall"
)

var chaosShift atomic.Int64

func init() {
	path, ok := syscall.Getenv("` + clockVariable + `")
	if !ok {
		return
	}
	go func() {
		for ; ; Sleep(100 * Millisecond) {
			fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
			if err != nil {
				continue
			}
			b := make([]byte, 32)
			n, _ := syscall.Read(fd, b)
			syscall.Close(fd)
			shift, sign := int64(0), int64(1)
			for _, c := range b[:max(n, 0)] {
				if c == '-' {
					sign = -1
				} else if c >= '0' && c <= '9' {
					shift = 10*shift + int64(c-'0')
				}
			}
			chaosShift.Store(sign * shift)
		}
	}()
}
`

// clockFile is where the shift of a gateway's clock stands.
func (s *stage) clockFile(g *gateway) string { return filepath.Join(s.dir, g.name+".clock") }

// shift sets the clock of a gateway so much forward.
func (s *stage) shift(g *gateway, by time.Duration) error {
	return os.WriteFile(s.clockFile(g), []byte(strconv.Itoa(int(by.Seconds()))), 0o600)
}

// clockFaults shift the clock of one gateway, so that it disagrees with all others, by an hour each way.
func (s *stage) clockFaults() []Fault {
	g := s.gateways[len(s.gateways)-1]
	var faults []Fault
	for _, name := range []string{"forward", "back"} {
		by := map[string]time.Duration{"forward": time.Hour, "back": -time.Hour}[name]
		f := Fault{
			Name: "clock-" + name, Target: g.name, clock: g, Limit: gatewayLimit, Hold: s.brief(20*time.Second, 5*time.Second),
			Inject: func(context.Context) error { return s.shift(g, by) },
			Heal:   func(context.Context) error { return s.shift(g, 0) },
		}
		if s.o.Source == "" {
			f.Skip = "the source of the gateway is not known, and its clock is shifted by a build"
		}
		faults = append(faults, f)
	}
	return faults
}

// replace has a gateway run as a program whose clock can be shifted.
func (s *stage) replace(ctx context.Context, g *gateway) error {
	program := filepath.Join(s.dir, "pigeonry-shifting")
	if err := BuildShifting(ctx, s.o.Source, program); err != nil {
		return fmt.Errorf("build a gateway whose clock can be shifted: %w", err)
	}
	if err := g.end(); err != nil {
		return err
	}
	g.program = program
	if err := g.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	return g.awaitReady(ctx)
}

// BuildShifting builds the gateway in a source tree with the clock that can be shifted.
func BuildShifting(ctx context.Context, source, program string) error {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	folder := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	return Build(ctx, source, program, []Patch{{File: filepath.Join(folder, "time.go"), Old: plainNow, New: shiftingNow}},
		map[string]string{filepath.Join(folder, "chaos_shift.go"): shiftSource})
}

// Patch replaces a text of a source file.
type Patch struct {
	// File is relative to the source tree, or absolute.
	File string
	// Old must be found exactly once.
	Old, New string
}

// Build builds the gateway from a source tree with some texts replaced and some files added. Nothing in the tree is
// changed.
func Build(ctx context.Context, source, program string, patches []Patch, added map[string]string) error {
	source, err := filepath.Abs(source) // the overlay names files as go build finds them
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "pigeonry-overlay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	overlay, err := patched(source, patches)
	if err != nil {
		return err
	}
	maps.Copy(overlay, added)
	file, err := writeOverlay(dir, overlay)
	if err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-overlay", file, "-o", program, "./cmd/pigeonry")
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// patched returns the new texts of patched files.
func patched(source string, patches []Patch) (map[string]string, error) {
	overlay := map[string]string{}
	for _, p := range patches {
		path := p.File
		if !filepath.IsAbs(path) {
			path = filepath.Join(source, path)
		}
		text, ok := overlay[path]
		if !ok {
			b, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			text = string(b)
		}
		if n := strings.Count(text, p.Old); n != 1 {
			return nil, fmt.Errorf("%s has the text to replace %d times instead of once; the patch must follow the source:\n%s", path, n, p.Old)
		}
		overlay[path] = strings.Replace(text, p.Old, p.New, 1)
	}
	return overlay, nil
}

// writeOverlay writes the texts and the file that names them for go build.
func writeOverlay(dir string, texts map[string]string) (string, error) {
	replace := map[string]string{}
	for path, text := range texts {
		replace[path] = filepath.Join(dir, strconv.Itoa(len(replace))+".go")
		if err := os.WriteFile(replace[path], []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, b, 0o600)
}
