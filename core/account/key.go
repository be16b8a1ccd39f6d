package account

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/pigeonry/pigeonry/core"
)

const (
	// keyPrefix marks a key of ours, for people and for scanners that look for leaked secrets.
	keyPrefix = "pgn_live_"
	// handleLength is how many characters tell keys apart. They are part of the key and no secret.
	handleLength = 8
	// checksumLength is the CRC-32 in hexadecimal digits at the end of a key.
	checksumLength = 8
	// hintLength is how much of a key that somebody else made is shown.
	hintLength = 4
)

// NewKey makes a key, "pgn_live_<handle>_<random><crc32>": the key itself, which is shown once, and what
// is kept of it. The random part has at least 128 bits. Prefix and checksum are for scanners, which tell a
// leaked key from a text that only looks like one.
func NewKey() (plain string, key core.Key) {
	handle := strings.ToLower(rand.Text()[:handleLength])
	body := keyPrefix + handle + "_" + strings.ToLower(rand.Text())
	plain = body + checksum(body)
	return plain, core.Key{Hint: keyPrefix + handle, Hash: Hash(plain)}
}

// Hash is what is kept of a key.
func Hash(plain string) [32]byte { return sha256.Sum256([]byte(plain)) }

func checksum(s string) string {
	return fmt.Sprintf("%0*x", checksumLength, crc32.ChecksumIEEE([]byte(s)))
}

// hintOf is what may be shown of a key that somebody else made.
func hintOf(plain string) string {
	shown := []rune(plain)
	return string(shown[:min(len(shown), hintLength)]) + "…"
}

// fingerprint names a key in logs without telling anything of it.
func fingerprint(hash [32]byte) string { return hex.EncodeToString(hash[:4]) }
