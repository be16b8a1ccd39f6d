package webpush

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// browser is one that has subscribed.
type browser struct {
	key  *ecdh.PrivateKey
	auth []byte
}

// newBrowser makes the keys of a browser out of its name.
func newBrowser(name string) *browser {
	auth := sha256.Sum256([]byte("pigeonry sandbox auth " + name))
	for i := 0; ; i++ {
		seed := sha256.Sum256([]byte("pigeonry sandbox key " + strconv.Itoa(i) + " " + name))
		if key, err := ecdh.P256().NewPrivateKey(seed[:]); err == nil { // one in 2^32 is none
			return &browser{key: key, auth: auth[:16]}
		}
	}
}

// seen is what of a push the sandbox shows.
type seen struct{ title, text, reference string }

// see decrypts a push and shows it as a service worker would. The push service itself cannot know whether the browser can.
func (b *browser) see(body []byte) seen {
	text, err := b.decrypt(body)
	if err != nil {
		return seen{text: "(the browser cannot decrypt this: " + err.Error() + ")"}
	}
	var message struct {
		Notification struct {
			Title string `json:"title"`
			Body  string `json:"body"`
			Data  struct {
				Reference string `json:"pigeonry_id"`
			} `json:"data"`
		} `json:"notification"`
		Data struct {
			Reference string `json:"pigeonry_id"`
		} `json:"data"`
	}
	if json.Unmarshal(text, &message) != nil || message.Notification.Title+message.Notification.Body == "" {
		return seen{text: string(text), reference: message.Data.Reference}
	}
	n := message.Notification
	return seen{title: n.Title, text: n.Body, reference: n.Data.Reference}
}

// decrypt reads the content coding aes128gcm (RFC 8188) with the keys of RFC 8291. HMAC stands for HKDF here, step by step as
// RFC 8291 section 3.4 writes it: senders use libraries.
func (b *browser) decrypt(body []byte) ([]byte, error) {
	const saltSize, sizeAt, idAt, keyAt = 16, 16, 20, 21
	if len(body) < keyAt || len(body) < keyAt+int(body[idAt]) {
		return nil, errors.New("the header is cut short")
	}
	salt, size, id, records := body[:saltSize], binary.BigEndian.Uint32(body[sizeAt:]), body[keyAt:keyAt+int(body[idAt])], body[keyAt+int(body[idAt]):]
	sender, err := ecdh.P256().NewPublicKey(id)
	if err != nil {
		return nil, fmt.Errorf("the key id is no point: %w", err)
	}
	shared, err := b.key.ECDH(sender)
	if err != nil {
		return nil, fmt.Errorf("agree on a key: %w", err)
	}
	if uint64(len(records)) > uint64(size) {
		return nil, errors.New("there is more than one record")
	}
	input := mac(mac(b.auth, shared), append(bytes.Join([][]byte{[]byte("WebPush: info\x00"), b.key.PublicKey().Bytes(), id}, nil), 1))
	pseudorandom := mac(salt, input)
	key := mac(pseudorandom, []byte("Content-Encoding: aes128gcm\x00\x01"))[:16]
	nonce := mac(pseudorandom, []byte("Content-Encoding: nonce\x00\x01"))[:12]
	return open(key, nonce, records)
}

// open decrypts the one record, and takes the padding away.
func open(key, nonce, record []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cipher: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("cipher: %w", err)
	}
	text, err := gcm.Open(nil, nonce, record, nil)
	if err != nil {
		return nil, errors.New("it was encrypted for somebody else, or is damaged")
	}
	text = bytes.TrimRight(text, "\x00")
	if len(text) == 0 || text[len(text)-1] != 2 {
		return nil, errors.New("the record is not the last one")
	}
	return text[:len(text)-1], nil
}

func mac(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(text) // never fails
	return h.Sum(nil)
}
