package reference_test

import (
	"fmt"
	"testing"

	"github.com/pigeonry/pigeonry/plugins/sms/reference"
)

func TestReferenceNamesItsAttempts(t *testing.T) {
	for _, tc := range []struct{ count, size int }{{1, 255}, {1, 12}, {2, 255}, {7, 255}, {reference.Most(255), 255}, {reference.Most(511), 511}} {
		var ids []string
		for i := range tc.count {
			ids = append(ids, fmt.Sprintf("1234567890%d.1", i))
		}
		text := reference.Of(ids, tc.size)
		if len(text) > tc.size {
			t.Fatalf("%d attempts give %d octets: %q", tc.count, len(text), text)
		}
		for _, id := range ids {
			if named, _ := reference.Names(text, id); !named {
				t.Errorf("%d attempts: %s does not name %s", tc.count, text, id)
			}
		}
		wrong := 0
		for i := range 20_000 {
			named, sure := reference.Names(text, fmt.Sprintf("9876543210%d.1", i))
			if named {
				wrong++
			}
			if named && sure {
				t.Errorf("%d attempts: surely names another", tc.count)
			}
		}
		if wrong > 0 { // of marks of 32 bits, by chance once in some thousand runs of other ids
			t.Errorf("%d attempts: %d of 20000 others are named, too", tc.count, wrong)
		}
	}
}

func TestTooManyAttempts(t *testing.T) {
	for size, most := range map[int]int{255: 46, 511: 94, 12: 1} {
		if got := reference.Most(size); got != most {
			t.Errorf("%d octets stand for %d attempts, want %d", size, got, most)
		}
		if text := reference.Of(make([]string, most+1), size); text != "" {
			t.Errorf("%d octets stand for more: %q", size, text)
		}
	}
}

func TestAttempt(t *testing.T) {
	for text, want := range map[string]string{"pg-12.1": "12.1", "pg-": "", "12.1": "", "": "", reference.Of([]string{"1.1", "2.1"}, 255): ""} {
		if got, ok := reference.Attempt(text); got != want || ok != (want != "") {
			t.Errorf("%q stands for %q, %v; want %q", text, got, ok, want)
		}
	}
}

func TestOtherTextsNameNothing(t *testing.T) {
	for _, text := range []string{"", "12.1", "pgb", "pgb.", "pgb12", "pgb0.AA", "pgb99.AA", "pgbx.AA", "pgb12.", "pgb48.*", "pgb31.AAAAAA", "pgb14.AAEC", "pga12.AA"} {
		if named, sure := reference.Names(text, "12.1"); named || !sure {
			t.Errorf("%q names an attempt", text)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("pgb32.AAECAw", "1")
	f.Add(reference.Of([]string{"1", "2"}, 100), "2")
	f.Add("pg-12.1", "12.1")
	f.Fuzz(func(t *testing.T, text, attempt string) {
		named, sure := reference.Names(text, attempt)
		if id, ok := reference.Attempt(text); named && sure && (!ok || id != attempt) {
			t.Errorf("%q surely names %q", text, attempt)
		}
	})
}
