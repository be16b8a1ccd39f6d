package aliyun

import (
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

// Pauses after refusals that are over some time later.
const (
	recipientPause = time.Minute      // verification codes: one a minute to one number
	dayPause       = 10 * time.Minute // limits of the account and missing money, until somebody does something
)

// codes are the answers to requests: those of the product (https://help.aliyun.com/document_detail/101346.html) and those
// of Alibaba Cloud's gateway before it (https://api.aliyun.com/document/Dysmsapi/2017-05-25/errorCode). What begins with
// "isv." is the caller's fault, with "isp." the provider's.
var codes verdict.Table = map[string]verdict.Verdict{
	"isv.MOBILE_NUMBER_ILLEGAL":            verdict.Message(verdict.InvalidRecipient),
	"isv.SMS_TEST_NUMBER_LIMIT":            verdict.Message(verdict.InvalidRecipient), // test templates reach bound numbers only
	"isv.DOMESTIC_NUMBER_NOT_SUPPORTED":    verdict.Message(verdict.TemplateInvalid),  // a template for other countries
	"isv.CUSTOMER_REFUSED":                 verdict.Message(verdict.Unsubscribed),
	"isv.BLACK_KEY_CONTROL_LIMIT":          verdict.Message(verdict.ContentRefused),
	"isv.SMS_CONTENT_ILLEGAL":              verdict.Message(verdict.ContentRefused),
	"isv.PARAM_NOT_SUPPORT_URL":            verdict.Message(verdict.ContentRefused),
	"isv.TEMPLATE_PARAMS_ILLEGAL":          verdict.Message(verdict.ContentRefused),
	"isv.UNSUPPORTED_CONTENT":              verdict.Message(verdict.ContentRefused), // emoji
	"isv.SMS_TEST_TEMPLATE_PARAMS_ILLEGAL": verdict.Message(verdict.ContentRefused),
	"FILTER":                               verdict.Message(verdict.ContentRefused),
	"isv.PARAM_LENGTH_LIMIT":               verdict.Message(verdict.PayloadTooLarge),
	"isv.TEMPLATE_MISSING_PARAMETERS":      verdict.Message(verdict.TemplateInvalid),
	"isv.INVALID_PARAMETERS":               verdict.Message(verdict.InvalidParameter),
	"isv.SMS_TEMPLATE_ILLEGAL":             verdict.Config(verdict.TemplateInvalid),
	"isv.SMS_SIGNATURE_ILLEGAL":            verdict.Config(verdict.SignInvalid),
	"isv.SMS_SIGN_ILLEGAL":                 verdict.Config(verdict.SignInvalid),
	"isv.SIGN_STATE_ILLEGAL":               verdict.Config(verdict.SignInvalid),
	"isv.SMS_SIGNATURE_SCENE_ILLEGAL":      verdict.Config(verdict.SignInvalid),
	"isv.SMS_TEST_SIGN_TEMPLATE_LIMIT":     verdict.Config(verdict.SignInvalid), // test signature and test template go together
	"isv.EXTEND_CODE_ERROR":                verdict.Config(verdict.InvalidParameter),
	"isv.ACCOUNT_NOT_EXISTS":               verdict.Config(verdict.AuthFailed),
	"isv.ACCOUNT_ABNORMAL":                 verdict.Config(verdict.PermissionDenied),
	"isv.DENY_IP_RANGE":                    verdict.Config(verdict.PermissionDenied),
	"isv.PRODUCT_UN_SUBSCRIPT":             verdict.Config(verdict.PermissionDenied),
	"isv.PRODUCT_UNSUBSCRIBE":              verdict.Config(verdict.PermissionDenied),
	"isp.RAM_PERMISSION_DENY":              verdict.Config(verdict.PermissionDenied),
	"isv.OUT_OF_SERVICE":                   verdict.Later(verdict.InsufficientBalance, sdk.FaultConfig, dayPause),
	"isv.AMOUNT_NOT_ENOUGH":                verdict.Later(verdict.InsufficientBalance, sdk.FaultConfig, dayPause),
	"isv.DAY_LIMIT_CONTROL":                verdict.Later(verdict.QuotaExceeded, sdk.FaultConfig, dayPause),
	"isv.MONTH_LIMIT_CONTROL":              verdict.Later(verdict.QuotaExceeded, sdk.FaultConfig, dayPause),
	"isv.BUSINESS_LIMIT_CONTROL":           verdict.Later(verdict.QuotaExceeded, sdk.FaultMessage, recipientPause),
	"isv.MOBILE_COUNT_OVER_LIMIT":          verdict.Plugin(verdict.ProtocolError),
	"isv.INVALID_JSON_PARAM":               verdict.Plugin(verdict.ProtocolError),
	"isv":                                  verdict.Message(verdict.RejectedByProvider),
	"isp.SYSTEM_ERROR":                     verdict.Unknown(verdict.ProviderError),
	"isp.GATEWAY_ERROR":                    verdict.Unknown(verdict.ProviderError),
	"isp.UNKNOWN_ERROR":                    verdict.Unknown(verdict.ProviderError),
	"isp":                                  verdict.Unknown(verdict.ProviderError),
	"SignatureDoesNotMatch":                verdict.Config(verdict.AuthFailed),
	"IncompleteSignature":                  verdict.Config(verdict.AuthFailed),
	"InvalidAccessKeyId":                   verdict.Config(verdict.AuthFailed), // .NotFound, .Inactive
	"InvalidAccessKeySecret":               verdict.Config(verdict.AuthFailed),
	"InvalidSecurityToken":                 verdict.Config(verdict.AuthFailed),       // .Expired, .Malformed
	"InvalidTimeStamp":                     verdict.Config(verdict.AuthFailed),       // .Expired, .Format: the clock of this machine is wrong
	"Forbidden":                            verdict.Config(verdict.PermissionDenied), // .RAM
	"NoPermission":                         verdict.Config(verdict.PermissionDenied),
	"SignatureNonceUsed":                   verdict.Unknown(verdict.NoResponse),  // it has had this very request before
	"Throttling":                           verdict.Slower(verdict.Throttled, 0), // .User, .Api
	"ServiceUnavailable":                   verdict.Later(verdict.ProviderUnavailable, sdk.FaultProvider, 0),
	"InternalError":                        verdict.Unknown(verdict.ProviderError),
	"InvalidAction":                        verdict.Config(verdict.InvalidParameter), // .NotFound: base_url is of another product
	"InvalidVersion":                       verdict.Config(verdict.InvalidParameter),
	"InvalidParameter":                     verdict.Message(verdict.InvalidParameter),
	"UnsupportedHTTPMethod":                verdict.Plugin(verdict.ProtocolError),
	"MissingParameter":                     verdict.Plugin(verdict.ProtocolError),
	"MissingPhoneNumbers":                  verdict.Plugin(verdict.ProtocolError),
	"MissingSignName":                      verdict.Config(verdict.SignInvalid),
	"MissingTemplateCode":                  verdict.Plugin(verdict.ProtocolError),
}

// receiptCodes are what receipts say of messages that were not delivered (https://help.aliyun.com/document_detail/101347.html).
// Codes of requests come there as well. Codes of networks, which are many, are "undeliverable".
var receiptCodes = map[string]string{
	"MOBILE_NOT_ON_SERVICE":   verdict.Undeliverable,
	"MOBILE_SEND_LIMIT":       verdict.QuotaExceeded,
	"MOBILE_ACCOUNT_ABNORMAL": verdict.Undeliverable,
	"MOBILE_IN_BLACK":         verdict.RecipientBlocked,
	"MOBLLE_TERMINAL_ERROR":   verdict.Undeliverable, // as the provider spells it
	"CONTENT_KEYWORD":         verdict.ContentRefused,
	"CONTENT_ERROR":           verdict.ContentRefused,
	"INVALID_NUMBER":          verdict.InvalidRecipient,
	"USER_REJECT":             verdict.Unsubscribed,
	"SP_NOT_BY_INTER_SMS":     verdict.Undeliverable, // the recipient takes no messages from abroad
	"SP_UNKNOWN_ERROR":        verdict.Undeliverable,
	"NO_ROUTE":                verdict.Undeliverable,
	"REQUEST_SUCCESS":         verdict.Undeliverable, // the network has never answered
	"IS_CLOSE":                verdict.ProviderUnavailable,
	"PARAMS_ILLEGAL":          verdict.InvalidParameter,
	"PORT_NOT_REGISTERED":     verdict.SignInvalid,
}

// undelivered is the error of a receipt.
func undelivered(code string) string {
	if stable, ok := receiptCodes[code]; ok {
		return stable
	}
	if v, ok := codes.Find(code); ok && v.Outcome == sdk.OutcomeRejected {
		return v.Code
	}
	return verdict.Undeliverable
}
