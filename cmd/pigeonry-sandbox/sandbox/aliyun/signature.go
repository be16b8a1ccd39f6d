package aliyun

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	algorithm = "ACS3-HMAC-SHA256"
	// window is how far the time of a request may be from ours.
	window = 15 * time.Minute
)

// nonces are those that were used, and when they may be forgotten.
type nonces map[string]time.Time

// use tells whether a nonce is fresh.
func (n nonces) use(nonce string, now time.Time) bool {
	if len(n) > 100_000 {
		for old, until := range n {
			if now.After(until) {
				delete(n, old)
			}
		}
	}
	if until, used := n[nonce]; used && now.Before(until) {
		return false
	}
	n[nonce] = now.Add(window)
	return true
}

// verify checks the signature of a request by the rules of V3 request structure and signature.
func (p *provider) verify(r *http.Request, body []byte) *fault {
	s, now := p.current(), p.now()
	scheme, fields, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	given := map[string]string{}
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		given[name] = value
	}
	switch {
	case scheme != algorithm || given["SignedHeaders"] == "" || given["Signature"] == "":
		return &fault{"IncompleteSignature", "The request signature does not conform to Aliyun standards."}
	case given["Credential"] != s.AccessKeyID:
		return refusal("InvalidAccessKeyId.NotFound")
	}
	at, err := time.Parse("2006-01-02T15:04:05Z", r.Header.Get("X-Acs-Date"))
	if err != nil {
		return &fault{"InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted."}
	}
	if at.Sub(now).Abs() > window {
		return refusal("InvalidTimeStamp.Expired")
	}
	if !covers(given["SignedHeaders"]) {
		return &fault{"IncompleteSignature", "host and all x-acs- headers must be signed."}
	}
	sum := sha256.Sum256(body)
	if r.Header.Get("X-Acs-Content-Sha256") != hex.EncodeToString(sum[:]) || sign(r, given["SignedHeaders"], s.AccessKeySecret) != given["Signature"] {
		return refusal("SignatureDoesNotMatch")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.nonces.use(r.Header.Get("X-Acs-Signature-Nonce"), now) {
		return refusal("SignatureNonceUsed")
	}
	return nil
}

// covers tells whether the headers that must be signed are.
func covers(signed string) bool {
	names := strings.Split(signed, ";")
	for _, name := range []string{"host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"} {
		if !slices.Contains(names, name) {
			return false
		}
	}
	return true
}

// sign computes the signature of a request over the headers named.
func sign(r *http.Request, signed, secret string) string {
	var headers strings.Builder
	for name := range strings.SplitSeq(signed, ";") {
		value := strings.TrimSpace(strings.Join(r.Header.Values(name), ","))
		if name == "host" {
			value = r.Host
		}
		headers.WriteString(name + ":" + value + "\n")
	}
	canonical := strings.Join([]string{
		r.Method, r.URL.EscapedPath(), canonicalQuery(r.URL.RawQuery), headers.String(), signed, r.Header.Get("X-Acs-Content-Sha256"),
	}, "\n")
	digest := sha256.Sum256([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(algorithm + "\n" + hex.EncodeToString(digest[:])))
	return hex.EncodeToString(mac.Sum(nil))
}

// canonicalQuery sorts the parameters and encodes them as RFC 3986 has it.
func canonicalQuery(raw string) string {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return raw
	}
	var pairs []string
	for name, list := range values {
		for _, value := range list {
			pairs = append(pairs, escape(name)+"="+escape(value))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

func refusal(code string) *fault { return &fault{code, text(code)} }
