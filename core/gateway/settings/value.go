package settings

import (
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A check turns a value as it was written (string, int64, float64 or bool; always a string where it comes
// from the environment or a flag) into the value that is meant. Complaints never quote the value: it may
// be a secret that was put in the wrong place.
type check func(value any) (any, error)

func wrong(problem, remedy string) error { return &complaint{problem: problem, remedy: remedy} }

// text takes a string that is not empty.
func text(value any) (any, error) {
	s, ok := value.(string)
	if !ok {
		return nil, wrong("is not a text", `write it in quotes, like "value"`)
	}
	if strings.TrimSpace(s) == "" {
		return nil, wrong("is empty", "give a value or leave the line out")
	}
	if strings.ContainsRune(s, 0) {
		return nil, wrong("contains a NUL character", "remove it")
	}
	return s, nil
}

// integer takes a whole number between two bounds.
func integer(low, high int64) check {
	bounds := "between " + strconv.FormatInt(low, 10) + " and " + strconv.FormatInt(high, 10)
	return func(value any) (any, error) {
		n, ok := asNumber(value)
		if !ok || n != float64(int64(n)) {
			return nil, wrong("is not a whole number", "write a number "+bounds)
		}
		if n < float64(low) || n > float64(high) {
			return nil, wrong("is out of bounds", "use a number "+bounds)
		}
		return int64(n), nil
	}
}

// number takes a number between 0 and a bound.
func number(high float64) check {
	bounds := "between 0 and " + strconv.FormatFloat(high, 'f', -1, 64)
	return func(value any) (any, error) {
		n, ok := asNumber(value)
		if !ok {
			return nil, wrong("is not a number", "write a number "+bounds)
		}
		if !(n >= 0 && n <= high) { // NaN is neither
			return nil, wrong("is out of bounds", "use a number "+bounds)
		}
		return n, nil
	}
}

func asNumber(value any) (float64, bool) {
	switch v := value.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case string:
		n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		return n, err == nil
	default:
		return 0, false
	}
}

// duration takes a span between two bounds, in Go's spelling or in whole days ("7d").
func duration(low, high time.Duration) check {
	return func(value any) (any, error) {
		s, ok := value.(string)
		if !ok {
			return nil, wrong("is not a duration", `write a text with a unit, like "500ms", "30s", "5m" or "7d"`)
		}
		d, err := parseDuration(strings.TrimSpace(s))
		if err != nil {
			return nil, wrong("is not a duration", `write a number with a unit, like "500ms", "30s", "5m" or "7d"`)
		}
		if d < low || d > high {
			return nil, wrong("is out of bounds", "use a duration between "+low.String()+" and "+high.String())
		}
		return d, nil
	}
}

const day = 24 * time.Hour

func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 15)
		return time.Duration(n) * day, err
	}
	return time.ParseDuration(s)
}

// oneOf takes one of a few words.
func oneOf(words ...string) check {
	return func(value any) (any, error) {
		s, ok := value.(string)
		if ok && slices.Contains(words, s) {
			return s, nil
		}
		remedy := "use one of " + quoteAll(words)
		if ok {
			remedy = didYouMean(s, words)
		}
		return nil, wrong("is not one of "+quoteAll(words), remedy)
	}
}

// listOf takes some of a few words, separated by commas, and puts them in the order of the words.
func listOf(words ...string) check {
	one := oneOf(words...)
	return func(value any) (any, error) {
		s, ok := value.(string)
		if !ok {
			return nil, wrong("is not a text", "write some of "+quoteAll(words)+" in one pair of quotes, separated by commas")
		}
		given := map[string]bool{}
		for part := range strings.SplitSeq(s, ",") {
			word := strings.TrimSpace(part)
			if _, err := one(word); err != nil {
				return nil, err
			}
			given[word] = true
		}
		return strings.Join(slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !given[w] }), ","), nil
	}
}

// address takes host:port.
func address(value any) (any, error) {
	s, ok := value.(string)
	if !ok {
		return nil, wrong("is not an address", `write host:port, like "127.0.0.1:8080"`)
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return nil, wrong("is not an address", `write host:port, like "127.0.0.1:8080"`)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return nil, wrong("has no valid port", "use a port between 0 and 65535")
	}
	return s, nil
}

// serviceURL takes a URL of one of some schemes. It may hold a password.
func serviceURL(schemes ...string) check {
	example := schemes[0] + "://…"
	return func(value any) (any, error) {
		s, ok := value.(string)
		if !ok {
			return nil, wrong("is not a URL", "write a text like "+quote(example))
		}
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
			return nil, wrong("is not a URL of this service", "it begins with "+strings.Join(schemes, ":// or ")+"://")
		}
		return strings.TrimSpace(s), nil
	}
}

// webURL takes the address of a web site, without what a path would be appended to twice.
func webURL(value any) (any, error) {
	u, err := serviceURL("http", "https")(value)
	if err != nil {
		return nil, err
	}
	s, _ := u.(string)
	return strings.TrimRight(s, "/"), nil
}

var regionPattern = regexp.MustCompile(`^[A-Z]{2}$`)

// region takes an ISO 3166-1 alpha-2 code.
func region(value any) (any, error) {
	s, _ := value.(string)
	if !regionPattern.MatchString(strings.ToUpper(s)) {
		return nil, wrong("is not a region", `write two letters of ISO 3166-1, like "CN" or "DE"`)
	}
	return strings.ToUpper(s), nil
}

// level takes the name of a log level.
func level(value any) (any, error) {
	name, err := oneOf("debug", "info", "warn", "error")(value)
	if err != nil {
		return nil, err
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(name.(string))); err != nil { //nolint:forcetypeassert // oneOf gives strings
		return nil, wrong("is not a log level", "use info")
	}
	return l, nil
}

// minBootstrapKey is the shortest API key that is taken as it is.
const minBootstrapKey = 32

func bootstrapKey(value any) (any, error) {
	s, _ := value.(string)
	if len(s) < minBootstrapKey || strings.ContainsAny(s, " \t\r\n") {
		return nil, wrong("is too short or contains blanks",
			"use at least "+strconv.Itoa(minBootstrapKey)+" characters without blanks, such as the output of `openssl rand -hex 24`")
	}
	return s, nil
}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// name takes the label of a connector, a channel or a plugin: it becomes part of URLs and paths.
func name(value any) (any, error) {
	s, _ := value.(string)
	if strings.Contains(s, ".") {
		return nil, wrong("contains a dot", "use letters, digits, - and _: "+quote(strings.ReplaceAll(s, ".", "-")))
	}
	if !namePattern.MatchString(s) {
		return nil, wrong("is not a name", "use up to 63 small letters, digits, - and _, beginning with a letter or digit")
	}
	return s, nil
}
