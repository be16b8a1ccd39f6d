package catalog

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"aead.dev/minisign"
)

// verdict is what a signature is worth.
type verdict int

const (
	unreadableSignature verdict = iota // it is no signature at all
	unknownSigner                      // nobody who is trusted made it
	falseSignature                     // it claims to be by a trusted key, and does not fit the manifest
	trustedSignature
)

// signed says whether a trusted key has signed the manifest. A signature in the name of a trusted key that
// does not fit is a fault even where signatures are not required: somebody changed the manifest.
func (c *Catalog) signed(folder string, m Manifest, text []byte) (bool, *Fault) {
	var worst *Fault
	for _, file := range m.signatures() {
		signature, err := readSmall(filepath.Join(folder, file))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return false, asFault(file, err)
		}
		v, by := judge(text, signature, c.keys)
		switch {
		case v == trustedSignature:
			return true, nil
		case v == falseSignature:
			return false, c.untrusted("wrong signature", by+", which does not fit "+ManifestFile, "install the version again; if it was changed on purpose, sign it again")
		case worst == nil && c.requireSignature:
			worst = c.untrusted("untrusted signature", by+" in "+file, "sign the version with a trusted key, or trust its key if you know whose it is")
		}
	}
	if worst == nil && c.requireSignature {
		worst = c.unsigned("none beside " + ManifestFile)
	}
	return false, worst
}

// unsigned is the fault of a version without a signature where one is required.
func (c *Catalog) unsigned(found string) *Fault {
	return c.untrusted("unsigned plugin", found, "sign the version, or do not require signatures")
}

func (c *Catalog) untrusted(what, found, remedy string) *Fault {
	ids := make([]string, len(c.keys))
	for i, k := range c.keys {
		ids[i] = k.String()
	}
	return &Fault{
		What: what, Expected: "a signature by the trusted key " + strings.Join(ids, " or "),
		Found: found, Remedy: remedy, Permanent: true,
	}
}

// judge says what a signature over a manifest is worth, and whose it is as far as it can be told.
func judge(text, signature []byte, keys []Key) (verdict, string) {
	if bytes.HasPrefix(signature, []byte("untrusted comment:")) {
		return judgeMinisign(text, signature, keys)
	}
	raw, ok := rawSignature(signature)
	if !ok {
		return unreadableSignature, "no signature of minisign, nor an Ed25519 signature in base64,"
	}
	for _, k := range keys {
		if k.verifyRaw(text, raw) {
			return trustedSignature, "one by " + k.String()
		}
	}
	return unknownSigner, "one by none of them"
}

// judgeMinisign judges a signature of minisign, which names its key.
func judgeMinisign(text, signature []byte, keys []Key) (verdict, string) {
	var s minisign.Signature
	if err := s.UnmarshalText(signature); err != nil {
		return unreadableSignature, "an unreadable signature of minisign"
	}
	v := unknownSigner
	for _, k := range keys {
		if k.minisign == nil || k.minisign.ID() != s.KeyID {
			continue
		}
		if minisign.Verify(*k.minisign, text, signature) {
			return trustedSignature, "one by " + k.String()
		}
		v = falseSignature
	}
	return v, "one by " + minisignID(s.KeyID)
}

// rawSignature reads an Ed25519 signature as cosign (base64) or openssl (64 bytes) writes it.
func rawSignature(file []byte) ([]byte, bool) {
	if len(file) == ed25519.SignatureSize {
		return file, true
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(file)))
	return raw, err == nil && len(raw) == ed25519.SignatureSize
}
