package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
	"github.com/pigeonry/pigeonry/sdk"
)

// Query asks with query_sm for each part of each attempt. Attempts without provider ids, and those of
// which the SMSC does not know every part, stay uncertain: SMPP has no other way to ask.
func (c *connector) Query(ctx context.Context, attempts []sdk.Attempt) ([]sdk.QueryResult, error) {
	var results []sdk.QueryResult
	for _, a := range attempts {
		if len(a.ProviderIDs) == 0 {
			continue
		}
		known, err := c.queryParts(ctx, a.ProviderIDs)
		if _, refused := errors.AsType[*smpp.StatusError](err); refused {
			continue // The SMSC does not know it, or does not answer such questions.
		}
		if err != nil {
			return results, fmt.Errorf("query attempt %s: %w", a.AttemptID, err)
		}
		results = append(results, sdk.QueryResult{
			AttemptID: a.AttemptID,
			Receipt:   sdk.Receipt{ProviderIDs: a.ProviderIDs, Segments: len(a.ProviderIDs)},
			Err:       known,
		})
	}
	return results, nil
}

// queryParts gives nil for a message the SMSC took, a Permanent error for one it gave up. err says that
// it could not be asked.
func (c *connector) queryParts(ctx context.Context, ids []string) (known, err error) {
	source, err := c.config.sender(c.config.Source)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		session, err := c.bound(ctx)
		if err != nil {
			return nil, err
		}
		answer, err := session.Query(ctx, &smpp.Query{MessageID: id, Source: source})
		if err != nil {
			return nil, err
		}
		if receiptStatus(answer.State) == sdk.Undelivered && known == nil {
			known = sdk.Permanent(fmt.Errorf("the provider reports %s for %s", answer.State, id),
				sdk.Code(receiptCode(answer.State)), sdk.ProviderCode(fmt.Sprintf("%s %d", answer.State, answer.ErrorCode)))
		}
	}
	return known, nil
}
