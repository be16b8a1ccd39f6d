package catalog

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"aead.dev/minisign"
)

// Sign signs a manifest and returns the path of the signature that it wrote beside it. The key file holds a secret
// key of minisign, which the password opens if it is encrypted, or an unencrypted Ed25519 private key in PEM
// (PKCS #8). It refuses a manifest whose checksum is not that of its executable.
func Sign(manifestPath, keyPath, password string) (string, error) {
	text, err := readSmall(manifestPath)
	if err != nil {
		return "", err
	}
	m, err := parseManifest(text, manifestPath, whole)
	if err != nil {
		return "", err
	}
	folder := filepath.Dir(manifestPath)
	if err := honest(folder, m); err != nil {
		return "", err
	}
	secret, err := readSmall(keyPath)
	if err != nil {
		return "", fmt.Errorf("read the secret key: %w", err)
	}
	signature, file, err := signText(text, secret, password)
	if err != nil {
		return "", fmt.Errorf("sign with %s: %w", keyPath, err)
	}
	if m.Signature != "" {
		file = m.Signature
	}
	path := filepath.Join(folder, file)
	return path, replaceFile(path, signature)
}

// honest checks that the manifest has the checksum of its executable.
func honest(folder string, m Manifest) error {
	measured, fault := measureFile(filepath.Join(folder, m.Executable), noLink, measurement{})
	switch {
	case fault != nil:
		return fault
	case measured.checksum != m.SHA256:
		return wrongChecksum(m.SHA256, measured.checksum)
	}
	return nil
}

// signText signs with whatever key it is given and returns the signature with the name of its file.
func signText(text, secret []byte, password string) (signature []byte, file string, err error) {
	if bytes.HasPrefix(bytes.TrimSpace(secret), []byte("-----BEGIN")) {
		key, err := parsePrivateKey(secret)
		if err != nil {
			return nil, "", err
		}
		encoded := base64.StdEncoding.EncodeToString(ed25519.Sign(key, text))
		return []byte(encoded + "\n"), ManifestFile + ".sig", nil
	}
	var key minisign.PrivateKey
	if minisign.IsEncrypted(secret) {
		key, err = minisign.DecryptKey(password, secret)
	} else {
		err = key.UnmarshalText(secret)
	}
	if err != nil {
		return nil, "", err
	}
	// The comments are those of `minisign -S`. It signs the BLAKE2b-512 of a file, as older versions cannot be
	// had any more.
	trusted := fmt.Sprintf("timestamp:%d\tfile:%s\thashed", time.Now().Unix(), ManifestFile)
	untrusted := "signature from minisign secret key"
	r := minisign.NewReader(bytes.NewReader(text))
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, "", err
	}
	return r.SignWithComments(key, trusted, untrusted), ManifestFile + ".minisig", nil
}

func parsePrivateKey(secret []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(secret)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New(`no unencrypted private key in PEM; its first line must be "-----BEGIN PRIVATE KEY-----"`)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the private key is %T; only Ed25519 keys are possible", parsed)
	}
	return key, nil
}

// GenerateKey makes a key pair that minisign can use too: the secret key at path, which the password encrypts
// unless it is empty, and the public key at path with .pub at its end. It replaces no file.
func GenerateKey(path, password string) (Key, error) {
	public, secret, err := minisign.GenerateKey(nil)
	if err != nil {
		return Key{}, fmt.Errorf("make a key: %w", err)
	}
	publicText, err := public.MarshalText()
	if err != nil {
		return Key{}, fmt.Errorf("write the public key: %w", err)
	}
	secretText, err := secret.MarshalText()
	if password != "" {
		secretText, err = minisign.EncryptKey(password, secret)
	}
	if err != nil {
		return Key{}, fmt.Errorf("write the secret key: %w", err)
	}
	key, err := ParseKey(string(publicText))
	if err != nil {
		return Key{}, err
	}
	for _, f := range []struct {
		path string
		mode os.FileMode
		text []byte
	}{{path, 0o600, secretText}, {path + ".pub", 0o644, publicText}} {
		line := strings.NewReader(strings.TrimSpace(string(f.text)) + "\n")
		if err := writeFile(f.path, f.mode, line, maxManifest); err != nil {
			return Key{}, fmt.Errorf("write a key: %w", err)
		}
	}
	return key, nil
}

// replaceFile puts a small file in the place of another, whole or not at all.
func replaceFile(path string, content []byte) error {
	temporary := fmt.Sprintf("%s.%d.tmp", path, time.Now().UnixNano())
	if err := writeFile(temporary, 0o644, bytes.NewReader(content), int64(len(content))); err != nil {
		remove(temporary)
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		remove(temporary)
		return err
	}
	return syncFolder(filepath.Dir(path))
}
