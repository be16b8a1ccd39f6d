package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// vapidLife is how far ahead a token may end (RFC 8292 section 2).
const vapidLife = 24 * time.Hour

// authorize checks the VAPID header of a request; it returns the number of what is wrong.
func authorize(r *http.Request, public string) int {
	token, key, ok := credentials(r.Header.Get("Authorization"))
	if !ok {
		return 109
	}
	point, err := readPoint(key)
	if err != nil {
		return 109
	}
	var claims jwt.RegisteredClaims
	_, err = jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return point, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithExpirationRequired(), jwt.WithAudience(origin(r)))
	switch {
	case err != nil || time.Until(claims.ExpiresAt.Time) > vapidLife:
		return 109
	case claims.Subject != "" && !strings.HasPrefix(claims.Subject, "mailto:") && !strings.HasPrefix(claims.Subject, "https:"):
		return 109
	case key != public:
		return 403
	}
	return 0
}

// credentials reads "vapid t=…, k=…" (RFC 8292 section 3).
func credentials(header string) (token, key string, ok bool) {
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "vapid") {
		return "", "", false
	}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "t":
			token = value
		case "k":
			key = strings.TrimRight(value, "=")
		}
	}
	return token, key, token != "" && key != ""
}

func readPoint(text string) (*ecdsa.PublicKey, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("want base64url: %w", err)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), raw)
	if err != nil {
		return nil, errors.New("want an uncompressed point of P-256")
	}
	return key, nil
}
