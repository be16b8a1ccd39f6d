package fcm

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	maxForm   = 64 << 10
	// assertionLife is how long an assertion may be good.
	assertionLife = time.Hour
)

// scopes that allow to send.
var scopes = []string{
	"https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform",
}

// audiences are the names of Google's token server that it takes in an assertion, wherever it is asked.
var audiences = []string{
	"https://oauth2.googleapis.com/token", "https://accounts.google.com/o/oauth2/token", "https://www.googleapis.com/oauth2/v4/token",
}

// token answers a request for an access token.
func (f *fcm) token(rw http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(rw, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		refuse(rw, "invalid_request", err.Error())
		return
	}
	if r.PostForm.Get("grant_type") != jwtBearer {
		refuse(rw, "unsupported_grant_type", "Invalid grant_type: "+r.PostForm.Get("grant_type"))
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	scope, wrong := f.assertion(r.PostForm.Get("assertion"), append(slices.Clone(audiences), here(r)))
	if wrong != "" {
		refuse(rw, "invalid_grant", wrong)
		return
	}
	if !slices.ContainsFunc(strings.Fields(scope), func(s string) bool { return slices.Contains(scopes, s) }) {
		refuse(rw, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")
		return
	}
	now := time.Now()
	for value, ends := range f.tokens {
		if now.After(ends) {
			delete(f.tokens, value)
		}
	}
	value := "ya29." + rand.Text()
	f.tokens[value] = now.Add(time.Duration(f.settings.TokenSeconds) * time.Second)
	write(rw, http.StatusOK, map[string]any{"access_token": value, "expires_in": f.settings.TokenSeconds, "token_type": "Bearer"})
}

// Google's words for what is wrong with an assertion.
const (
	badTimes     = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."
	badSignature = "Invalid JWT Signature."
	badAccount   = "Invalid grant: account not found"
	badAudience  = "Invalid JWT: Failed audience check."
)

// assertion verifies what the service account says, with mu held. It returns the scope that it asks for, or what is wrong.
func (f *fcm) assertion(text string, audiences []string) (scope, wrong string) {
	var claims struct {
		jwt.RegisteredClaims

		Scope string `json:"scope"`
	}
	_, err := jwt.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return f.key, nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(time.Minute))
	switch {
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return "", badTimes
	case err != nil:
		return "", badSignature
	case claims.Issuer != f.settings.ClientEmail:
		return "", badAccount
	case claims.IssuedAt == nil || claims.ExpiresAt.Sub(claims.IssuedAt.Time) > assertionLife:
		return "", badTimes
	case !slices.ContainsFunc(claims.Audience, func(a string) bool { return slices.Contains(audiences, a) }):
		return "", badAudience
	}
	return claims.Scope, ""
}

// here is the address that a request was made to.
func here(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host + r.URL.Path
}

// refuse writes an error of RFC 6749 section 5.2.
func refuse(rw http.ResponseWriter, code, description string) {
	write(rw, http.StatusBadRequest, map[string]string{"error": code, "error_description": description})
}

// bearer returns the access token of a request.
func bearer(r *http.Request) string {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return value
}

func publicPEM(key *rsa.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic("fcm: the key cannot be written: " + err.Error()) // an RSA key can
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}
