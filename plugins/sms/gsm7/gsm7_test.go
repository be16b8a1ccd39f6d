package gsm7_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pigeonry/pigeonry/plugins/sms/gsm7"
)

func TestEncode(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []byte
	}{
		{"empty", "", []byte{}},
		{"letters are ASCII", "Hello 1", []byte("Hello 1")},
		{"moved from their ASCII place", "@$_", []byte{0x00, 0x02, 0x11}},
		{"national", "ÄÖÜäöüßñ§", []byte{0x5B, 0x5C, 0x5E, 0x7B, 0x7C, 0x7E, 0x1E, 0x7D, 0x5F}},
		{"greek", "ΔΦΓΛΩΠΨΣΘΞ", []byte{0x10, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A}},
		{"extension", "{[€]}\f^\\~|", []byte{
			0x1B, 0x28, 0x1B, 0x3C, 0x1B, 0x65, 0x1B, 0x3E, 0x1B, 0x29,
			0x1B, 0x0A, 0x1B, 0x14, 0x1B, 0x2F, 0x1B, 0x3D, 0x1B, 0x40,
		}},
		{"line ends", "a\r\nb", []byte{'a', 0x0D, 0x0A, 'b'}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, ok := gsm7.Encode(tc.text)
			if !ok || !bytes.Equal(got, tc.want) {
				t.Fatalf("Encode(%q) = % x, %v; want % x", tc.text, got, ok, tc.want)
			}
			if text := gsm7.Decode(got); text != tc.text {
				t.Errorf("Decode gives %q back, want %q", text, tc.text)
			}
		})
	}
}

func TestNotEncodable(t *testing.T) {
	for _, text := range []string{"中", "ç", "`", "\t", "\x1b", "😀", "a\xffb", "\x00", "ª"} {
		if octets, ok := gsm7.Encode(text); ok {
			t.Errorf("Encode(%q) = % x, want none: the alphabet does not have it", text, octets)
		}
	}
}

func TestDecodeOddOctets(t *testing.T) {
	for _, tc := range []struct {
		name   string
		octets []byte
		want   string
	}{
		{"escape at the end", []byte{'a', 0x1B}, "a\uFFFD"},
		{"unknown extension shows the basic character", []byte{0x1B, 'x'}, "x"},
		{"two escapes", []byte{0x1B, 0x1B, 0x65}, "€"},
		{"eight bits", []byte{'a', 0x80, 0xFF}, "a\uFFFD\uFFFD"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := gsm7.Decode(tc.octets); got != tc.want {
				t.Errorf("Decode(% x) = %q, want %q", tc.octets, got, tc.want)
			}
		})
	}
}

// Each of the 128 codes but the escape is a character of its own.
func TestTableIsComplete(t *testing.T) {
	seen := map[string]int{}
	for octet := range 128 {
		if octet == gsm7.Escape {
			continue
		}
		text := gsm7.Decode([]byte{byte(octet)})
		if before, twice := seen[text]; twice {
			t.Errorf("codes 0x%02x and 0x%02x are both %q", before, octet, text)
		}
		seen[text] = octet
		if back, ok := gsm7.Encode(text); !ok || !bytes.Equal(back, []byte{byte(octet)}) {
			t.Errorf("code 0x%02x decodes to %q, which encodes to % x", octet, text, back)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, text := range []string{"", "Hello", "a€b[]", "中文", "\x1b\x1b", "ΔΦ\r\n@", "a\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		octets, ok := gsm7.Encode(text)
		if !ok {
			if gsm7.Encodable(text) {
				t.Fatalf("%q is encodable but not encoded", text)
			}
			return
		}
		septets := 0
		for _, r := range text {
			septets += gsm7.Len(r)
		}
		if septets != len(octets) {
			t.Errorf("%q: Len counts %d septets, Encode wrote %d", text, septets, len(octets))
		}
		if back := gsm7.Decode(octets); back != text {
			t.Errorf("%q came back as %q", text, back)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("Hello"))
	f.Add([]byte{0x1B, 0x65, 0x1B, 0x1B, 0x1B})
	f.Add([]byte{0x80, 0xFF, 0x00})
	f.Fuzz(func(t *testing.T, octets []byte) {
		text := gsm7.Decode(octets)
		if !utf8.ValidString(text) {
			t.Fatalf("Decode(% x) is not valid UTF-8: %q", octets, text)
		}
		if strings.ContainsRune(text, gsm7.Escape) {
			t.Errorf("Decode(% x) = %q: an escape came through", octets, text)
		}
	})
}
