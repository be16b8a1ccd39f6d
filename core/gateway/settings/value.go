package settings

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/core"
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
func number(high float64) check { return between(0, high) }

// between takes a number between two bounds.
func between(low, high float64) check {
	bounds := "between " + decimal(low) + " and " + decimal(high)
	return func(value any) (any, error) {
		n, ok := asNumber(value)
		if !ok {
			return nil, wrong("is not a number", "write a number "+bounds)
		}
		if !(n >= low && n <= high) { // NaN is neither
			return nil, wrong("is out of bounds", "use a number "+bounds)
		}
		return n, nil
	}
}

func decimal(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// zeroOr takes 0, which is no bound, or what another check takes.
func zeroOr(c check) check {
	return func(value any) (any, error) {
		if n, ok := asNumber(value); ok && n == 0 {
			return int64(0), nil
		}
		return c(value)
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

// boolean takes true or false.
func boolean(value any) (any, error) {
	b, ok := value.(bool)
	if !ok {
		return nil, wrong("is neither true nor false", "write true or false, without quotes")
	}
	return b, nil
}

// list takes a list of at least so many entries, each of which a check takes.
func list(least int, example string, each check) check {
	return func(value any) (any, error) {
		given, ok := value.([]any)
		if !ok {
			return nil, wrong("is not a list", "write it in brackets, like "+example)
		}
		if len(given) < least {
			return nil, wrong("is empty", "write it like "+example)
		}
		converted := make([]any, len(given))
		for i, entry := range given {
			one, err := each(entry)
			if err != nil {
				fault := at("", err)
				return nil, wrong("has an entry, number "+strconv.Itoa(i+1)+", that "+fault.Problem, fault.Remedy)
			}
			converted[i] = one
		}
		return converted, nil
	}
}

// steps takes the shares of a new version, in percent.
func steps(value any) (any, error) {
	const example = "[1, 10, 50, 100]"
	shares, err := list(1, example, between(core.LeastRolloutShare, 100))(value)
	if err != nil {
		return nil, err
	}
	before := 0.0
	for _, entry := range shares.([]any) { //nolint:forcetypeassert // list gives a list, between numbers
		share := entry.(float64) //nolint:forcetypeassert // see above
		if share <= before {
			return nil, wrong("is not ascending", "write shares in percent, like "+example)
		}
		before = share
	}
	if before != 100 {
		return nil, wrong("does not end with 100", "let the new version have everything in the end, like "+example)
	}
	return shares, nil
}

var (
	variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	sizePattern     = regexp.MustCompile(`^(\d{1,12}) ?([KMGT]i?)B$`)
)

// variable takes the name of an environment variable that is not the gateway's own.
func variable(value any) (any, error) {
	s, _ := value.(string)
	switch {
	case !variablePattern.MatchString(s):
		return nil, wrong("is not the name of an environment variable", `write its name, like "HTTPS_PROXY"`)
	case strings.HasPrefix(s, envPrefix):
		return nil, wrong("is a variable of the gateway's own", "it may hold a secret; give a plugin what it needs in the config of its connector")
	}
	return s, nil
}

// publicKey takes an Ed25519 key as minisign (base64, with or without its comment line) or openssl (PEM) writes it.
func publicKey(value any) (any, error) {
	s, _ := value.(string)
	s = strings.TrimSpace(s)
	if block, _ := pem.Decode([]byte(s)); block != nil {
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if _, ok := parsed.(ed25519.PublicKey); err != nil || !ok {
			return nil, wrong("is not a public key of the kind Ed25519", "make one with `minisign -G` or `openssl genpkey -algorithm ed25519`")
		}
		return s, nil
	}
	_, line, commented := strings.Cut(s, "\n")
	if !commented {
		line = s
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
	if err != nil || len(raw) != minisignKey || !strings.HasPrefix(string(raw), "Ed") {
		return nil, wrong("is not a public key", "write what minisign shows (RW…), or file(\"…\") with its .pub file or a PEM file")
	}
	return s, nil
}

// minisignKey is the length of a public key of minisign: algorithm, id and key.
const minisignKey = 2 + 8 + ed25519.PublicKeySize

// size takes an amount of memory between two bounds.
func size(low, high int64) check {
	return func(value any) (any, error) {
		s, _ := value.(string)
		match := sizePattern.FindStringSubmatch(strings.TrimSpace(s))
		if match == nil {
			return nil, wrong("is not a size", `write a whole number with a unit, like "512MB" or "2GiB"`)
		}
		n, err := strconv.ParseInt(match[1], 10, 64)
		unit := unitOf(match[2])
		if err != nil || n > high/unit || n*unit < low {
			return nil, wrong("is out of bounds", fmt.Sprintf(`use a size between "%dMiB" and "%dGiB"`, low>>20, high>>30))
		}
		return n * unit, nil
	}
}

// unitOf is how many bytes "K", "Mi" and so on are.
func unitOf(prefix string) int64 {
	base := int64(1000)
	if strings.HasSuffix(prefix, "i") {
		base = 1024
	}
	unit := base
	for range strings.IndexByte("KMGT", prefix[0]) {
		unit *= base
	}
	return unit
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
