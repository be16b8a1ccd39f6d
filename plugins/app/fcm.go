package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// The API is documented at https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages.
const (
	// fcmLimit bounds keys and values of a push's data and notification together,
	// https://firebase.google.com/docs/cloud-messaging/error-codes ("Message too big").
	fcmLimit = 4096
	// fcmPause is how long to wait at least after QUOTA_EXCEEDED, as the same page has it.
	fcmPause = time.Minute
	// fcmMaxTTL is how long FCM keeps a push at most.
	fcmMaxTTL = 28 * 24 * time.Hour
)

// fcm pushes through Firebase Cloud Messaging.
type fcm struct {
	config    *fcmConfig
	url       string
	login     login
	transport http.RoundTripper
}

func newFCM(ctx context.Context, c *fcmConfig, transport http.RoundTripper) (*fcm, error) {
	id, err := newFCMIdentity(c)
	if err != nil {
		return nil, err
	}
	f := &fcm{
		config: c, transport: transport,
		url: strings.TrimSuffix(c.BaseURL, "/") + "/v1/projects/" + url.PathEscape(id.project) + "/messages:send",
	}
	f.login.tokens = sdk.SharedToken(ctx, "fcm/"+id.email+"@"+hostOf(id.tokenURL), c.ServiceAccount, func(ctx context.Context) (sdk.Token, error) {
		return id.fetch(ctx, transport, time.Now())
	})
	return f, nil
}

func (f *fcm) send(ctx context.Context, p *push) (sdk.Receipt, error) {
	if err := checkFCM(p); err != nil {
		return sdk.Receipt{}, err
	}
	message := fcmMessage(p)
	body, err := p.encode(message, object{"message": message, "validate_only": f.config.ValidateOnly}, 0)
	if err != nil {
		return sdk.Receipt{}, err
	}
	return f.post(ctx, body)
}

// post sends a request with the access token.
func (f *fcm) post(ctx context.Context, body []byte) (sdk.Receipt, error) {
	return f.login.do(ctx, func(token string) (sdk.Receipt, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(body))
		if err != nil {
			return sdk.Receipt{}, misconfigured.of(err, "", 0)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		return sdk.DoHTTPOver(f.transport, req, readFCM, sdk.Secret(token))
	})
}

// check asks FCM to validate a push to a token that is none: only who is logged in and may send is told so.
func (f *fcm) check(ctx context.Context) error {
	body := []byte(`{"validate_only":true,"message":{"token":"check","data":{"check":"1"}}}`)
	_, err := f.post(ctx, body)
	if failed, ok := errors.AsType[*sdk.DeliveryError](err); ok && (failed.Code == codeInvalidRecipient || failed.Code == codeUnregistered) {
		return nil
	}
	return err
}

// checkFCM refuses what FCM would refuse.
func checkFCM(p *push) error {
	size := len(p.title) + len(p.body) + len(p.image)
	for key, value := range p.data {
		size += len(key) + len(value)
		if key == "from" || key == "message_type" || strings.HasPrefix(key, "google") || strings.HasPrefix(key, "gcm") {
			return sdk.Permanent(fmt.Errorf("the data has the key %q, which FCM keeps to itself", key), sdk.Code(codeInvalidContent))
		}
	}
	if size > fcmLimit {
		return tooLarge(size, fcmLimit)
	}
	return nil
}

// fcmMessage writes a push for whatever platform the token is of.
func fcmMessage(p *push) object {
	ttl := min(p.seconds(), int64(fcmMaxTTL/time.Second))
	android := object{"priority": "NORMAL", "ttl": strconv.FormatInt(ttl, 10) + "s"}
	web := object{"TTL": strconv.FormatInt(ttl, 10), "Urgency": urgency(p)}
	if p.high {
		android["priority"] = "HIGH"
	}
	android.put("collapse_key", p.collapse)
	message := object{"token": p.to, "android": android, "webpush": object{"headers": web}, "apns": fcmToApple(p)}
	message.under("data", p.dataObject())
	if p.silent {
		return message
	}
	notification, onAndroid := object{}, object{}
	notification.put("title", p.title)
	notification.put("body", p.body)
	notification.put("image", p.image)
	onAndroid.put("channel_id", p.channel)
	onAndroid.put("sound", p.sound)
	onAndroid.put("tag", p.tag)
	if p.badge != nil {
		onAndroid["notification_count"] = *p.badge
	}
	message["notification"] = notification
	android.under("notification", onAndroid)
	if strings.HasPrefix(p.link, "https://") { // FCM refuses others
		message["webpush"] = object{"headers": web, "fcm_options": object{"link": p.link}}
	}
	return message
}

