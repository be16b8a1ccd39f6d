package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// Codes of this channel. Those that other channels have mean the same there.
const (
	codeInvalidRecipient    = "invalid_recipient"
	codeUnsubscribed        = "unsubscribed"
	codeRecipientBlocked    = "recipient_blocked"
	codeWindowClosed        = "reply_window_closed"
	codeReplyLimit          = "reply_limit_reached"
	codeTemplateMissing     = "template_missing"
	codeTemplateInvalid     = "template_invalid"
	codeContentRefused      = "content_refused"
	codeEmptyText           = "empty_text"
	codePayloadTooLarge     = "payload_too_large"
	codeMediaInvalid        = "media_invalid"
	codeInvalidField        = "invalid_field"
	codeInvalidSender       = "invalid_sender"
	codeDuplicate           = "duplicate"
	codeAuthFailed          = "auth_failed"
	codePermissionDenied    = "permission_denied"
	codeAddressNotAllowed   = "address_not_allowed"
	codeQuotaExceeded       = "quota_exceeded"
	codeThrottled           = "throttled"
	codeProviderUnavailable = "provider_unavailable"
	codeProviderError       = "provider_error"
	codeProtocolError       = "protocol_error"
	codeUndelivered         = "undelivered"
	codeBadAnswer           = "bad_answer"
)

// How long to wait for what WeChat counts.
const (
	quotaPause = time.Minute
	// quotaCheck is how often to look whether the day's quota is there again: WeChat does not say when a day begins, and an
	// operator can reset the quota at any time.
	quotaCheck = 10 * time.Minute
	// untilApproved is how often to look whether an administrator has let this address in, of WeChat's hour.
	untilApproved = 10 * time.Minute
)

// verdict is what an error code means for a message. But for busy, nothing was sent.
type verdict struct {
	outcome sdk.Outcome
	code    string
	fault   sdk.Fault
	wait    time.Duration
}

// Whom a refusal blames: the message, what the operator has set up, or us.
func badMessage(code string) verdict {
	return verdict{outcome: sdk.OutcomeRejected, code: code, fault: sdk.FaultMessage}
}

func badConfig(code string) verdict {
	return verdict{outcome: sdk.OutcomeRejected, code: code, fault: sdk.FaultConfig}
}

func badPlugin() verdict {
	return verdict{outcome: sdk.OutcomeRejected, code: codeProtocolError, fault: sdk.FaultPlugin}
}

// busy is a failure within WeChat, which may have come after the message was taken.
func busy() verdict {
	return verdict{outcome: sdk.OutcomeUncertain, code: codeProviderUnavailable, fault: sdk.FaultProvider}
}

func tooFast(code string, wait time.Duration) verdict {
	return verdict{outcome: sdk.OutcomeThrottled, code: code, fault: sdk.FaultProvider, wait: wait}
}

// tooFastForUser is a limit of one recipient: the others can still be sent to.
func tooFastForUser() verdict {
	return verdict{outcome: sdk.OutcomeRetryable, code: codeThrottled, fault: sdk.FaultMessage, wait: quotaPause}
}

// notYet is an address that an administrator has to let in.
func notYet() verdict {
	return verdict{outcome: sdk.OutcomeRetryable, code: codeAddressNotAllowed, fault: sdk.FaultConfig, wait: untilApproved}
}

