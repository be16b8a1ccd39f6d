package main

import (
	"strings"
	"testing"
)

func TestParseMailbox(t *testing.T) {
	tests := []struct{ in, want, reason string }{
		{"ann@example.com", "ann@example.com", ""},
		{"Ann.B+tag@Example.COM", "Ann.B+tag@example.com", ""},
		{"ann@bücher.example", "ann@xn--bcher-kva.example", ""},
		{"ann@例子.测试", "ann@xn--fsqu00a.xn--0zwm56d", ""},
		{"用户@example.com", "用户@example.com", ""},
		{`"a b"@example.com`, `a b@example.com`, ""},
		{"ann@[192.0.2.1]", "ann@[192.0.2.1]", ""},
		{"", "", "no mail address"},
		{"ann", "", "no mail address"},
		{"Ann <ann@example.com>", "", "no mail address"},
		{"a@example.com, b@example.com", "", "no mail address"},
		{"ann@example.com\r\nRCPT TO:<eve@example.com>", "", "control character"},
		{"ann@exa\x00mple.com", "", "control character"},
		{"ann@-bad-.example", "", "no name server"},
		{"ann@[not-an-address]", "", "no mail address"},
		{strings.Repeat("a", 65) + "@example.com", "", "64 bytes"},
		{"a@" + strings.Repeat("abcdefghi.", 26) + "com", "", "bytes"},
	}
	for _, test := range tests {
		got, err := parseMailbox(test.in)
		switch {
		case test.reason == "" && (err != nil || got != test.want):
			t.Errorf("%q gives %q, %v; want %q", test.in, got, err, test.want)
		case test.reason != "" && (err == nil || !strings.Contains(err.Error(), test.reason)):
			t.Errorf("%q gives %v, want %q", test.in, err, test.reason)
		}
	}
}
