package template_test

import (
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/pigeonry/pigeonry/core/template"
)

func TestSegments(t *testing.T) {
	repeat := strings.Repeat
	tests := []struct {
		about, text     string
		encoding        string
		units, segments int
	}{
		{"nothing", "", "GSM-7", 0, 0},
		{"one character", "a", "GSM-7", 1, 1},
		{"one full SMS", repeat("a", 160), "GSM-7", 160, 1},
		{"one more", repeat("a", 161), "GSM-7", 161, 2},
		{"two full parts", repeat("a", 306), "GSM-7", 306, 2},
		{"two full parts and one more", repeat("a", 307), "GSM-7", 307, 3},
		{"the extension counts twice", "€[]{}\\~^|\f", "GSM-7", 20, 1},
		{"80 of the extension are one SMS", repeat("€", 80), "GSM-7", 160, 1},
		{"an escape is not divided: 152 of 153 are used", repeat("€", 153), "GSM-7", 306, 3},
		{"an escape at the edge moves whole", repeat("a", 152) + "€" + repeat("a", 20), "GSM-7", 174, 2},
		{"national characters of GSM", "@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ ¤¡ÄÖÑÜ§¿äöñüà\r\n", "GSM-7", 45, 1},
		{"a backtick is not in GSM", "`", "UCS-2", 1, 1},
		{"nor is a small c with cedilla", "ça va", "UCS-2", 5, 1},
		{"nor a tab", "a\tb", "UCS-2", 3, 1},
		{"one full SMS in UCS-2", repeat("好", 70), "UCS-2", 70, 1},
		{"one more in UCS-2", repeat("好", 71), "UCS-2", 71, 2},
		{"two full parts in UCS-2", repeat("好", 134), "UCS-2", 134, 2},
		{"two full parts and one more in UCS-2", repeat("好", 135), "UCS-2", 135, 3},
		{"an emoji has two units", "😀", "UCS-2", 2, 1},
		{"35 emoji are one SMS", repeat("😀", 35), "UCS-2", 70, 1},
		{"a pair is not divided: 66 of 67 are used", repeat("😀", 67), "UCS-2", 134, 3},
		{"one character decides for all", repeat("a", 100) + "好", "UCS-2", 101, 2},
		{"bytes that are not UTF-8 are replaced", "\xff\xfe", "UCS-2", 2, 1},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			want := template.SegmentCount{Encoding: test.encoding, Units: test.units, Segments: test.segments}
			if got := template.Segments(test.text); got != want {
				t.Errorf("Segments(%q) = %+v, want %+v", test.text, got, want)
			}
		})
	}
}

// alphabet is the default alphabet of 3GPP TS 23.038 section 6.2.1 as it stands in the table, and the
// extension of section 6.2.1.1: the test's own copy.
const (
	alphabet = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	extension = "\f^{}\\[~]|€"
)

// encode writes a text in code units, a character a slice.
func encode(text string) (encoding string, characters [][]uint16) {
	for _, r := range text {
		switch {
		case strings.ContainsRune(alphabet, r):
			characters = append(characters, []uint16{uint16(r)})
		case strings.ContainsRune(extension, r):
			characters = append(characters, []uint16{0x1b, uint16(r)})
		default:
			return "UCS-2", encodeUCS2(text)
		}
	}
	return "GSM-7", characters
}

func encodeUCS2(text string) (characters [][]uint16) {
	for _, r := range text {
		characters = append(characters, utf16.Encode([]rune{r}))
	}
	return characters
}

// split fills parts greedily, as a sender does.
func split(encoding string, characters [][]uint16) (parts [][]uint16) {
	single, size := 160, 153
	if encoding == "UCS-2" {
		single, size = 70, 67
	}
	var all, part []uint16
	for _, c := range characters {
		all = append(all, c...)
		if len(part)+len(c) > size {
			parts, part = append(parts, part), nil
		}
		part = append(part, c...)
	}
	switch {
	case len(all) == 0:
		return nil
	case len(all) <= single:
		return [][]uint16{all}
	default:
		return append(parts, part)
	}
}

// FuzzSegments holds the count to what a splitter really makes of the text.
func FuzzSegments(f *testing.F) {
	for _, seed := range []string{
		"", "hello", strings.Repeat("€", 153), strings.Repeat("😀", 67), strings.Repeat("a", 161), "a`b", "\xff",
		strings.Repeat("a", 152) + "[]", strings.Repeat("好", 66) + "😀", alphabet, extension,
	} {
		f.Add(seed, 1)
		f.Add(seed, 9)
	}
	f.Fuzz(func(t *testing.T, text string, times int) {
		text = strings.Repeat(text, min(max(times, 0), 50))
		encoding, characters := encode(text)
		parts := split(encoding, characters)
		units := 0
		for _, p := range parts {
			units += len(p)
		}
		want := template.SegmentCount{Encoding: encoding, Units: units, Segments: len(parts)}
		if got := template.Segments(text); got != want {
			t.Errorf("Segments(%q) = %+v, a splitter makes %+v", text, got, want)
		}
	})
}

func BenchmarkSegments(b *testing.B) {
	texts := map[string]string{
		"gsm":  "Dear Ann, your order SO-20260112-0042 is on its way; the code is 482913.",
		"ucs2": "您的订单 SO-20260112-0042 已发出，验证码 482913，五分钟内有效。",
	}
	for name, text := range texts {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				template.Segments(text)
			}
		})
	}
}
