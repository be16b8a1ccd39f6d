package aliyun

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"time"
)

const (
	algorithm  = "ACS3-HMAC-SHA256"
	apiVersion = "2017-05-25"
)

// sign adds the common headers and the signature (V3 request structure and signature). The request carries its
// parameters in the query and has no body.
func (c Config) sign(req *http.Request, action, version string, at time.Time, nonce string) {
	empty := sha256.Sum256(nil)
	headers := [][2]string{ // in the order of their names
		{"host", req.URL.Host},
		{"x-acs-action", action},
		{"x-acs-content-sha256", hex.EncodeToString(empty[:])},
		{"x-acs-date", at.UTC().Format("2006-01-02T15:04:05Z")},
		{"x-acs-signature-nonce", nonce},
		{"x-acs-version", version},
	}
	var names []string
	var lines strings.Builder
	for _, h := range headers {
		names = append(names, h[0])
		lines.WriteString(h[0] + ":" + h[1] + "\n")
		if h[0] != "host" {
			req.Header.Set(h[0], h[1])
		}
	}
	signed := strings.Join(names, ";")
	path := req.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	canonical := strings.Join([]string{
		req.Method, path, req.URL.RawQuery, lines.String(), signed, hex.EncodeToString(empty[:]),
	}, "\n")
	digest := sha256.Sum256([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(c.AccessKeySecret.Reveal()))
	mac.Write([]byte(algorithm + "\n" + hex.EncodeToString(digest[:])))
	req.Header.Set("Authorization", algorithm+" Credential="+c.AccessKeyID+",SignedHeaders="+signed+
		",Signature="+hex.EncodeToString(mac.Sum(nil)))
}

// canonicalQuery writes parameters sorted by name and percent-encoded as RFC 3986 has it.
func canonicalQuery(parameters map[string]string) string {
	names := make([]string, 0, len(parameters))
	for name := range parameters {
		names = append(names, name)
	}
	sort.Strings(names)
	pairs := make([]string, len(names))
	for i, name := range names {
		pairs[i] = escape(name) + "=" + escape(parameters[name])
	}
	return strings.Join(pairs, "&")
}

func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

func newNonce() string { return rand.Text() }
