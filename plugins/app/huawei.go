package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// The API is documented at
// https://developer.huawei.com/consumer/cn/doc/HMSCore-References/https-send-api-0000001050986197.
const (
	// huaweiLimit bounds a request without its token.
	huaweiLimit = 4096
	// huaweiMaxTTL is how long Push Kit keeps a push at most.
	huaweiMaxTTL = 15 * 24 * time.Hour
	// huaweiGroups is how many groups of pushes there are of which the last one alone is kept.
	huaweiGroups = 100
	huaweiDone   = "80000000"
	huaweiPartly = "80100000"
	// tagPrefix begins our bi_tag, which comes back with the receipt: it says which attempt that is about, also where the answer to
	// the request was lost.
	tagPrefix = "pigeonry:"
)

// What a tap on a notification does.
const (
	clickPage   = 1
	clickLink   = 2
	clickOpen   = 3
	testMessage = 1
)

// huawei pushes through Huawei Push Kit.
type huawei struct {
	config    *huaweiConfig
	url       string
	login     login
	transport http.RoundTripper
}

func newHuawei(ctx context.Context, c *huaweiConfig, transport http.RoundTripper) *huawei {
	h := &huawei{
		config: c, transport: transport,
		url: strings.TrimSuffix(c.BaseURL, "/") + "/v1/" + url.PathEscape(c.ClientID) + "/messages:send",
	}
	h.login.tokens = sdk.SharedToken(ctx, "huawei/"+c.ClientID+"@"+hostOf(c.TokenURL), c.ClientSecret, func(ctx context.Context) (sdk.Token, error) {
		return fetchToken(ctx, transport, c.TokenURL, url.Values{
			"grant_type": {"client_credentials"}, "client_id": {c.ClientID}, "client_secret": {c.ClientSecret.Reveal()},
		}, time.Now())
	})
	return h
}

