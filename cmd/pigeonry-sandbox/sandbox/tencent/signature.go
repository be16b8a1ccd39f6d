package tencent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm = "TC3-HMAC-SHA256"
	// window is how far the time of a request may be from ours.
	window = 5 * time.Minute
)

// fault is an error of a request.
type fault struct{ code, message string }

// verify checks the signature of a request by the rules of signature v3.
func (p *provider) verify(r *http.Request, body []byte) *fault {
	s := p.current()
	scheme, fields, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	given := map[string]string{}
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		given[name] = value
	}
	id, scope, _ := strings.Cut(given["Credential"], "/")
	names := strings.Split(given["SignedHeaders"], ";")
	seconds, err := strconv.ParseInt(r.Header.Get("X-Tc-Timestamp"), 10, 64)
	at := time.Unix(seconds, 0).UTC()
	switch {
	case scheme != algorithm || given["Signature"] == "" || !slices.Contains(names, "content-type") || !slices.Contains(names, "host"):
		return &fault{"AuthFailure.InvalidAuthorization", "The Authorization header is not well formed."}
	case id != s.SecretID:
		return &fault{"AuthFailure.SecretIdNotFound", "The SecretId is not found, please ensure that your SecretId is correct."}
	case err != nil || p.now().Sub(at).Abs() > window:
		return &fault{"AuthFailure.SignatureExpire", "The provided credentials have expired, please check your local timestamp."}
	case !inScope(scope, r.Host, at) || !signed(r, body, given, s.SecretKey):
		return &fault{"AuthFailure.SignatureFailure", "The provided credentials could not be validated. Please check your signature is correct."}
	}
	return nil
}

// inScope tells whether the credential is for a day and for this service. Some of Tencent's clients take for the service how its
// server is called.
func inScope(scope, host string, at time.Time) bool {
	first, _, _ := strings.Cut(host, ".")
	day := at.Format(time.DateOnly)
	return scope == day+"/sms/tc3_request" || scope == day+"/"+first+"/tc3_request"
}

// signed tells whether the signature is right. Tencent's servers have no port in their names, and their clients do not agree on
// whether one would be signed.
func signed(r *http.Request, body []byte, given map[string]string, secret string) bool {
	_, scope, _ := strings.Cut(given["Credential"], "/")
	name, _, _ := strings.Cut(r.Host, ":")
	return given["Signature"] == sign(r, r.Host, body, given["SignedHeaders"], scope, secret) ||
		given["Signature"] == sign(r, name, body, given["SignedHeaders"], scope, secret)
}

// sign computes the signature of a request to a host over the headers named.
func sign(r *http.Request, host string, body []byte, signed, scope, secret string) string {
	var headers strings.Builder
	for name := range strings.SplitSeq(signed, ";") {
		value := strings.ToLower(strings.TrimSpace(strings.Join(r.Header.Values(name), ",")))
		if name == "host" {
			value = strings.ToLower(host)
		}
		headers.WriteString(name + ":" + value + "\n")
	}
	payload := sha256.Sum256(body)
	hashed := hex.EncodeToString(payload[:])
	if r.Header.Get("X-Tc-Content-Sha1") == "UNSIGNED-PAYLOAD" {
		unsigned := sha256.Sum256([]byte("UNSIGNED-PAYLOAD"))
		hashed = hex.EncodeToString(unsigned[:])
	}
	canonical := strings.Join([]string{r.Method, "/", r.URL.RawQuery, headers.String(), signed, hashed}, "\n")
	digest := sha256.Sum256([]byte(canonical))
	text := strings.Join([]string{algorithm, r.Header.Get("X-Tc-Timestamp"), scope, hex.EncodeToString(digest[:])}, "\n")
	key := []byte("TC3" + secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, text))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