// verdicts are the codes that the requests of this plugin may be answered with. Sources:
//
//	https://developers.weixin.qq.com/doc/oplatform/developers/errCode/errCode.html (all codes)
//	https://developers.weixin.qq.com/doc/offiaccount/Getting_Started/Global_Return_Code.html (all codes, with what to do)
//	https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html
//	https://developers.weixin.qq.com/doc/service/api/notify/template/api_sendtemplatemessage.html
//	https://developers.weixin.qq.com/doc/service/api/notify/notify/api_sendnewsubscribemsg.html
//	https://developers.weixin.qq.com/doc/service/api/customer/message/api_sendcustommessage.html
//	https://www.tencentcloud.com/document/product/1219/67648 (43101 to 45168)
//
// The text behind a code is WeChat's own. Codes marked with * are on no page, but were reported in WeChat's developer community
// with the text that came with them.
var verdicts = map[int]verdict{
	-1:    busy(), // system error
	61450: busy(), // system error

	// The access token. A first refusal is not told: the request is made once more with another token.
	40001: badConfig(codeAuthFailed), // invalid credential, access_token is invalid or not latest; of a token request: wrong AppSecret
	40014: badConfig(codeAuthFailed), // invalid access_token
	42001: badConfig(codeAuthFailed), // access_token expired
	41001: badPlugin(),               // access_token missing

	// Fetching one.
	40002: badPlugin(),                      // invalid grant_type
	40125: badConfig(codeAuthFailed),        // invalid appsecret
	40243: badConfig(codeAuthFailed),        // AppSecret is frozen
	41002: badPlugin(),                      // appid missing
	41004: badPlugin(),                      // appsecret missing
	40164: badConfig(codeAddressNotAllowed), // invalid ip, not in whitelist
	61004: badConfig(codeAddressNotAllowed), // access clientip is not registered
	45035: badConfig(codeAddressNotAllowed), // access clientip is not registered, not in ip-white-list
	89503: notYet(),                         // the administrator has to approve this address
	89501: notYet(),                         // the administrator has been asked, and has not answered
	89506: badConfig(codeAddressNotAllowed), // the administrator refused twice; not within 24 hours
	89507: notYet(),                         // the administrator refused; not within an hour
	50004: badConfig(codePermissionDenied),  // forbid to use token interface
	50007: badConfig(codePermissionDenied),  // the account is frozen

	// Limits.
	45009: tooFast(codeQuotaExceeded, quotaCheck), // reach max api daily quota limit
	45011: tooFast(codeThrottled, quotaPause),     // api minute-quota reach limit, must slower, retry next minute
	43100: tooFastForUser(),                       // change template too frequently *
	43108: tooFastForUser(),                       // concurrent message sending error
	43117: tooFastForUser(),                       // sending messages to this openid too frequently, please try later *
	40038: tooFastForUser(),                       // the number of message push exceeds the threshold of a long-term template

	// The account.
	40013: badConfig(codeAuthFailed),       // invalid appid; of a template message also: the Mini Program is not bound to the account
	43003: badConfig(codeProtocolError),    // require https
	43107: badConfig(codePermissionDenied), // subscription message capability banned
	45103: badConfig(codePermissionDenied), // this API has been unsupported *
	48001: badConfig(codePermissionDenied), // api unauthorized
	48003: badConfig(codePermissionDenied), // agreement not accepted
	48004: badConfig(codePermissionDenied), // api forbidden for irregularities
	48008: badConfig(codePermissionDenied), // no permission for this msgtype
	50001: badConfig(codePermissionDenied), // user unauthorized
	50002: badConfig(codePermissionDenied), // user limited: the account is frozen or closed
	61007: badConfig(codePermissionDenied), // api is unauthorized to component
	61016: badConfig(codePermissionDenied), // function category of API need be confirmed by component
	65400: badConfig(codePermissionDenied), // please enable new custom service

	// The recipient.
	40003: badMessage(codeInvalidRecipient), // invalid openid
	40031: badMessage(codeInvalidRecipient), // invalid openid list
	40032: badMessage(codeInvalidRecipient), // invalid openid list size
	41009: badMessage(codeInvalidRecipient), // openid missing
	46004: badMessage(codeInvalidRecipient), // user no exist
	43004: badMessage(codeUnsubscribed),     // require subscribe
	43005: badMessage(codeUnsubscribed),     // require friend relations
	43101: badMessage(codeUnsubscribed),     // user refuse to accept the msg
	50005: badMessage(codeUnsubscribed),     // user is unsubscribed
	43019: badMessage(codeRecipientBlocked), // require remove blacklist
	48002: badMessage(codeRecipientBlocked), // user block receive message
	45015: badMessage(codeWindowClosed),     // response out of time limit or subscription is canceled
	45047: badMessage(codeReplyLimit),       // out of response count limit

	// The template.
	40036: badMessage(codeTemplateMissing), // invalid template_id size
	40037: badMessage(codeTemplateMissing), // invalid template_id
	43116: badMessage(codeTemplateInvalid), // this template_id is banned *
	47003: badMessage(codeTemplateInvalid), // argument invalid: a parameter is empty or breaks the rules of its kind

	// The content.
	40241:   badMessage(codeDuplicate),       // the message is duplicate in 60 seconds *
	45065:   badMessage(codeDuplicate),       // clientmsgid exist
	40249:   badMessage(codeContentRefused),  // this template msg has been blocked for illegal content *
	45168:   badMessage(codeContentRefused),  // sensitive words
	87014:   badMessage(codeContentRefused),  // risky content
	44003:   badMessage(codeEmptyText),       // empty news data
	44004:   badMessage(codeEmptyText),       // empty content
	45002:   badMessage(codePayloadTooLarge), // content size out of limit
	45003:   badMessage(codePayloadTooLarge), // title size out of limit
	45004:   badMessage(codePayloadTooLarge), // description size out of limit
	45005:   badMessage(codePayloadTooLarge), // url size out of limit
	45006:   badMessage(codePayloadTooLarge), // picurl size out of limit
	45008:   badMessage(codePayloadTooLarge), // article size out of limit
	40008:   badMessage(codeInvalidField),    // invalid message type
	40035:   badMessage(codeInvalidField),    // invalid parameter
	40039:   badMessage(codeInvalidField),    // invalid url size
	40048:   badMessage(codeInvalidField),    // invalid url domain
	40066:   badMessage(codeInvalidField),    // invalid url
	40132:   badMessage(codeInvalidField),    // invalid username
	40155:   badMessage(codeInvalidField),    // invalid article url
	40165:   badMessage(codeInvalidField),    // invalid weapp pagepath
	41030:   badMessage(codeInvalidField),    // invalid page
	61451:   badMessage(codeInvalidField),    // invalid parameter
	9001001: badMessage(codeInvalidField),    // invalid parameter
	61452:   badMessage(codeInvalidSender),   // invalid kf_account
	65401:   badMessage(codeInvalidSender),   // invalid custom service account

	// Media.
	40004: badMessage(codeMediaInvalid),    // invalid media type
	40005: badMessage(codeMediaInvalid),    // invalid file type
	40006: badMessage(codePayloadTooLarge), // invalid meida size
	40007: badMessage(codeMediaInvalid),    // invalid media_id
	40009: badMessage(codePayloadTooLarge), // invalid image size
	40010: badMessage(codePayloadTooLarge), // invalid voice size
	40011: badMessage(codePayloadTooLarge), // invalid video size
	40012: badMessage(codePayloadTooLarge), // invalid thumb size
	40118: badMessage(codeMediaInvalid),    // invalid media_id size
	40121: badMessage(codeMediaInvalid),    // invalid media_id type
	40137: badMessage(codeMediaInvalid),    // unsupported image format
	41005: badMessage(codeMediaInvalid),    // media data missing
	41006: badMessage(codeMediaInvalid),    // media_id missing
	44001: badMessage(codeMediaInvalid),    // empty media data
	45001: badMessage(codePayloadTooLarge), // media size out of limit
	45007: badMessage(codePayloadTooLarge), // playtime out of limit
	46001: badMessage(codeMediaInvalid),    // media data no exist

	// The form of the request, which is ours.
	40033: badPlugin(), // invalid charset: \uxxxx
	43001: badPlugin(), // require GET method
	43002: badPlugin(), // require POST method
	44002: badPlugin(), // empty post data
	45067: badPlugin(), // clientmsgid size out of limit
	47001: badPlugin(), // data format error
}

