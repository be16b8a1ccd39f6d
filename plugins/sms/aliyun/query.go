package aliyun

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/reference"
	"github.com/pigeonry/pigeonry/sdk"
)

// zone is that of the provider's dates.
var zone = time.FixedZone("Asia/Shanghai", 8*60*60) //nolint:gochecknoglobals // never changes

const (
	dayLayout  = "20060102"
	timeLayout = "2006-01-02 15:04:05"
	// pageSize is the most records of one answer; maxPages bounds what is read for one attempt.
	pageSize = 50
	maxPages = 10
	// lag is how far the provider's time of sending may be from ours.
	lag = 10 * time.Minute
)

// detail is one message in QuerySendDetails.
type detail struct {
	PhoneNum     string
	OutID        string `json:"OutId"`
	TemplateCode string
	SendDate     string
	ReceiveDate  string
	ErrCode      string
	SendStatus   int64 // 1: no receipt yet, 2: failed, 3: delivered
}

// Query looks for uncertain attempts among the messages that went to their recipients. An attempt that is not there stays
// uncertain: the provider does not say how late records appear.
func (c *Channel) Query(ctx context.Context, attempts []sdk.Attempt) ([]sdk.QueryResult, error) {
	var results []sdk.QueryResult
	for _, a := range attempts {
		d, found, err := c.find(ctx, a)
		if err != nil {
			return results, fmt.Errorf("query attempt %s: %w", a.AttemptID, err)
		}
		if !found {
			continue
		}
		result := sdk.QueryResult{AttemptID: a.AttemptID, Receipt: sdk.Receipt{ProviderIDs: a.ProviderIDs}}
		if d.SendStatus == 2 {
			result.Err = sdk.Permanent(fmt.Errorf("the provider reports %s", d.ErrCode),
				sdk.Code(undelivered(d.ErrCode)), sdk.ProviderCode(d.ErrCode))
		}
		results = append(results, result)
	}
	return results, nil
}

// find looks through the days on which the provider may have sent an attempt.
func (c *Channel) find(ctx context.Context, a sdk.Attempt) (d detail, found bool, err error) {
	phone, err := phoneOf(a.Recipient)
	if err != nil {
		return detail{}, false, nil //nolint:nilerr // nothing can have been sent to it
	}
	bizID := ""
	if len(a.ProviderIDs) > 0 {
		bizID, _, _ = strings.Cut(a.ProviderIDs[0], "/")
	}
	days := []time.Time{a.SentAt}
	if next := a.SentAt.Add(lag); next.In(zone).Day() != a.SentAt.In(zone).Day() {
		days = append(days, next)
	}
	for _, day := range days {
		for page := 1; page <= maxPages; page++ {
			answer, err := c.details(ctx, phone, bizID, day, page)
			if err != nil {
				return detail{}, false, err
			}
			for _, d := range answer.SmsSendDetailDTOs.SmsSendDetailDTO {
				if bizID != "" || d.is(a) {
					return d, true, nil
				}
			}
			total, _ := answer.TotalCount.Int64()
			if int64(page)*pageSize >= total {
				break
			}
		}
	}
	return detail{}, false, nil
}

// is tells whether the record is of an attempt: by its OutId, and near its time where the OutId is that of a batch.
func (d detail) is(a sdk.Attempt) bool {
	named, sure := reference.Names(d.OutID, a.AttemptID)
	if !named || sure {
		return named
	}
	sent, err := time.ParseInLocation(timeLayout, d.SendDate, zone)
	return err == nil && sent.Sub(a.SentAt).Abs() <= lag
}

// details asks for one page of the messages to a number on a day.
func (c *Channel) details(ctx context.Context, phone, bizID string, day time.Time, page int) (answer, error) {
	parameters := map[string]string{
		"PhoneNumber": phone, "SendDate": day.In(zone).Format(dayLayout),
		"PageSize": strconv.Itoa(pageSize), "CurrentPage": strconv.Itoa(page),
	}
	if bizID != "" {
		parameters["BizId"] = bizID
	}
	a, err := c.call(ctx, "QuerySendDetails", parameters, nil)
	if e, ok := errors.AsType[*sdk.DeliveryError](err); ok && e.Outcome == sdk.OutcomeUncertain {
		return a, sdk.Retryable(err, sdk.Code(e.Code)) // a question changes nothing
	}
	return a, err
}
