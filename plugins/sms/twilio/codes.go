package twilio

import (
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

// accountPause is after refusals that last until somebody does something.
const accountPause = 10 * time.Minute

// codes are the provider's error codes, of requests and of receipts (https://www.twilio.com/docs/api/errors).
var codes verdict.Table = map[string]verdict.Verdict{
	"14107": verdict.Slower(verdict.Throttled, 0), // messages to one number come too fast
	"20001": verdict.Plugin(verdict.ProtocolError),
	"20002": verdict.Plugin(verdict.ProtocolError),
	"20003": verdict.Config(verdict.AuthFailed),
	"20004": verdict.Config(verdict.PermissionDenied),
	"20005": verdict.Config(verdict.PermissionDenied), // the account is not active
	"20006": verdict.Config(verdict.PermissionDenied),
	"20008": verdict.Config(verdict.AuthFailed), // test credentials
	"20403": verdict.Config(verdict.PermissionDenied),
	"20404": verdict.Config(verdict.AuthFailed), // no such account
	"20429": verdict.Slower(verdict.Throttled, 0),
	"20500": verdict.Unknown(verdict.ProviderError),
	"20503": verdict.Later(verdict.ProviderUnavailable, sdk.FaultProvider, 0),
	"21211": verdict.Message(verdict.InvalidRecipient),
	"21212": verdict.Config(verdict.InvalidSender),
	"21214": verdict.Message(verdict.InvalidRecipient),
	"21217": verdict.Message(verdict.InvalidRecipient),
	"21219": verdict.Message(verdict.PermissionDenied), // trial account, number not verified: others are
	"21264": verdict.Config(verdict.InvalidSender),     // from and to are one number
	"21265": verdict.Message(verdict.InvalidRecipient),
	"21266": verdict.Message(verdict.InvalidRecipient), // to and from are the same
	"21408": verdict.Message(verdict.PermissionDenied), // the recipient's region is not enabled: others are
	"21421": verdict.Message(verdict.InvalidRecipient),
	"21601": verdict.Config(verdict.InvalidSender),
	"21602": verdict.Message(verdict.EmptyText),
	"21603": verdict.Config(verdict.InvalidSender),
	"21604": verdict.Message(verdict.InvalidRecipient),
	"21605": verdict.Message(verdict.PayloadTooLarge),
	"21606": verdict.Config(verdict.InvalidSender),
	"21607": verdict.Config(verdict.InvalidSender),
	"21608": verdict.Message(verdict.PermissionDenied), // trial account, number not verified: others are
	"21609": verdict.Config(verdict.InvalidParameter),  // the URL of the status callback
	"21610": verdict.Message(verdict.Unsubscribed),
	"21611": verdict.Slower(verdict.QueueFull, time.Minute),
	"21612": verdict.Message(verdict.Undeliverable), // no route from this sender to this recipient
	"21614": verdict.Message(verdict.InvalidRecipient),
	"21616": verdict.Config(verdict.InvalidSender),
	"21617": verdict.Message(verdict.PayloadTooLarge),
	"21618": verdict.Message(verdict.ContentRefused),
	"21619": verdict.Message(verdict.EmptyText),
	"21620": verdict.Message(verdict.InvalidParameter), // media URL
	"21623": verdict.Message(verdict.PayloadTooLarge),  // too many media
	"21624": verdict.Plugin(verdict.InvalidParameter),  // validity period
	"21635": verdict.Message(verdict.InvalidRecipient), // landline
	"21654": verdict.Message(verdict.TemplateMissing),
	"21655": verdict.Config(verdict.TemplateInvalid),
	"21656": verdict.Message(verdict.TemplateInvalid), // variables
	"21658": verdict.Message(verdict.PayloadTooLarge), // variables
	"21659": verdict.Config(verdict.InvalidSender),
	"21660": verdict.Config(verdict.InvalidSender),
	"21661": verdict.Config(verdict.InvalidSender),
	"21701": verdict.Config(verdict.InvalidSender), // messaging service
	"21703": verdict.Config(verdict.InvalidSender),
	"21704": verdict.Config(verdict.InvalidSender),
	"21705": verdict.Config(verdict.InvalidSender),
	"21730": verdict.Later(verdict.ProviderUnavailable, sdk.FaultProvider, time.Minute), // maintenance
	"30001": verdict.Slower(verdict.QueueFull, time.Minute),
	"30002": verdict.Config(verdict.PermissionDenied), // the account is suspended
	"30003": verdict.Message(verdict.Undeliverable),
	"30004": verdict.Message(verdict.RecipientBlocked),
	"30005": verdict.Message(verdict.InvalidRecipient),
	"30006": verdict.Message(verdict.InvalidRecipient), // landline
	"30007": verdict.Message(verdict.ContentRefused),   // filtered
	"30008": verdict.Message(verdict.Undeliverable),
	"30009": verdict.Message(verdict.Undeliverable),
	"30010": verdict.Config(verdict.QuotaExceeded), // the price is above the limit given
	"30011": verdict.Message(verdict.Undeliverable),
	"30012": verdict.Message(verdict.InvalidParameter),
	"30017": verdict.Message(verdict.Undeliverable), // congestion
	"30018": verdict.Message(verdict.InvalidSender),
	"30019": verdict.Message(verdict.PayloadTooLarge),
	"30022": verdict.Message(verdict.QuotaExceeded),
	"30023": verdict.Message(verdict.QuotaExceeded),
	"30024": verdict.Config(verdict.InvalidSender),
	"30025": verdict.Message(verdict.Undeliverable),
	"30027": verdict.Message(verdict.QuotaExceeded),
	"30029": verdict.Message(verdict.ContentRefused),
	"30031": verdict.Message(verdict.InvalidParameter),
	"30032": verdict.Config(verdict.InvalidSender), // toll-free number not verified
	"30033": verdict.Config(verdict.InvalidSender),
	"30034": verdict.Config(verdict.InvalidSender), // number not registered (10DLC)
	"30035": verdict.Config(verdict.InvalidSender),
	"30036": verdict.Message(verdict.Expired),
	"30037": verdict.Config(verdict.PermissionDenied),
	"30038": verdict.Message(verdict.ContentRefused),
	"30039": verdict.Message(verdict.ContentRefused), // a loop
	"30040": verdict.Config(verdict.InvalidSender),
	"30044": verdict.Message(verdict.PayloadTooLarge), // trial account
	"30410": verdict.Message(verdict.Undeliverable),
	"30453": verdict.Message(verdict.ContentRefused),
	"30450": verdict.Message(verdict.ContentRefused), // protection from pumping
	"30454": verdict.Later(verdict.InsufficientBalance, sdk.FaultConfig, accountPause),
	"30500": verdict.Message(verdict.Undeliverable),
	"90007": verdict.Plugin(verdict.InvalidParameter), // validity period
}

// undelivered is the stable code of a receipt.
func undelivered(code string) string {
	if v, ok := codes.Find(code); ok {
		return v.Code
	}
	return verdict.Undeliverable
}
