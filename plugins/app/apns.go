package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pigeonry/pigeonry/sdk"
)

const (
	// apnsLimit bounds a payload, apnsCallLimit that of a call (push type voip),
	// https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification.
	apnsLimit     = 4096
	apnsCallLimit = 5120
	// apnsTokenLife is when a provider token counts as ended. APNs refuses one that is older than an hour, and one that comes less
	// than 20 minutes after the one before; the SDK renews it ten minutes ahead, hence each 45,
	// https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns.
	apnsTokenLife = 55 * time.Minute
	// apnsPause is how long to wait when APNs finds that tokens come too often, or pushes to one device.
	apnsPause = time.Minute
	// collapseLimit bounds apns-collapse-id, in bytes.
	collapseLimit = 64
)

// Push types,
// https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns.
const (
	pushAlert      = "alert"
	pushBackground = "background"
	pushCall       = "voip"
)

// topicSuffixes is what the bundle id ends with in the topic of a push type.
var topicSuffixes = map[string]string{
	pushCall: ".voip", "complication": ".complication", "fileprovider": ".pushkit.fileprovider",
	"liveactivity": ".push-type.liveactivity", "pushtotalk": ".voip-ptt", "location": ".location-query",
	"widgets": ".push-type.widgets", "controls": ".push-type.controls",
}

// apns pushes through the Apple Push Notification service.
type apns struct {
	config    *apnsConfig
	url       string
	login     login
	transport http.RoundTripper
}

func newAPNs(ctx context.Context, c *apnsConfig, transport *http.Transport) (*apns, error) {
	id, err := newAPNsIdentity(c)
	if err != nil {
		return nil, err
	}
	transport.Protocols = new(http.Protocols)
	if strings.HasPrefix(c.BaseURL, "http://") {
		transport.Protocols.SetUnencryptedHTTP2(true)
	} else {
		transport.Protocols.SetHTTP2(true)
	}
	a := &apns{config: c, url: strings.TrimSuffix(c.BaseURL, "/") + "/3/device/", transport: transport}
	a.login.tokens = sdk.SharedToken(ctx, "apns/"+c.TeamID+"/"+c.KeyID, c.PrivateKey, func(context.Context) (sdk.Token, error) {
		return id.token(time.Now())
	})
	return a, nil
}

// apnsIdentity signs provider tokens.
type apnsIdentity struct {
	teamID, keyID string
	key           *ecdsa.PrivateKey
}

func newAPNsIdentity(c *apnsConfig) (*apnsIdentity, error) {
	key, err := jwt.ParseECPrivateKeyFromPEM([]byte(c.PrivateKey.Reveal()))
	if err != nil || key.Curve != elliptic.P256() {
		return nil, sdk.FieldError("apns.private_key", "is no key of the curve P-256 in PEM", `give the whole .p8 file from Apple, e.g. file("AuthKey_ABCDE12345.p8")`)
	}
	return &apnsIdentity{teamID: c.TeamID, keyID: c.KeyID, key: key}, nil
}

func (id *apnsIdentity) token(now time.Time) (sdk.Token, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": id.teamID, "iat": now.Unix()})
	t.Header["kid"] = id.keyID
	delete(t.Header, "typ") // Apple names alg and kid alone
	signed, err := t.SignedString(id.key)
	if err != nil {
		return sdk.Token{}, badLogin.of(fmt.Errorf("sign the provider token: %w", err), "", 0)
	}
	return sdk.Token{Value: signed, Expires: now.Add(apnsTokenLife)}, nil
}

func (a *apns) send(ctx context.Context, p *push) (sdk.Receipt, error) {
	kind := cmp.Or(p.apnsType, pushAlert)
	if p.silent && p.apnsType == "" {
		kind = pushBackground
	}
	limit := apnsLimit
	if kind == pushCall {
		limit = apnsCallLimit
	}
	payload, err := apnsPayload(p)
	if err != nil {
		return sdk.Receipt{}, err
	}
	body, err := p.encode(payload, payload, limit)
	if err != nil {
		return sdk.Receipt{}, err
	}
	header := http.Header{}
	header.Set("Apns-Id", apnsID(p.key))
	header.Set("Apns-Push-Type", kind)
	header.Set("Apns-Topic", cmp.Or(p.apnsTopic, a.config.Topic+topicSuffixes[kind]))
	header.Set("Apns-Priority", applePriority(p))
	header.Set("Apns-Expiration", strconv.FormatInt(p.expires.Unix(), 10))
	if kind == pushBackground {
		header.Set("Apns-Priority", "5") // APNs refuses 10
	}
	if id := appleCollapse(p.collapse); id != "" {
		header.Set("Apns-Collapse-Id", id)
	}
	return a.post(ctx, p.to, header, body)
}

func (a *apns) post(ctx context.Context, device string, header http.Header, body []byte) (sdk.Receipt, error) {
	return a.login.do(ctx, func(token string) (sdk.Receipt, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+url.PathEscape(device), bytes.NewReader(body))
		if err != nil {
			return sdk.Receipt{}, misconfigured.of(err, "", 0)
		}
		req.Header = header.Clone()
		req.Header.Set("Authorization", "bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		return sdk.DoHTTPOver(a.transport, req, readAPNs, sdk.Secret(token))
	})
}

