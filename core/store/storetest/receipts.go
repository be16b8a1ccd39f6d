package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// receipt is what a provider says about one of its ids.
func receipt(providerID string, status core.ReceiptStatus) core.Receipt {
	r := core.Receipt{
		Connector: connector, DedupeKey: providerID + "/" + string(status), ProviderID: providerID, Status: status,
		At: at(time.Minute), ReceivedAt: at(time.Minute + time.Second),
	}
	if status == core.ReceiptUndelivered {
		r.Error = &core.SendError{Code: "unreachable", ProviderCode: "UNDELIV", Message: "phone is off", Fault: core.FaultMessage}
	}
	return r
}

// echoed is a receipt by our own reference.
func echoed(id core.RecordID, attempt int, status core.ReceiptStatus) core.Receipt {
	r := receipt("", status)
	r.Record, r.Attempt = id, attempt
	r.DedupeKey = fmt.Sprintf("%d.%d/%s", id, attempt, status)
	return r
}

// receipts stores receipts.
func (f *fixture) receipts(receipts ...core.Receipt) []store.Applied {
	f.Helper()
	applied, err := f.SaveReceipts(f.ctx, receipts)
	f.check("SaveReceipts", err)
	return applied
}

// inbound lists inbound messages.
func (f *fixture) inbound(filter store.InboundFilter) []core.Inbound {
	f.Helper()
	got, err := f.InboundMessages(f.ctx, filter)
	f.check("InboundMessages", err)
	return got
}

// wantInbound reports another list of texts.
func (f *fixture) wantInbound(filter store.InboundFilter, want ...string) []core.Inbound {
	f.Helper()
	got := f.inbound(filter)
	texts := make([]string, len(got))
	for i := range got {
		texts[i] = got[i].Text
	}
	if !slices.Equal(texts, want) {
		f.Errorf("%+v: listed %q, want %q", filter, texts, want)
	}
	return got
}

