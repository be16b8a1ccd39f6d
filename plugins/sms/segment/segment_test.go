package segment_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/plugins/sms/segment"
)

func TestEncodeChoosesAndSplits(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		encoding   segment.Encoding
		octets     []int // of each part
		units      int
	}{
		{"empty", "", segment.Default, []int{0}, 0},
		{"160 septets are whole", strings.Repeat("a", 160), segment.Default, []int{160}, 160},
		{"161 septets are two parts", strings.Repeat("a", 161), segment.Default, []int{153, 8}, 161},
		{"306 fill two parts", strings.Repeat("a", 306), segment.Default, []int{153, 153}, 306},
		{"307 need three", strings.Repeat("a", 307), segment.Default, []int{153, 153, 1}, 307},
		{"80 euro signs are whole", strings.Repeat("€", 80), segment.Default, []int{160}, 160},
		{"an escape is not cut from its character", strings.Repeat("€", 81), segment.Default, []int{152, 10}, 162},
		{"70 units are whole", strings.Repeat("中", 70), segment.UCS2, []int{140}, 70},
		{"71 units are two parts", strings.Repeat("中", 71), segment.UCS2, []int{134, 8}, 71},
		{"one strange character makes all UCS-2", strings.Repeat("a", 70) + "中", segment.UCS2, []int{134, 8}, 71},
		{"35 emoji are whole", strings.Repeat("😀", 35), segment.UCS2, []int{140}, 70},
		{"a surrogate pair is not cut", strings.Repeat("😀", 36), segment.UCS2, []int{132, 12}, 72},
		{"octets that are not UTF-8", "a\xff", segment.UCS2, []int{4}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := segment.Encode(tc.text, segment.GSM7)
			if got.Encoding != tc.encoding || got.Units != tc.units {
				t.Errorf("encoding %d with %d units, want %d with %d", got.Encoding, got.Units, tc.encoding, tc.units)
			}
			if len(got.Parts) != len(tc.octets) {
				t.Fatalf("%d parts, want %d", len(got.Parts), len(tc.octets))
			}
			for i, part := range got.Parts {
				if len(part) != tc.octets[i] {
					t.Errorf("part %d has %d octets, want %d", i+1, len(part), tc.octets[i])
				}
			}
		})
	}
}

func TestLatin1(t *testing.T) {
	got := segment.Encode("à@[", segment.Latin1)
	if got.Encoding != segment.Default || !bytes.Equal(got.Parts[0], []byte{0xE0, '@', '['}) || got.Units != 4 {
		t.Errorf("got %+v, want the octets of ISO 8859-1, counted in 4 septets", got)
	}
	if got := segment.Encode("€ Δ", segment.Latin1); got.Encoding != segment.UCS2 {
		t.Errorf("got %+v, want UCS-2: Latin-1 has neither € nor Δ", got)
	}
}

func TestParseHeader(t *testing.T) {
	data := []byte("rest")
	for _, tc := range []struct {
		name   string
		header []byte
		want   segment.Concat
	}{
		{"8 bits", []byte{5, 0, 3, 0xAB, 3, 2}, segment.Concat{Reference: 0xAB, Total: 3, Number: 2}},
		{"16 bits", []byte{6, 8, 4, 0x12, 0x34, 2, 1}, segment.Concat{Reference: 0x1234, Total: 2, Number: 1}},
		{"behind ports", []byte{11, 5, 4, 0, 1, 0, 2, 0, 3, 7, 2, 2}, segment.Concat{Reference: 7, Total: 2, Number: 2}},
		{"ports alone", []byte{6, 5, 4, 0, 1, 0, 2}, segment.Concat{}},
		{"part 3 of 2", []byte{5, 0, 3, 1, 2, 3}, segment.Concat{}},
		{"part 0", []byte{5, 0, 3, 1, 2, 0}, segment.Concat{}},
		{"element cut short", []byte{3, 0, 3, 1}, segment.Concat{}},
		{"empty header", []byte{0}, segment.Concat{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, rest, ok := segment.ParseHeader(append(bytes.Clone(tc.header), data...))
			if !ok || got != tc.want || !bytes.Equal(rest, data) {
				t.Errorf("got %+v, %q, %v; want %+v, %q", got, rest, ok, tc.want, data)
			}
		})
	}
	for _, payload := range [][]byte{nil, {5, 0, 3}, {1}} {
		if _, rest, ok := segment.ParseHeader(payload); ok || !bytes.Equal(rest, payload) {
			t.Errorf("ParseHeader(% x) gives % x, %v; want the payload back and not ok", payload, rest, ok)
		}
	}
}

