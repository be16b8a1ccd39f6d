package tencent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm   = "TC3-HMAC-SHA256"
	contentType = "application/json; charset=utf-8"
)

// target is what a request is for.
type target struct{ service, version, action, region string }

// sign adds the common headers and the signature over a POST of body to the path /.
func (c Config) sign(req *http.Request, t target, body []byte, at time.Time) {
	const signed = "content-type;host;x-tc-action"
	headers := "content-type:" + contentType + "\nhost:" + req.URL.Host + "\nx-tc-action:" + strings.ToLower(t.action) + "\n"
	signature := c.signature(t.service, signed, headers, body, at)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("X-TC-Action", t.action)
	req.Header.Set("X-TC-Version", t.version)
	req.Header.Set("X-TC-Timestamp", strconv.FormatInt(at.Unix(), 10))
	if t.region != "" {
		req.Header.Set("X-TC-Region", t.region)
	}
	req.Header.Set("Authorization", algorithm+" Credential="+c.SecretID+"/"+scope(t.service, at)+
		", SignedHeaders="+signed+", Signature="+signature)
}

// signature is over the headers in their canonical form, which are named in signed.
func (c Config) signature(service, signed, headers string, body []byte, at time.Time) string {
	payload := sha256.Sum256(body)
	canonical := strings.Join([]string{http.MethodPost, "/", "", headers, signed, hex.EncodeToString(payload[:])}, "\n")
	digest := sha256.Sum256([]byte(canonical))
	text := strings.Join([]string{algorithm, strconv.FormatInt(at.Unix(), 10), scope(service, at), hex.EncodeToString(digest[:])}, "\n")
	key := mac([]byte("TC3"+c.SecretKey.Reveal()), at.UTC().Format(time.DateOnly))
	key = mac(mac(key, service), "tc3_request")
	return hex.EncodeToString(mac(key, text))
}

func scope(service string, at time.Time) string {
	return at.UTC().Format(time.DateOnly) + "/" + service + "/tc3_request"
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
