package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Version is one version of one plugin in the plugins folder.
type Version struct {
	Name    string
	Version string // semantic version without a leading v; whatever the folder is called if there is a Problem
	Path    string // absolute path of the executable as installed; Stage gives the one to execute
	// SHA256 is the checksum of the executable: what the manifest says, or else what was found. Empty if
	// neither is known, which is a Problem.
	SHA256    string
	Channels  []string // from the manifest; empty: unknown
	Plaintext bool     // from the manifest: the plugin cannot do mutual TLS
	Signed    bool     // a trusted key has signed the manifest
	// InstalledAt is when its folder got its place or last changed, by the clock of the file system. Scan knows it.
	InstalledAt time.Time
	Problem     *Fault // why the version cannot be used; nil: nothing known
}

// Options is what a Catalog needs.
type Options struct {
	// Dir holds the plugins as <dir>/<name>/<version>/. Required.
	Dir string
	// Store holds the copies that are executed, as <store>/<sha256>/<name>. It is created, and nobody else may
	// enter it unless it is Shared. Required.
	Store string
	// Shared lets other users execute the copies, where plugins run as one: they may neither list nor change them.
	Shared bool
	// RequireSignature refuses every version whose manifest no trusted key has signed.
	RequireSignature bool
	// TrustedKeys are those whose signatures count.
	TrustedKeys []Key
	// Logger takes what the operator should know and no caller can act upon. Nil discards it.
	Logger *slog.Logger
	// Debounce is how long the folder must be quiet before Watch looks at what has changed; 0: 500 ms.
	Debounce time.Duration
	// Rescan is how often Watch looks at the folder although it heard of no change; 0: 30 s.
	Rescan time.Duration
}

// Catalog is the plugins folder and the store. Its methods may be called at the same time.
type Catalog struct {
	dir, store       string // absolute
	shared           bool
	requireSignature bool
	keys             []Key
	log              *slog.Logger
	debounce, rescan time.Duration

	mu       sync.Mutex
	measured map[string]measurement // by path of the source, what the latest scan found
	first    map[string]string      // checksum by "name version": a name and a version never mean other bytes

	staging sync.Mutex
	staged  map[string]stamp // by path in the store, when its content was last found right
}

// measurement is what was found in an executable.
type measurement struct {
	stamp    stamp
	checksum string
	format   *Fault
}

// Open prepares the store and returns the catalog. It does not look for plugins yet.
func Open(o Options) (*Catalog, error) {
	switch {
	case o.Dir == "" || o.Store == "":
		return nil, errors.New("plugin catalog: Dir and Store must name a folder each")
	case o.RequireSignature && len(o.TrustedKeys) == 0:
		return nil, errors.New("plugin catalog: signatures are required, but no key is trusted; name the public keys of those who may publish plugins")
	}
	dir, dirErr := filepath.Abs(o.Dir)
	store, storeErr := filepath.Abs(o.Store)
	if err := errors.Join(dirErr, storeErr); err != nil {
		return nil, fmt.Errorf("plugin catalog: %w", err)
	}
	if err := prepareStore(store, o.Shared); err != nil {
		return nil, err
	}
	return &Catalog{
		dir: dir, store: store, shared: o.Shared, requireSignature: o.RequireSignature, keys: slices.Clone(o.TrustedKeys),
		log:      cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		debounce: cmp.Or(o.Debounce, 500*time.Millisecond), rescan: cmp.Or(o.Rescan, 30*time.Second),
		measured: map[string]measurement{}, first: map[string]string{}, staged: map[string]stamp{},
	}, nil
}

// Dir is the absolute path of the folder that holds the plugins.
func (c *Catalog) Dir() string { return c.dir }

// prepareStore makes the store a folder that nobody else may enter, or only pass through, and that programs can be
// executed from.
func prepareStore(store string, shared bool) error {
	if err := os.MkdirAll(store, 0o700); err != nil {
		return fmt.Errorf("make the plugin store: %w", err)
	}
	info, err := os.Stat(store)
	if err != nil {
		return fmt.Errorf("make the plugin store: %w", err)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return &Fault{
			What: "plugin store of another user", Expected: fmt.Sprintf("a folder of user %d", os.Geteuid()),
			Found: fmt.Sprintf("that %s belongs to user %d", store, s.Uid), Remedy: "change its owner or name another folder", Permanent: true,
		}
	}
	if err := os.Chmod(store, folderMode(shared)); err != nil {
		return fmt.Errorf("close the plugin store: %w", err)
	}
	if noExec(store) {
		return &Fault{
			What: "plugin store without execution", Expected: "a file system that executes programs",
			Found: "that " + store + " is mounted noexec", Remedy: "put the store elsewhere", Permanent: true,
		}
	}
	checksums, err := folders(store)
	for _, checksum := range checksums {
		sweep(filepath.Join(store, checksum))
	}
	return err
}

// abandoned is after how long a temporary file is taken for one that a crash has left.
const abandoned = time.Hour

// sweep removes what crashes have left in a folder.
func sweep(folder string) {
	entries, _ := os.ReadDir(folder) // whoever uses the folder next says what is wrong with it
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), ".tmp-") && time.Since(info.ModTime()) > abandoned {
			os.RemoveAll(filepath.Join(folder, e.Name()))
		}
	}
}

