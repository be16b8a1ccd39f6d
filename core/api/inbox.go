package api

import (
	"fmt"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// ListInbound lists what users sent to the connectors that the account has for itself; an operator sees all.
func (s *server) ListInbound(c *gin.Context, params ListInboundParams) {
	filter, p, err := s.inboundFilter(c, params)
	if err != nil {
		s.fail(c, err)
		return
	}
	var inbound []core.Inbound
	if filter.Connectors == nil || len(filter.Connectors) > 0 { // or else nothing can be the account's
		inbound, err = s.o.Inbox.InboundMessages(c.Request.Context(), filter)
	}
	if err != nil {
		s.fail(c, fmt.Errorf("list inbound messages: %w", err))
		return
	}
	inbound, next := cut(p, inbound, func(m core.Inbound) int64 { return m.ID })
	list := InboundList{Items: make([]Inbound, len(inbound)), NextCursor: next}
	for i := range inbound {
		m := &inbound[i]
		list.Items[i] = Inbound{
			Id: m.ID, Connector: string(m.Connector), ProviderId: m.ProviderID, From: m.From, To: m.To, Content: m.Text,
			Attributes: m.Attributes, HappenedAt: m.At, ReceivedAt: m.ReceivedAt,
		}
	}
	s.ok(c, "inbound messages", list)
}

func (s *server) inboundFilter(c *gin.Context, params ListInboundParams) (store.InboundFilter, page, error) {
	if err := knownQuery[ListInboundParams](c); err != nil {
		return store.InboundFilter{}, page{}, err
	}
	p, err := pageOf(params.Limit, params.Cursor)
	if err != nil {
		return store.InboundFilter{}, page{}, err
	}
	f := store.InboundFilter{Channel: params.Channel, From: params.From, Before: p.before, Limit: p.limit + 1}
	if name := callOf(c).account.Name; !slices.Contains(s.o.Operators(), name) {
		f.Connectors = append([]core.ConnectorID{}, s.o.ConnectorsOf(name)...)
	}
	if wanted := core.ConnectorID(params.Connector); wanted != "" {
		if f.Connectors != nil && !slices.Contains(f.Connectors, wanted) {
			return f, p, absent(core.Errorf(core.KindNotFound, "no such connector"), core.CodeConnectorNotFound, "connector")
		}
		f.Connectors = []core.ConnectorID{wanted}
	}
	return f, p, nil
}

// ListUnmatchedReceipts lists receipts that have found no message. Nobody knows whose they are, so operators alone see them.
func (s *server) ListUnmatchedReceipts(c *gin.Context, params ListUnmatchedReceiptsParams) {
	if err := s.operator(c, "see receipts that belong to no message"); err != nil {
		s.fail(c, err)
		return
	}
	if err := knownQuery[ListUnmatchedReceiptsParams](c); err != nil {
		s.fail(c, err)
		return
	}
	p, err := pageOf(params.Limit, params.Cursor)
	if err != nil {
		s.fail(c, err)
		return
	}
	waiting, err := s.o.Inbox.WaitingReceipts(c.Request.Context(), p.before, p.limit+1)
	if err != nil {
		s.fail(c, fmt.Errorf("list unmatched receipts: %w", err))
		return
	}
	waiting, next := cut(p, waiting, func(w store.WaitingReceipt) int64 { return w.ID })
	list := ReceiptList{Items: make([]UnmatchedReceipt, len(waiting)), NextCursor: next}
	for i := range waiting {
		list.Items[i] = unmatchedOf(&waiting[i])
	}
	s.ok(c, "unmatched receipts", list)
}

func unmatchedOf(w *store.WaitingReceipt) UnmatchedReceipt {
	return UnmatchedReceipt{
		Id: w.ID, Connector: string(w.Connector), ProviderId: w.ProviderID, RecordId: int64(w.Record), Attempt: w.Attempt,
		Status: string(w.Status), Error: errorOf(w.Error), HappenedAt: w.At, ReceivedAt: w.ReceivedAt,
	}
}
