package main

import (
	"context"
	"errors"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
	"github.com/pigeonry/pigeonry/sdk"
)

// How often a part behind the first is tried again after a refusal, and the pause in between where
// the SMSC does not ask for one. Giving up leaves a message in pieces.
const (
	partAttempts = 5
	partPause    = 250 * time.Millisecond
)

// Send submits a message, part after part, and is done when the SMSC has answered to each.
func (c *connector) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	parts, err := c.compose(m)
	if err != nil {
		return sdk.Receipt{}, err
	}
	ids := make([]string, 0, len(parts))
	for i, part := range parts {
		id, err := c.submitPart(ctx, part, i)
		if err != nil && i > 0 {
			err = partly(ids, len(parts), err)
		}
		if err != nil {
			return sdk.Receipt{}, err
		}
		ids = append(ids, id)
	}
	return sdk.Receipt{ProviderIDs: ids, Segments: len(parts)}, nil
}

// submitPart submits one part. Behind the first one, what was surely not taken is tried again here.
func (c *connector) submitPart(ctx context.Context, part *smpp.ShortMessage, index int) (string, error) {
	for attempt := 1; ; attempt++ {
		id, err := c.submit(ctx, part)
		if err == nil || index == 0 || attempt == partAttempts {
			return id, err
		}
		e, ok := errors.AsType[*sdk.DeliveryError](err)
		if !ok || e.Outcome != sdk.OutcomeRetryable && e.Outcome != sdk.OutcomeThrottled {
			return "", err
		}
		if sleep(ctx, max(e.RetryAfter, partPause)) != nil {
			return "", err
		}
	}
}

// submit sends one submit_sm over a bind. When the bind goes down before anything was written, it
// goes over another.
func (c *connector) submit(ctx context.Context, part *smpp.ShortMessage) (string, error) {
	for {
		if err := c.pace.wait(ctx); err != nil {
			return "", sdk.Throttled(err, c.config.ThrottleBackoff, sdk.Code("throttled"))
		}
		session, err := c.bound(ctx)
		if err != nil {
			return "", unbound(err)
		}
		id, err := session.Submit(ctx, part)
		if err == nil {
			c.pace.accepted()
			return canonicalID(id, c.config.ReceiptID, fromAnswer), nil
		}
		if errors.Is(err, smpp.ErrNotSent) && session.Err() != nil {
			continue
		}
		result := c.outcome(err)
		if sdk.OutcomeOf(result) == sdk.OutcomeThrottled {
			c.pace.throttled()
		}
		return "", result
	}
}
