package catalog

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// PackOptions say how to pack a version.
type PackOptions struct {
	// Manifest is what plugin.hcl is to say. What is left empty is taken from the plugin.hcl that is there, which
	// may lack its sha256 so far. SHA256 is always computed.
	Manifest Manifest
	// Archive is the path of the .tar.gz to write; empty: none is written.
	Archive string
}

// Pack makes a version ready for Install: it writes plugin.hcl beside the executable, with the executable's
// checksum, and an archive of both and the signatures, if one is wanted. The source is the executable or the folder
// that holds it. A plugin.hcl that says the right thing already stays as it is, and signatures over it stay good;
// signatures over another one are deleted. Equal contents make equal archives. It returns what plugin.hcl says.
func Pack(source string, o PackOptions) (Manifest, error) {
	info, err := os.Stat(source)
	if err != nil {
		return Manifest{}, fmt.Errorf("pack: %w", err)
	}
	folder := source
	m := o.Manifest
	if !info.IsDir() {
		folder = filepath.Dir(source)
		m.Executable = filepath.Base(source)
	}
	m, err = complete(folder, m)
	if err != nil {
		return Manifest{}, fmt.Errorf("pack: %w", err)
	}
	if err := writeManifest(folder, m); err != nil {
		return Manifest{}, fmt.Errorf("pack: %w", err)
	}
	if o.Archive != "" {
		if err := writeArchive(o.Archive, folder, m); err != nil {
			return Manifest{}, fmt.Errorf("pack: %w", err)
		}
	}
	return m, nil
}

// complete fills in what is not said from the manifest in the folder, and the checksum from the executable.
func complete(folder string, m Manifest) (Manifest, error) {
	path := filepath.Join(folder, ManifestFile)
	text, err := readSmall(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return Manifest{}, err
	default:
		there, err := parseManifest(text, path, draft)
		if err != nil {
			return Manifest{}, err
		}
		m = m.or(there)
	}
	if m.Executable == "" {
		m.Executable = m.Name
	}
	if !isExecutableName(m.Executable) {
		return Manifest{}, fmt.Errorf("the executable cannot be called %q; name a file of the folder, without blanks", m.Executable)
	}
	measured, fault := measureFile(filepath.Join(folder, m.Executable), noLink, measurement{})
	if fault != nil {
		return Manifest{}, fault
	}
	m.SHA256 = measured.checksum
	return parseManifest(m.Encode(), path, whole) // all that is wrong with it, at once
}

// or returns the manifest with what it leaves empty taken from another.
func (m Manifest) or(o Manifest) Manifest {
	if len(m.Channels) == 0 {
		m.Channels = o.Channels
	}
	for _, f := range []struct{ to, from *string }{
		{&m.Name, &o.Name},
		{&m.Version, &o.Version},
		{&m.Executable, &o.Executable},
		{&m.Signature, &o.Signature},
	} {
		if *f.to == "" {
			*f.to = *f.from
		}
	}
	m.Plaintext = m.Plaintext || o.Plaintext
	return m
}

// writeManifest writes plugin.hcl unless it says the same already.
func writeManifest(folder string, m Manifest) error {
	path := filepath.Join(folder, ManifestFile)
	if there, err := ReadManifest(path); err == nil && there.equal(m) {
		return nil
	}
	if err := replaceFile(path, m.Encode()); err != nil {
		return err
	}
	for _, file := range m.signatures() {
		if err := os.Remove(filepath.Join(folder, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// files are the files of a version that are there, the manifest first.
func (m Manifest) files(folder string) []string {
	files := []string{ManifestFile}
	for _, s := range m.signatures() {
		if exists(filepath.Join(folder, s)) {
			files = append(files, s)
		}
	}
	return append(files, m.Executable)
}

// writeArchive writes the files of a version into an archive, whole or not at all.
func writeArchive(path, folder string, m Manifest) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-")
	if err != nil {
		return err
	}
	defer remove(f.Name()) // gone already if all went well
	defer f.Close()
	if err := archive(f, folder, m); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close(), os.Rename(f.Name(), path)); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// archive writes a .tar.gz without times, owners and other traces of the machine.
func archive(w io.Writer, folder string, m Manifest) error {
	compressed := gzip.NewWriter(w)
	t := tar.NewWriter(compressed)
	for _, file := range m.files(folder) {
		mode := int64(0o644)
		if file == m.Executable {
			mode = 0o755
		}
		if err := archiveFile(t, filepath.Join(folder, file), mode); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), compressed.Close())
}

func archiveFile(t *tar.Writer, path string, mode int64) error {
	f, info, err := openFile(path, noLink)
	if err != nil {
		return asFault(path, err)
	}
	defer f.Close()
	header := &tar.Header{Typeflag: tar.TypeReg, Name: filepath.Base(path), Size: info.Size(), Mode: mode, Format: tar.FormatUSTAR}
	if err := t.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}

// parcel is a version on its way into the plugins folder, file by file, the manifest first.
type parcel interface {
	// next returns the name and the content of the next file, which is good until the one after it; io.EOF at the
	// end.
	next() (string, io.Reader, error)
	io.Closer
}

// loose is a version whose files lie in folders.
type loose struct {
	files []looseFile
	open  *os.File // the latest
}

// looseFile is a file as it will be installed.
type looseFile struct {
	name string
	path string // where it is now; empty: nowhere but here
	text []byte
}

// looseFolder is the parcel of a packed folder.
func looseFolder(folder string, m Manifest) *loose {
	l := &loose{}
	for _, file := range m.files(folder) {
		l.files = append(l.files, looseFile{name: file, path: filepath.Join(folder, file)})
	}
	return l
}

func (l *loose) next() (string, io.Reader, error) {
	if err := l.Close(); err != nil {
		return "", nil, err
	}
	if len(l.files) == 0 {
		return "", nil, io.EOF
	}
	file := l.files[0]
	l.files = l.files[1:]
	if file.path == "" {
		return file.name, bytes.NewReader(file.text), nil
	}
	f, _, err := openFile(file.path, noLink)
	if err != nil {
		return "", nil, asFault(file.path, err)
	}
	l.open = f
	return file.name, f, nil
}

// Close closes the file that is open.
func (l *loose) Close() error {
	if l.open == nil {
		return nil
	}
	err := l.open.Close()
	l.open = nil
	return err
}
