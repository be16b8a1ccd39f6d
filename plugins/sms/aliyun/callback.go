package aliyun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/push"
	"github.com/pigeonry/pigeonry/plugins/sms/reference"
	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

// report is an element of a push: a receipt (SmsReport), or the reply of a user (SmsUp). Only a receipt has success.
type report struct {
	PhoneNumber string      `json:"phone_number"`
	SendTime    string      `json:"send_time"`
	Size        json.Number `json:"sms_size"` // in quotes
	ReportTime  string      `json:"report_time"`
	Success     *bool       `json:"success"`
	ErrCode     string      `json:"err_code"`
	ErrMsg      string      `json:"err_msg"`
	BizID       string      `json:"biz_id"`
	OutID       string      `json:"out_id"`
	Content     *string     `json:"content"`
	SignName    string      `json:"sign_name"`
	DestCode    string      `json:"dest_code"`
	SequenceID  json.Number `json:"sequence_id"` // a number, or one in quotes

	foreignReport
}

// foreignReport is the receipt of a message to another country, which has fields of its own
// (https://help.aliyun.com/en/sms/smsreport-mns-intl). Only it has a MessageId.
type foreignReport struct {
	To          string      `json:"To"`
	Status      string      `json:"Status"`
	MessageID   string      `json:"MessageId"` // the id of the request, which its answer calls BizId
	Parts       json.Number `json:"SmsSize"`   // in quotes
	ReceiveDate string      `json:"ReceiveDate"`
	ErrorCode   string      `json:"ErrorCode"`
	Description string      `json:"ErrorDescription"`
}

// HandleCallback takes a push of receipts or of replies: a JSON array.
func (c *Channel) HandleCallback(ctx context.Context, r *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events, error) {
	return push.Handle(r, c.config.CallbackToken, push.Answers{
		Taken:        `{"code":0,"msg":"成功"}`,
		Unauthorized: `{"code":401,"msg":"wrong token"}`,
		Unreadable:   `{"code":400,"msg":"unreadable"}`,
	}, func(object []byte, events *sdk.Events) error { return c.read(ctx, object, events) })
}

// read reads one object. What is neither a receipt nor a reply is left out.
func (c *Channel) read(ctx context.Context, object []byte, events *sdk.Events) error {
	var x report
	if err := json.Unmarshal(object, &x); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	switch {
	case x.Success != nil:
		events.Receipts = append(events.Receipts, c.receipt(x))
	case x.Content != nil:
		events.Inbound = append(events.Inbound, x.inbound())
	case x.MessageID != "" && foreignStatuses[x.Status] != 0:
		events.Receipts = append(events.Receipts, x.receipt())
	default:
		sdk.Logger(ctx).Warn("an object of a push is neither a receipt nor a reply, and was passed over", "status", x.Status, "id", x.MessageID)
	}
	return nil
}

// foreignStatuses are those of receipts from other countries.
var foreignStatuses = map[string]sdk.ReceiptStatus{"1": sdk.Delivered, "2": sdk.Undelivered, "6": sdk.Undelivered}

func (x foreignReport) receipt() sdk.DeliveryReceipt {
	out := sdk.DeliveryReceipt{
		ProviderID: providerID(x.MessageID, strings.TrimPrefix(x.To, "+")), Status: foreignStatuses[x.Status], At: parseTime(x.ReceiveDate),
	}
	if size, err := x.Parts.Int64(); err == nil {
		out.Segments = int(size)
	}
	if out.Status == sdk.Undelivered {
		code := undelivered(x.ErrorCode)
		if x.Status == "6" {
			code = verdict.Expired
		}
		out.Err = sdk.Permanent(errors.New(strings.TrimSpace("not delivered: "+x.Description)), sdk.Code(code), sdk.ProviderCode(x.ErrorCode))
	}
	out.DedupeKey = fmt.Sprintf("%s/%s/%s", out.ProviderID, x.Status, x.ErrorCode)
	return out
}

func (c *Channel) receipt(x report) sdk.DeliveryReceipt {
	phone, err := phoneOf(numberOf(x.PhoneNumber))
	if err != nil {
		phone = x.PhoneNumber
	}
	out := sdk.DeliveryReceipt{ProviderID: providerID(x.BizID, phone), Status: sdk.Delivered, At: parseTime(x.ReportTime)}
	var alone bool
	if out.AttemptID, alone = reference.Attempt(x.OutID); !alone {
		out.AttemptID = c.lost.attempt(x.OutID, phone)
	}
	if size, err := x.Size.Int64(); err == nil {
		out.Segments = int(size)
	}
	if !*x.Success {
		out.Status = sdk.Undelivered
		out.Err = sdk.Permanent(errors.New(strings.TrimSpace("not delivered: "+x.ErrMsg)),
			sdk.Code(undelivered(x.ErrCode)), sdk.ProviderCode(x.ErrCode))
	}
	out.DedupeKey = fmt.Sprintf("%s/%t/%s", out.ProviderID, *x.Success, x.ErrCode)
	return out
}

func (x report) inbound() sdk.Inbound {
	in := sdk.Inbound{
		From: numberOf(x.PhoneNumber), To: x.DestCode, Text: *x.Content, At: parseTime(x.SendTime),
		ProviderID: x.SequenceID.String(),
	}
	if x.SignName != "" {
		in.Attributes = map[string]string{attributeSign: x.SignName}
	}
	if in.ProviderID != "" {
		in.DedupeKey = "up/" + in.ProviderID
	}
	return in
}

// parseTime reads a date of the provider; the zero time stands for what is none.
func parseTime(text string) time.Time {
	for _, layout := range []string{timeLayout, "20060102150405", time.RFC1123Z} {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil {
			return at
		}
	}
	return time.Time{}
}
