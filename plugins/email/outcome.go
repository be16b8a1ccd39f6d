package main

import (
	"errors"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"

	"github.com/pigeonry/pigeonry/sdk"
)

// Codes of this channel.
const (
	codeInvalidRecipient = "invalid_recipient"
	codeMailboxFull      = "mailbox_full"
	codeTooLarge         = "message_too_large"
	codeContentRejected  = "content_rejected"
	codeSenderRejected   = "sender_rejected"
	codeRelayDenied      = "relay_denied"
	codeAuthFailed       = "auth_failed"
	codeTLSFailed        = "tls_failed"
	codeConnectFailed    = "connect_failed"
	codeConnectionLost   = "connection_lost"
	codeDeferred         = "deferred"
	codeThrottled        = "throttled"
	codeRefused          = "refused"
	codeMailboxFailed    = "mailbox_failed"
	codeBadAnswer        = "bad_answer"
)

// outcome tells the gateway what became of a mail.
func outcome(err error) error {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return err // made by compose, and an outcome already
	}
	if answer, answered := f.reply(); answered {
		return answerOutcome(f, answer)
	}
	switch {
	case f.stage == stageAnswer:
		return sdk.Uncertain(f, sdk.Code(codeConnectionLost))
	case f.setup && f.stage == stageTLS:
		return sdk.Retryable(f, sdk.Code(codeTLSFailed), sdk.Blame(sdk.FaultConfig))
	case f.setup:
		return sdk.Retryable(f, sdk.Code(codeAuthFailed), sdk.Blame(sdk.FaultConfig))
	case f.stage == stageTLS:
		return sdk.Retryable(f, sdk.Code(codeTLSFailed))
	case f.stage == stageConnect:
		return sdk.Retryable(f, sdk.Code(codeConnectFailed))
	default:
		return sdk.Retryable(f, sdk.Code(codeConnectionLost))
	}
}

// reply is an answer of the server, taken apart.
type reply struct {
	code     int
	enhanced string // e.g. "5.1.1" (RFC 3463); empty if the server gives none
	text     string // in lower case
}

// enhancedCode is how the text of an answer begins where the server speaks RFC 2034.
var enhancedCode = regexp.MustCompile(`^([245]\.\d{1,3}\.\d{1,3})\b`)

func parseReply(answer *textproto.Error) reply {
	return reply{
		code:     answer.Code,
		enhanced: enhancedCode.FindString(answer.Msg),
		text:     strings.ToLower(answer.Msg),
	}
}

// providerCode as the server gave it, e.g. "550 5.1.1".
func (r reply) providerCode() string {
	if r.code == 0 { // a notification that quotes no answer
		return r.enhanced
	}
	return strings.TrimSpace(strconv.Itoa(r.code) + " " + r.enhanced)
}

// subject is the enhanced code without its class, e.g. ".1.1".
func (r reply) subject() string {
	if r.enhanced == "" {
		return ""
	}
	return r.enhanced[1:]
}

// about tells whether the enhanced code is one of these, or begins with one that ends in a dot.
func (r reply) about(subjects ...string) bool {
	for _, s := range subjects {
		if r.subject() == s || (strings.HasSuffix(s, ".") && strings.HasPrefix(r.subject(), s)) {
			return true
		}
	}
	return false
}

// says tells whether the text has one of these words.
func (r reply) says(words ...string) bool {
	for _, w := range words {
		if strings.Contains(r.text, w) {
			return true
		}
	}
	return false
}

// answerOutcome reads an answer by its code, its enhanced code, and the command it answers.
func answerOutcome(f *failure, answer *textproto.Error) error {
	r := parseReply(answer)
	provider := sdk.ProviderCode(r.providerCode())
	switch {
	case r.login() && f.stage != stageAnswer:
		// People have to mend it, but the mail is good: it may go out once they have.
		return sdk.Retryable(f, provider, sdk.Code(codeAuthFailed), sdk.Blame(sdk.FaultConfig))
	case f.stage == stageAnswer && r.code < 400: // neither taken nor refused
		return sdk.Uncertain(f, provider, sdk.Code(codeBadAnswer))
	case r.code < 500 && r.tooFast():
		return sdk.Throttled(f, 0, provider, sdk.Code(codeThrottled))
	case r.code < 500:
		return sdk.Retryable(f, provider, sdk.Code(codeDeferred))
	case f.stage == stageGreet, f.stage == stageTLS, f.stage == stageLogin:
		return sdk.Retryable(f, provider, sdk.Code(codeRefused), sdk.Blame(sdk.FaultConfig))
	default:
		code, fault := permanent(f.stage, r)
		return sdk.Permanent(f, provider, sdk.Code(code), sdk.Blame(fault))
	}
}

// login tells whether the server wants credentials, or others (RFC 4954 section 6).
func (r reply) login() bool {
	return r.code == 530 || r.code == 534 || r.code == 535 || r.code == 538
}

// tooFast tells a server that wants fewer mails from one that defers this mail for another reason:
// a greylist answers 4.7.1 too, but to the one pair of sender and recipient.
func (r reply) tooFast() bool {
	if r.says("greylist", "graylist", "grey list", "gray list") {
		return false
	}
	return r.about(".7.", ".3.2", ".4.5") || fasterThanAllowed.MatchString(r.text)
}

// fasterThanAllowed is what servers without enhanced codes say.
var fasterThanAllowed = regexp.MustCompile(`\b(rate|too many|too fast|throttl\w*|slow down)\b`)

// permanent tells why a mail was refused for good, and whose fault that is.
func permanent(s stage, r reply) (code string, fault sdk.Fault) {
	switch {
	case r.code == 552 && !r.about(".2.2"), r.about(".3.4", ".2.3"):
		return codeTooLarge, sdk.FaultMessage
	case r.about(".2.2"):
		return codeMailboxFull, sdk.FaultMessage
	case s == stageMail, r.about(".1.7", ".1.8"):
		return codeSenderRejected, sdk.FaultConfig
	case s == stageRcpt && r.says("relay"):
		return codeRelayDenied, sdk.FaultConfig
	case s == stageRcpt && r.about(".7."):
		return codeContentRejected, sdk.FaultMessage
	case s == stageRcpt, r.about(".1.", ".2."):
		return codeInvalidRecipient, sdk.FaultMessage
	case s == stageAnswer, r.about(".6.", ".7."):
		return codeContentRejected, sdk.FaultMessage
	default:
		return codeRefused, sdk.FaultProvider
	}
}
