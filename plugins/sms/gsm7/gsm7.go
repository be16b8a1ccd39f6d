// Package gsm7 encodes and decodes the GSM 7-bit default alphabet with its extension table
// (3GPP TS 23.038, formerly GSM 03.38, section 6.2.1), one septet in one octet, as SMPP carries it
// under data_coding 0. National language tables are not used.
package gsm7

import (
	"strings"
	"unicode/utf8"
)

// Escape introduces a character of the extension table.
const Escape = 0x1B

// alphabet is the basic table, by code; the place of the escape is never looked up.
const alphabet = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
	"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"

// maxRune is the highest character of the basic table, Ω, plus one; of the extension table only the
// euro sign lies above it.
const maxRune = 'Ω' + 1

// The tables below are read only.
var (
	basic    = []rune(alphabet)
	extended = map[byte]rune{
		0x0A: '\f', 0x14: '^', 0x28: '{', 0x29: '}', 0x2F: '\\',
		0x3C: '[', 0x3D: '~', 0x3E: ']', 0x40: '|', 0x65: euro,
	}
	codes = buildCodes() //nolint:gochecknoglobals // a table, never written
)

const euro = '€'

// code is how a character is written.
type code struct {
	septets byte // 1, 2 with the escape, 0 for a character that is not in the alphabet
	octet   byte
}

func buildCodes() (table [maxRune]code) {
	for octet, r := range basic {
		if octet != Escape {
			table[r] = code{septets: 1, octet: byte(octet)}
		}
	}
	for octet, r := range extended {
		if r < maxRune {
			table[r] = code{septets: 2, octet: octet}
		}
	}
	return table
}

func lookup(r rune) code {
	switch {
	case r >= 0 && r < maxRune:
		return codes[r]
	case r == euro:
		return code{septets: 2, octet: 0x65}
	}
	return code{}
}

// Len is how many septets r takes: 1, 2 for a character of the extension table, 0 when the alphabet
// does not have it.
func Len(r rune) int { return int(lookup(r).septets) }

// Encodable tells whether the alphabet has every character of text.
func Encodable(text string) bool {
	for _, r := range text {
		if Len(r) == 0 {
			return false
		}
	}
	return true
}

// AppendRune appends the octets of r, none when the alphabet does not have it.
func AppendRune(dst []byte, r rune) []byte {
	c := lookup(r)
	switch c.septets {
	case 2:
		return append(dst, Escape, c.octet)
	case 1:
		return append(dst, c.octet)
	}
	return dst
}

// Encode gives the octets of text; ok is false, and nothing encoded, when the alphabet lacks one
// of its characters.
func Encode(text string) (octets []byte, ok bool) {
	if !Encodable(text) {
		return nil, false
	}
	octets = make([]byte, 0, len(text))
	for _, r := range text {
		octets = AppendRune(octets, r)
	}
	return octets, true
}

// Decode gives the text of octets. An escape before a code that the extension table lacks is dropped
// and the code read from the basic table, as TS 23.038 has it; octets above 0x7F, and
// an escape at the end, become U+FFFD.
func Decode(octets []byte) string {
	var text strings.Builder
	text.Grow(len(octets))
	for i := 0; i < len(octets); i++ {
		octet := octets[i]
		switch {
		case octet > 0x7F || octet == Escape && i+1 == len(octets):
			text.WriteRune(utf8.RuneError)
		case octet == Escape:
			if r, ok := extended[octets[i+1]]; ok {
				text.WriteRune(r)
				i++
			}
		default:
			text.WriteRune(basic[octet])
		}
	}
	return text.String()
}
