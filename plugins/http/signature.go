package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/pigeonry/pigeonry/sdk"
)

// What is signed where content is left out.
const (
	contentBody        = "{{.body}}"
	contentTimeAndBody = "{{.timestamp}}.{{.body}}"
)

// signer makes and checks one HMAC-SHA256 header.
type signer struct {
	key                     []byte
	header, timestampHeader string
	timestampFormat         string
	prefix                  string
	encode                  func([]byte) string
	content                 *tmpl
}

// compileSigner reads the rule at the path field of the config.
func compileSigner(field string, c *signatureConfig, samples sampler) (*signer, error) {
	var faults problems
	key, err := keyOf(c)
	if err != nil {
		faults.add(field+".secret", err.Error(), "give the key as secret_encoding says")
	}
	for _, h := range []struct{ name, value string }{{"header", c.Header}, {"timestamp_header", c.TimestampHeader}} {
		if h.value != "" {
			faults.note(checkHeaderName(field+"."+h.name, h.value))
		}
	}
	source := orElse(c.Content, contentBody)
	if c.Content == "" && c.TimestampHeader != "" {
		source = contentTimeAndBody
	}
	content, err := compile(field+".content", source, samples)
	faults.note(err)
	s := &signer{
		key: key, header: c.Header, timestampHeader: c.TimestampHeader, timestampFormat: c.TimestampFormat,
		prefix: c.Prefix, encode: hex.EncodeToString, content: content,
	}
	if c.Encoding == "base64" {
		s.encode = base64.StdEncoding.EncodeToString
	}
	return s, faults.err()
}

func keyOf(c *signatureConfig) ([]byte, error) {
	text := c.Secret.Reveal()
	switch c.SecretEncoding {
	case "hex":
		key, err := hex.DecodeString(text)
		if err != nil || len(key) == 0 {
			return nil, errors.New("is not written in hex")
		}
		return key, nil
	case "base64":
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
		if err != nil || len(key) == 0 {
			return nil, errors.New("is not written in base64")
		}
		return key, nil
	default:
		return []byte(text), nil
	}
}

// checkHeaderName returns a FieldError for what is no header of an author's to set.
func checkHeaderName(field, header string) error {
	if !httpguts.ValidHeaderFieldName(header) {
		return sdk.FieldError(field, fmt.Sprintf("%q is no name of a header", header), "use letters, digits and -")
	}
	switch strings.ToLower(header) {
	case "connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade":
		return sdk.FieldError(field, header+" belongs to the connection", "leave it out")
	case "content-type":
		return sdk.FieldError(field, header+" has a field of its own", "set body.content_type")
	}
	return nil
}

// sign makes the value of the header.
func (s *signer) sign(data fields) (string, error) {
	content, err := s.content.render(data)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, s.key)
	_, _ = mac.Write([]byte(content)) // a hash never fails
	return s.prefix + s.encode(mac.Sum(nil)), nil
}

// verify checks the header of a request that the provider made. The header may hold several signatures,
// parted by spaces, while the provider changes its key.
func (s *signer) verify(r *sdk.CallbackRequest, secrets map[string]string, tolerance time.Duration, now time.Time) error {
	given := r.Header.Get(s.header)
	if given == "" {
		return errors.New("the header " + s.header + " is missing")
	}
	stamp := ""
	if s.timestampHeader != "" {
		stamp = r.Header.Get(s.timestampHeader)
		if err := s.timely(stamp, tolerance, now); err != nil {
			return err
		}
	}
	want, err := s.sign(callbackFields(r, stamp, secrets))
	if err != nil {
		return err
	}
	for _, one := range append(strings.Fields(given), given) { // the prefix may hold a space
		if same(s.normal(one), s.normal(want)) {
			return nil
		}
	}
	return errors.New("the signature in " + s.header + " is wrong")
}

// normal lets a provider write hex digits in upper case.
func (s *signer) normal(signature string) string {
	digits, ok := strings.CutPrefix(signature, s.prefix)
	if _, err := hex.DecodeString(digits); ok && err == nil {
		return s.prefix + strings.ToLower(digits)
	}
	return signature
}

// timely refuses a request that was signed long ago: somebody may have kept it.
func (s *signer) timely(stamp string, tolerance time.Duration, now time.Time) error {
	n, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return errors.New("the header " + s.timestampHeader + " holds no time")
	}
	at := time.Unix(n, 0)
	if s.timestampFormat == unixMillis {
		at = time.UnixMilli(n)
	}
	if now.Sub(at).Abs() > tolerance {
		return fmt.Errorf("the time in %s is off by more than %s", s.timestampHeader, tolerance)
	}
	return nil
}

// same compares in a time that tells nothing of either.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