// refusal is an answer with an error code.
type refusal struct {
	code    int
	message string
	msgID   string // of the message that it is about, where the answer has one
}

func (e *refusal) Error() string { return fmt.Sprintf("WeChat answers %d %q", e.code, e.message) }

// ofToken tells whether the refusal is one of the access token, before WeChat looked at anything else:
// https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html
func (e *refusal) ofToken() bool { return e.code == 40001 || e.code == 40014 || e.code == 42001 }

// codeIDExists is the answer to a client_msg_id that WeChat has already.
const codeIDExists = 45065

// refused turns an answer with an error code into an outcome. A code that nobody knows is a refusal as well, for a reason that a repeat would not
// change.
func refused(a *answer) error {
	err := &refusal{*a.Code, a.Message, a.MsgID.String()}
	v, known := verdicts[err.code]
	if !known {
		v = verdict{outcome: sdk.OutcomeRejected, code: codeProviderError, fault: sdk.FaultProvider}
	}
	options := []sdk.Option{sdk.Code(v.code), sdk.Blame(v.fault), sdk.ProviderCode(strconv.Itoa(err.code))}
	switch v.outcome {
	case sdk.OutcomeThrottled:
		return sdk.Throttled(err, v.wait, options...)
	case sdk.OutcomeRetryable:
		return sdk.Retryable(err, append(options, sdk.RetryAfter(v.wait))...)
	case sdk.OutcomeUncertain:
		return sdk.Uncertain(err, options...)
	default:
		return sdk.Permanent(err, options...)
	}
}

// notSent says that what failed was only on the way to sending a message: a token, an upload, a check.
func notSent(err error) error {
	e, ok := errors.AsType[*sdk.DeliveryError](err)
	if !ok || e.Outcome != sdk.OutcomeUncertain {
		return err
	}
	return sdk.Retryable(err, sdk.Code(e.Code), sdk.Blame(e.Fault), sdk.ProviderCode(e.ProviderCode))
}

// failed is the outcome of a message that WeChat did not simply take; dropsRepeats tells whether it went with a client_msg_id.
func failed(err error, attempt int, dropsRepeats bool) (sdk.Receipt, error) {
	r, ok := errors.AsType[*refusal](err)
	switch {
	case !ok:
		return sdk.Receipt{}, err
	case dropsRepeats && r.code == codeIDExists && attempt > 1:
		// No other message has this id: an earlier attempt was taken.
		if r.msgID == "" {
			return sdk.Accepted(), nil
		}
		return sdk.Accepted(r.msgID), nil
	case dropsRepeats && verdicts[r.code] == busy():
		return sdk.Receipt{}, notSent(err) // or if it was, WeChat drops the next attempt
	default:
		return sdk.Receipt{}, repeated(err, attempt)
	}
}

// repeated is the outcome of a message that WeChat calls a repeat. An earlier attempt explains that: it may have been taken. Without
// one it is another message that says the same.
func repeated(err error, attempt int) error {
	e, ok := errors.AsType[*sdk.DeliveryError](err)
	if !ok || e.Code != codeDuplicate || attempt <= 1 {
		return err
	}
	return sdk.Uncertain(fmt.Errorf("an earlier attempt may have been taken: %w", err),
		sdk.Code(codeDuplicate), sdk.ProviderCode(e.ProviderCode), sdk.Blame(sdk.FaultMessage))
}
