package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// ManifestFile is the name of the manifest in a version's folder.
const ManifestFile = "plugin.hcl"

// maxManifest bounds a manifest, and a signature over it, in bytes.
const maxManifest = 64 << 10

// Manifest is what plugin.hcl says of one version of a plugin.
type Manifest struct {
	Name     string
	Version  string   // semantic version without a leading v
	Channels []string // that the plugin serves; empty: nothing is said
	// SHA256 is the checksum of the executable in 64 hexadecimal digits.
	SHA256 string
	// Executable is the name of the file to run, beside the manifest; the plugin's name unless said otherwise.
	Executable string
	// Plaintext: the language of the plugin cannot do mutual TLS, and the operator must allow that by name.
	Plaintext bool
	// Signature is the name of the file with the detached signature over the manifest. Empty:
	// plugin.hcl.minisig or plugin.hcl.sig, if there is one.
	Signature string
}

// ManifestError is all that is wrong with a manifest in the order of the file, each fault as
// "file:line:column: problem — remedy".
type ManifestError []string

// Error is one line for each fault.
func (e ManifestError) Error() string { return strings.Join(e, "\n") }

// ReadManifest reads a manifest and checks all of it but the files that it names. What is wrong with its text
// is a ManifestError.
func ReadManifest(path string) (Manifest, error) {
	text, err := readSmall(path)
	if err != nil {
		return Manifest{}, err
	}
	return parseManifest(text, path, whole)
}

// Encode is the manifest's canonical text: equal manifests have equal bytes.
func (m Manifest) Encode() []byte {
	file := hclwrite.NewEmptyFile()
	body := file.Body()
	text := func(key, value string) { body.SetAttributeValue(key, cty.StringVal(value)) }
	text("name", m.Name)
	text("version", m.Version)
	if len(m.Channels) > 0 {
		channels := make([]cty.Value, len(m.Channels))
		for i, c := range m.Channels {
			channels[i] = cty.StringVal(c)
		}
		body.SetAttributeValue("channels", cty.ListVal(channels))
	}
	if m.Executable != "" && m.Executable != m.Name {
		text("executable", m.Executable)
	}
	text("sha256", m.SHA256)
	if m.Plaintext {
		body.SetAttributeValue("plaintext", cty.True)
	}
	if m.Signature != "" {
		text("signature", m.Signature)
	}
	return hclwrite.Format(file.Bytes())
}

// signatures are the names of the files that may hold the signature, in the order in which they count.
func (m Manifest) signatures() []string {
	if m.Signature != "" {
		return []string{m.Signature}
	}
	return []string{ManifestFile + ".minisig", ManifestFile + ".sig"}
}

// equal says whether two manifests say the same.
func (m Manifest) equal(o Manifest) bool { return bytes.Equal(m.Encode(), o.Encode()) }

// disagreement is the fault of a manifest that stands in the folder of another plugin or version.
func (m Manifest) disagreement(name, version string) *Fault {
	if m.Name == name && m.Version == version {
		return nil
	}
	return &Fault{
		What: "manifest of another version", Expected: fmt.Sprintf("%s %s, as the folder is named", name, version),
		Found:  fmt.Sprintf("%s %s", m.Name, m.Version),
		Remedy: fmt.Sprintf("put it into the folder %s/%s", m.Name, m.Version), Permanent: true,
	}
}

// manifestIn reads the manifest in a version's folder. found is false, without a fault, if there is none.
func manifestIn(folder string) (m Manifest, text []byte, found bool, fault *Fault) {
	path := filepath.Join(folder, ManifestFile)
	text, err := readSmall(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Manifest{}, nil, false, nil
	case err != nil:
		return Manifest{}, nil, false, asFault(path, err)
	}
	m, err = parseManifest(text, path, whole)
	if err != nil {
		return Manifest{}, nil, false, &Fault{
			What: "invalid manifest", Expected: "a " + ManifestFile + " without faults", Found: strings.Join(strings.Split(err.Error(), "\n"), "; "),
			Remedy: "mend the file", Permanent: true, Cause: err,
		}
	}
	return m, text, true, nil
}