func (h *huawei) send(ctx context.Context, p *push) (sdk.Receipt, error) {
	message, err := h.message(p)
	if err != nil {
		return sdk.Receipt{}, err
	}
	whole := object{"validate_only": false, "message": message}
	if _, err := p.encode(message, whole, huaweiLimit); err != nil {
		return sdk.Receipt{}, err
	}
	message["token"] = []string{p.to}
	body, err := json.Marshal(whole)
	if err != nil {
		return sdk.Receipt{}, ownMistake.of(err, "", 0)
	}
	return h.login.do(ctx, func(token string) (sdk.Receipt, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
		if err != nil {
			return sdk.Receipt{}, misconfigured.of(err, "", 0)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json; charset=UTF-8")
		return sdk.DoHTTPOver(h.transport, req, readHuawei, sdk.Secret(token))
	})
}

// check gets an access token.
func (h *huawei) check(ctx context.Context) error {
	_, err := h.login.tokens.Get(ctx)
	return err
}

// message writes a push, without whom it is for.
func (h *huawei) message(p *push) (object, error) {
	android := object{"ttl": strconv.FormatInt(min(p.seconds(), int64(huaweiMaxTTL/time.Second)), 10) + "s", "bi_tag": tagPrefix + p.attempt}
	android.put("category", cmp.Or(p.category, h.config.Category))
	android.put("receipt_id", h.config.ReceiptID)
	if p.collapse != "" {
		android["collapse_key"] = huaweiGroup(p.collapse)
	}
	if h.config.TestMessages {
		android["target_user_type"] = testMessage
	}
	message := object{"android": android}
	if len(p.data) > 0 {
		data, err := json.Marshal(p.data) // a text, as the API has it
		if err != nil {
			return nil, sdk.Permanent(err, sdk.Code(codeInvalidContent))
		}
		message["data"] = string(data)
	}
	if p.silent {
		if p.high {
			android["urgency"] = "HIGH" // wakes the app, where it has been granted that right
		}
		return message, nil
	}
	if p.title == "" || p.body == "" {
		return nil, sdk.Permanent(errors.New("Push Kit wants a title and a text; give the message a subject, or the connector a title"), sdk.Code(codeInvalidContent)) //nolint:staticcheck // a name
	}
	android["notification"] = huaweiNotification(p)
	return message, nil
}

func huaweiNotification(p *push) object {
	n := object{"click_action": huaweiClick(p.link), "importance": "LOW"}
	if p.high {
		n["importance"] = "NORMAL"
	}
	n.put("title", p.title)
	n.put("body", p.body)
	n.put("image", p.image)
	n.put("channel_id", p.channel)
	n.put("tag", p.tag)
	n.put("group", p.thread)
	if p.sound != "" {
		n["sound"], n["default_sound"] = p.sound, false
	}
	if p.badge != nil {
		n["badge"] = object{"set_num": min(*p.badge, 99)}
	}
	return n
}

func huaweiClick(link string) object {
	switch {
	case strings.HasPrefix(link, "https://"):
		return object{"type": clickLink, "url": link}
	case link != "":
		return object{"type": clickPage, "intent": link}
	default:
		return object{"type": clickOpen}
	}
}

// huaweiGroup makes a group of a key: a number stays itself (0 to 100, -1 for none), anything else becomes one of 1 to 100.
func huaweiGroup(key string) int {
	if n, err := strconv.Atoi(key); err == nil && n >= -1 && n <= huaweiGroups {
		return n
	}
	sum := fnv.New32a()
	sum.Write([]byte(key)) // never fails
	return int(sum.Sum32()%huaweiGroups) + 1
}

// huaweiAnswer is the answer to a request.
type huaweiAnswer struct {
	Code      string `json:"code"`
	Message   string `json:"msg"`
	RequestID string `json:"requestId"`
}

// huaweiVerdicts has the codes of the page above.
var huaweiVerdicts = map[string]verdict{
	"80100001": refused,
	"80100003": refused,
	"80100004": {sdk.OutcomeRejected, codeExpired, sdk.FaultMessage},
	"80100013": refused,
	"80100016": refused, // sensitive words
	"80100017": throttled,
	"80100018": refused,
	"80200001": badLogin, // see readHuawei
	"80200003": badLogin,
	"80200005": badLogin,
	"80300002": forbidden,
	"80300007": unregistered,
	"80300008": large,
	"80300010": ownMistake,
	"80300011": forbidden,
	"80300013": misconfigured, // the receipts' address, or its certificate
	"80600003": badLogin,
	"81000001": unknown,
}

// readHuawei says what came of a request.
func readHuawei(resp *http.Response, body []byte) (sdk.Receipt, error) {
	var a huaweiAnswer
	err := json.Unmarshal(body, &a)
	failure := fmt.Errorf("Push Kit answered %d %s: %s", resp.StatusCode, a.Code, a.Message) //nolint:staticcheck // a name
	switch {
	case err == nil && a.Code == huaweiDone:
		return acceptedBy(a), nil
	case err == nil && a.Code == huaweiPartly: // of one token: it is one of the good or of the bad
		if illegalTokens(a.Message) > 0 {
			return sdk.Receipt{}, unregistered.of(failure, a.Code, 0)
		}
		return acceptedBy(a), nil
	case resp.StatusCode == http.StatusServiceUnavailable: // flow control, with or without a code
		return sdk.Receipt{}, throttled.of(failure, cmp.Or(a.Code, "503"), retryAfter(resp, time.Second))
	case resp.StatusCode == http.StatusUnauthorized && a.Code == "":
		return sdk.Receipt{}, badLogin.of(fmt.Errorf("%w: %w", errTokenRefused, failure), "401", 0)
	}
	v, known := huaweiVerdicts[a.Code]
	if err != nil || !known {
		return sdk.Receipt{}, fallback(resp, body)
	}
	if a.Code == "80200001" || a.Code == "80200003" {
		failure = fmt.Errorf("%w: %w", errTokenRefused, failure)
	}
	pause := time.Duration(0)
	if v == throttled {
		pause = time.Minute
	}
	return sdk.Receipt{}, v.of(failure, a.Code, retryAfter(resp, pause))
}

func acceptedBy(a huaweiAnswer) sdk.Receipt {
	if a.RequestID == "" {
		return sdk.Receipt{}
	}
	return sdk.Accepted(a.RequestID)
}

// illegalTokens counts the tokens that were refused. The message of such an answer is JSON itself.
func illegalTokens(message string) int {
	var m struct {
		Failure int      `json:"failure"`
		Illegal []string `json:"illegal_tokens"`
	}
	if json.Unmarshal([]byte(message), &m) != nil {
		return 0
	}
	return max(m.Failure, len(m.Illegal))
}

var errNoReceipts = errors.New("the body is no list of receipts")