func TestDecodeOddOctets(t *testing.T) {
	for _, tc := range []struct {
		octets []byte
		want   string
	}{
		{[]byte{0x4E, 0x2D, 0x00}, "中\uFFFD"},
		{[]byte{0xD8, 0x3D}, "\uFFFD"},
		{[]byte{0xD8, 0x3D, 0xDE, 0x00}, "😀"},
	} {
		if got := segment.Decode(tc.octets, segment.UCS2, segment.GSM7); got != tc.want {
			t.Errorf("Decode(% x) = %q, want %q", tc.octets, got, tc.want)
		}
	}
}

// FuzzSplitRoundTrip splits any text, puts headers before the parts and reads it all back.
func FuzzSplitRoundTrip(f *testing.F) {
	for _, text := range []string{
		"", "Hello", strings.Repeat("€", 300), strings.Repeat("中a", 100), strings.Repeat("a😀", 100),
		strings.Repeat("x", 152) + "€€", strings.Repeat("\u4e2d", 66) + "😀😀", "a\xff\xfe", "\u200d\x00",
	} {
		f.Add(text, false)
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, latin1 bool) {
		alphabet, whole, part := segment.GSM7, 160, 153
		if latin1 {
			alphabet = segment.Latin1
		}
		encoded := segment.Encode(text, alphabet)
		if encoded.Encoding == segment.UCS2 {
			whole, part = 140, 134
		}
		limit := whole
		if len(encoded.Parts) > 1 {
			limit = part
		}
		var joined []byte
		var each strings.Builder
		for i, octets := range encoded.Parts {
			if len(octets) > limit || len(octets) == 0 && text != "" {
				t.Fatalf("part %d has %d octets, want 1 to %d", i+1, len(octets), limit)
			}
			each.WriteString(segment.Decode(octets, encoded.Encoding, alphabet))
			header := segment.Header(segment.Concat{Reference: 7, Total: len(encoded.Parts), Number: i + 1})
			_, rest, ok := segment.ParseHeader(append(header, octets...))
			if !ok || !bytes.Equal(rest, octets) {
				t.Fatalf("part %d does not come back from behind its header", i+1)
			}
			joined = append(joined, rest...)
		}
		want := string([]rune(text)) // one U+FFFD for each bad octet
		if got := segment.Decode(joined, encoded.Encoding, alphabet); got != want {
			t.Errorf("came back as %q, want %q", got, want)
		}
		if each.String() != want {
			t.Errorf("parts read one by one give %q, want %q: a character was cut", each.String(), want)
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	f.Add([]byte{5, 0, 3, 1, 2, 1, 'a'})
	f.Add([]byte{6, 8, 4, 1, 2, 2, 1})
	f.Add([]byte{255})
	f.Fuzz(func(t *testing.T, payload []byte) {
		c, rest, ok := segment.ParseHeader(payload)
		if len(rest) > len(payload) || !ok && !bytes.Equal(rest, payload) {
			t.Fatalf("ParseHeader(% x) gives rest % x", payload, rest)
		}
		if !c.Whole() && (c.Number < 1 || c.Number > c.Total || c.Total > segment.MaxParts) {
			t.Errorf("ParseHeader(% x) gives %+v", payload, c)
		}
	})
}
