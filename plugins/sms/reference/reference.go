// Package reference writes what a provider carries along with a request and tells again later, in receipts and in its
// list of messages sent: the attempt, or, where a request takes one reference for many messages, all of their attempts
// in one short text.
package reference

import (
	"encoding/base64"
	"hash/fnv"
	"math/big"
	"strconv"
	"strings"
)

// What begins a reference of one attempt, and of several: the width of a mark in bits and a dot follow. Other programs
// may use the same account at the provider, with references of their own.
const (
	ofOne  = "pg-"
	ofMany = "pgb"
)

// How much of an attempt's hash is kept, of several attempts. With less than minBits too many attempts of others would be
// named as well: of 46 marks of 32 bits one in 90 million is.
const (
	minBits = 32
	maxBits = 48
)

// Most is how many attempts a reference of size octets can stand for.
func Most(size int) int { return room(size) / minBits }

// room is how many bits fit in base64 behind the width.
func room(size int) int { return (size - len(ofMany) - len("48.")) * 3 / 4 * 8 }

// Of gives a reference of at most size octets to the attempts of a request, at least one and no more than Most. One
// attempt stands there as it is; of several there is a mark each, cut from a hash of its id: the fewer, the longer. Of too
// many there is none: "".
func Of(attempts []string, size int) string {
	if len(attempts) == 1 && len(ofOne+attempts[0]) <= size {
		return ofOne + attempts[0]
	}
	bits := min(maxBits, room(size)/len(attempts))
	if bits < minBits {
		return ""
	}
	all := new(big.Int)
	for _, id := range attempts {
		all.Lsh(all, uint(bits))
		all.Or(all, new(big.Int).SetUint64(mark(id, bits)))
	}
	octets := make([]byte, (bits*len(attempts)+7)/8)
	return ofMany + strconv.Itoa(bits) + "." + base64.RawURLEncoding.EncodeToString(all.FillBytes(octets))
}

// Attempt gives the attempt that a reference stands for; ok is false for a reference to several and for any other text.
func Attempt(text string) (id string, ok bool) {
	id, ok = strings.CutPrefix(text, ofOne)
	if !ok || id == "" {
		return "", false
	}
	return id, true
}

// Names tells whether a reference is to the attempt, among others perhaps. sure is false where it may err: a reference to
// n attempts names about n of 2 to the power of its bits (32 to 48) others. Look at recipient and time as well.
func Names(text, attempt string) (named, sure bool) {
	if id, ok := Attempt(text); ok {
		return id == attempt, true
	}
	all, bits, ok := parse(text)
	if !ok {
		return false, true
	}
	want, mask := mark(attempt, bits), new(big.Int).SetUint64(1<<bits-1)
	for count := all.BitLen()/bits + 1; count > 0; count-- {
		if new(big.Int).And(all, mask).Uint64() == want {
			return true, false
		}
		all.Rsh(all, uint(bits))
	}
	return false, true
}

func parse(text string) (all *big.Int, bits int, ok bool) {
	rest, ok := strings.CutPrefix(text, ofMany)
	if !ok {
		return nil, 0, false
	}
	width, marks, ok := strings.Cut(rest, ".")
	if !ok {
		return nil, 0, false
	}
	bits, err := strconv.Atoi(width)
	if err != nil || bits < minBits || bits > maxBits {
		return nil, 0, false
	}
	octets, err := base64.RawURLEncoding.DecodeString(marks)
	if err != nil || len(octets) == 0 {
		return nil, 0, false
	}
	return new(big.Int).SetBytes(octets), bits, true
}

// mark is the lowest bits of an attempt's hash, never zero: leading zeros of the whole do not count as marks.
func mark(attempt string, bits int) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(attempt)) // never fails
	sum := h.Sum64()
	sum ^= sum >> 32 // FNV's lower bits alone differ too little between similar ids
	return max(1, sum&(1<<bits-1))
}
