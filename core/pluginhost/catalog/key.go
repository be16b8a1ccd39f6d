package catalog

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"aead.dev/minisign"
)

// Key is a public key whose signatures over manifests count.
type Key struct {
	id       string
	public   ed25519.PublicKey
	minisign *minisign.PublicKey // nil: the key came as PEM
}

// String is the id of the key: 16 hexadecimal digits as minisign shows them, or "SHA256:" and the first 16 digits
// of the checksum of a PEM key.
func (k Key) String() string { return k.id }

// ParseKey reads a public key: one of minisign, with or without its comment line, or an Ed25519 key in PEM
// (PKIX), as cosign and openssl write it.
func ParseKey(text string) (Key, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "-----BEGIN") {
		return parsePEMKey(text)
	}
	var public minisign.PublicKey
	if err := public.UnmarshalText([]byte(text)); err != nil {
		return Key{}, fmt.Errorf("a public key is neither one of minisign (RW…) nor PEM: %w", err)
	}
	raw, err := base64.StdEncoding.DecodeString(public.String())
	if err != nil || len(raw) != 10+ed25519.PublicKeySize { // algorithm, id, key
		return Key{}, errors.New("a public key of minisign has the wrong length")
	}
	return Key{id: minisignID(public.ID()), public: raw[10:], minisign: &public}, nil
}

// ParseKeys reads several public keys. An error says which of them it is about.
func ParseKeys(texts []string) ([]Key, error) {
	keys := make([]Key, len(texts))
	for i, text := range texts {
		key, err := ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("trusted key number %d: %w", i+1, err)
		}
		keys[i] = key
	}
	return keys, nil
}

func minisignID(id uint64) string { return fmt.Sprintf("%016X", id) }

func parsePEMKey(text string) (Key, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" {
		return Key{}, errors.New(`a PEM file holds no public key; its first line must be "-----BEGIN PUBLIC KEY-----"`)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Key{}, fmt.Errorf("read a public key: %w", err)
	}
	public, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return Key{}, fmt.Errorf("a public key is %T; only Ed25519 keys are possible, as `openssl genpkey -algorithm ed25519` makes them", parsed)
	}
	sum := sha256.Sum256(block.Bytes)
	return Key{id: fmt.Sprintf("SHA256:%x", sum[:8]), public: public}, nil
}

// verifyRaw checks a bare Ed25519 signature. cosign signs the SHA-512 of a blob (Ed25519ph) since 2.4; openssl
// and older versions of cosign sign the blob itself.
func (k Key) verifyRaw(message, signature []byte) bool {
	if ed25519.Verify(k.public, message, signature) {
		return true
	}
	digest := sha512.Sum512(message)
	return ed25519.VerifyWithOptions(k.public, digest[:], signature, &ed25519.Options{Hash: crypto.SHA512}) == nil
}
