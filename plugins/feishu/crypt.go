package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// decrypt opens what Feishu encrypts with the Encrypt Key: AES-256-CBC under the SHA-256 of the key, padded as PKCS #7
// says, after its initialization vector, in base64.
// https://open.feishu.cn/document/event-subscription-guide/event-subscription-configure-/encrypt-key-encryption-configuration-case
func decrypt(encrypted, encryptKey string) ([]byte, error) {
	sealed, err := base64.StdEncoding.DecodeString(encrypted)
	if err != nil {
		return nil, fmt.Errorf("decode base64: %w", err)
	}
	if len(sealed) < 2*aes.BlockSize || len(sealed)%aes.BlockSize != 0 {
		return nil, fmt.Errorf("%d bytes are not an initialization vector and whole blocks", len(sealed))
	}
	key := sha256.Sum256([]byte(encryptKey))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("make the cipher: %w", err)
	}
	vector, text := sealed[:aes.BlockSize], sealed[aes.BlockSize:]
	cipher.NewCBCDecrypter(block, vector).CryptBlocks(text, text)
	padding := int(text[len(text)-1])
	if padding == 0 || padding > aes.BlockSize {
		return nil, errors.New("the padding is wrong, as it is with another key")
	}
	for _, b := range text[len(text)-padding:] {
		if int(b) != padding {
			return nil, errors.New("the padding is wrong, as it is with another key")
		}
	}
	return text[:len(text)-padding], nil
}

// eventSignature is what proves that a callback is from Feishu. It covers the body as it was sent.
// https://open.feishu.cn/document/event-subscription-guide/event-subscription-configure-/encrypt-key-encryption-configuration-case
func eventSignature(timestamp, nonce, encryptKey string, body []byte) string {
	h := sha256.New()
	h.Write([]byte(timestamp + nonce + encryptKey))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// same compares without telling by its time how far two texts agree.
func same(given, want string) bool {
	g, w := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(g[:], w[:]) == 1
}
