package tencent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/push"
	"github.com/pigeonry/pigeonry/plugins/sms/reference"
	"github.com/pigeonry/pigeonry/sdk"
)

const success = "SUCCESS"

// zone is that of the provider's dates.
var zone = time.FixedZone("Asia/Shanghai", 8*60*60) //nolint:gochecknoglobals // never changes

// report is an element of a callback: a receipt, or the reply of a user. Only a receipt has report_status, only a reply
// text.
type report struct {
	UserReceiveTime string  `json:"user_receive_time"`
	NationCode      string  `json:"nationcode"`
	Mobile          string  `json:"mobile"`
	ReportStatus    *string `json:"report_status"`
	ErrMsg          string  `json:"errmsg"`
	Description     string  `json:"description"`
	Serial          string  `json:"sid"`
	Ext             string  `json:"ext"` // SessionContext, where the provider has been asked to send it

	Extend string      `json:"extend"`
	Sign   string      `json:"sign"`
	Text   *string     `json:"text"`
	Time   json.Number `json:"time"`
}

// HandleCallback takes an array of receipts, or one reply.
func (c *Channel) HandleCallback(_ context.Context, r *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events, error) {
	return push.Handle(r, c.config.CallbackToken, push.Answers{
		Taken:        `{"result":0,"errmsg":"OK"}`,
		Unauthorized: `{"result":401,"errmsg":"wrong token"}`,
		Unreadable:   `{"result":400,"errmsg":"unreadable"}`,
	}, read)
}

// read reads one object. What is neither a receipt nor a reply is left out.
func read(object []byte, events *sdk.Events) error {
	var x report
	if err := json.Unmarshal(object, &x); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	switch {
	case x.ReportStatus != nil && x.Serial != "":
		events.Receipts = append(events.Receipts, x.receipt())
	case x.Text != nil:
		events.Inbound = append(events.Inbound, x.inbound())
	}
	return nil
}

func (x report) number() string {
	return "+" + strings.TrimPrefix(x.NationCode, "+") + x.Mobile
}

func (x report) receipt() sdk.DeliveryReceipt {
	at, _ := time.ParseInLocation(time.DateTime, x.UserReceiveTime, zone) // the zero time: now
	out := sdk.DeliveryReceipt{
		ProviderID: x.Serial, Status: sdk.Delivered, At: at, Recipient: x.number(),
		DedupeKey: fmt.Sprintf("%s/%s/%s", x.Serial, *x.ReportStatus, x.ErrMsg),
	}
	out.AttemptID, _ = reference.Attempt(x.Ext) // of a batch the serial number must do
	if *x.ReportStatus != success {
		out.Status = sdk.Undelivered
		out.Err = sdk.Permanent(errors.New(strings.TrimSpace("not delivered: "+x.Description)),
			sdk.Code(undelivered(x.ErrMsg)), sdk.ProviderCode(x.ErrMsg))
	}
	return out
}

// inbound is a reply. The provider numbers none: number, second and text tell it.
func (x report) inbound() sdk.Inbound {
	in := sdk.Inbound{From: x.number(), To: x.Extend, Text: *x.Text}
	if seconds, err := x.Time.Int64(); err == nil {
		in.At = time.Unix(seconds, 0)
		in.DedupeKey = fmt.Sprintf("reply/%s/%d/%s", in.From, seconds, digest(in.Text))
	}
	if x.Sign != "" {
		in.Attributes = map[string]string{attributeSign: x.Sign}
	}
	return in
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}
