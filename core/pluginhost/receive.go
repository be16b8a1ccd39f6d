package pluginhost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/pigeonry/pigeonry/core"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// Waits between tries to store events, and to open the stream anew.
const (
	eventsFirst = 100 * time.Millisecond
	eventsMax   = 10 * time.Second
)

// receive takes the events that a process receives by itself, for as long as it lives.
func (g *generation) receive(ctx context.Context, p *process) {
	wait := eventsFirst
	for ctx.Err() == nil {
		started := time.Now()
		err := g.receiveStream(ctx, p)
		if ctx.Err() != nil || g.draining() {
			return // the plugin ends its stream when it drains
		}
		if status.Code(err) == codes.Unimplemented {
			g.log.WarnContext(ctx, "plugin says that it receives events and does not serve Receive")
			return
		}
		if time.Since(started) > eventsMax {
			wait = eventsFirst
		}
		g.log.WarnContext(ctx, "plugin ended the stream of events, it is opened again", "error", callError("Receive", err))
		if !pause(ctx, wait/2+rand.N(wait/2)) {
			return
		}
		wait = min(2*wait, eventsMax)
	}
}

// receiveStream acknowledges batches of events, each only after it is stored.
func (g *generation) receiveStream(ctx context.Context, p *process) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.service.Receive(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&channelv1.ReceiveRequest{}); err != nil {
		return err
	}
	for {
		batch, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := g.store(ctx, batch); err != nil {
			return err
		}
		if err := stream.Send(&channelv1.ReceiveRequest{Ack: batch.GetSequence()}); err != nil {
			return err
		}
	}
}

// store passes a batch of events on, until it is stored or ctx ends.
func (g *generation) store(ctx context.Context, batch *channelv1.ReceiveResponse) error {
	connector := core.ConnectorID(batch.GetConnector())
	if c, ok := (*g.host.desired.Load())[connector]; !ok || c.Plugin != g.plugin.name {
		// The connector was removed meanwhile, or is another plugin's, which is none of this one's
		// business. To keep the batch unacknowledged would block those behind it.
		g.violations.foreign.Add(1)
		g.log.Warn("plugin breaks the contract: events of a connector that it does not have", "connector", truncateTo(string(connector), maxIDText))
		return nil
	}
	receipts, inbound := g.toEvents(connector, batch.GetEvents())
	if len(receipts)+len(inbound) == 0 || g.shadows() {
		return nil
	}
	wait := eventsFirst
	for {
		err := g.host.options.Events(ctx, receipts, inbound)
		if err == nil {
			return nil
		}
		g.log.ErrorContext(ctx, "events of a provider are not stored yet, they are kept and tried again", "connector", connector, "error", err)
		if !pause(ctx, wait/2+rand.N(wait/2)) {
			return fmt.Errorf("store events: %w", ctx.Err())
		}
		wait = min(2*wait, eventsMax)
	}
}

// shadows says whether the generation gets copies: what its sandbox tells of them is about nobody.
func (g *generation) shadows() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shadow
}

// toEvents makes a plugin's events the core's.
func (g *generation) toEvents(connector core.ConnectorID, events *channelv1.Events) ([]core.Receipt, []core.Inbound) {
	now := time.Now()
	var receipts []core.Receipt
	for _, r := range events.GetReceipts() {
		receipts = append(receipts, g.toReceipt(connector, r, now))
	}
	var inbound []core.Inbound
	for _, m := range events.GetInbound() {
		inbound = append(inbound, g.toInbound(connector, m, now))
	}
	return receipts, inbound
}

func (g *generation) toReceipt(connector core.ConnectorID, r *channelv1.Receipt, now time.Time) core.Receipt {
	receipt := core.Receipt{
		Connector: connector, DedupeKey: givenKey(r.GetDedupeKey()), ProviderID: clean(r.GetProviderId(), maxIDText),
		Status: g.receiptStatus(r.GetStatus()), Error: g.toSendError(r.GetError()), At: g.timeOf(r.GetAt(), now), ReceivedAt: now,
	}
	if record, attempt, ok := parseAttemptID(r.GetAttemptId()); ok {
		receipt.Record, receipt.Attempt = record, attempt
	}
	if receipt.DedupeKey == "" {
		parts := []string{receipt.ProviderID, r.GetAttemptId(), string(receipt.Status), r.GetAt().AsTime().String()}
		if r.GetRecipient() != "" { // some providers have one id for all recipients of a request
			parts = append(parts, r.GetRecipient())
		}
		receipt.DedupeKey = dedupeKey(parts...)
	}
	return receipt
}

