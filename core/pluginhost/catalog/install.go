package catalog

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// InstallOptions say what to make of a source, and what it must fulfill.
type InstallOptions struct {
	// Manifest describes a bare executable; its SHA256 is computed. Of a packed version Name and Version must be
	// these, where they are given.
	Manifest Manifest
	// RequireSignature refuses a version that no trusted key has signed.
	RequireSignature bool
	TrustedKeys      []Key
	// MaxBytes bounds the executable; 0: 1 GiB.
	MaxBytes int64
}

// Install puts a version into the plugins folder, as <dir>/<name>/<version>, in one step: whoever looks sees all of
// it or nothing. The source is a folder or a .tar.gz that Pack made, or an executable. Of the source only what the
// manifest names is taken. Everything that Scan would object to is refused before. A version that is there already
// with the same files stays as it is; with other files that is a *Fault, since a name and a version never mean
// other bytes.
func Install(dir, source string, o InstallOptions) (Version, error) {
	o.MaxBytes = cmp.Or(o.MaxBytes, maxExecutable)
	p, err := openParcel(source, o)
	if err != nil {
		return Version{}, fmt.Errorf("install %s: %w", source, err)
	}
	defer p.Close()
	v, err := install(dir, source, p, o)
	if err != nil {
		return Version{}, fmt.Errorf("install %s: %w", source, err)
	}
	return v, nil
}

// openParcel finds out what the source is.
func openParcel(source string, o InstallOptions) (parcel, error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		m, err := ReadManifest(filepath.Join(source, ManifestFile))
		if err != nil {
			return nil, err
		}
		return looseFolder(source, m), nil
	}
	f, _, err := openFile(source, anyway)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(f)
	if magic, _ := r.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		p, err := newPacked(r, f, o.MaxBytes)
		if err != nil {
			f.Close()
			return nil, err
		}
		return p, nil
	}
	defer f.Close()
	l, err := bare(source, r, o)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// bare makes a parcel of an executable without a manifest.
func bare(source string, r io.Reader, o InstallOptions) (*loose, error) {
	m := o.Manifest
	if m.Name == "" || m.Version == "" {
		return nil, errors.New("the source is neither a folder nor an archive that `pigeonry plugin pack` made; to install it as an executable, give its name and version")
	}
	m.Executable = m.Name
	path, err := filepath.EvalSymlinks(source)
	if err != nil {
		return nil, err
	}
	m.SHA256, err = copyBounded(io.Discard, r, "executable", o.MaxBytes)
	if err != nil {
		return nil, err
	}
	return &loose{files: []looseFile{{name: ManifestFile, text: m.Encode()}, {name: m.Executable, path: path}}}, nil
}

// install takes a parcel in.
func install(dir, source string, p parcel, o InstallOptions) (Version, error) {
	m, text, err := firstManifest(source, p)
	if err != nil {
		return Version{}, err
	}
	if fault := m.disagreement(cmp.Or(o.Manifest.Name, m.Name), cmp.Or(o.Manifest.Version, m.Version)); fault != nil {
		fault.Expected = cmp.Or(o.Manifest.Name, m.Name) + " " + cmp.Or(o.Manifest.Version, m.Version) + ", as it was asked for"
		fault.Remedy = "ask for the version that the source holds"
		return Version{}, fault
	}
	parent := filepath.Join(dir, m.Name)
	if err := os.MkdirAll(parent, 0o755); err != nil { //nolint:gosec // plugins are no secret
		return Version{}, err
	}
	sweep(parent)
	temporary, err := os.MkdirTemp(parent, ".tmp-"+m.Version+"-")
	if err != nil {
		return Version{}, err
	}
	defer os.RemoveAll(temporary) // gone already if all went well
	if err := unpack(temporary, p, m, text, o.MaxBytes); err != nil {
		return Version{}, err
	}
	return settle(temporary, filepath.Join(parent, m.Version), m, o)
}

// firstManifest reads the manifest of a parcel.
func firstManifest(source string, p parcel) (Manifest, []byte, error) {
	file, r, err := p.next()
	switch {
	case errors.Is(err, io.EOF):
		return Manifest{}, nil, badArchive("an empty one", nil)
	case err != nil:
		return Manifest{}, nil, err
	}
	text, err := readBounded(r, file, maxManifest)
	if err != nil {
		return Manifest{}, nil, err
	}
	m, err := parseManifest(text, filepath.Join(source, ManifestFile), whole)
	return m, text, err
}

// unpack writes what the manifest names into a folder.
func unpack(folder string, p parcel, m Manifest, text []byte, limit int64) error {
	if err := writeFile(filepath.Join(folder, ManifestFile), 0o644, bytes.NewReader(text), maxManifest); err != nil {
		return err
	}
	for {
		file, r, err := p.next()
		if errors.Is(err, io.EOF) {
			return errors.Join(os.Chmod(folder, 0o755), syncFolder(folder)) //nolint:gosec // plugins are no secret
		}
		if err != nil {
			return err
		}
		mode, bound := fs.FileMode(0o644), int64(maxManifest)
		switch {
		case file == m.Executable:
			mode, bound = 0o755, limit
		case !slices.Contains(m.signatures(), file):
			continue
		}
		if err := writeFile(filepath.Join(folder, file), mode, r, bound); err != nil {
			return err
		}
	}
}

// settle judges an unpacked version and gives it its place.
func settle(temporary, place string, m Manifest, o InstallOptions) (Version, error) {
	c := &Catalog{requireSignature: o.RequireSignature, keys: o.TrustedKeys, measured: map[string]measurement{}}
	v := c.inspect(temporary, m.Name, m.Version, nil)
	if v.Problem != nil {
		return Version{}, v.Problem
	}
	place, err := filepath.Abs(place)
	if err != nil {
		return Version{}, err
	}
	v.Path = filepath.Join(place, m.Executable)
	err = os.Rename(temporary, place)
	switch {
	case errors.Is(err, fs.ErrExist), errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, syscall.ENOTDIR):
		return v, taken(temporary, place, m)
	case err != nil:
		return Version{}, err
	}
	return v, syncFolder(filepath.Dir(place))
}

// taken compares an unpacked version with the one that has its place. Equal ones are no error.
func taken(temporary, place string, m Manifest) error {
	there, fault := measureFile(filepath.Join(place, m.Executable), noLink, measurement{})
	if fault != nil || there.checksum != m.SHA256 {
		found := "sha256 " + there.checksum
		if fault != nil {
			found = fault.Error()
		}
		return &Fault{
			What: "version is taken", Expected: "that " + m.Name + " " + m.Version + " has sha256 " + m.SHA256 + " if it is installed",
			Found: found, Remedy: "give the new build a new version", Permanent: true,
		}
	}
	files := sorted(slices.Concat(m.files(temporary), m.files(place)))
	for _, file := range files {
		if file != m.Executable && !sameFile(filepath.Join(temporary, file), filepath.Join(place, file)) {
			return &Fault{
				What: "version is installed otherwise", Expected: "the same " + file, Found: "another one, or none",
				Remedy: "remove " + m.Name + " " + m.Version + " first, then install it again", Permanent: true,
			}
		}
	}
	return nil
}

// sorted returns names sorted, each once.
func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// sameFile compares two small files.
func sameFile(a, b string) bool {
	x, xErr := readSmall(a)
	y, yErr := readSmall(b)
	return xErr == nil && yErr == nil && bytes.Equal(x, y)
}