// fcmToApple is the part for tokens of iOS, as APNs has it. FCM adds the alert.
func fcmToApple(p *push) object {
	headers := object{"apns-priority": applePriority(p), "apns-expiration": strconv.FormatInt(p.expires.Unix(), 10)}
	headers.put("apns-collapse-id", appleCollapse(p.collapse))
	headers.put("apns-push-type", p.apnsType)
	out := object{"headers": headers}
	aps := object{}
	if p.silent {
		aps["content-available"] = 1
		headers["apns-priority"], headers["apns-push-type"] = "5", cmp.Or(p.apnsType, pushBackground)
	} else {
		appleLooks(aps, p)
	}
	if len(aps) > 0 {
		out["payload"] = object{"aps": aps}
	}
	return out
}

// fcmAnswer is a success, or the error model of Google's APIs.
type fcmAnswer struct {
	Name  string `json:"name"`
	Error struct {
		Status  string `json:"status"`
		Message string `json:"message"`
		Details []struct {
			Type       string `json:"@type"`
			ErrorCode  string `json:"errorCode"`
			Violations []struct {
				Field string `json:"field"`
			} `json:"fieldViolations"`
		} `json:"details"`
	} `json:"error"`
}

// fcmVerdicts has the codes of https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode, which stand in the details of
// an error, and behind them those of google.rpc.Code that stand alone where the request did not come as far as FCM.
var fcmVerdicts = map[string]verdict{
	"INVALID_ARGUMENT":       refused, // see fcmInvalid
	"UNREGISTERED":           unregistered,
	"SENDER_ID_MISMATCH":     foreign,
	"QUOTA_EXCEEDED":         overQuota,
	"UNAVAILABLE":            unavailable,
	"INTERNAL":               unknown,
	"THIRD_PARTY_AUTH_ERROR": badLogin, // Firebase has no good APNs key, or web push key
	"UNAUTHENTICATED":        badLogin,
	"PERMISSION_DENIED":      forbidden,
	"NOT_FOUND":              misconfigured, // no such project; a token that is gone is UNREGISTERED
	"RESOURCE_EXHAUSTED":     overQuota,
	"FAILED_PRECONDITION":    misconfigured,
}

// readFCM says what came of a request.
func readFCM(resp *http.Response, body []byte) (sdk.Receipt, error) {
	var a fcmAnswer
	err := json.Unmarshal(body, &a)
	if resp.StatusCode/100 == 2 {
		if err != nil || a.Name == "" {
			return sdk.Receipt{}, unknown.of(errors.New("FCM answered 200 without the name of a message"), "200", 0)
		}
		return sdk.Accepted(a.Name), nil
	}
	code, field := a.Error.Status, ""
	for _, d := range a.Error.Details {
		code = cmp.Or(d.ErrorCode, code)
		for _, v := range d.Violations {
			field = cmp.Or(field, v.Field)
		}
	}
	v, known := fcmVerdicts[code]
	if err != nil || !known {
		return sdk.Receipt{}, fallback(resp, body)
	}
	failure := fmt.Errorf("FCM answered %d %s: %s", resp.StatusCode, code, a.Error.Message)
	switch code {
	case "INVALID_ARGUMENT":
		v = fcmInvalid(field, a.Error.Message)
	case "UNAUTHENTICATED":
		failure = fmt.Errorf("%w: %w", errTokenRefused, failure)
	}
	pause := time.Duration(0)
	if v == overQuota {
		pause = fcmPause
	}
	return sdk.Receipt{}, v.of(failure, code, retryAfter(resp, pause))
}

// fcmInvalid tells a bad token from a bad message.
func fcmInvalid(field, message string) verdict {
	message = strings.ToLower(message)
	switch {
	case field == "message.token" || strings.Contains(message, "registration token"):
		return badRecipient
	case strings.Contains(message, "too big"):
		return large
	default:
		return refused
	}
}

// fallback is the outcome of an answer that is not the provider's own, but of something before it.
func fallback(resp *http.Response, body []byte) error {
	if err := sdk.HTTPOutcome(resp, body); err != nil {
		return err
	}
	return unknown.of(fmt.Errorf("the provider answered %s with what cannot be read", resp.Status), strconv.Itoa(resp.StatusCode), 0)
}
