package main

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// Receipts are documented at
// https://developer.huawei.com/consumer/cn/doc/HMSCore-References/https-send-receipt-api-0000001051066120 and
// https://developer.huawei.com/consumer/cn/doc/harmonyos-guides/push-msg-receipt.
const (
	callbackHeader = "X-HUAWEI-CALLBACK-ID"
	// callbackWindow is how far the time of a callback may be off: beyond it, somebody repeats what he has overheard.
	callbackWindow = 10 * time.Minute
)

// huaweiStatus is one receipt. Its first version has status and timestamp outside, the second within deliveryStatus.
type huaweiStatus struct {
	Token     string `json:"token"`
	Tag       string `json:"biTag"`
	RequestID string `json:"requestId"`
	Status    *int   `json:"status"`
	Timestamp int64  `json:"timestamp"`
	Delivery  *struct {
		Result    int   `json:"result"`
		Timestamp int64 `json:"timestamp"`
	} `json:"deliveryStatus"`
}

// callback verifies and reads receipts.
func (h *huawei) callback(r *sdk.CallbackRequest, now time.Time) (*sdk.CallbackResponse, sdk.Events) {
	if !h.genuine(r.Header.Get(callbackHeader), now) {
		return huaweiSays(http.StatusUnauthorized, "1", "the signature is wrong"), sdk.Events{}
	}
	receipts, err := huaweiReceipts(r.Body)
	if err != nil {
		return huaweiSays(http.StatusBadRequest, "1", err.Error()), sdk.Events{}
	}
	return huaweiSays(http.StatusOK, "0", "success"), sdk.Events{Receipts: receipts}
}

// genuine checks the header: timestamp=…; nonce=…; value=…, where value is the HMAC-SHA256 of timestamp, nonce and the callback
// user, in base64. The key is the text of the console, or, as newer ones are base64, what that stands for.
func (h *huawei) genuine(header string, now time.Time) bool {
	if h.config.CallbackKey == "" {
		return false
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(header, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[key] = value
	}
	given, err := base64.StdEncoding.DecodeString(fields["value"])
	if err != nil || !recent(fields["timestamp"], now) {
		return false
	}
	signed := fields["timestamp"] + fields["nonce"] + h.config.CallbackUser
	secret := h.config.CallbackKey.Reveal()
	if hmac.Equal(given, huaweiMAC([]byte(secret), signed)) {
		return true
	}
	decoded, err := base64.StdEncoding.DecodeString(secret)
	return err == nil && hmac.Equal(given, huaweiMAC(decoded, signed))
}

func huaweiMAC(key []byte, signed string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed)) // never fails
	return mac.Sum(nil)
}

// recent tells whether a time is about now.
func recent(timestamp string, now time.Time) bool {
	n, err := strconv.ParseInt(timestamp, 10, 64)
	return err == nil && now.Sub(unixTime(n)).Abs() <= callbackWindow
}

// unixTime reads milliseconds, as the examples of the pages have them, or seconds, as the older page says.
func unixTime(n int64) time.Time {
	const longAgo = 100_000_000_000 // 1973 in milliseconds, 5138 in seconds
	if n < longAgo {
		return time.Unix(n, 0)
	}
	return time.UnixMilli(n)
}

// huaweiSays answers in the form of the API.
func huaweiSays(status int, code, message string) *sdk.CallbackResponse {
	body, err := json.Marshal(map[string]string{"code": code, "message": message})
	if err != nil {
		body = nil // two texts are always JSON
	}
	return &sdk.CallbackResponse{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}
}

// huaweiReceipts reads the body of a callback.
func huaweiReceipts(body []byte) ([]sdk.DeliveryReceipt, error) {
	var given struct {
		Statuses []huaweiStatus `json:"statuses"`
	}
	if err := json.Unmarshal(body, &given); err != nil || given.Statuses == nil {
		return nil, errNoReceipts
	}
	out := make([]sdk.DeliveryReceipt, 0, len(given.Statuses))
	for i := range given.Statuses {
		if receipt, ok := given.Statuses[i].receipt(); ok {
			out = append(out, receipt)
		}
	}
	return out, nil
}

// receipt is false for a card's, which is about no message of ours.
func (s *huaweiStatus) receipt() (sdk.DeliveryReceipt, bool) {
	var result int
	var at int64
	switch {
	case s.Delivery != nil:
		result, at = s.Delivery.Result, s.Delivery.Timestamp
	case s.Status != nil:
		result, at = *s.Status, s.Timestamp
	default:
		return sdk.DeliveryReceipt{}, false
	}
	out := sdk.DeliveryReceipt{
		DedupeKey: fmt.Sprintf("%s/%s/%d/%d", s.RequestID, cmp.Or(s.Tag, s.Token), result, at),
		// Both find the attempt: the request's id by the answer, ours also without it.
		ProviderID: s.RequestID, Recipient: s.Token,
	}
	if attempt, ours := strings.CutPrefix(s.Tag, tagPrefix); ours {
		out.AttemptID = attempt
	}
	if at > 0 {
		out.At = unixTime(at)
	}
	out.Status, out.Err = huaweiResult(result)
	return out, true
}

// huaweiUndelivered has the results of the pages above, beside 0 and those of huaweiWaiting, of which a message is not shown.
var huaweiUndelivered = map[int]string{
	2:   codeUnregistered,    // the app is not installed
	5:   codeUnregistered,    // the token is not the app's any more
	6:   "recipient_blocked", // the user has switched notifications off
	10:  "inactive_device",   // not seen for 30 days
	14:  codeProviderError,
	15:  "superseded", // by a later push of the same collapse_key, or as there are too many
	22:  codeRecipientMismatch,
	31:  codeContentRefused, // the app has no such page
	102: codeThrottled,
	144: codeRecipientMismatch, // no such profile
	256: codeThrottled,
	259: codeContentRefused,
}

// huaweiWaiting are the results of a push that the device has or will have, and the user has not seen yet: the app does not run
// (27), the device has not been unlocked since it was switched on (51), Push Kit holds the push back (201).
var huaweiWaiting = map[int]bool{27: true, 51: true, 201: true}

func huaweiResult(result int) (sdk.ReceiptStatus, error) {
	switch {
	case result == 0:
		return sdk.Delivered, nil
	case huaweiWaiting[result]:
		return sdk.Progress, nil
	}
	code := cmp.Or(huaweiUndelivered[result], "undelivered")
	number := strconv.Itoa(result)
	return sdk.Undelivered, sdk.Permanent(fmt.Errorf("Huawei's receipt has the status %s", number), sdk.Code(code), sdk.ProviderCode(number)) //nolint:staticcheck // a name
}