// Scan lists every <dir>/<name>/<version>/, by name and then by version from the lowest. Folders that begin
// with a dot or end in .tmp are being written and skipped; whatever else is wrong is a version with a Problem,
// so that people see it. A version without a manifest may be used unless signatures are required; then its
// executable has the plugin's name.
func (c *Catalog) Scan() ([]Version, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	names, err := folders(c.dir)
	if err != nil {
		return nil, fmt.Errorf("read the plugins folder: %w", err)
	}
	before := c.measured
	c.measured = make(map[string]measurement, len(before))
	var found []Version
	for _, n := range names {
		found = append(found, c.scanPlugin(n, before)...)
	}
	return found, nil
}

// scanPlugin lists the versions of one plugin from the lowest to the highest.
func (c *Catalog) scanPlugin(plugin string, before map[string]measurement) []Version {
	folder := filepath.Join(c.dir, plugin)
	if !ValidName(plugin) {
		return []Version{{Name: plugin, Path: folder, Problem: invalidName(plugin)}}
	}
	versions, err := folders(folder)
	if err != nil {
		return []Version{{Name: plugin, Path: folder, Problem: unreadable(folder, err)}}
	}
	slices.SortFunc(versions, CompareVersions)
	found := make([]Version, len(versions))
	for i, v := range versions {
		found[i] = c.inspect(filepath.Join(folder, v), plugin, v, before)
		c.remember(&found[i])
		if info, err := os.Stat(filepath.Join(folder, v)); err == nil { // else it is gone by now
			found[i].InstalledAt = changeTime(info)
		}
	}
	return found
}

// folders lists the folders in dir, following symbolic links, without those that are being written.
func folders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if temporary(e.Name()) {
			continue
		}
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && info.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func temporary(file string) bool {
	return strings.HasPrefix(file, ".") || strings.HasSuffix(file, ".tmp")
}

// inspect finds what can be known of an installed version without starting it.
func (c *Catalog) inspect(folder, plugin, version string, before map[string]measurement) Version {
	v := Version{Name: plugin, Version: version, Path: filepath.Join(folder, plugin)}
	if !ValidVersion(version) {
		v.Problem = invalidVersion(version)
		return v
	}
	m, text, found, fault := manifestIn(folder)
	switch {
	case fault != nil:
		v.Problem = fault
		return v
	case found:
		v.Path = filepath.Join(folder, m.Executable)
		v.SHA256, v.Channels, v.Plaintext = m.SHA256, m.Channels, m.Plaintext
		v.Problem = m.disagreement(plugin, version)
		if v.Problem == nil {
			v.Signed, v.Problem = c.signed(folder, m, text)
		}
	case c.requireSignature:
		v.Problem = c.unsigned("a folder without " + ManifestFile)
	}
	if v.Problem == nil {
		c.measure(&v, found, before)
	}
	return v
}

// measure compares the executable with what is known of the version. In a folder with a manifest, which
// somebody else made, it must be a file of the folder itself.
func (c *Catalog) measure(v *Version, manifest bool, before map[string]measurement) {
	link := anyway
	if manifest {
		link = noLink
	}
	m, fault := measureFile(v.Path, link, before[v.Path])
	if fault != nil {
		v.Problem = fault
		return
	}
	c.measured[v.Path] = m
	switch {
	case v.SHA256 == "":
		v.SHA256, v.Problem = m.checksum, m.format
	case v.SHA256 != m.checksum:
		v.Problem = wrongChecksum(v.SHA256, m.checksum)
	default:
		v.Problem = m.format
	}
}

// measureFile reads an executable, unless it still is what it was.
func measureFile(path string, link int, before measurement) (measurement, *Fault) {
	f, info, err := openFile(path, link)
	if err != nil {
		return measurement{}, asFault(path, err)
	}
	defer f.Close()
	if info.Mode().Perm()&0o111 == 0 {
		return measurement{}, notExecutable(path, info.Mode())
	}
	m := measurement{stamp: stampOf(info), checksum: before.checksum}
	if !before.stamp.still(info) {
		m.checksum, err = copyBounded(io.Discard, f, "executable", maxExecutable)
		if err != nil {
			return measurement{}, asFault(path, err)
		}
	}
	m.format = runnable(f, info.Size()) // every time: interpreters come and go
	return m, nil
}

// remember holds a version to the bytes that it first had.
func (c *Catalog) remember(v *Version) {
	if v.Problem != nil {
		return
	}
	key := v.Name + " " + v.Version
	first, known := c.first[key]
	switch {
	case !known:
		c.first[key] = v.SHA256
	case first != v.SHA256:
		v.Problem = &Fault{
			What: "changed version", Expected: "sha256 " + first + ", as it was first seen", Found: "sha256 " + v.SHA256,
			Remedy: "install the new build as a new version", Permanent: true,
		}
	}
}

// versionFolder is where a version is installed, if there can be such a one.
func versionFolder(dir, plugin, version string) (string, error) {
	switch {
	case !ValidName(plugin):
		return "", invalidName(plugin)
	case !ValidVersion(version):
		return "", invalidVersion(version)
	}
	return filepath.Join(dir, plugin, version), nil
}

// exists says whether something has the path, a broken link included.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
