package main

import (
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// Codes of the gateway that this plugin uses beside those of the SDK.
const (
	codeInvalidRecipient = "invalid_recipient"    // no such user or group
	codeUnregistered     = "unregistered"         // there was one, and there is no more
	codeBlocked          = "recipient_blocked"    // the recipient's side does not let the bot write
	codeUnsubscribed     = "unsubscribed"         // the user has turned the bot's messages off
	codePermissionDenied = "permission_denied"    // the bot may not do that
	codeInvalidParameter = "invalid_parameter"    // the message is badly made
	codeTemplateInvalid  = "template_invalid"     // the card is badly made, or its template is
	codeContentRefused   = "content_refused"      // the text is not let through
	codeTooLarge         = "payload_too_large"    // the message is too long
	codeSignInvalid      = "sign_invalid"         // the signature of a custom bot is wrong
	codeDuplicate        = "duplicate"            // the same message is being sent right now
	codeUnavailable      = "provider_unavailable" // Feishu has a fault of its own
	codeRejected         = "rejected_by_provider" // a refusal that is not documented
)

// verdict is what a code of Feishu means for the message.
type verdict struct {
	outcome sdk.Outcome
	code    string
	fault   sdk.Fault
	after   time.Duration // of a throttled message, where the answer does not say
}

// refused is a message that would be refused again, for what it is.
func refused(code string) verdict {
	return verdict{outcome: sdk.OutcomeRejected, code: code, fault: sdk.FaultMessage}
}

// misconfigured is a refusal that somebody can mend in the developer console or in the connector's config.
func misconfigured(code string) verdict {
	return verdict{outcome: sdk.OutcomeRejected, code: code, fault: sdk.FaultConfig}
}

// slowDown is a refusal because of the rate.
func slowDown(after time.Duration) verdict {
	return verdict{outcome: sdk.OutcomeThrottled, code: sdk.CodeThrottled, fault: sdk.FaultProvider, after: after}
}

// broken is a fault of Feishu of which nobody knows whether it came before or after the message was sent.
func broken() verdict {
	return verdict{outcome: sdk.OutcomeUncertain, code: codeUnavailable, fault: sdk.FaultProvider}
}

// verdicts has the codes that Feishu documents for what this plugin calls:
//
//	https://open.feishu.cn/document/server-docs/im-v1/message/create
//	https://open.feishu.cn/document/server-docs/im-v1/image/create
//	https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
//	https://open.feishu.cn/document/server-docs/api-call-guide/generic-error-code
//	https://open.feishu.cn/document/server-docs/im-v1/faq (which code is which rate)
var verdicts = map[int]verdict{
	// Messages of an app.
	230001: refused(codeInvalidParameter), // "ext" in the text says which; see refusal
	230002: refused(codePermissionDenied), // the bot is not in the group
	230006: misconfigured(codePermissionDenied),
	230013: refused(codePermissionDenied), // the app is not available to the user
	230015: refused(codeInvalidParameter),
	230017: refused(codePermissionDenied),
	230018: refused(codePermissionDenied), // settings of the group
	230019: refused(codeInvalidRecipient), // no such topic
	230020: slowDown(time.Second),         // five a second to one user or group
	230022: refused(codeContentRefused),
	230025: refused(codeTooLarge),
	230027: misconfigured(codePermissionDenied),
	230028: refused(codeContentRefused), // data loss prevention
	230029: refused(codeUnregistered),   // has left the company
	230034: refused(codeInvalidRecipient),
	230035: refused(codeBlocked),
	230036: misconfigured(codePermissionDenied), // the company's key is gone
	230038: refused(codePermissionDenied),       // a user of another company
	230049: {outcome: sdk.OutcomeUncertain, code: codeDuplicate, fault: sdk.FaultProvider},
	230053: refused(codeUnsubscribed),
	230054: refused(codeInvalidParameter), // the group does not take the type
	230055: refused(codeInvalidParameter),
	230075: refused(codePermissionDenied), // an encrypted chat
	230099: refused(codeTemplateInvalid),
	232009: refused(codeUnregistered), // the group is dissolved

	// Images.
	232096: {outcome: sdk.OutcomeRetryable, code: codeUnavailable, fault: sdk.FaultProvider},
	234001: refused(codeInvalidParameter),
	234002: misconfigured(sdk.CodeAuthFailed),
	234006: refused(codeTooLarge),
	234007: misconfigured(codePermissionDenied),
	234010: refused(codeInvalidParameter),
	234011: refused(codeInvalidParameter),
	234039: refused(codeTooLarge),
	234041: misconfigured(codePermissionDenied),
	234042: {outcome: sdk.OutcomeRetryable, code: codeUnavailable, fault: sdk.FaultProvider},

	// Custom bots.
	9499:  refused(codeInvalidParameter),     // also with "too many request"; see refusal
	19001: misconfigured(sdk.CodeAuthFailed), // no such token
	19002: refused(codeInvalidParameter),
	19021: misconfigured(codeSignInvalid), // or this machine's clock is an hour off
	19022: misconfigured(codePermissionDenied),
	19024: refused(codeContentRefused), // none of the bot's keywords
	19036: refused(codeTooLarge),

	// Rates.
	11232:    slowDown(5 * time.Second),
	11233:    slowDown(time.Second),
	11247:    slowDown(time.Minute),
	99991400: slowDown(time.Second),

	// Messages, in the words of older interfaces, which custom bots and cards still answer with.
	10001: refused(codeInvalidParameter),
	10002: refused(codePermissionDenied),
	10004: refused(codeInvalidRecipient),
	10009: refused(codeInvalidRecipient),
	10010: refused(codePermissionDenied),
	10017: refused(codePermissionDenied),
	10029: refused(codeInvalidRecipient),
	10030: refused(codePermissionDenied),
	10034: refused(codePermissionDenied),
	10100: refused(codeInvalidParameter),
	11100: refused(codeInvalidRecipient),
	11101: refused(codeInvalidRecipient),
	11102: refused(codeInvalidRecipient),
	11105: refused(codeInvalidRecipient),
	11106: refused(codeInvalidRecipient),
	11201: refused(codePermissionDenied),
	11205: misconfigured(codePermissionDenied),
	11206: refused(codePermissionDenied),
	11207: misconfigured(codePermissionDenied),
	11209: misconfigured(codePermissionDenied),
	11210: misconfigured(codePermissionDenied),
	11213: refused(codeInvalidRecipient),
	11215: refused(codeInvalidRecipient),
	11216: refused(codeInvalidRecipient),
	11221: refused(codePermissionDenied),
	11223: misconfigured(codePermissionDenied),
	11225: refused(codePermissionDenied),
	11227: refused(codeInvalidParameter),
	11230: refused(codePermissionDenied),
	11231: refused(codeInvalidRecipient),
	11235: refused(codePermissionDenied), // who may write to @all
	11236: refused(codeUnregistered),
	11237: refused(codeUnregistered),
	11240: misconfigured(codePermissionDenied),
	11242: refused(codeBlocked),
	11246: refused(codeInvalidParameter),
	11248: refused(codeContentRefused),
	11249: misconfigured(codePermissionDenied),
	11310: refused(codeTemplateInvalid),
	11312: refused(codeContentRefused),
	18053: refused(codeInvalidParameter),
	18054: refused(codeContentRefused),
	18121: {outcome: sdk.OutcomeUncertain, code: codeDuplicate, fault: sdk.FaultProvider},

	// Users and groups that do not exist, or not for this app.
	99992351: refused(codeInvalidRecipient),
	99992352: refused(codeInvalidRecipient),
	99992353: refused(codeInvalidRecipient),
	99992354: refused(codeInvalidRecipient),
	99992355: refused(codeInvalidRecipient),
	99992356: refused(codeInvalidRecipient),
	99992359: refused(codeInvalidRecipient),
	99992360: refused(codeInvalidRecipient),
	99992361: refused(codeInvalidRecipient),
	99992363: refused(codeInvalidRecipient),
	99992364: refused(codeInvalidRecipient),
	99992381: refused(codeInvalidRecipient),
	99992402: refused(codeInvalidParameter),

	// Credentials and permissions.
	4001:     misconfigured(sdk.CodeAuthFailed),
	10003:    misconfigured(sdk.CodeAuthFailed), // of the token's interface: app_id is missing or wrong
	10005:    misconfigured(sdk.CodeAuthFailed),
	10012:    misconfigured(sdk.CodeAuthFailed),
	10013:    misconfigured(sdk.CodeAuthFailed),
	10014:    misconfigured(sdk.CodeAuthFailed), // the app is disabled
	10015:    misconfigured(sdk.CodeAuthFailed), // wrong app_secret
	20005:    misconfigured(sdk.CodeAuthFailed),
	99991201: misconfigured(codeInvalidParameter), // no such interface: base_url
	99991301: misconfigured(codeInvalidParameter),
	99991401: misconfigured(codePermissionDenied), // the app's list of addresses
	99991543: misconfigured(sdk.CodeAuthFailed),
	99991661: misconfigured(sdk.CodeAuthFailed),
	99991662: misconfigured(sdk.CodeAuthFailed), // the app is disabled
	99991663: misconfigured(sdk.CodeAuthFailed),
	99991664: misconfigured(sdk.CodeAuthFailed),
	99991665: misconfigured(sdk.CodeAuthFailed),
	99991668: misconfigured(sdk.CodeAuthFailed),
	99991671: misconfigured(sdk.CodeAuthFailed),
	99991672: misconfigured(codePermissionDenied),
	99991673: misconfigured(codePermissionDenied),
	99991676: misconfigured(codePermissionDenied),
	99991677: misconfigured(sdk.CodeAuthFailed),
	99991679: misconfigured(codePermissionDenied),
	99991681: misconfigured(sdk.CodeAuthFailed),

	// Faults of Feishu's own.
	1500:  broken(),
	1503:  broken(),
	1551:  broken(),
	1557:  broken(),
	1642:  broken(),
	1663:  broken(),
	1665:  broken(),
	1668:  broken(),
	2200:  broken(),
	4006:  broken(),
	5000:  broken(),
	10101: broken(),
	10105: broken(),
	10500: broken(),
}

// staleTokens are the codes that refuse the access token. Nothing was sent, and a new token may help.
var staleTokens = map[string]bool{
	"4001": true, "20005": true, "99991661": true, "99991663": true, "99991664": true, "99991665": true,
	"99991668": true, "99991671": true, "99991677": true,
}
