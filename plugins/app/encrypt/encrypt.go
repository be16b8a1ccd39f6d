// Package encrypt encrypts the message of a Web Push for one subscription, as RFC 8291 has it: keys agreed with the
// browser's by ECDH, content coding aes128gcm (RFC 8188), one record.
package encrypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// recordSize is that of the one record, which a push service takes at least as a whole (RFC 8030 section 7.2).
	recordSize = 4096
	saltSize   = 16
	keySize    = 16
	nonceSize  = 12
	tagSize    = 16
	authSize   = 16
	pointSize  = 65 // an uncompressed point of P-256
	headerSize = saltSize + 4 + 1 + pointSize
	// lastRecord ends the text of the last record (RFC 8188 section 2).
	lastRecord = 2
)

// MaxText is the longest text in bytes whose encryption fits into 4096 bytes.
const MaxText = recordSize - headerSize - tagSize - 1

// Receiver is one browser's subscription.
type Receiver struct {
	key  *ecdh.PublicKey
	auth []byte
}

// NewReceiver reads the keys of a subscription: p256dh, an uncompressed point of P-256, and auth, 16 bytes. An error says which
// of them is wrong.
func NewReceiver(p256dh, auth []byte) (*Receiver, error) {
	key, err := ecdh.P256().NewPublicKey(p256dh)
	if err != nil {
		return nil, fmt.Errorf("p256dh is no point of the curve P-256: %w", err)
	}
	if len(auth) != authSize {
		return nil, fmt.Errorf("auth has %d bytes, want %d", len(auth), authSize)
	}
	return &Receiver{key: key, auth: auth}, nil
}

// ErrTooLong is a text of more than MaxText bytes.
var ErrTooLong = errors.New("the text does not fit into one record of 4096 bytes")

// Encrypt returns the body of the request. No two calls give the same.
func (r *Receiver) Encrypt(text []byte) ([]byte, error) {
	own, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	return r.encrypt(text, own, salt)
}

// encrypt is Encrypt with the sender's key and the salt of a message, both to be used once.
func (r *Receiver) encrypt(text []byte, own *ecdh.PrivateKey, salt []byte) ([]byte, error) {
	if len(text) > MaxText {
		return nil, ErrTooLong
	}
	shared, err := own.ECDH(r.key)
	if err != nil {
		return nil, fmt.Errorf("agree on a key: %w", err)
	}
	key, nonce, err := r.derive(shared, own.PublicKey().Bytes(), salt)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cipher: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("cipher: %w", err)
	}
	out := make([]byte, 0, headerSize+len(text)+1+tagSize)
	out = append(out, salt...)
	out = binary.BigEndian.AppendUint32(out, recordSize)
	out = append(out, pointSize)
	out = append(out, own.PublicKey().Bytes()...)
	record := append(append(make([]byte, 0, len(text)+1), text...), lastRecord)
	return gcm.Seal(out, nonce, record, nil), nil
}

// derive makes key and nonce of a message (RFC 8291 section 3.4).
func (r *Receiver) derive(shared, own, salt []byte) (key, nonce []byte, err error) {
	info := "WebPush: info\x00" + string(r.key.Bytes()) + string(own)
	input, err := hkdf.Key(sha256.New, shared, r.auth, info, sha256.Size)
	if err != nil {
		return nil, nil, fmt.Errorf("derive the input key: %w", err)
	}
	pseudorandom, err := hkdf.Extract(sha256.New, input, salt)
	if err != nil {
		return nil, nil, fmt.Errorf("derive: %w", err)
	}
	if key, err = hkdf.Expand(sha256.New, pseudorandom, "Content-Encoding: aes128gcm\x00", keySize); err != nil {
		return nil, nil, fmt.Errorf("derive the key: %w", err)
	}
	if nonce, err = hkdf.Expand(sha256.New, pseudorandom, "Content-Encoding: nonce\x00", nonceSize); err != nil {
		return nil, nil, fmt.Errorf("derive the nonce: %w", err)
	}
	return key, nonce, nil
}
