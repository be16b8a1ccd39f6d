package main

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// Codes of this channel.
const (
	codeUnregistered      = "unregistered"         // the app is gone from the device, or the subscription has ended: delete the token
	codeInvalidRecipient  = "invalid_recipient"    // no token at all
	codeRecipientMismatch = "recipient_mismatch"   // a token of another app, sender or environment
	codeInvalidContent    = "invalid_content"      // refused here, before it was sent
	codeContentRefused    = "content_refused"      // refused by the provider
	codePayloadTooLarge   = "payload_too_large"    //
	codeAuthFailed        = "auth_failed"          // wrong credentials
	codePermissionDenied  = "permission_denied"    // right credentials without the right
	codeThrottled         = "throttled"            // too fast
	codeQuotaExceeded     = "quota_exceeded"       // the project's, or the device's
	codeUnavailable       = "provider_unavailable" // surely not sent
	codeProviderError     = "provider_error"       // nobody knows
	codeInvalidConfig     = "invalid_config"       // a topic, project or address that is none
	codeExpired           = sdk.CodeExpired
)

// verdict is what a code of a provider means.
type verdict struct {
	outcome sdk.Outcome
	code    string
	fault   sdk.Fault
}

// The verdicts that several providers share. A refusal for the config's sake is retryable: nothing was sent, and the
// message goes out once somebody has mended the config, or through another connector.
//
//nolint:gochecknoglobals // they never change
var (
	unregistered  = verdict{sdk.OutcomeRejected, codeUnregistered, sdk.FaultMessage}
	badRecipient  = verdict{sdk.OutcomeRejected, codeInvalidRecipient, sdk.FaultMessage}
	foreign       = verdict{sdk.OutcomeRejected, codeRecipientMismatch, sdk.FaultMessage}
	refused       = verdict{sdk.OutcomeRejected, codeContentRefused, sdk.FaultMessage}
	large         = verdict{sdk.OutcomeRejected, codePayloadTooLarge, sdk.FaultMessage}
	ownMistake    = verdict{sdk.OutcomeRejected, codeContentRefused, sdk.FaultPlugin}
	badLogin      = verdict{sdk.OutcomeRetryable, codeAuthFailed, sdk.FaultConfig}
	forbidden     = verdict{sdk.OutcomeRetryable, codePermissionDenied, sdk.FaultConfig}
	misconfigured = verdict{sdk.OutcomeRetryable, codeInvalidConfig, sdk.FaultConfig}
	unavailable   = verdict{sdk.OutcomeRetryable, codeUnavailable, sdk.FaultProvider}
	throttled     = verdict{sdk.OutcomeThrottled, codeThrottled, sdk.FaultProvider}
	busyDevice    = verdict{sdk.OutcomeThrottled, codeThrottled, sdk.FaultMessage}
	overQuota     = verdict{sdk.OutcomeThrottled, codeQuotaExceeded, sdk.FaultProvider}
	unknown       = verdict{sdk.OutcomeUncertain, codeProviderError, sdk.FaultProvider}
)

// of makes the outcome of err, with the provider's own code.
func (v verdict) of(err error, providerCode string, retryAfter time.Duration) error {
	options := []sdk.Option{sdk.Code(v.code), sdk.Blame(v.fault), sdk.ProviderCode(providerCode)}
	switch v.outcome {
	case sdk.OutcomeRejected:
		return sdk.Permanent(err, options...)
	case sdk.OutcomeRetryable:
		return sdk.Retryable(err, append(options, sdk.RetryAfter(retryAfter))...)
	case sdk.OutcomeThrottled:
		return sdk.Throttled(err, retryAfter, options...)
	default:
		return sdk.Uncertain(err, options...)
	}
}

// errTokenRefused marks a refusal for the sake of an access token that is not good any more.
var errTokenRefused = errors.New("the access token was refused")

// login is how a provider that gives out access tokens is called.
type login struct {
	tokens *sdk.TokenSource

	mu    sync.Mutex
	bad   string    // a new token that was refused at once
	until time.Time // until then it is not renewed again
}

// renewPause is for how long a new token that was refused is not renewed again: it is not the token that is wrong then, and
// whoever fetches one for each push is soon told to stop.
const renewPause = time.Minute

// do tries with the access token and, if the provider refuses that, once more with a new one: whoever is refused has sent
// nothing.
func (l *login) do(ctx context.Context, try func(token string) (sdk.Receipt, error)) (sdk.Receipt, error) {
	token, err := l.tokens.Get(ctx)
	if err != nil {
		return sdk.Receipt{}, err
	}
	r, err := try(token)
	if !errors.Is(err, errTokenRefused) || l.isBad(token, time.Now()) {
		return r, err
	}
	l.tokens.Discard(ctx, token)
	if token, err = l.tokens.Get(ctx); err != nil {
		return sdk.Receipt{}, err
	}
	r, err = try(token)
	if errors.Is(err, errTokenRefused) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.bad, l.until = token, time.Now().Add(renewPause)
	}
	return r, err
}

func (l *login) isBad(token string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return token == l.bad && now.Before(l.until)
}

// beforeSending is the outcome of err where nothing can have been sent yet: what was uncertain, or refused for good, may be
// tried again.
func beforeSending(err error) error {
	failed, ok := errors.AsType[*sdk.DeliveryError](err)
	if !ok {
		return sdk.Retryable(err, sdk.Code(codeUnavailable))
	}
	switch failed.Outcome {
	case sdk.OutcomeUncertain:
		return sdk.Retryable(err, sdk.Code(codeUnavailable), sdk.ProviderCode(failed.ProviderCode), sdk.Blame(failed.Fault))
	case sdk.OutcomeRejected:
		return sdk.Retryable(err, sdk.Code(codeAuthFailed), sdk.ProviderCode(failed.ProviderCode), sdk.Blame(sdk.FaultConfig))
	default:
		return err
	}
}

// retryAfter reads the seconds of the header Retry-After, or returns the pause that the provider's documentation asks for.
func retryAfter(resp *http.Response, otherwise time.Duration) time.Duration {
	seconds, err := strconv.ParseInt(resp.Header.Get("Retry-After"), 10, 32)
	if err != nil || seconds <= 0 {
		return otherwise
	}
	return time.Duration(seconds) * time.Second
}
