package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/pigeonry/pigeonry/core"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// CodeMessageTooLarge is the error code of a message over the plugin's or the contract's limit.
const CodeMessageTooLarge = "message_too_large"

// Bounds of what a plugin may say about one attempt; the rest is cut.
const (
	maxErrorText   = 2 << 10
	maxCodeText    = 128
	maxIDText      = 256
	maxProviderIDs = 256
)

// toItems makes deliveries the contract's items. Their parts lie in a few slices, because this is the
// gateway's hottest path.
func toItems(connector core.ConnectorID, batch []core.Delivery) []*channelv1.Item {
	items := make([]channelv1.Item, len(batch))
	contents := make([]channelv1.Content, len(batch))
	pointers := make([]*channelv1.Item, len(batch))
	ids := attemptIDs(batch)
	for i, d := range batch {
		m, item := d.Message, &items[i]
		item.AttemptId = ids[i]
		item.MessageId, _, _ = strings.Cut(ids[i], ".")
		item.IdempotencyKey = string(m.TraceID)
		item.Account = strconv.FormatInt(int64(m.Account), 10)
		item.Attempt = int32(d.Attempt)
		item.Connector = string(connector)
		item.Recipient = m.Recipient
		item.Content = &contents[i]
		fillContent(&contents[i], &m.Content, connector)
		if !m.ExpireAt.IsZero() {
			item.NotAfter = timestamppb.New(m.ExpireAt)
		}
		item.Traceparent = m.TraceID.Traceparent(d.Attempt)
		item.Priority = int32(m.Priority)
		pointers[i] = item
	}
	return pointers
}

// attemptIDs returns "<record>.<attempt>" for each delivery, all parts of one string.
func attemptIDs(batch []core.Delivery) []string {
	text := make([]byte, 0, 20*len(batch))
	ends := make([]int, len(batch))
	for i, d := range batch {
		text = strconv.AppendInt(text, int64(d.Message.ID), 10)
		text = append(text, '.')
		text = strconv.AppendInt(text, int64(d.Attempt), 10)
		ends[i] = len(text)
	}
	all, start := string(text), 0
	ids := make([]string, len(batch))
	for i, end := range ends {
		ids[i] = all[start:end]
		start = end
	}
	return ids
}

// parseAttemptID reads what attemptIDs wrote.
func parseAttemptID(s string) (core.RecordID, int, bool) {
	record, attempt, ok := strings.Cut(s, ".")
	if !ok {
		return 0, 0, false
	}
	id, err := strconv.ParseInt(record, 10, 64)
	number, err2 := strconv.Atoi(attempt)
	if err != nil || err2 != nil || id <= 0 || number <= 0 {
		return 0, 0, false
	}
	return core.RecordID(id), number, true
}

func fillContent(to *channelv1.Content, from *core.Content, connector core.ConnectorID) {
	to.Text, to.Html, to.Subject, to.Attributes = from.Text, from.HTML, from.Subject, from.Attributes
	if t := from.TemplateFor(connector); t != nil {
		to.Template = &channelv1.TemplateRef{Id: t.ID, Parameters: t.Parameters}
	}
	for _, a := range from.Attachments {
		attachment := &channelv1.Attachment{Name: a.Name, ContentType: a.ContentType, ContentId: a.ContentID}
		if a.URL != "" {
			attachment.Source = &channelv1.Attachment_Url{Url: a.URL}
		} else {
			attachment.Source = &channelv1.Attachment_Data{Data: a.Data}
		}
		to.Attachments = append(to.Attachments, attachment)
	}
}

// toResult makes a plugin's result the core's. What the contract does not know is uncertain, so that
// no odd answer can make the gateway send twice.
func (g *generation) toResult(d core.Delivery, r *channelv1.Result, latency time.Duration) core.Result {
	result := core.Result{
		Record: d.Message.ID, Attempt: d.Attempt, Outcome: outcomeOf(r.GetOutcome()),
		ProviderIDs: providerIDs(r.GetProviderIds()), Segments: max(0, int(r.GetSegments())),
		RetryAfter: g.duration(r.GetRetryAfter()), Latency: g.duration(r.GetLatency()),
	}
	if result.Latency == 0 {
		result.Latency = latency
	}
	if c := r.GetCost(); c.GetAmount() != "" && c.GetCurrency() != "" {
		result.Cost = clean(c.GetAmount()+" "+c.GetCurrency(), maxCodeText)
	}
	if result.Outcome == "" {
		g.violations.malformed.Add(1)
		result.Outcome = core.OutcomeUncertain
		result.Error = &core.SendError{
			Code: core.CodeNoResult, Message: fmt.Sprintf("the plugin gave the unknown outcome %d", r.GetOutcome()), Fault: core.FaultPlugin,
		}
	}
	if result.Outcome == core.OutcomeAccepted {
		return result
	}
	if given := g.toSendError(r.GetError()); given != nil {
		result.Error = given
	} else if result.Error == nil {
		result.Error = &core.SendError{Code: "unspecified", Message: "the plugin gave no reason", Fault: core.FaultPlugin}
	}
	return result
}

