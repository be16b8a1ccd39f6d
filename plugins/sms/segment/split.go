package segment

import (
	"encoding/binary"
	"unicode/utf16"

	"github.com/pigeonry/pigeonry/plugins/sms/gsm7"
)

// Capacities of one message and of one part of several, in septets or UTF-16 units.
const (
	gsmWhole, gsmPart   = 160, 153
	ucs2Whole, ucs2Part = 70, 67
)

// MaxParts is the most parts that a user data header can number.
const MaxParts = 255

// Encoding is how the characters of a text are written.
type Encoding int

// The encodings.
const (
	// Default is the SMSC's default alphabet, data_coding 0: GSM 7-bit, or Latin-1 where the SMSC
	// wants that.
	Default Encoding = iota
	// UCS2 is UTF-16, big endian, data_coding 8; characters outside of the Basic Multilingual
	// Plane are surrogate pairs.
	UCS2
)

// Alphabet is what an SMSC takes data_coding 0 to mean.
type Alphabet int

// The alphabets met in the wild.
const (
	// GSM7 is the alphabet of package gsm7, what nearly all SMSCs take.
	GSM7 Alphabet = iota
	// Latin1 is ISO 8859-1, which the SMSC converts to GSM 7-bit itself: lengths are still counted
	// in septets.
	Latin1
)

// Text is an encoded text.
type Text struct {
	Encoding Encoding
	// Parts are the octets of each part, without header; at least one, even of an empty text.
	Parts [][]byte
	// Units counts septets or UTF-16 units in all.
	Units int
}

// Encode encodes text and splits it where it is too long for one message. Octets that are not UTF-8
// become U+FFFD.
func Encode(text string, alphabet Alphabet) Text {
	s := splitter{units: ucs2Units, write: writeUCS2, whole: ucs2Whole, part: ucs2Part}
	encoding := UCS2
	if inDefault(text, alphabet) {
		s = splitter{units: gsm7.Len, write: gsm7.AppendRune, whole: gsmWhole, part: gsmPart}
		if alphabet == Latin1 {
			s.write = writeLatin1
		}
		encoding = Default
	}
	parts, units := s.split(text)
	return Text{Encoding: encoding, Parts: parts, Units: units}
}

func inDefault(text string, alphabet Alphabet) bool {
	for _, r := range text {
		if gsm7.Len(r) == 0 || alphabet == Latin1 && r > 0xFF {
			return false
		}
	}
	return true
}

// splitter fills parts one character after the other, so that it cannot cut one.
type splitter struct {
	units       func(rune) int
	write       func([]byte, rune) []byte
	whole, part int
}

func (s splitter) split(text string) (parts [][]byte, units int) {
	for _, r := range text {
		units += s.units(r)
	}
	room := s.whole
	if units > s.whole {
		room = s.part
	}
	current, left := make([]byte, 0, 160), room
	for _, r := range text {
		n := s.units(r)
		if n > left {
			parts = append(parts, current)
			current, left = make([]byte, 0, 160), room
		}
		current, left = s.write(current, r), left-n
	}
	return append(parts, current), units
}

func ucs2Units(r rune) int { return max(utf16.RuneLen(r), 1) }

func writeUCS2(dst []byte, r rune) []byte {
	if utf16.RuneLen(r) == 2 {
		high, low := utf16.EncodeRune(r)
		dst = binary.BigEndian.AppendUint16(dst, uint16(high))
		return binary.BigEndian.AppendUint16(dst, uint16(low))
	}
	return binary.BigEndian.AppendUint16(dst, uint16(r))
}

func writeLatin1(dst []byte, r rune) []byte { return append(dst, byte(r)) }

// Decode gives the text of octets. Half a unit or half a surrogate pair becomes U+FFFD.
func Decode(octets []byte, encoding Encoding, alphabet Alphabet) string {
	switch {
	case encoding == UCS2:
		return decodeUCS2(octets)
	case alphabet == Latin1:
		return DecodeLatin1(octets)
	}
	return gsm7.Decode(octets)
}

func decodeUCS2(octets []byte) string {
	units := make([]uint16, 0, len(octets)/2+1)
	for ; len(octets) >= 2; octets = octets[2:] {
		units = append(units, binary.BigEndian.Uint16(octets))
	}
	if len(octets) > 0 {
		units = append(units, 0xFFFD)
	}
	return string(utf16.Decode(units))
}

// DecodeLatin1 gives the text of octets in ISO 8859-1, of which ASCII is a part.
func DecodeLatin1(octets []byte) string {
	text := make([]rune, len(octets))
	for i, b := range octets {
		text[i] = rune(b)
	}
	return string(text)
}
