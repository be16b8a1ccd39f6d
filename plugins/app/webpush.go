package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/mail"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pigeonry/pigeonry/plugins/app/encrypt"
	"github.com/pigeonry/pigeonry/sdk"
)

const (
	// vapidLife is how long a VAPID token holds; RFC 8292 section 2 allows 24 hours.
	vapidLife = 12 * time.Hour
	// topicLimit bounds the header Topic (RFC 8030 section 5.4).
	topicLimit = 32
	// declarative marks a message that a browser may show without the site's own code,
	// https://www.w3.org/TR/push-api/#declarative-push-message.
	declarative = 8030
)

// webPush pushes to browsers.
type webPush struct {
	vapid     *vapid
	hosts     []string
	private   bool
	transport http.RoundTripper
}

func newWebPush(c *webPushConfig, transport *http.Transport) (*webPush, error) {
	v, err := newVAPID(c)
	if err != nil {
		return nil, err
	}
	guard(transport, c.Private)
	return &webPush{vapid: v, hosts: c.Hosts, private: c.Private, transport: transport}, nil
}

// vapid is how push services and browsers know the sender (RFC 8292).
type vapid struct {
	key     *ecdsa.PrivateKey
	public  string
	subject string
}

func newVAPID(c *webPushConfig) (*vapid, error) {
	const remedy = "give the pair that npx web-push generate-vapid-keys prints"
	raw, err := base64URL(c.PrivateKey.Reveal())
	if err != nil {
		return nil, sdk.FieldError("webpush.private_key", "is no base64url", remedy)
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		return nil, sdk.FieldError("webpush.private_key", "is no private key of the curve P-256: 32 bytes in base64url", remedy)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, sdk.FieldError("webpush.private_key", "has no public key", remedy)
	}
	v := &vapid{key: key, public: base64.RawURLEncoding.EncodeToString(point), subject: c.Subject}
	if c.PublicKey != "" && strings.TrimRight(c.PublicKey, "=") != v.public {
		return nil, sdk.FieldError("webpush.public_key", "does not belong to the private key", remedy)
	}
	return v, checkSubject(c.Subject)
}

func checkSubject(subject string) error {
	address, isMail := strings.CutPrefix(subject, "mailto:")
	if isMail {
		if a, err := mail.ParseAddress(address); err == nil && a.Address == address {
			return nil
		}
	} else if u, err := url.Parse(subject); err == nil && u.Scheme == "https" && u.Host != "" {
		return nil
	}
	return sdk.FieldError("webpush.subject", "is no contact", "write mailto:ops@example.com or https://example.com/contact")
}

// authorization is the header for the push service at origin.
func (v *vapid) authorization(origin string, now time.Time) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"aud": origin, "exp": now.Add(vapidLife).Unix(), "sub": v.subject,
	})
	signed, err := t.SignedString(v.key)
	if err != nil {
		return "", fmt.Errorf("sign the VAPID token: %w", err)
	}
	return "vapid t=" + signed + ", k=" + v.public, nil
}

// subscription is a recipient: what a browser's PushSubscription.toJSON() gives.
type subscription struct {
	endpoint *url.URL
	receiver *encrypt.Receiver
}

// parseSubscription reads a recipient.
func parseSubscription(text string) (*subscription, error) {
	var s struct {
		Endpoint string `json:"endpoint"`
		Keys     struct {
			P256dh string `json:"p256dh"`
			Auth   string `json:"auth"`
		} `json:"keys"`
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, errors.New(`the recipient is no subscription; give what the browser's PushSubscription.toJSON() returns: {"endpoint": …, "keys": {"p256dh": …, "auth": …}}`)
	}
	endpoint, err := url.Parse(s.Endpoint)
	if err != nil || endpoint.Hostname() == "" || endpoint.User != nil || endpoint.Fragment != "" {
		return nil, errors.New("the endpoint of the subscription is no web address")
	}
	key, keyErr := base64URL(s.Keys.P256dh)
	auth, authErr := base64URL(s.Keys.Auth)
	if err := errors.Join(keyErr, authErr); err != nil {
		return nil, fmt.Errorf("the keys of the subscription are no base64url: %w", err)
	}
	receiver, err := encrypt.NewReceiver(key, auth)
	if err != nil {
		return nil, fmt.Errorf("the keys of the subscription: %w", err)
	}
	return &subscription{endpoint: endpoint, receiver: receiver}, nil
}

// base64URL reads base64url with or without padding, and the standard alphabet that some libraries write.
func base64URL(text string) ([]byte, error) {
	text = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
	return base64.RawURLEncoding.DecodeString(text)
}

func (w *webPush) send(ctx context.Context, p *push) (sdk.Receipt, error) {
	s, err := parseSubscription(p.to)
	if err != nil {
		return sdk.Receipt{}, badRecipient.of(err, "", 0)
	}
	if err := w.allowed(s.endpoint); err != nil {
		return sdk.Receipt{}, badRecipient.of(err, "", 0)
	}
	message := webMessage(p)
	text, err := p.encode(message, message, encrypt.MaxText)
	if err != nil {
		return sdk.Receipt{}, err
	}
	body, err := s.receiver.Encrypt(text)
	if err != nil {
		return sdk.Receipt{}, refused.of(err, "", 0)
	}
	header, err := w.header(p, s.endpoint, time.Now())
	if err != nil {
		return sdk.Receipt{}, badLogin.of(err, "", 0)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return sdk.Receipt{}, badRecipient.of(err, "", 0)
	}
	req.Header = header
	r, err := sdk.DoHTTPOver(w.transport, req, readWebPush, sdk.Secret(header.Get("Authorization")))
	if !names(w.hosts, s.endpoint) && !names(services[:], s.endpoint) {
		err = blameEndpoint(err)
	}
	return r, unreachable(err)
}

