package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
	"github.com/pigeonry/pigeonry/sdk"
)

// verdict is what an answer of the SMSC means for a message.
type verdict struct {
	outcome sdk.Outcome
	code    string
	fault   sdk.Fault
}

// statusTable holds the verdicts that the config gives for answers of the provider's own.
type statusTable map[smpp.Status]verdict

// newStatusTable reads config.Statuses. Errors are sdk.ConfigErrors.
func newStatusTable(statuses map[string]string) (statusTable, error) {
	table := make(statusTable, len(statuses))
	var errs []error
	for number, meaning := range statuses {
		path := "statuses." + number
		n, err := strconv.ParseUint(number, 0, 32)
		if err != nil || n == 0 {
			errs = append(errs, sdk.FieldError(path, fmt.Sprintf("%q is no status of a refusal", number), "write it as 0x450 or 1104"))
			continue
		}
		switch meaning {
		case "rejected":
			table[smpp.Status(n)] = verdict{sdk.OutcomeRejected, "rejected_by_provider", sdk.FaultMessage}
		case "retryable":
			table[smpp.Status(n)] = verdict{sdk.OutcomeRetryable, "provider_error", sdk.FaultProvider}
		case "throttled":
			table[smpp.Status(n)] = verdict{sdk.OutcomeThrottled, "throttled", sdk.FaultProvider}
		default:
			errs = append(errs, sdk.FieldError(path, fmt.Sprintf("%q is not known", meaning), "use rejected, retryable or throttled"))
		}
	}
	return table, errors.Join(errs...)
}

// verdict tells what a refusal means. Every one means that the message was not taken, so that a
// status nobody knows is safe to try again.
func (t statusTable) verdict(s smpp.Status) verdict {
	if v, ok := t[s]; ok {
		return v
	}
	switch s {
	case smpp.StatusThrottled:
		return verdict{sdk.OutcomeThrottled, "throttled", sdk.FaultProvider}
	case smpp.StatusQueueFull:
		return verdict{sdk.OutcomeThrottled, "queue_full", sdk.FaultProvider}
	case smpp.StatusInvDstAddr, smpp.StatusInvNumDests:
		return verdict{sdk.OutcomeRejected, "invalid_recipient", sdk.FaultMessage}
	case smpp.StatusInvMsgLen:
		return verdict{sdk.OutcomeRejected, "invalid_length", sdk.FaultMessage}
	case smpp.StatusPermanentAppError, smpp.StatusRejectMessage, smpp.StatusDeliveryFailure:
		return verdict{sdk.OutcomeRejected, "rejected_by_provider", sdk.FaultMessage}
	case smpp.StatusInvSrcAddr, smpp.StatusInvSrcTON, smpp.StatusInvSrcNPI:
		return verdict{sdk.OutcomeRejected, "invalid_sender", sdk.FaultConfig}
	case smpp.StatusInvDstTON, smpp.StatusInvDstNPI, smpp.StatusInvServiceType, smpp.StatusInvESMClass,
		smpp.StatusInvRegDelivery, smpp.StatusInvPriority, smpp.StatusInvSchedule, smpp.StatusInvExpiry,
		smpp.StatusInvReplaceFlag, smpp.StatusInvDefaultMsgID, smpp.StatusInvOptStream,
		smpp.StatusOptNotAllowed, smpp.StatusInvParamLen, smpp.StatusMissingOptParam,
		smpp.StatusInvOptParamValue:
		return verdict{sdk.OutcomeRejected, "invalid_parameter", sdk.FaultConfig}
	case smpp.StatusInvCmdLen, smpp.StatusInvCmdID:
		return verdict{sdk.OutcomeRejected, "protocol_error", sdk.FaultPlugin}
	default:
		return verdict{sdk.OutcomeRetryable, "provider_error", sdk.FaultProvider}
	}
}

// outcome turns the error of a submit into the SDK's. err is not nil.
func (c *connector) outcome(err error) error {
	if refused, ok := errors.AsType[*smpp.StatusError](err); ok {
		return c.refused(refused, err)
	}
	if _, ok := errors.AsType[*smpp.EncodeError](err); ok {
		return sdk.Permanent(err, sdk.Code("invalid_field"))
	}
	if errors.Is(err, smpp.ErrNotSent) {
		return sdk.Retryable(err, sdk.Code("not_sent"))
	}
	return sdk.Uncertain(err, sdk.Code("no_response"))
}

func (c *connector) refused(refused *smpp.StatusError, err error) error {
	v := c.statuses.verdict(refused.Status)
	options := []sdk.Option{sdk.Code(v.code), sdk.Blame(v.fault), sdk.ProviderCode(providerCode(refused.Status))}
	switch v.outcome {
	case sdk.OutcomeThrottled:
		return sdk.Throttled(err, c.config.ThrottleBackoff, options...)
	case sdk.OutcomeRejected:
		return sdk.Permanent(err, options...)
	default:
		return sdk.Retryable(err, options...)
	}
}

// providerCode is a status as people look it up: "0x00000058 ESME_RTHROTTLED".
func providerCode(s smpp.Status) string {
	code := fmt.Sprintf("0x%08x", uint32(s))
	if s.Known() {
		code += " " + s.String()
	}
	return code
}

// unbound is the outcome of a send while no bind is up, because of err. It is surely not sent.
func unbound(err error) error {
	options := []sdk.Option{sdk.Code("not_bound")}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		options = []sdk.Option{sdk.Code("tls_failed"), sdk.Blame(sdk.FaultConfig)}
	}
	if refused, ok := errors.AsType[*smpp.StatusError](err); ok {
		options = append(options, sdk.ProviderCode(providerCode(refused.Status)))
		if isCredentialFault(refused.Status) {
			options = append(options, sdk.Code(sdk.CodeAuthFailed), sdk.Blame(sdk.FaultConfig))
		}
	}
	return sdk.Retryable(fmt.Errorf("not bound to the SMSC: %w", err), options...)
}

// isCredentialFault tells whether a bind was refused for what the config says: trying again does
// not help until somebody changes it.
func isCredentialFault(s smpp.Status) bool {
	switch s {
	case smpp.StatusInvPassword, smpp.StatusInvSystemID, smpp.StatusBindFailed, smpp.StatusInvSystemType:
		return true
	default:
		return false
	}
}

// partly is the outcome of a long message of which some parts were taken and the next was not. The
// phone shows none of it, or part of it after a while; a repeat would bill, and may show, it twice.
// The ids are told in the text alone: receipts of some parts must not pass for those of the whole.
func partly(ids []string, total int, err error) error {
	options := []sdk.Option{sdk.Code("partly_sent")}
	if e, ok := errors.AsType[*sdk.DeliveryError](err); ok {
		options = append(options, sdk.ProviderCode(e.ProviderCode), sdk.Blame(e.Fault))
	}
	return sdk.Uncertain(fmt.Errorf("%d of %d parts were taken (%s), part %d was not: %w",
		len(ids), total, strings.Join(ids, ", "), len(ids)+1, err), options...)
}
