package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1" //nolint:gosec // WeChat signs with SHA-1
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/pigeonry/pigeonry/sdk"
)

// How WeChat signs and encrypts callbacks:
// https://developers.weixin.qq.com/doc/service/guide/dev/push/encryption.html

const (
	// sealBlock is what a message is padded to, in bytes: PKCS#7 with twice the block of AES.
	sealBlock = 32
	// sealHeader is what stands before a message, in bytes: 16 random ones and its length.
	sealHeader = 16 + 4
)

var errSealed = errors.New("the message cannot be decrypted: it is damaged, or encrypted with another EncodingAESKey")

// signature is the SHA-1 of the sorted parts, in hexadecimal.
func signature(parts ...string) string {
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, ""))) //nolint:gosec // WeChat signs with SHA-1
	return hex.EncodeToString(sum[:])
}

// signed tells whether given is the signature of the parts. The time it takes says nothing about it.
func signed(given string, parts ...string) bool {
	return subtle.ConstantTimeCompare([]byte(given), []byte(signature(parts...))) == 1
}

// decodeKey reads an EncodingAESKey: base64 without the last character of 32 bytes.
func decodeKey(encoded sdk.Secret) ([]byte, error) {
	if len(encoded) != 43 {
		return nil, errors.New("does not have 43 characters")
	}
	key, err := base64.StdEncoding.DecodeString(encoded.Reveal() + "=")
	if err != nil {
		return nil, errors.New("has other characters than letters and digits")
	}
	return key, nil
}

// unseal decrypts a message that is for the account appID. The signature has been checked before: whoever could
// try out messages here would learn from the errors how to forge one.
func unseal(key []byte, sealed, appID string) ([]byte, error) {
	text, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil || len(text) == 0 || len(text)%sealBlock != 0 {
		return nil, errSealed
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errSealed
	}
	cipher.NewCBCDecrypter(block, key[:block.BlockSize()]).CryptBlocks(text, text)
	if text, err = unpad(text); err != nil {
		return nil, err
	}
	if len(text) < sealHeader {
		return nil, errSealed
	}
	length, rest := int64(binary.BigEndian.Uint32(text[16:sealHeader])), text[sealHeader:]
	if length > int64(len(rest)) {
		return nil, errSealed
	}
	if subtle.ConstantTimeCompare(rest[length:], []byte(appID)) != 1 {
		return nil, errors.New("the message is for another AppID than app_id")
	}
	return rest[:length], nil
}

// unpad takes off n times the byte n, with n from 1 to 32.
func unpad(text []byte) ([]byte, error) {
	n := int(text[len(text)-1])
	if n < 1 || n > sealBlock {
		return nil, errSealed
	}
	message, padding := text[:len(text)-n], text[len(text)-n:]
	for _, b := range padding {
		if int(b) != n {
			return nil, errSealed
		}
	}
	return message, nil
}
