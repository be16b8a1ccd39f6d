package accept

import (
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	tests := []struct {
		channel, region, given, want string // want "" for a refusal
	}{
		{"sms", "", "+8613800138000", "+8613800138000"},
		{"sms", "CN", "13800138000", "+8613800138000"},
		{"sms", "CN", "0086 138-0013-8000", "+8613800138000"},
		{"sms", "US", "(212) 555-0123", "+12125550123"},
		{"sms", "", "13800138000", ""},
		{"sms", "CN", "", ""},
		{"sms", "CN", "call me", ""},
		{"sms", "CN", "+86138", ""},
		{"email", "", "Bob@Example.COM", "Bob@example.com"},
		{"email", "", "用户@例子.公司", "用户@例子.公司"},
		{"email", "", "bob", ""},
		{"email", "", "bob@", ""},
		{"email", "", "bob@exa mple.com", ""},
		{"email", "", "Bob <bob@example.com>", ""},
		{"email", "", "bob@example.com\n", ""},
		{"pager", "", "whatever they use", "whatever they use"},
		{"pager", "", "two\nlines", ""},
		{"pager", "", "\xff", ""},
		{"pager", "", "", ""},
		{"app", "", strings.Repeat("x", 2048), strings.Repeat("x", 2048)},
		{"app", "", strings.Repeat("x", 2049), ""},
		{"email", "", "bob@" + strings.Repeat("x", 512) + ".com", ""},
	}
	for _, tt := range tests {
		got, err := addressOf(tt.channel, tt.region)(tt.given)
		if tt.want == "" && err == nil {
			t.Errorf("%s %q: accepted as %q", tt.channel, tt.given, got)
		}
		if tt.want != "" && (err != nil || got != tt.want) {
			t.Errorf("%s %q: got %q, %v; want %q", tt.channel, tt.given, got, err, tt.want)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"+8613800138000", "bob@example.com", "a@b\r\n", "\x00", "\"a b\"@c"} {
		f.Add("email", s)
		f.Add("sms", s)
		f.Add("app", s)
	}
	f.Fuzz(func(t *testing.T, channel, given string) {
		got, err := addressOf(channel, "CN")(given)
		if err == nil && printable(got, maxOpaque) != nil {
			t.Errorf("%q became %q, which is not printable", given, got)
		}
		if err != nil {
			return
		}
		if again, err := addressOf(channel, "CN")(got); err != nil || again != got {
			t.Errorf("%q became %q, and that %q, %v", given, got, again, err)
		}
	})
}

func TestCountryOfANumber(t *testing.T) {
	for number, want := range map[string]string{
		"+8613800138000": "CN", "+447700900123": "GB", "+12025550123": "US", "+16135550123": "CA",
		"+80012345678": "", "ann@example.com": "", "": "", "13800138000": "", "+": "",
	} {
		if got := Country(number); got != want {
			t.Errorf("%q is of %q, want %q", number, got, want)
		}
	}
}
