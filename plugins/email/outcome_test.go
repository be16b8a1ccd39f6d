package main

import (
	"errors"
	"io"
	"net/textproto"
	"testing"

	"github.com/pigeonry/pigeonry/sdk"
)

func TestAnswersBecomeOutcomes(t *testing.T) {
	tests := []struct {
		stage    stage
		code     int
		text     string
		outcome  sdk.Outcome
		wantCode string
		fault    sdk.Fault
		provider string
	}{
		// Refused recipients.
		{stageRcpt, 550, "5.1.1 <x@example.com>: no such user", sdk.OutcomeRejected, codeInvalidRecipient, sdk.FaultMessage, "550 5.1.1"},
		{stageRcpt, 550, "No such user", sdk.OutcomeRejected, codeInvalidRecipient, sdk.FaultMessage, "550"},
		{stageRcpt, 551, "5.1.6 moved", sdk.OutcomeRejected, codeInvalidRecipient, sdk.FaultMessage, "551 5.1.6"},
		{stageRcpt, 553, "mailbox name not allowed", sdk.OutcomeRejected, codeInvalidRecipient, sdk.FaultMessage, "553"},
		{stageRcpt, 550, "5.2.1 mailbox disabled", sdk.OutcomeRejected, codeInvalidRecipient, sdk.FaultMessage, "550 5.2.1"},
		{stageRcpt, 552, "5.2.2 mailbox full", sdk.OutcomeRejected, codeMailboxFull, sdk.FaultMessage, "552 5.2.2"},
		{stageRcpt, 554, "5.7.1 <x>: Relay access denied", sdk.OutcomeRejected, codeRelayDenied, sdk.FaultConfig, "554 5.7.1"},
		{stageRcpt, 550, "5.7.1 blocked by policy", sdk.OutcomeRejected, codeContentRejected, sdk.FaultMessage, "550 5.7.1"},
		{stageAnswer, 550, "5.7.1 policy", sdk.OutcomeRejected, codeContentRejected, sdk.FaultMessage, "550 5.7.1"},
		{stageAnswer, 550, "5.1.1 unknown after all", sdk.OutcomeRejected, codeInvalidRecipient, sdk.FaultMessage, "550 5.1.1"},
		// Neither taken nor refused.
		{stageAnswer, 354, "go on", sdk.OutcomeUncertain, codeBadAnswer, sdk.FaultProvider, "354"},
		{stageAnswer, 154, "4.7.1 rate limit", sdk.OutcomeUncertain, codeBadAnswer, sdk.FaultProvider, "154 4.7.1"},
		// Refused senders, sizes, contents.
		{stageMail, 550, "5.7.1 not your address", sdk.OutcomeRejected, codeSenderRejected, sdk.FaultConfig, "550 5.7.1"},
		{stageMail, 552, "5.3.4 too big", sdk.OutcomeRejected, codeTooLarge, sdk.FaultMessage, "552 5.3.4"},
		{stageAnswer, 552, "too big", sdk.OutcomeRejected, codeTooLarge, sdk.FaultMessage, "552"},
		{stageAnswer, 554, "5.7.1 spam", sdk.OutcomeRejected, codeContentRejected, sdk.FaultMessage, "554 5.7.1"},
		{stageAnswer, 554, "Transaction failed", sdk.OutcomeRejected, codeContentRejected, sdk.FaultMessage, "554"},
		{stageData, 502, "5.5.1 what?", sdk.OutcomeRejected, codeRefused, sdk.FaultProvider, "502 5.5.1"},
		// Not now.
		{stageRcpt, 450, "4.2.1 mailbox busy", sdk.OutcomeRetryable, codeDeferred, sdk.FaultProvider, "450 4.2.1"},
		{stageRcpt, 451, "4.7.1 Greylisted, come back", sdk.OutcomeRetryable, codeDeferred, sdk.FaultProvider, "451 4.7.1"},
		{stageRcpt, 452, "4.3.1 no space", sdk.OutcomeRetryable, codeDeferred, sdk.FaultProvider, "452 4.3.1"},
		{stageAnswer, 451, "local error, not accurate", sdk.OutcomeRetryable, codeDeferred, sdk.FaultProvider, "451"},
		{stageMail, 421, "4.3.2 busy", sdk.OutcomeThrottled, codeThrottled, sdk.FaultProvider, "421 4.3.2"},
		{stageMail, 450, "4.7.1 slow", sdk.OutcomeThrottled, codeThrottled, sdk.FaultProvider, "450 4.7.1"},
		{stageGreet, 421, "Too many connections from your host", sdk.OutcomeThrottled, codeThrottled, sdk.FaultProvider, "421"},
		{stageRcpt, 450, "Rate limit reached", sdk.OutcomeThrottled, codeThrottled, sdk.FaultProvider, "450"},
		// The connector's credentials, or its place on the network.
		{stageLogin, 535, "5.7.8 bad credentials", sdk.OutcomeRetryable, codeAuthFailed, sdk.FaultConfig, "535 5.7.8"},
		{stageMail, 530, "5.7.0 authentication required", sdk.OutcomeRetryable, codeAuthFailed, sdk.FaultConfig, "530 5.7.0"},
		{stageLogin, 454, "4.7.0 temporary failure", sdk.OutcomeThrottled, codeThrottled, sdk.FaultProvider, "454 4.7.0"},
		{stageGreet, 554, "5.7.1 you are on a list", sdk.OutcomeRetryable, codeRefused, sdk.FaultConfig, "554 5.7.1"},
	}
	for _, test := range tests {
		answer := &textproto.Error{Code: test.code, Msg: test.text}
		got, ok := errors.AsType[*sdk.DeliveryError](outcome(fail(test.stage, answer)))
		if !ok {
			t.Errorf("%s %d %s gives no outcome", test.stage, test.code, test.text)
			continue
		}
		if got.Outcome != test.outcome || got.Code != test.wantCode || got.Fault != test.fault || got.ProviderCode != test.provider {
			t.Errorf("%s %d %s gives %s %s fault %d %q, want %s %s fault %d %q", test.stage, test.code, test.text,
				got.Outcome, got.Code, got.Fault, got.ProviderCode, test.outcome, test.wantCode, test.fault, test.provider)
		}
	}
}

// TestOnlyTheLastAnswerIsUncertain is the heart of the promise: a connection that breaks before the
// final dot was written has sent nothing.
func TestOnlyTheLastAnswerIsUncertain(t *testing.T) {
	for _, s := range []stage{stageConnect, stageGreet, stageTLS, stageLogin, stageMail, stageRcpt, stageData, stageContent} {
		if got := sdk.OutcomeOf(outcome(fail(s, io.ErrUnexpectedEOF))); got != sdk.OutcomeRetryable {
			t.Errorf("a connection lost at %s gives %s, want retryable", s, got)
		}
	}
	if got := sdk.OutcomeOf(outcome(fail(stageAnswer, io.ErrUnexpectedEOF))); got != sdk.OutcomeUncertain {
		t.Errorf("a connection lost at the answer gives %s, want uncertain", got)
	}
	refused := &failure{stage: stageLogin, err: errors.New("the password would be shown"), setup: true}
	got, _ := errors.AsType[*sdk.DeliveryError](outcome(refused))
	if got.Fault != sdk.FaultConfig || got.Outcome != sdk.OutcomeRetryable {
		t.Errorf("a login that is not sent in clear gives %+v, want the config's fault", got)
	}
}
