package template

import (
	"strings"
	"unicode/utf16"
)

// The encodings of an SMS.
const (
	GSM7 = "GSM-7" // 3GPP TS 23.038, default alphabet and its extension, 7 bits a character
	UCS2 = "UCS-2" // UTF-16 units; the whole text as soon as one character is not in GSM-7
)

// Units that fit an SMS of 140 octets: alone, and as a part of a longer text, where 6 octets go to the
// header that joins the parts (3GPP TS 23.040 section 9.2.3.24.1, 8-bit reference).
const (
	singleGSM7, partGSM7 = 160, 153
	singleUCS2, partUCS2 = 70, 67
)

// SegmentCount is how much of an SMS a text is.
type SegmentCount struct {
	Encoding string // GSM7 or UCS2
	Units    int    // septets, or UTF-16 units
	Segments int    // parts that a provider sends and bills; 0 for an empty text
}

// Segments counts the parts of an SMS. A character of two units, from the GSM extension or beyond the
// Basic Multilingual Plane, is never divided between two parts: a part that ends one unit early makes
// the count larger than the units alone would.
func Segments(text string) SegmentCount {
	units, ok := count(text, septets, singleGSM7, partGSM7)
	encoding := GSM7
	if !ok {
		units, _ = count(text, utf16.RuneLen, singleUCS2, partUCS2)
		encoding = UCS2
	}
	return SegmentCount{Encoding: encoding, Units: units.units, Segments: units.segments}
}

// counted is the size of a text in one encoding.
type counted struct{ units, segments int }

// count fills parts from left to right, or returns false if the encoding lacks a character.
func count(text string, width func(rune) int, single, part int) (counted, bool) {
	var c counted
	free := 0 // units left in the last part
	for _, r := range text {
		w := width(r)
		if w <= 0 {
			return counted{}, false
		}
		if w > free {
			c.segments++
			free = part
		}
		free -= w
		c.units += w
	}
	if c.units <= single {
		c.segments = min(c.segments, 1)
	}
	return c, true
}

// gsmBeyondASCII is the part of the GSM default alphabet that is not in ASCII.
const gsmBeyondASCII = "£¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà"

// septets is how many septets a character takes in GSM-7, 0 if it has none.
func septets(r rune) int {
	switch {
	case 'a' <= r && r <= 'z': // the most frequent, for speed
		return 1
	case r == '`':
		return 0
	case r == '€' || r == '\f' || strings.ContainsRune(`[\]^{|}~`, r):
		return 2
	case ' ' <= r && r <= '~' || r == '\n' || r == '\r':
		return 1
	case strings.ContainsRune(gsmBeyondASCII, r):
		return 1
	default:
		return 0
	}
}