var receiptTests = []test{
	{"a receipt finds its message by connector and provider id", func(f *fixture) {
		id := f.sent("p-1")
		applied := f.receipts(receipt("p-1", core.ReceiptDelivered))
		equal(f, "applied", len(applied), 1)
		m := f.wantStatus(id, core.StatusDelivered)
		a := applied[0]
		equal(f, "record", a.Record, id)
		equal(f, "trace", a.TraceID, m.TraceID)
		equal(f, "account", a.Account, f.account)
		equal(f, "attempt", a.Attempt, 1)
		equal(f, "before", a.Before, core.StatusSent)
		equal(f, "after", a.After, core.StatusDelivered)
		equal(f, "receipt", a.Receipt.ProviderID, "p-1")
		equalTime(f, "updated", m.UpdatedAt, at(time.Minute+time.Second))
	}},
	{"a receipt finds its message by record and attempt", func(f *fixture) {
		id := f.sent()
		equal(f, "applied", len(f.receipts(echoed(id, 1, core.ReceiptDelivered))), 1)
		f.wantStatus(id, core.StatusDelivered)
	}},
	{"a receipt of another connector finds nothing", func(f *fixture) {
		id := f.sent("p-1")
		byID, byRecord := receipt("p-1", core.ReceiptDelivered), echoed(id, 1, core.ReceiptDelivered)
		byID.Connector, byRecord.Connector = "sms/backup", "sms/backup"
		equal(f, "applied", len(f.receipts(byID, byRecord)), 0)
		f.wantStatus(id, core.StatusSent)
	}},
	{"provider ids are not remembered where no receipts are expected", func(f *fixture) {
		id := f.sending()
		t := accepted(id, 1, "p-1")
		t.ExpectReceipts = false
		f.record(t0, t)
		equal(f, "applied", len(f.receipts(receipt("p-1", core.ReceiptDelivered))), 0)
	}},
	{"a receipt of an attempt that never was finds nothing", func(f *fixture) {
		id := f.sent("p-1")
		equal(f, "applied", len(f.receipts(echoed(id, 2, core.ReceiptDelivered), echoed(id, 0, core.ReceiptRead), echoed(id+500, 1, core.ReceiptRead))), 0)
		f.wantStatus(id, core.StatusSent)
	}},
	{"an undelivered message says why", func(f *fixture) {
		id := f.sent("p-1")
		f.receipts(receipt("p-1", core.ReceiptUndelivered))
		m, attempts := f.get(id)
		equal(f, "status", m.Status, core.StatusUndelivered)
		equal(f, "error", m.Error.Code, "unreachable")
		equal(f, "the attempt was accepted", attempts[0].Outcome, core.OutcomeAccepted)
		equal(f, "and had no error", attempts[0].Error == nil, true)
	}},
	{"receipts in any order raise the status or change nothing", func(f *fixture) {
		const delivered, undelivered, read, progress = core.ReceiptDelivered, core.ReceiptUndelivered, core.ReceiptRead, core.ReceiptProgress
		for _, x := range []struct {
			receipts []core.ReceiptStatus
			want     core.Status
		}{
			{[]core.ReceiptStatus{progress}, core.StatusSent},
			{[]core.ReceiptStatus{progress, delivered, progress}, core.StatusDelivered},
			{[]core.ReceiptStatus{delivered, read}, core.StatusRead},
			{[]core.ReceiptStatus{read, delivered}, core.StatusRead},
			{[]core.ReceiptStatus{delivered, undelivered}, core.StatusDelivered},
			{[]core.ReceiptStatus{undelivered, delivered}, core.StatusUndelivered},
			{[]core.ReceiptStatus{undelivered, read}, core.StatusRead},
			{[]core.ReceiptStatus{"brand-new"}, core.StatusSent},
		} {
			f.next++
			name := core.NewTraceID(f.next, 0)
			id := f.sent(string(name))
			status := core.StatusSent
			for i, s := range x.receipts {
				r := receipt(string(name), s)
				r.DedupeKey += string(rune('a' + i))
				applied := f.receipts(r)
				equal(f, "applied", len(applied), 1)
				equal(f, "before", applied[0].Before, status)
				status = applied[0].After
			}
			equal(f, "last after", status, x.want)
			f.wantStatus(id, x.want)
		}
	}},
	{"a repeat changes nothing and is not returned", func(f *fixture) {
		id := f.sent("p-1")
		r := receipt("p-1", core.ReceiptDelivered)
		equal(f, "twice in one call", len(f.receipts(r, r)), 1)
		equal(f, "again", len(f.receipts(r)), 0)
		f.wantStatus(id, core.StatusDelivered)
	}},
	{"dedupe keys of two connectors have nothing to do with each other", func(f *fixture) {
		f.sent("p-1")
		foreign := receipt("p-1", core.ReceiptDelivered)
		foreign.Connector = "sms/backup"
		equal(f, "foreign", len(f.receipts(foreign)), 0)
		equal(f, "own", len(f.receipts(receipt("p-1", core.ReceiptDelivered))), 1)
	}},
	{"without a dedupe key nothing counts as a repeat", func(f *fixture) {
		f.sent("p-1")
		r := receipt("p-1", core.ReceiptDelivered)
		r.DedupeKey = ""
		equal(f, "applied", len(f.receipts(r, r)), 2)
	}},
	{"a receipt that comes before the attempt's end waits and is applied with it", func(f *fixture) {
		for _, early := range []func(core.RecordID) core.Receipt{
			func(core.RecordID) core.Receipt { return receipt("early", core.ReceiptDelivered) },
			func(id core.RecordID) core.Receipt { return echoed(id, 1, core.ReceiptDelivered) },
		} {
			id := f.sending()
			equal(f, "applied at once", len(f.receipts(early(id))), 0)
			f.wantStatus(id, core.StatusSending)
			counted, applied := f.record(at(2*time.Minute), accepted(id, 1, "early"))
			equal(f, "counted", counted, true)
			equal(f, "applied with the end", len(applied), 1)
			equal(f, "before", applied[0].Before, core.StatusSent)
			equal(f, "after", applied[0].After, core.StatusDelivered)
			equal(f, "receipt", applied[0].Receipt.Status, core.ReceiptDelivered)
			equalTime(f, "received", applied[0].Receipt.ReceivedAt, at(time.Minute+time.Second))
			f.wantStatus(id, core.StatusDelivered)
			equal(f, "the repeat", len(f.receipts(early(id))), 0)
			f.record(at(3*time.Minute), accepted(f.sending(), 1, "early")) // the id serves the next round
		}
	}},
	{"several early receipts are applied in their order", func(f *fixture) {
		id := f.sending()
		f.receipts(receipt("p-1", core.ReceiptProgress), receipt("p-1", core.ReceiptDelivered), echoed(id, 1, core.ReceiptRead))
		_, applied := f.record(at(time.Minute), accepted(id, 1, "p-1"))
		equal(f, "applied", len(applied), 3)
		f.wantStatus(id, core.StatusRead)
	}},
	{"a receipt settles an uncertain message", func(f *fixture) {
		id := f.sending()
		t := unseen(id, 1, at(time.Hour))
		t.ProviderIDs, t.ExpectReceipts = []string{"p-1"}, true
		f.record(t0, t)
		f.receipts(receipt("p-1", core.ReceiptDelivered))
		m := f.wantStatus(id, core.StatusDelivered)
		equal(f, "no error", m.Error == nil, true)
		equal(f, "a provider took it", m.SentAt.IsZero(), false)
		f.wantNextWake(time.Time{})
	}},
	{"an early receipt keeps an unseen attempt from being repeated", func(f *fixture) {
		id := f.sending()
		f.receipts(echoed(id, 1, core.ReceiptDelivered))
		counted, applied := f.record(at(lease), again(id, 1, at(2*lease)))
		equal(f, "counted", counted, true)
		equal(f, "applied", len(applied), 1)
		equal(f, "after", applied[0].After, core.StatusDelivered)
		f.wantStatus(id, core.StatusDelivered)
		f.wantNextWake(time.Time{})
	}},
	{"that a former attempt did not arrive does not judge the latest", func(f *fixture) {
		id := f.secondAttempt("first")
		f.record(at(time.Minute), accepted(id, 2, "second"))
		applied := f.receipts(receipt("first", core.ReceiptUndelivered))
		equal(f, "applied", len(applied), 1)
		equal(f, "attempt", applied[0].Attempt, 1)
		f.wantStatus(id, core.StatusSent)
	}},
	{"that a former attempt did arrive settles the message", func(f *fixture) {
		id := f.secondAttempt("first")
		f.receipts(receipt("first", core.ReceiptDelivered))
		f.wantStatus(id, core.StatusDelivered)
		counted, _ := f.record(at(time.Minute), accepted(id, 2, "second"))
		equal(f, "the second's end counted", counted, false)
		f.wantStatus(id, core.StatusDelivered)
		f.wantNextWake(time.Time{})
	}},
	{"a late receipt spares a queued message its next attempt", func(f *fixture) {
		id := f.sending()
		end := again(id, 1, at(time.Hour))
		end.ProviderIDs, end.ExpectReceipts = []string{"first"}, true
		f.record(t0, end)
		f.wantStatus(id, core.StatusQueued)
		f.receipts(receipt("first", core.ReceiptDelivered))
		f.wantStatus(id, core.StatusDelivered)
		f.wantNextWake(time.Time{})
		won, err := f.Claim(f.ctx, []store.Claim{{Record: id, Attempt: 2, Connector: connector}}, at(2*time.Hour), at(3*time.Hour))
		f.check("Claim", err)
		equal(f, "claimed again", won[0], false)
	}},
	{"a late end makes its provider ids known", func(f *fixture) {
		id := f.sending()
		f.record(t0, again(id, 1, at(time.Second)))
		f.claim(id, 2, at(time.Second))
		f.record(at(time.Minute), accepted(id, 1, "late"))
		equal(f, "applied", len(f.receipts(receipt("late", core.ReceiptDelivered))), 1)
		f.wantStatus(id, core.StatusDelivered)
	}},
	{"a provider that uses an id again means the newer message", func(f *fixture) {
		old, young := f.sent("p-1"), f.sent("p-1")
		f.receipts(receipt("p-1", core.ReceiptDelivered))
		f.wantStatus(old, core.StatusSent)
		f.wantStatus(young, core.StatusDelivered)
	}},
	{"inbound messages are stored, repeats dropped", func(f *fixture) {
		in := core.Inbound{
			Connector: connector, DedupeKey: "k", From: "+8613800000001", To: "10690", Text: "STOP",
			Attributes: map[string]string{"a": "b"}, At: t0, ReceivedAt: t0,
		}
		f.check("SaveInbound", f.SaveInbound(f.ctx, []core.Inbound{in, in}))
		f.check("SaveInbound again", f.SaveInbound(f.ctx, []core.Inbound{in}))
		got := f.inbound(store.InboundFilter{Limit: 10})
		equal(f, "stored", len(got), 1)
		m := got[0]
		equal(f, "connector", m.Connector, connector)
		equal(f, "from", m.From, in.From)
		equal(f, "to", m.To, in.To)
		equal(f, "text", m.Text, in.Text)
		equal(f, "attribute", m.Attributes["a"], "b")
		equalTime(f, "at", m.At, t0)
		equalTime(f, "received", m.ReceivedAt, t0)
	}},
	{"inbound messages are listed from the newest on, those of some connectors, of a channel, of a sender", func(f *fixture) {
		var all []core.Inbound
		for i, id := range []core.ConnectorID{"sms/a", "sms/b", "email/a", "sms/a"} {
			all = append(all, core.Inbound{
				Connector: id, DedupeKey: fmt.Sprint(i), From: fmt.Sprintf("from-%d", i%2), Text: fmt.Sprint(i), At: t0, ReceivedAt: at(time.Duration(i) * time.Second),
			})
			f.check("SaveInbound", f.SaveInbound(f.ctx, all[i:]))
		}
		first := f.wantInbound(store.InboundFilter{Limit: 3}, "3", "2", "1")
		f.wantInbound(store.InboundFilter{Before: first[2].ID, Limit: 3}, "0")
		f.wantInbound(store.InboundFilter{Connectors: []core.ConnectorID{"sms/a", "email/a"}, Limit: 9}, "3", "2", "0")
		f.wantInbound(store.InboundFilter{Connectors: []core.ConnectorID{}, Limit: 9})
		f.wantInbound(store.InboundFilter{Channel: "sms", Limit: 9}, "3", "1", "0")
		f.wantInbound(store.InboundFilter{From: "from-0", Limit: 9}, "2", "0")
	}},
	{"receipts that wait are listed until they find their message", func(f *fixture) {
		f.receipts(receipt("p-1", core.ReceiptDelivered), receipt("p-2", core.ReceiptUndelivered))
		waiting, err := f.WaitingReceipts(f.ctx, 0, 10)
		f.check("WaitingReceipts", err)
		equal(f, "waiting", len(waiting), 2)
		equal(f, "newest", waiting[0].ProviderID, "p-2")
		equal(f, "its error", waiting[0].Error.Code, "unreachable")
		older, err := f.WaitingReceipts(f.ctx, waiting[0].ID, 10)
		f.check("WaitingReceipts", err)
		equal(f, "older", len(older), 1)
		f.sent("p-2")
		waiting, err = f.WaitingReceipts(f.ctx, 0, 10)
		f.check("WaitingReceipts", err)
		equal(f, "waiting", len(waiting), 1)
		equal(f, "left", waiting[0].ProviderID, "p-1")
	}},
	{"nothing to store is no error", func(f *fixture) {
		equal(f, "applied", len(f.receipts()), 0)
		f.check("SaveInbound", f.SaveInbound(f.ctx, nil))
	}},
}

