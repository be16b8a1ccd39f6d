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
	}
	if out.GetDedupeKey() == "" {
		// A message is delivered once: the same status of the same message is the same event.
		out.DedupeKey = fmt.Sprintf("%s/%d", cmp.Or(out.GetProviderId(), out.GetAttemptId()), r.Status)
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

func protoInbound(in *Inbound) *channelv1.Inbound {
	out := &channelv1.Inbound{
		DedupeKey:  valid(in.DedupeKey),
		ProviderId: valid(in.ProviderID),
		From:       valid(in.From),
		To:         valid(in.To),
		Text:       valid(in.Text),
		At:         timestamp(in.At),
		Attributes: validMap(in.Attributes),
	}
	if out.GetDedupeKey() == "" {
		out.DedupeKey = cmp.Or(out.GetProviderId(), contentKey(in))
	}
	return out
}

// contentKey tells inbound messages without an id apart. The same text from the same sender at the
// same moment is the same message.
func contentKey(in *Inbound) string {
	parts := []string{in.From, in.To, in.Text, in.At.UTC().Format(time.RFC3339Nano)}
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