// check has nobody to log in at: the key pair was checked with the config.
func (w *webPush) check(context.Context) error { return nil }

// allowed refuses an endpoint that is not to be called.
func (w *webPush) allowed(endpoint *url.URL) error {
	if endpoint.Scheme != "https" && (!w.private || endpoint.Scheme != "http") {
		return fmt.Errorf("the endpoint of the subscription is not called over %s", endpoint.Scheme)
	}
	if len(w.hosts) == 0 || names(w.hosts, endpoint) {
		return nil
	}
	return fmt.Errorf("the endpoint of the subscription is at %s, which the config does not name under hosts", endpoint.Hostname())
}

func (w *webPush) header(p *push, endpoint *url.URL, now time.Time) (http.Header, error) {
	authorization, err := w.vapid.authorization(endpoint.Scheme+"://"+endpoint.Host, now)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	header.Set("Authorization", authorization)
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Content-Encoding", "aes128gcm")
	header.Set("Ttl", strconv.FormatInt(p.seconds(), 10))
	header.Set("Urgency", urgency(p))
	if topic := webTopic(p.collapse); topic != "" {
		header.Set("Topic", topic)
	}
	return header, nil
}

// urgency is the header of RFC 8030 section 5.3.
func urgency(p *push) string {
	if p.high {
		return "high"
	}
	return "normal"
}

// webTopic makes a Topic, which has a narrow alphabet, of a key.
func webTopic(key string) string {
	if len(key) <= topicLimit && strings.IndexFunc(key, notBase64URL) < 0 {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:])[:topicLimit]
}

func notBase64URL(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// webMessage writes a push as a declarative push message, which a browser may show by itself and a service worker reads as JSON.
func webMessage(p *push) object {
	if p.silent {
		return object{"data": p.dataObject()}
	}
	notification := object{"title": p.title}
	notification.put("body", p.body)
	notification.put("image", p.image)
	notification.put("tag", p.tag)
	notification.put("navigate", p.link)
	notification.under("data", p.dataObject())
	message := object{"notification": notification}
	if p.badge != nil {
		notification["app_badge"] = strconv.Itoa(*p.badge)
	}
	if p.link != "" && p.title != "" {
		message["web_push"] = declarative
	}
	return message
}

// webPushVerdicts has the statuses that push services answer with: RFC 8030 section 5, RFC 8292 section 4.2, and
// https://mozilla-services.github.io/autopush-rs/errors.html. Other statuses mean what they mean everywhere.
var webPushVerdicts = map[int]verdict{
	http.StatusBadRequest:            refused,
	http.StatusUnauthorized:          badLogin,
	http.StatusForbidden:             foreign, // the subscription was made with another public key; but see webPushVerdict
	http.StatusNotFound:              unregistered,
	http.StatusGone:                  unregistered,
	http.StatusRequestEntityTooLarge: large,
	http.StatusTooManyRequests:       throttled,
	http.StatusInternalServerError:   unknown,
	http.StatusServiceUnavailable:    unavailable,
}

// readWebPush says what came of a request.
func readWebPush(resp *http.Response, body []byte) (sdk.Receipt, error) {
	if resp.StatusCode/100 == 2 {
		if location := resp.Header.Get("Location"); location != "" {
			return sdk.Accepted(location), nil
		}
		return sdk.Receipt{}, nil
	}
	reason := readPushReason(body)
	v, known := webPushVerdict(resp.StatusCode, reason)
	if !known {
		return sdk.Receipt{}, fallback(resp, body)
	}
	code := strings.TrimSpace(strconv.Itoa(resp.StatusCode) + " " + reason.code())
	return sdk.Receipt{}, v.of(sdk.HTTPOutcome(resp, body), code, retryAfter(resp, 0))
}

// webPushVerdict looks at the reason first: the statuses 400, 401 and 403 do not tell a login that is wrong, which concerns all
// messages, from a subscription that was made with another key, which concerns one.
func webPushVerdict(status int, r pushReason) (verdict, bool) {
	switch {
	case r.Reason == "VapidPkHashMismatch", strings.Contains(r.Message, "VAPID public key mismatch"):
		return foreign, true // Apple; Mozilla, with 401 and the number of all failed logins
	case status == http.StatusForbidden && r.Reason != "", strings.Contains(r.Message, "invalid JWT"):
		return badLogin, true // Apple, as BadJwtToken; Google
	}
	v, known := webPushVerdicts[status]
	return v, known
}

// pushReason is what an answer says beside its status.
type pushReason struct {
	Errno   int    `json:"errno"`   // Mozilla
	Message string `json:"message"` // Mozilla; Google's whole answer is one
	Reason  string `json:"reason"`  // Apple
}

func readPushReason(body []byte) pushReason {
	var r pushReason
	if json.Unmarshal(body, &r) != nil {
		return pushReason{Message: string(body)}
	}
	return r
}

// code is the number of Mozilla's, or the word of Apple's.
func (r pushReason) code() string {
	if r.Errno != 0 {
		return strconv.Itoa(r.Errno)
	}
	return r.Reason
}