// receiptStatus reads a status. One that the contract does not know is stored and not guessed at.
func (g *generation) receiptStatus(s channelv1.ReceiptStatus) core.ReceiptStatus {
	switch s {
	case channelv1.ReceiptStatus_RECEIPT_STATUS_DELIVERED:
		return core.ReceiptDelivered
	case channelv1.ReceiptStatus_RECEIPT_STATUS_UNDELIVERED:
		return core.ReceiptUndelivered
	case channelv1.ReceiptStatus_RECEIPT_STATUS_READ:
		return core.ReceiptRead
	case channelv1.ReceiptStatus_RECEIPT_STATUS_PROGRESS:
		return core.ReceiptProgress
	default:
		g.violations.malformed.Add(1)
		return core.ReceiptProgress
	}
}

// Bounds of an inbound message; the rest is cut, which counts as a breach of the contract.
const (
	maxInboundAttributes  = 64
	maxInboundAttachments = 20
)

func (g *generation) toInbound(connector core.ConnectorID, m *channelv1.Inbound, now time.Time) core.Inbound {
	inbound := core.Inbound{
		Connector: connector, DedupeKey: givenKey(m.GetDedupeKey()), ProviderID: g.bounded(m.GetProviderId(), maxIDText),
		From: g.bounded(m.GetFrom(), maxIDText), To: g.bounded(m.GetTo(), maxIDText), Text: g.bounded(m.GetText(), maxMessageBytes),
		Attributes: g.attributesOf(m), At: g.timeOf(m.GetAt(), now), ReceivedAt: now,
	}
	if inbound.DedupeKey == "" {
		at := m.GetAt().AsTime()
		if inbound.ProviderID == "" { // with neither id nor time a repeat is stored twice, rather than the same text a week later lost
			at = inbound.At
		}
		inbound.DedupeKey = dedupeKey(inbound.ProviderID, inbound.From, inbound.To, inbound.Text, at.String())
	}
	return inbound
}

// Names under which parts of an inbound message stand among its attributes, before those of the plugin.
const (
	attributeKind        = "kind"
	attributeReplyTo     = "reply_to_provider_id"
	attributeAttachments = "attachments" // a JSON list of {name, content_type, url}
)

// attributesOf is all that a plugin tells of an inbound message beside sender, recipient and text.
func (g *generation) attributesOf(m *channelv1.Inbound) map[string]string {
	given := m.GetAttributes()
	names := slices.Sorted(maps.Keys(given))
	if len(names) > maxInboundAttributes {
		g.violations.malformed.Add(1)
		names = names[:maxInboundAttributes]
	}
	attributes := make(map[string]string, len(names))
	for _, name := range names {
		attributes[g.bounded(name, maxIDText)] = g.bounded(given[name], maxErrorText)
	}
	if m.GetKind() != "" {
		attributes[attributeKind] = g.bounded(m.GetKind(), maxIDText)
	}
	if m.GetReplyToProviderId() != "" {
		attributes[attributeReplyTo] = g.bounded(m.GetReplyToProviderId(), maxIDText)
	}
	if attachments := g.attachmentsOf(m); attachments != "" {
		attributes[attributeAttachments] = attachments
	}
	if len(attributes) == 0 {
		return nil
	}
	return attributes
}

// attachmentsOf lists the files of an inbound message as JSON; empty: none.
func (g *generation) attachmentsOf(m *channelv1.Inbound) string {
	type attachment struct {
		Name        string `json:"name,omitempty"`
		ContentType string `json:"content_type,omitempty"`
		URL         string `json:"url,omitempty"`
	}
	given := m.GetAttachments()
	if len(given) > maxInboundAttachments {
		g.violations.malformed.Add(1)
		given = given[:maxInboundAttachments]
	}
	if len(given) == 0 {
		return ""
	}
	list := make([]attachment, len(given))
	for i, a := range given {
		list[i] = attachment{g.bounded(a.GetName(), maxIDText), g.bounded(a.GetContentType(), maxCodeText), g.bounded(a.GetUrl(), maxErrorText)}
	}
	text, err := json.Marshal(list)
	if err != nil {
		return "" // strings alone always can
	}
	return string(text)
}

// bounded is clean, and counts what it cuts.
func (g *generation) bounded(s string, limit int) string {
	if len(s) > limit {
		g.violations.malformed.Add(1)
	}
	return clean(s, limit)
}

// givenKey is the key that a plugin gave an event. A long one is not cut: two events could then have the same.
func givenKey(key string) string {
	if len(key) > maxIDText {
		return dedupeKey(key)
	}
	return clean(key, maxIDText)
}

// timeOf reads a time by the provider's clock, now if there is none.
func (g *generation) timeOf(t *timestamppb.Timestamp, now time.Time) time.Time {
	if t == nil {
		return now
	}
	if t.CheckValid() != nil {
		g.violations.malformed.Add(1)
		return now
	}
	return t.AsTime()
}

// dedupeKey makes a key for an event whose plugin gave none: the same event gives the same key.
func dedupeKey(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part) // a hash takes all
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
