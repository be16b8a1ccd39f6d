package aliyun

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
	"time"
)

const (
	algorithm  = "ACS3-HMAC-SHA256"
	apiVersion = "2017-05-25"
)

// target is what a request is for.
type target struct{ action, version string }

// sign adds the common headers and the signature (V3 request structure and signature). The request carries its
// parameters in the query and in body, a form.
func (c Config) sign(req *http.Request, body string, to target, at time.Time, nonce string) {
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	headers := [][2]string{ // in the order of their names
		{"host", req.URL.Host},
		{"x-acs-action", to.action},
		{"x-acs-content-sha256", hash},
		{"x-acs-date", at.UTC().Format("2006-01-02T15:04:05Z")},
		{"x-acs-signature-nonce", nonce},
		{"x-acs-version", to.version},
	}
	if contentType := req.Header.Get("Content-Type"); contentType != "" {
		headers = slices.Insert(headers, 0, [2]string{"content-type", contentType})
	}
	var names []string
	var lines strings.Builder
	for _, h := range headers {
		names = append(names, h[0])
		lines.WriteString(h[0] + ":" + h[1] + "\n")
		if strings.HasPrefix(h[0], "x-acs-") {
			req.Header.Set(h[0], h[1])
		}
	}
	signed := strings.Join(names, ";")
	path := req.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	canonical := strings.Join([]string{
		req.Method, path, req.URL.RawQuery, lines.String(), signed, hash,
	}, "\n")
	digest := sha256.Sum256([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(c.AccessKeySecret.Reveal()))
	mac.Write([]byte(algorithm + "\n" + hex.EncodeToString(digest[:])))
	req.Header.Set("Authorization", algorithm+" Credential="+c.AccessKeyID+",SignedHeaders="+signed+
		",Signature="+hex.EncodeToString(mac.Sum(nil)))
}

// encode writes parameters sorted by name and percent-encoded as RFC 3986 has it: as the signature wants the query, and as a
// form may be.
func encode(parameters map[string]string) string {
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
