package sandbox

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"unicode/utf16"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
)

// The witness decodes with tables of its own: it would not see a mistake that it shared with the
// plugin under test.

// gsmAlphabet is the default alphabet of 3GPP TS 23.038 section 6.2.1, by code.
const gsmAlphabet = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
	"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"

// gsmEscape introduces a character of the extension table.
const gsmEscape = 0x1b

// gsmExtension returns a character of the extension table (section 6.2.1.1).
func gsmExtension(code byte) (rune, bool) {
	const codes, characters = "\x0a\x14\x28\x29\x2f\x3c\x3d\x3e\x40\x65", "\f^{}\\[~]|€"
	at := strings.IndexByte(codes, code)
	if at < 0 {
		return 0, false
	}
	return []rune(characters)[at], true
}

// decodeSMS turns user data into text by its data_coding (SMPP 3.4 section 5.2.19). What is no text
// is shown in hexadecimal.
func decodeSMS(coding byte, payload []byte) string {
	switch coding {
	case smpp.DataCodingDefault:
		return decodeGSM(payload)
	case smpp.DataCodingUCS2:
		return decodeUCS2(payload)
	case smpp.DataCodingASCII, smpp.DataCodingLatin1:
		return decodeLatin1(payload)
	default:
		return hex.EncodeToString(payload)
	}
}

// decodeGSM reads one septet from each octet, as SMPP carries them.
func decodeGSM(payload []byte) string {
	alphabet := []rune(gsmAlphabet)
	var text strings.Builder
	for i := 0; i < len(payload); i++ {
		code := payload[i]
		switch {
		case code >= 0x80:
			text.WriteRune('\uFFFD')
		case code == gsmEscape && i+1 < len(payload):
			if r, ok := gsmExtension(payload[i+1]); ok {
				text.WriteRune(r)
				i++
				continue
			}
			text.WriteByte(' ') // an unknown extension: TS 23.038 says a space, then the character
		case code == gsmEscape:
			text.WriteRune('\uFFFD') // cut in two: the part ends in the middle of a character
		default:
			text.WriteRune(alphabet[code])
		}
	}
	return text.String()
}

// decodeUCS2 reads UTF-16, big endian; half a pair or half a unit shows as U+FFFD.
func decodeUCS2(payload []byte) string {
	units := make([]uint16, 0, len(payload)/2)
	for ; len(payload) >= 2; payload = payload[2:] {
		units = append(units, binary.BigEndian.Uint16(payload))
	}
	text := string(utf16.Decode(units))
	if len(payload) > 0 {
		text += "\uFFFD"
	}
	return text
}

func decodeLatin1(payload []byte) string {
	runes := make([]rune, len(payload))
	for i, b := range payload {
		runes[i] = rune(b)
	}
	return string(runes)
}
