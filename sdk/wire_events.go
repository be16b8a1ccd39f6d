package sdk

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// protoEvents is events for the wire; nil when there are none.
func protoEvents(events Events, clean func(string) string) *channelv1.Events {
	if events.Empty() {
		return nil
	}
	out := &channelv1.Events{}
	for i := range events.Receipts {
		out.Receipts = append(out.Receipts, protoReceipt(&events.Receipts[i], clean))
	}
	for i := range events.Inbound {
		out.Inbound = append(out.Inbound, protoInbound(&events.Inbound[i]))
	}
	return out
}

func protoReceipt(r *DeliveryReceipt, clean func(string) string) *channelv1.Receipt {
	out := &channelv1.Receipt{
		DedupeKey:  valid(r.DedupeKey),
		ProviderId: valid(r.ProviderID),
		AttemptId:  valid(r.AttemptID),
		Status:     channelv1.ReceiptStatus(r.Status),
		At:         timestamp(r.At),
		Recipient:  valid(r.Recipient),
		Segments:   int32(r.Segments),
		Cost:       protoCost(r.Cost),
	}
	if out.GetDedupeKey() == "" {
		out.DedupeKey = receiptKey(out)
	}
	if r.Err != nil {
		e := classify(r.Err)
		out.Error = &channelv1.Error{
			Code: valid(e.Code), ProviderCode: clean(e.ProviderCode),
			Message: abbreviate(clean(r.Err.Error()), maxErrorText), Fault: channelv1.Fault(e.Fault),
		}
	}
	return out
}

// receiptKey tells receipts apart. A message is delivered once: the same status of the same message is the same event.
// Some providers have one id for all recipients of a request.
func receiptKey(r *channelv1.Receipt) string {
	id := cmp.Or(r.GetProviderId(), r.GetAttemptId())
	if r.GetRecipient() != "" {
		id += "/" + r.GetRecipient()
	}
	return fmt.Sprintf("%s/%d", id, r.GetStatus())
}

func protoInbound(in *Inbound) *channelv1.Inbound {
	at := in.At
	if at.IsZero() {
		at = time.Now()
	}
	out := &channelv1.Inbound{
		DedupeKey:         valid(in.DedupeKey),
		ProviderId:        valid(in.ProviderID),
		From:              valid(in.From),
		To:                valid(in.To),
		Text:              valid(in.Text),
		At:                timestamppb.New(at),
		Attributes:        validMap(in.Attributes),
		Kind:              valid(in.Kind),
		ReplyToProviderId: valid(in.ReplyToProviderID),
	}
	for _, a := range in.Attachments {
		out.Attachments = append(out.Attachments, &channelv1.InboundAttachment{
			Name: valid(a.Name), ContentType: valid(a.ContentType), Url: valid(a.URL),
		})
	}
	if out.GetDedupeKey() == "" {
		out.DedupeKey = cmp.Or(out.GetProviderId(), contentKey(in, at))
	}
	return out
}

// contentKey tells inbound messages without an id apart. The same text from the same sender at the same moment is the
// same message. Where the provider gives no time either it is that of the arrival, so that a repeat is stored twice:
// to take "1" today for the "1" of last week would lose it.
func contentKey(in *Inbound, at time.Time) string {
	parts := []string{in.From, in.To, in.Text, at.UTC().Format(time.RFC3339Nano)}
	for _, a := range in.Attachments {
		parts = append(parts, a.Name, a.URL)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		t = time.Now()
	}
	return timestamppb.New(t)
}

func validMap(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[valid(k)] = valid(v)
	}
	return out
}