// check pushes to a device that is none: APNs looks at the provider token and the topic first.
func (a *apns) check(ctx context.Context) error {
	header := http.Header{"Apns-Push-Type": {pushBackground}, "Apns-Priority": {"5"}, "Apns-Topic": {a.config.Topic}}
	_, err := a.post(ctx, strings.Repeat("0", 64), header, []byte(`{"aps":{"content-available":1}}`))
	if failed, ok := errors.AsType[*sdk.DeliveryError](err); ok {
		switch failed.Code {
		case codeInvalidRecipient, codeRecipientMismatch, codeUnregistered:
			return nil
		}
	}
	return err
}

// apnsPayload writes a push, with the data beside aps.
func apnsPayload(p *push) (object, error) {
	payload := p.dataObject()
	if _, taken := payload["aps"]; taken {
		return nil, sdk.Permanent(errors.New(`the data has the key "aps", which is Apple's own`), sdk.Code(codeInvalidContent))
	}
	aps := object{}
	payload["aps"] = aps
	if p.silent {
		aps["content-available"] = 1
		return payload, nil
	}
	alert := object{}
	alert.put("title", p.title)
	alert.put("subtitle", p.subtitle)
	alert.put("body", p.body)
	aps["alert"] = alert
	appleLooks(aps, p)
	payload.put(attrImage, p.image) // what an extension of the app loads
	return payload, nil
}

// appleLooks writes what goes with an alert.
func appleLooks(aps object, p *push) {
	aps.put("sound", p.sound)
	aps.put("category", p.category)
	aps.put("thread-id", p.thread)
	if p.badge != nil {
		aps["badge"] = *p.badge
	}
	if p.image != "" {
		aps["mutable-content"] = 1 // lets the app's extension load the image
	}
}

func applePriority(p *push) string {
	if p.high {
		return "10" // at once
	}
	return "5" // when it suits the device's power
}

// appleCollapse shortens a key that is too long, so that the same key stays the same.
func appleCollapse(key string) string {
	if len(key) <= collapseLimit {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// apnsID makes the UUID (RFC 9562 version 8) of a message: the same for each attempt, and what APNs and its console call it by.
func apnsID(key string) string {
	sum := sha256.Sum256([]byte(key))
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	text := hex.EncodeToString(id)
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}

// apnsVerdicts has the reasons of
// https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns.
var apnsVerdicts = map[string]verdict{
	"BadCollapseId":               ownMistake,
	"BadDeviceToken":              badRecipient, // or one of the other environment
	"BadExpirationDate":           ownMistake,
	"BadMessageId":                ownMistake,
	"BadPriority":                 ownMistake,
	"BadTopic":                    misconfigured,
	"DeviceTokenNotForTopic":      foreign,
	"DuplicateHeaders":            ownMistake,
	"IdleTimeout":                 unavailable,
	"InvalidPushType":             refused,
	"MissingDeviceToken":          badRecipient,
	"MissingTopic":                misconfigured,
	"PayloadEmpty":                refused,
	"TopicDisallowed":             misconfigured,
	"BadCertificate":              badLogin,
	"BadCertificateEnvironment":   badLogin,
	"ExpiredProviderToken":        badLogin, // see readAPNs
	"Forbidden":                   forbidden,
	"InvalidProviderToken":        badLogin,
	"MissingProviderToken":        badLogin,
	"UnrelatedKeyIdInToken":       badLogin,
	"BadEnvironmentKeyIdInToken":  badLogin,
	"BadPath":                     badRecipient,
	"MethodNotAllowed":            ownMistake,
	"ExpiredToken":                unregistered,
	"Unregistered":                unregistered,
	"PayloadTooLarge":             large,
	"TooManyProviderTokenUpdates": throttled,
	"TooManyRequests":             busyDevice,
	"InternalServerError":         unknown,
	"ServiceUnavailable":          unavailable,
	"Shutdown":                    unavailable,
}

// readAPNs says what came of a request.
func readAPNs(resp *http.Response, body []byte) (sdk.Receipt, error) {
	if resp.StatusCode == http.StatusOK {
		id := resp.Header.Get("Apns-Id")
		if id == "" {
			return sdk.Receipt{}, unknown.of(errors.New("APNs answered 200 without an apns-id"), "200", 0)
		}
		return sdk.Accepted(id), nil
	}
	var a struct {
		Reason string `json:"reason"`
	}
	err := json.Unmarshal(body, &a)
	v, known := apnsVerdicts[a.Reason]
	if err != nil || !known {
		return sdk.Receipt{}, fallback(resp, body)
	}
	failure := fmt.Errorf("APNs answered %d %s", resp.StatusCode, a.Reason)
	if a.Reason == "ExpiredProviderToken" {
		failure = fmt.Errorf("%w: %w", errTokenRefused, failure)
	}
	pause := time.Duration(0)
	if v.outcome == sdk.OutcomeThrottled {
		pause = apnsPause
	}
	return sdk.Receipt{}, v.of(failure, a.Reason, retryAfter(resp, pause))
}