// outcomeOf returns "" for an outcome that the contract does not know.
func outcomeOf(o channelv1.Outcome) core.Outcome {
	switch o {
	case channelv1.Outcome_OUTCOME_ACCEPTED:
		return core.OutcomeAccepted
	case channelv1.Outcome_OUTCOME_REJECTED:
		return core.OutcomeRejected
	case channelv1.Outcome_OUTCOME_RETRYABLE:
		return core.OutcomeRetryable
	case channelv1.Outcome_OUTCOME_THROTTLED:
		return core.OutcomeThrottled
	case channelv1.Outcome_OUTCOME_UNCERTAIN:
		return core.OutcomeUncertain
	default:
		return ""
	}
}

// toSendError returns nil for an error that says nothing.
func (g *generation) toSendError(e *channelv1.Error) *core.SendError {
	if e.GetCode() == "" && e.GetMessage() == "" && e.GetProviderCode() == "" {
		return nil
	}
	code := clean(e.GetCode(), maxCodeText)
	if code == "" {
		code = "unspecified"
	}
	return &core.SendError{
		Code: code, ProviderCode: clean(e.GetProviderCode(), maxCodeText),
		Message: g.redactor.redact(clean(e.GetMessage(), maxErrorText)), Fault: faultOf(e.GetFault()),
	}
}

func faultOf(f channelv1.Fault) core.Fault {
	switch f {
	case channelv1.Fault_FAULT_MESSAGE:
		return core.FaultMessage
	case channelv1.Fault_FAULT_CONFIG:
		return core.FaultConfig
	case channelv1.Fault_FAULT_PLUGIN:
		return core.FaultPlugin
	case channelv1.Fault_FAULT_PROVIDER:
		return core.FaultProvider
	default:
		return ""
	}
}

// duration reads a duration; a negative or broken one is a breach of the contract and nothing.
func (g *generation) duration(d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	if d.CheckValid() != nil || d.AsDuration() < 0 {
		g.violations.malformed.Add(1)
		return 0
	}
	return d.AsDuration()
}

func providerIDs(given []string) []string {
	if len(given) == 0 {
		return nil
	}
	ids := make([]string, 0, min(len(given), maxProviderIDs))
	for _, id := range given[:min(len(given), maxProviderIDs)] {
		ids = append(ids, clean(id, maxIDText))
	}
	return ids
}

// clean bounds a plugin's text and takes NUL out, which PostgreSQL does not store.
func clean(s string, limit int) string {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	return truncateTo(s, limit)
}

// notSent is the result of deliveries that surely did not reach the plugin.
func notSent(batch []core.Delivery, reason string) []core.Result {
	failure := &core.SendError{Code: core.CodeNotSent, Message: reason, Fault: core.FaultPlugin}
	results := make([]core.Result, len(batch))
	for i, d := range batch {
		results[i] = core.Result{Record: d.Message.ID, Attempt: d.Attempt, Outcome: core.OutcomeRetryable, Error: failure}
	}
	return results
}

// lost says why attempts that the plugin may have got have no result.
func (g *generation) lost(ctx context.Context, err error) *core.SendError {
	failure := &core.SendError{Fault: core.FaultPlugin}
	code := status.Code(err)
	switch {
	case errors.Is(err, io.EOF):
		failure.Code, failure.Message = core.CodeNoResult, "the plugin ended the call without a result for the attempt"
	case ctx.Err() != nil, code == codes.DeadlineExceeded:
		failure.Code, failure.Message = core.CodeDeadlineExceeded, "the plugin gave no result in time"
	case code == codes.Unavailable, code == codes.Canceled: // canceled, but not by us: the host closed the connection
		failure.Code, failure.Message = core.CodeConnectionLost, "the plugin ended before it gave a result"
	default:
		failure.Code, failure.Message = core.CodeNoResult, g.redactor.redact(clean(callError("Deliver", err).Error(), maxErrorText))
	}
	return failure
}
