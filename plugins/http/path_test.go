package main

import "testing"

const document = `{
	"a": {"b": [{"id": 12345678901234567890}, "x", true, null], "c d": 1.50, "e.f": {"g": "h"}},
	"inner": "{\"list\": [1, {\"x\": \"y\"}]}", "bad": "{", "": "nameless"
}`

// A path leads where it says.
func TestPath(t *testing.T) {
	v, err := decodeJSON([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"a.b[0].id":            "12345678901234567890",
		"a.b[1]":               "x",
		"a.b[2]":               "true",
		"a.b[3]":               "",
		"a.b[9]":               "",
		"a.b.id":               "",
		"a[0]":                 "",
		"a":                    "",
		"a.c d":                "1.50",
		`a."e.f".g`:            "h",
		`"a".b[1]`:             "x",
		`""`:                   "nameless",
		"inner.list[1].x":      "y",
		"inner.list[0]":        "1",
		"bad.x":                "",
		"none.of.this[3].here": "",
	} {
		p, err := parsePath(text)
		if err != nil || p.text(v) != want {
			t.Errorf("%s: got %q, %v, want %q", text, p.text(v), err, want)
		}
	}
}

// A path that is none says where it goes wrong.
func TestBadPath(t *testing.T) {
	for text, want := range map[string]string{
		".a":      "expected a name at character 1",
		"a.":      "expected a name at character 3",
		"a..b":    "expected a name at character 3",
		"a[":      "a bracket is not closed at character 2",
		"a[x]":    "expected an index, counted from 0, at character 3",
		"a[-1]":   "expected an index, counted from 0, at character 3",
		"a[0]b":   "expected . or [ at character 5",
		`a."b`:    "a quote is not closed at character 3",
		`a"b"`:    "expected . or [ at character 2",
		"]":       "expected a name at character 1",
		"a[1].[2": "expected a name at character 6",
	} {
		if _, err := parsePath(text); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// A list, or one object, is what a payload is about.
func TestObjects(t *testing.T) {
	for text, want := range map[string]int{`[{}, {}]`: 2, `{"a": 1}`: 1, `"[{},{},{}]"`: 3, `"x"`: 0, `3`: 0, `[]`: 0} {
		v, err := decodeJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(path(nil).objects(v)); got != want {
			t.Errorf("%s: got %d, want %d", text, got, want)
		}
	}
}

// Times are read as providers write them.
func TestClock(t *testing.T) {
	for _, c := range []struct{ layout, zone, text, want string }{
		{timeAuto, "UTC", "2026-11-27T10:00:00+08:00", "2026-11-27T02:00:00Z"},
		{timeAuto, "UTC", "1795773600", "2026-11-27T10:00:00Z"},
		{timeAuto, "UTC", "1795773600123", "2026-11-27T10:00:00.123Z"},
		{timeAuto, "UTC", "1795773600.5", "2026-11-27T10:00:00.5Z"},
		{timeAuto, "UTC", "0", ""},
		{timeAuto, "UTC", "1e40", ""},
		{timeAuto, "UTC", "yesterday", ""},
		{"2006-01-02 15:04:05", "Asia/Shanghai", "2026-11-27 10:00:00", "2026-11-27T02:00:00Z"},
		{"0601021504", "UTC", "2611271000", "2026-11-27T10:00:00Z"},
		{"0601021504", "UTC", "1795773600123", ""},
	} {
		clock, err := compileClock("x", c.layout, c.zone)
		if err != nil {
			t.Fatal(err)
		}
		got, err := clock.read(c.text)
		text := got.UTC().Format("2006-01-02T15:04:05.999999999Z07:00")
		if c.want == "" && err == nil || c.want != "" && text != c.want {
			t.Errorf("%s with %s: got %s, %v, want %s", c.text, c.layout, text, err, c.want)
		}
	}
}
