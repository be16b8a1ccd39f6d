package tencent

import (
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

// Pauses after refusals that are over some time later.
const (
	shortPause   = 30 * time.Second // one message in 30 seconds to one number
	hourPause    = 20 * time.Minute // limits for an hour
	accountPause = 10 * time.Minute // limits of the account and missing money, until somebody does something
)

// codes are the answers to requests and for single messages: those of SMS (https://cloud.tencent.com/document/api/382/59177)
// and those of all of Tencent Cloud (https://cloud.tencent.com/document/api/382/52075).
var codes verdict.Table = map[string]verdict.Verdict{
	"FailedOperation.ContainSensitiveWord":                            verdict.Message(verdict.ContentRefused),
	"FailedOperation.FailResolvePacket":                               verdict.Plugin(verdict.ProtocolError),
	"FailedOperation.JsonParseFail":                                   verdict.Plugin(verdict.ProtocolError),
	"FailedOperation.InsufficientBalanceInSmsPackage":                 verdict.Later(verdict.InsufficientBalance, sdk.FaultConfig, accountPause),
	"FailedOperation.MarketingSendTimeConstraint":                     verdict.Later(verdict.QuotaExceeded, sdk.FaultMessage, hourPause), // from 8 to 22 o'clock only
	"FailedOperation.MissingSignature":                                verdict.Config(verdict.SignInvalid),
	"FailedOperation.MissingSignatureList":                            verdict.Config(verdict.SignInvalid),
	"FailedOperation.MissingTemplateList":                             verdict.Config(verdict.TemplateInvalid),
	"FailedOperation.NotEnterpriseCertification":                      verdict.Config(verdict.PermissionDenied),
	"FailedOperation.OtherError":                                      verdict.Unknown(verdict.ProviderError),
	"FailedOperation.ParametersOtherError":                            verdict.Unknown(verdict.ProviderError),
	"FailedOperation.PhoneNumberInBlacklist":                          verdict.Message(verdict.RecipientBlocked),
	"FailedOperation.SignatureIncorrectOrUnapproved":                  verdict.Config(verdict.SignInvalid),
	"FailedOperation.TemplateIncorrectOrUnapproved":                   verdict.Config(verdict.TemplateInvalid),
	"FailedOperation.TemplateParamSetNotMatchApprovedTemplate":        verdict.Message(verdict.TemplateInvalid),
	"FailedOperation.TemplateUnapprovedOrNotExist":                    verdict.Config(verdict.TemplateInvalid),
	"FailedOperation":                                                 verdict.Unknown(verdict.ProviderError),
	"InternalError":                                                   verdict.Unknown(verdict.ProviderError), // .Timeout, .OtherError, .SendAndRecvFail, .UnknownError
	"InternalError.JsonParseFail":                                     verdict.Plugin(verdict.ProtocolError),
	"InternalError.RequestTimeException":                              verdict.Config(verdict.AuthFailed), // the clock of this machine is wrong
	"InternalError.RestApiInterfaceNotExist":                          verdict.Config(verdict.InvalidParameter),
	"InternalError.SigFieldMissing":                                   verdict.Config(verdict.AuthFailed),
	"InternalError.SigVerificationFail":                               verdict.Config(verdict.AuthFailed),
	"InvalidParameter":                                                verdict.Message(verdict.InvalidParameter),
	"InvalidParameter.AppidAndBizId":                                  verdict.Config(verdict.InvalidParameter),
	"InvalidParameter.DirtyWordFound":                                 verdict.Message(verdict.ContentRefused),
	"InvalidParameterValue":                                           verdict.Message(verdict.InvalidParameter),
	"InvalidParameterValue.ContentLengthLimit":                        verdict.Message(verdict.PayloadTooLarge),
	"InvalidParameterValue.IncorrectPhoneNumber":                      verdict.Message(verdict.InvalidRecipient),
	"InvalidParameterValue.InvalidTemplateFormat":                     verdict.Config(verdict.TemplateInvalid),
	"InvalidParameterValue.ProhibitedUseUrlInTemplateParameter":       verdict.Message(verdict.ContentRefused),
	"InvalidParameterValue.SdkAppIdNotExist":                          verdict.Config(verdict.AuthFailed),
	"InvalidParameterValue.TemplateParameterFormatError":              verdict.Message(verdict.TemplateInvalid),
	"InvalidParameterValue.TemplateParameterLengthLimit":              verdict.Message(verdict.PayloadTooLarge),
	"InvalidParameterValue.TemplateWithDirtyWords":                    verdict.Config(verdict.ContentRefused),
	"LimitExceeded":                                                   verdict.Later(verdict.QuotaExceeded, sdk.FaultConfig, accountPause),
	"LimitExceeded.AppDailyLimit":                                     verdict.Later(verdict.QuotaExceeded, sdk.FaultConfig, accountPause),
	"LimitExceeded.AppCountryOrRegionDailyLimit":                      verdict.Later(verdict.QuotaExceeded, sdk.FaultConfig, accountPause),
	"LimitExceeded.AppCountryOrRegionInBlacklist":                     verdict.Message(verdict.InvalidRecipient),
	"LimitExceeded.AppGlobalDailyLimit":                               verdict.Later(verdict.QuotaExceeded, sdk.FaultConfig, accountPause),
	"LimitExceeded.AppMainlandChinaDailyLimit":                        verdict.Later(verdict.QuotaExceeded, sdk.FaultConfig, accountPause),
	"LimitExceeded.DailyLimit":                                        verdict.Later(verdict.QuotaExceeded, sdk.FaultConfig, accountPause),
	"LimitExceeded.DeliveryFrequencyLimit":                            verdict.Later(verdict.QuotaExceeded, sdk.FaultMessage, shortPause),
	"LimitExceeded.PhoneNumberCountLimit":                             verdict.Plugin(verdict.ProtocolError),
	"LimitExceeded.PhoneNumberDailyLimit":                             verdict.Message(verdict.QuotaExceeded),
	"LimitExceeded.PhoneNumberOneHourLimit":                           verdict.Later(verdict.QuotaExceeded, sdk.FaultMessage, hourPause),
	"LimitExceeded.PhoneNumberSameContentDailyLimit":                  verdict.Message(verdict.QuotaExceeded),
	"LimitExceeded.PhoneNumberThirtySecondLimit":                      verdict.Later(verdict.QuotaExceeded, sdk.FaultMessage, shortPause),
	"MissingParameter":                                                verdict.Plugin(verdict.ProtocolError), // .EmptyPhoneNumberSet
	"UnauthorizedOperation":                                           verdict.Config(verdict.PermissionDenied),
	"UnauthorizedOperation.IndividualUserMarketingSmsPermissionDeny":  verdict.Config(verdict.PermissionDenied),
	"UnauthorizedOperation.RequestIpNotInWhitelist":                   verdict.Config(verdict.PermissionDenied),
	"UnauthorizedOperation.RequestPermissionDeny":                     verdict.Config(verdict.PermissionDenied),
	"UnauthorizedOperation.SdkAppIdIsDisabled":                        verdict.Config(verdict.PermissionDenied),
	"UnauthorizedOperation.ServiceSuspendDueToArrears":                verdict.Later(verdict.InsufficientBalance, sdk.FaultConfig, accountPause),
	"UnauthorizedOperation.SerivceSuspendDueToArrears":                verdict.Later(verdict.InsufficientBalance, sdk.FaultConfig, accountPause), // as the provider spells it
	"UnauthorizedOperation.SmsSdkAppIdVerifyFail":                     verdict.Config(verdict.AuthFailed),
	"UnsupportedOperation":                                            verdict.Message(verdict.InvalidParameter),
	"UnsupportedOperation.ContainDomesticAndInternationalPhoneNumber": verdict.Plugin(verdict.ProtocolError),
	"UnsupportedOperation.ChineseMainlandTemplateToGlobalPhone":       verdict.Message(verdict.TemplateInvalid),
	"UnsupportedOperation.GlobalTemplateToChineseMainlandPhone":       verdict.Message(verdict.TemplateInvalid),
	"UnsupportedOperation.UnsuportedRegion":                           verdict.Message(verdict.InvalidRecipient),
	"UnsupportedOperation.UnsupportedRegion":                          verdict.Message(verdict.InvalidRecipient),
	"UnsupportedRegion":                                               verdict.Config(verdict.InvalidParameter), // the region of the API
	"AuthFailure":                                                     verdict.Config(verdict.AuthFailed),       // .SignatureFailure, .SecretIdNotFound, .SignatureExpire …
	"AuthFailure.UnauthorizedOperation":                               verdict.Config(verdict.PermissionDenied),
	"OperationDenied":                                                 verdict.Config(verdict.PermissionDenied),
	"IpInBlacklist":                                                   verdict.Config(verdict.PermissionDenied),
	"IpNotInWhitelist":                                                verdict.Config(verdict.PermissionDenied),
	"RequestLimitExceeded":                                            verdict.Slower(verdict.Throttled, 0), // .IPLimitExceeded, .UinLimitExceeded …
	"RequestSizeLimitExceeded":                                        verdict.Plugin(verdict.ProtocolError),
	"ResponseSizeLimitExceeded":                                       verdict.Unknown(verdict.ProviderError),
	"ResourceInsufficient":                                            verdict.Later(verdict.ProviderUnavailable, sdk.FaultProvider, 0),
	"ResourceInUse":                                                   verdict.Later(verdict.ProviderUnavailable, sdk.FaultProvider, 0),
	"ResourceUnavailable":                                             verdict.Later(verdict.ProviderUnavailable, sdk.FaultProvider, 0),
	"ServiceUnavailable":                                              verdict.Later(verdict.ProviderUnavailable, sdk.FaultProvider, 0),
	"ResourceNotFound":                                                verdict.Config(verdict.InvalidParameter),
	"ActionOffline":                                                   verdict.Plugin(verdict.ProtocolError),
	"InvalidAction":                                                   verdict.Plugin(verdict.ProtocolError),
	"InvalidRequest":                                                  verdict.Plugin(verdict.ProtocolError),
	"NoSuchProduct":                                                   verdict.Config(verdict.InvalidParameter),
	"NoSuchVersion":                                                   verdict.Config(verdict.InvalidParameter),
	"UnknownParameter":                                                verdict.Plugin(verdict.ProtocolError),
	"UnsupportedProtocol":                                             verdict.Plugin(verdict.ProtocolError),
}

// receiptCodes are what receipts say of messages that were not delivered: words that all networks use, and the provider's
// own (https://cloud.tencent.com/document/product/382/3771). Networks have hundreds of codes more; these are "undeliverable".
var receiptCodes = map[string]string{
	"EXPIRED": verdict.Expired,
	"REJECTD": verdict.RejectedByProvider,
	"UNDELIV": verdict.Undeliverable,
	"-106":    verdict.ContentRefused, // a keyword that the network blocks
}

// undelivered is the stable code of a receipt.
func undelivered(code string) string {
	if stable, ok := receiptCodes[code]; ok {
		return stable
	}
	return verdict.Undeliverable
}
