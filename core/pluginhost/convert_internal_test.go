package pluginhost

import (
	"log/slog"
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/pigeonry/pigeonry/core"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// full is a delivery with every field set that a plugin gets.
func full() core.Delivery {
	return core.Delivery{Attempt: 3, Message: &core.Message{
		ID: 42, TraceID: core.NewTraceID(42, 7), Account: 9, Recipient: "+15550100", Priority: 8,
		ExpireAt: time.Unix(1_800_000_000, 0),
		Content: core.Content{
			Subject: "s", Text: "t", HTML: "h", Attributes: map[string]string{"a": "b"},
			ProviderTemplates: map[core.ConnectorID]core.ProviderTemplate{core.AnyConnector: {ID: "x", Parameters: map[string]string{"c": "d"}}},
			Attachments: []core.Attachment{
				{Name: "n", ContentType: "ct", ContentID: "ci", Data: []byte("data")},
				{Name: "n", ContentType: "ct", ContentID: "ci", URL: "https://example.com/"},
			},
		},
	}}
}

// No field of the contract's item is forgotten: all but tracestate, which the gateway does not keep,
// are set.
func TestItemHasEveryField(t *testing.T) {
	item := toItems("sms/main", []core.Delivery{full()})[0]
	var check func(m protoreflect.Message)
	check = func(m protoreflect.Message) {
		fields := m.Descriptor().Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			oneof := f.ContainingOneof()
			if m.Has(f) || f.Name() == "tracestate" || oneof != nil && m.WhichOneof(oneof) != nil {
				continue
			}
			t.Errorf("%s is not set", f.FullName())
		}
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case f.IsMap() || f.Message() == nil || f.Message().FullName() == "google.protobuf.Timestamp":
			case f.IsList():
				for i := range v.List().Len() {
					check(v.List().Get(i).Message())
				}
			default:
				check(v.Message())
			}
			return true
		})
	}
	check(item.ProtoReflect())
	if item.GetAttemptId() != "42.3" || item.GetMessageId() != "42" || item.GetIdempotencyKey() != string(core.NewTraceID(42, 7)) {
		t.Errorf("ids: %q %q %q", item.GetAttemptId(), item.GetMessageId(), item.GetIdempotencyKey())
	}
	if string(item.GetContent().GetAttachments()[0].GetData()) != "data" || item.GetContent().GetAttachments()[1].GetUrl() == "" {
		t.Errorf("attachments: %v", item.GetContent().GetAttachments())
	}
}

func TestAttemptIDs(t *testing.T) {
	batch := []core.Delivery{
		{Message: &core.Message{ID: 1}, Attempt: 1}, {Message: &core.Message{ID: 1<<53 - 1}, Attempt: 12},
	}
	for i, id := range attemptIDs(batch) {
		record, attempt, ok := parseAttemptID(id)
		if !ok || record != batch[i].Message.ID || attempt != batch[i].Attempt {
			t.Errorf("%q is read as %d, %d, %v", id, record, attempt, ok)
		}
	}
	for _, bad := range []string{"", "1", "1.", ".1", "-1.1", "1.0", "a.b", "1.1.1", "99999999999999999999.1"} {
		if _, _, ok := parseAttemptID(bad); ok {
			t.Errorf("%q is taken for an attempt id", bad)
		}
	}
}

func testGeneration() *generation {
	return &generation{redactor: &redactor{}, log: slog.New(slog.DiscardHandler)}
}

// No field of the contract's result is forgotten.
func TestResultTakesEveryField(t *testing.T) {
	g := testGeneration()
	got := g.toResult(full(), &channelv1.Result{
		AttemptId: "42.3", Outcome: channelv1.Outcome_OUTCOME_RETRYABLE, ProviderIds: []string{"p1", "p2"},
		Error:      &channelv1.Error{Code: "c", ProviderCode: "pc", Message: "m", Fault: channelv1.Fault_FAULT_CONFIG},
		RetryAfter: durationpb.New(time.Second), Segments: 2, Cost: &channelv1.Cost{Amount: "0.045", Currency: "EUR"},
		Latency: durationpb.New(time.Millisecond),
	}, time.Minute)
	if got.Record != 42 || got.Attempt != 3 || got.Outcome != core.OutcomeRetryable || len(got.ProviderIDs) != 2 ||
		got.RetryAfter != time.Second || got.Segments != 2 || got.Cost != "0.045 EUR" || got.Latency != time.Millisecond ||
		*got.Error != (core.SendError{Code: "c", ProviderCode: "pc", Message: "m", Fault: core.FaultConfig}) {
		t.Errorf("result: %+v", got)
	}
}

// Every outcome and fault of the contract has one in the core.
func TestEnumsAreMapped(t *testing.T) {
	for value := range channelv1.Outcome_name {
		known := value != int32(channelv1.Outcome_OUTCOME_UNSPECIFIED)
		if got := outcomeOf(channelv1.Outcome(value)); (got != "") != known {
			t.Errorf("outcome %d is %q", value, got)
		}
	}
	for value := range channelv1.Fault_name {
		known := value != int32(channelv1.Fault_FAULT_UNSPECIFIED)
		if got := faultOf(channelv1.Fault(value)); (got != "") != known {
			t.Errorf("fault %d is %q", value, got)
		}
	}
	g := testGeneration()
	for value := range channelv1.ReceiptStatus_name {
		if got := g.receiptStatus(channelv1.ReceiptStatus(value)); got == "" {
			t.Errorf("receipt status %d is %q", value, got)
		}
	}
}

// A result is sound whatever the plugin says.
func FuzzResult(f *testing.F) {
	add := func(r *channelv1.Result) {
		b, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	add(&channelv1.Result{AttemptId: "42.3", Outcome: 1, ProviderIds: []string{"p"}})
	add(&channelv1.Result{Outcome: 99, Segments: -1, RetryAfter: durationpb.New(-1), Error: &channelv1.Error{Message: "\x00"}})
	add(&channelv1.Result{Outcome: 4, RetryAfter: &durationpb.Duration{Seconds: math.MaxInt64, Nanos: -1}})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r channelv1.Result
		if proto.Unmarshal(b, &r) != nil {
			return
		}
		got := testGeneration().toResult(full(), &r, time.Second)
		if got.Record != 42 || got.Attempt != 3 || got.RetryAfter < 0 || got.Latency <= 0 || got.Segments < 0 {
			t.Errorf("result: %+v", got)
		}
		if (got.Outcome == core.OutcomeAccepted) != (got.Error == nil) || got.Outcome == "" {
			t.Errorf("outcome %q with error %v", got.Outcome, got.Error)
		}
		if got.Error != nil && len(got.Error.Message) > maxErrorText+len("…") {
			t.Errorf("message of %d bytes", len(got.Error.Message))
		}
	})
}

func TestEventsWithoutKeyGetAStableOne(t *testing.T) {
	g := testGeneration()
	receipt := &channelv1.Receipt{ProviderId: "p", Status: 1, At: timestamppb.New(time.Unix(1, 0))}
	first := g.toReceipt("sms/main", receipt, time.Now())
	again := g.toReceipt("sms/main", receipt, time.Now().Add(time.Hour))
	receipt.Status = 2
	other := g.toReceipt("sms/main", receipt, time.Now())
	if first.DedupeKey == "" || first.DedupeKey != again.DedupeKey || first.DedupeKey == other.DedupeKey {
		t.Errorf("keys: %q, %q, %q", first.DedupeKey, again.DedupeKey, other.DedupeKey)
	}
}
