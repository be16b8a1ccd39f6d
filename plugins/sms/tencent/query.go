package tencent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/reference"
	"github.com/pigeonry/pigeonry/sdk"
)

const (
	// lag is how far the provider's times may be from ours.
	lag = 10 * time.Minute
	// late is how long after it was sent a message may reach its recipient.
	late = 72 * time.Hour
)

// Query looks for uncertain attempts among the messages to their recipients whose receipts have come. An attempt that is
// not there stays uncertain: its receipt may be still to come.
func (c *Channel) Query(ctx context.Context, attempts []sdk.Attempt) ([]sdk.QueryResult, error) {
	var results []sdk.QueryResult
	for _, a := range attempts {
		records, err := c.pull(ctx, a.Recipient, a.SentAt)
		if err != nil {
			return results, fmt.Errorf("query attempt %s: %w", a.AttemptID, err)
		}
		at := slices.IndexFunc(records, func(p pulled) bool { return p.is(a) })
		if at < 0 {
			continue
		}
		result := sdk.QueryResult{AttemptID: a.AttemptID, Receipt: sdk.Receipt{ProviderIDs: ids(records[at].SerialNo)}}
		if records[at].ReportStatus != success {
			result.Err = sdk.Permanent(fmt.Errorf("the provider reports %s", records[at].Description),
				sdk.Code(undelivered(records[at].Description)), sdk.ProviderCode(records[at].Description))
		}
		results = append(results, result)
	}
	return results, nil
}

// is tells whether the record is of an attempt: by its serial number where we know it, else by its SessionContext, and by the
// time as well where that is one of a batch.
func (p pulled) is(a sdk.Attempt) bool {
	if len(a.ProviderIDs) > 0 {
		return slices.Contains(a.ProviderIDs, p.SerialNo)
	}
	named, sure := reference.Names(p.SessionContext, a.AttemptID)
	if !named || sure {
		return named
	}
	after := time.Unix(p.UserReceiveTime, 0).Sub(a.SentAt)
	return after >= -lag && after <= late
}

// pull asks for the receipts of a number since shortly before a time. The provider keeps seven days.
func (c *Channel) pull(ctx context.Context, phone string, since time.Time) ([]pulled, error) {
	a, err := c.call(ctx, "PullSmsSendStatusByPhoneNumber", map[string]any{
		"BeginTime": since.Add(-lag).Unix(), "EndTime": c.now().Add(lag).Unix(), "Offset": 0, "Limit": 100,
		"PhoneNumber": phone, "SmsSdkAppId": c.config.AppID,
	})
	if e, ok := errors.AsType[*sdk.DeliveryError](err); ok && e.Outcome == sdk.OutcomeUncertain {
		return nil, sdk.Retryable(err, sdk.Code(e.Code)) // a question changes nothing
	}
	return a.PullSmsSendStatusSet, err
}
