package sdk

import (
	"errors"
	"maps"
	"net"
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// formats are the checks behind `cfg:",format=…"`.
var formats = map[string]func(string) error{
	"uri":      checkURI,
	"email":    checkEmail,
	"hostport": checkHostPort,
}

func checkURI(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("it cannot be parsed")
	case u.Scheme == "":
		return errors.New(`the scheme is missing, e.g. "https://"`)
	case u.Host == "" && u.Opaque == "":
		return errors.New("the host is missing")
	default:
		return nil
	}
}

func checkEmail(text string) error {
	a, err := mail.ParseAddress(text)
	if err != nil || a.Address != text {
		return errors.New(`expected an address alone, e.g. "post@example.com"`)
	}
	return nil
}

func checkHostPort(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return errors.New(`expected "host:port"`)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return errors.New("the port must be 1 to 65535")
	}
	return nil
}

// under is path with one more name; the original stays as it is.
func under(path []*channelv1.PathStep, name string) []*channelv1.PathStep {
	name = strings.ToValidUTF8(name, "\uFFFD")
	return append(slices.Clip(path), &channelv1.PathStep{Step: &channelv1.PathStep_Name{Name: name}})
}

// at is path with one more index.
func at(path []*channelv1.PathStep, i int) []*channelv1.PathStep {
	return append(slices.Clip(path), &channelv1.PathStep{Step: &channelv1.PathStep_Index{Index: int64(i)}})
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

func joinDetail(first, second string) string {
	if second == "" {
		return first
	}
	return first + ": " + second
}

// abbreviate cuts s to at most limit bytes without breaking a character.
func abbreviate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// nearest returns the candidate that name was probably meant to be, or nothing: at most a third of
// its letters may differ.
func nearest(name string, candidates []string) string {
	name = strings.ToLower(abbreviate(name, 64))
	best, limit := "", max(1, len(name)/3)+1
	for _, c := range candidates {
		if d := editDistance(name, strings.ToLower(c)); d < limit {
			best, limit = c, d
		}
	}
	return best
}

// editDistance counts the letters to insert, delete or replace (Levenshtein) to turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
