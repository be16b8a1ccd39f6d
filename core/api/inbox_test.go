package api_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/api"
)

// writeIn stores an inbound message of each connector.
func (h *harness) writeIn(connectors ...core.ConnectorID) {
	h.t.Helper()
	for i, id := range connectors {
		must(h.t, h.store.SaveInbound(h.t.Context(), []core.Inbound{{
			Connector: id, DedupeKey: fmt.Sprint(i), ProviderID: fmt.Sprintf("in-%d", i), From: "+8613800138000", To: "10690",
			Text: "STOP", Attributes: map[string]string{"kind": "text"}, At: time.Now(), ReceivedAt: time.Now(),
		}}))
	}
}

// An operator sees what came in over every connector, another account what came in over its own.
func TestInboundMessagesAreSeenByTheirAccountAndOperators(t *testing.T) {
	h := newHarness(t)
	h.writeIn("sms/main", "sms/other", "email/main")
	h.owned = map[string][]core.ConnectorID{"other": {"sms/other"}}
	tests := []struct {
		name, key, query string
		want             []string
	}{
		{"an operator", h.key, "", []string{"email/main", "sms/other", "sms/main"}},
		{"an operator, of one channel", h.key, "?channel=sms", []string{"sms/other", "sms/main"}},
		{"an operator, of one connector", h.key, "?connector=sms/main", []string{"sms/main"}},
		{"an operator, of one sender", h.key, "?from=%2B8613800138000&limit=1", []string{"email/main"}},
		{"an account", h.other, "", []string{"sms/other"}},
		{"an account, of its connector", h.other, "?connector=sms/other", []string{"sms/other"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list := data[api.InboundList](t, h.want(h.do("GET", "/api/messages/inbound"+tt.query, "", as(tt.key)...), 200, 0))
			var got []string
			for _, m := range list.Items {
				got = append(got, m.Connector)
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("listed %v, want %v", got, tt.want)
			}
		})
	}
	h.want(h.do("GET", "/api/messages/inbound?connector=sms/main", "", as(h.other)...), 404, core.CodeConnectorNotFound)
}

func TestInboundMessageInFull(t *testing.T) {
	h := newHarness(t)
	h.writeIn("sms/main")
	m := data[api.InboundList](t, h.do("GET", "/api/messages/inbound", "")).Items[0]
	if m.Id == 0 || m.ProviderId != "in-0" || m.From != "+8613800138000" || m.To != "10690" || m.Content != "STOP" ||
		m.Attributes["kind"] != "text" || m.HappenedAt.IsZero() || m.ReceivedAt.IsZero() {
		t.Errorf("got %+v", m)
	}
}

func TestUnmatchedReceiptsAreForOperators(t *testing.T) {
	h := newHarness(t)
	_, err := h.store.SaveReceipts(t.Context(), []core.Receipt{{
		Connector: "sms/main", DedupeKey: "k", ProviderID: "nobody's", Status: core.ReceiptUndelivered, At: time.Now(), ReceivedAt: time.Now(),
		Error: &core.SendError{Code: "unreachable", ProviderCode: "UNDELIV", Message: "phone is off", Fault: core.FaultMessage},
	}})
	must(t, err)
	list := data[api.ReceiptList](t, h.want(h.do("GET", "/api/messages/receipts/unmatched", ""), 200, 0))
	if len(list.Items) != 1 || list.Items[0].ProviderId != "nobody's" || list.Items[0].Status != "undelivered" || list.Items[0].Error.ProviderCode != "UNDELIV" {
		t.Errorf("got %+v", list.Items)
	}
	h.want(h.do("GET", "/api/messages/receipts/unmatched", "", as(h.other)...), 403, core.CodeForbidden)
}