// secondAttempt brings a message to its second attempt; the first's provider id is known.
func (f *fixture) secondAttempt(firstID string) core.RecordID {
	f.Helper()
	id := f.sending()
	t := again(id, 1, at(time.Second))
	t.ProviderIDs, t.ExpectReceipts = []string{firstID}, true
	f.record(t0, t)
	if !f.claim(id, 2, at(time.Second)) {
		f.Fatal("the second claim was lost")
	}
	return id
}

var partTests = []test{
	{"a message of several parts is delivered when every part is", func(f *fixture) {
		id := f.sent("a", "b", "c")
		for _, x := range []struct {
			part string
			want core.Status
		}{{"b", core.StatusSent}, {"a", core.StatusSent}, {"c", core.StatusDelivered}} {
			applied := f.receipts(receipt(x.part, core.ReceiptDelivered))
			equal(f, "after", applied[0].After, x.want)
			f.wantStatus(id, x.want)
		}
	}},
	{"it is undelivered when one part is", func(f *fixture) {
		id := f.sent("a", "b")
		f.receipts(receipt("a", core.ReceiptDelivered), receipt("b", core.ReceiptUndelivered))
		m := f.wantStatus(id, core.StatusUndelivered)
		equal(f, "error", m.Error.Code, "unreachable")
	}},
	{"a part counts once, whatever is said of it", func(f *fixture) {
		id := f.sent("a", "b")
		f.receipts(receipt("a", core.ReceiptProgress), receipt("a", core.ReceiptDelivered), receipt("a", core.ReceiptRead))
		f.wantStatus(id, core.StatusSent)
		f.receipts(receipt("b", core.ReceiptDelivered))
		f.wantStatus(id, core.StatusDelivered)
		f.receipts(receipt("b", core.ReceiptRead))
		f.wantStatus(id, core.StatusRead)
	}},
	{"what was heard of a part does not go back", func(f *fixture) {
		id := f.sent("a", "b")
		f.receipts(receipt("a", core.ReceiptRead), receipt("a", core.ReceiptDelivered), receipt("b", core.ReceiptRead))
		f.wantStatus(id, core.StatusRead)
	}},
	{"early receipts of parts wait for all of them", func(f *fixture) {
		id := f.sending()
		f.receipts(receipt("a", core.ReceiptDelivered))
		_, applied := f.record(at(time.Second), accepted(id, 1, "a", "b"))
		equal(f, "applied", len(applied), 1)
		f.wantStatus(id, core.StatusSent)
		f.receipts(receipt("b", core.ReceiptDelivered))
		f.wantStatus(id, core.StatusDelivered)
	}},
	{"all provider ids are in the history", func(f *fixture) {
		id := f.sent("a", "b")
		m, attempts := f.get(id)
		equal(f, "the message's own", m.ProviderID, "a")
		equal(f, "the attempt's", len(attempts[0].ProviderIDs), 2)
	}},
}
