package main

import (
	"cmp"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pigeonry/pigeonry/sdk"
)

const (
	// fcmScope is the right to send, https://developers.google.com/identity/protocols/oauth2/scopes.
	fcmScope = "https://www.googleapis.com/auth/firebase.messaging"
	// assertionLife is how long Google takes an assertion at most.
	assertionLife = time.Hour
	jwtBearer     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// fcmIdentity is who sends: a service account of Google.
type fcmIdentity struct {
	project  string
	email    string
	keyID    string
	key      *rsa.PrivateKey
	tokenURL string
}

// newFCMIdentity reads the key file. It quotes nothing of it: there is a secret in it.
func newFCMIdentity(c *fcmConfig) (*fcmIdentity, error) {
	const field, remedy = "fcm.service_account", `give the whole key file that the Firebase console makes, e.g. file("service-account.json")`
	var file struct {
		Type     string `json:"type"`
		Project  string `json:"project_id"`
		KeyID    string `json:"private_key_id"`
		Key      string `json:"private_key"`
		Email    string `json:"client_email"`
		TokenURL string `json:"token_uri"`
	}
	if err := json.Unmarshal([]byte(c.ServiceAccount.Reveal()), &file); err != nil {
		return nil, sdk.FieldError(field, "is no JSON", remedy)
	}
	if file.Type != "service_account" {
		return nil, sdk.FieldError(field, "is not the key file of a service account", remedy)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(file.Key))
	if err != nil {
		return nil, sdk.FieldError(field, "has no RSA key in private_key", remedy)
	}
	id := &fcmIdentity{
		project: cmp.Or(c.ProjectID, file.Project), email: file.Email, keyID: file.KeyID, key: key,
		tokenURL: cmp.Or(c.TokenURL, file.TokenURL, "https://oauth2.googleapis.com/token"),
	}
	switch {
	case id.email == "":
		return nil, sdk.FieldError(field, "has no client_email", remedy)
	case id.project == "":
		return nil, sdk.FieldError("fcm.project_id", "is not in the service account either", "give the id of the Firebase project")
	}
	if err := webAddress("fcm.token_url", id.tokenURL); err != nil {
		return nil, err
	}
	return id, nil
}

// fetch gets an access token for an assertion that the service account signs,
// https://developers.google.com/identity/protocols/oauth2/service-account#httprest.
func (id *fcmIdentity) fetch(ctx context.Context, transport http.RoundTripper, now time.Time) (sdk.Token, error) {
	assertion, err := id.assertion(now)
	if err != nil {
		return sdk.Token{}, badLogin.of(err, "", 0)
	}
	return fetchToken(ctx, transport, id.tokenURL, url.Values{"grant_type": {jwtBearer}, "assertion": {assertion}}, now)
}

func (id *fcmIdentity) assertion(now time.Time) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": id.email, "scope": fcmScope, "aud": id.tokenURL, "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	t.Header["kid"] = id.keyID
	signed, err := t.SignedString(id.key)
	if err != nil {
		return "", fmt.Errorf("sign the assertion: %w", err)
	}
	return signed, nil
}

// fetchToken asks an OAuth 2.0 server for an access token (RFC 6749 section 5). Nothing has been sent yet, so that no error is
// uncertain.
func fetchToken(ctx context.Context, transport http.RoundTripper, address string, form url.Values, now time.Time) (sdk.Token, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return sdk.Token{}, misconfigured.of(err, "", 0)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var secrets []sdk.Secret
	for _, field := range []string{"assertion", "client_secret"} {
		if value := form.Get(field); value != "" {
			secrets = append(secrets, sdk.Secret(value))
		}
	}
	var token sdk.Token
	_, err = sdk.DoHTTPOver(transport, req, func(resp *http.Response, body []byte) (sdk.Receipt, error) {
		var err error
		token, err = readToken(resp, body, now)
		return sdk.Receipt{}, err
	}, secrets...)
	if err != nil {
		return sdk.Token{}, beforeSending(fmt.Errorf("get an access token: %w", err))
	}
	return token, nil
}

// readToken reads the answer of an OAuth 2.0 server. Huawei writes the error as a number.
func readToken(resp *http.Response, body []byte, now time.Time) (sdk.Token, error) {
	var a struct {
		Token       string          `json:"access_token"`
		Seconds     int64           `json:"expires_in"`
		Error       json.RawMessage `json:"error"`
		SubError    json.RawMessage `json:"sub_error"`
		Description string          `json:"error_description"`
	}
	err := json.Unmarshal(body, &a)
	switch {
	case err == nil && a.Token != "" && resp.StatusCode/100 == 2:
		return sdk.Token{Value: a.Token, Expires: now.Add(time.Duration(a.Seconds) * time.Second)}, nil
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 || err != nil:
		return sdk.Token{}, fallback(resp, body)
	case len(a.Error) == 0:
		return sdk.Token{}, unknown.of(errors.New("the answer has no access token"), resp.Status, 0)
	}
	code := strings.TrimSpace(strings.Trim(string(a.Error), `"`) + " " + strings.Trim(string(a.SubError), `"`))
	return sdk.Token{}, badLogin.of(fmt.Errorf("the login was refused: %s: %s", code, a.Description), code, 0)
}

// hostOf returns the host of an address, for the name of what comes from there.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "" // validate has read it
	}
	return u.Host
}
