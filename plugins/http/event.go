package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// events finds the elements of a payload that are receipts, or inbound messages.
type events struct {
	under string // path below the callback URL; empty: any
	items path
	match []condition
	time  path
	clock clock
}

// condition is a value that an element must have.
type condition struct {
	at   path
	want string
}

func compileEvents(field string, c *eventConfig) (events, error) {
	var faults problems
	e := events{under: strings.TrimSuffix(c.Path, "/"), items: faults.path(field+".items", c.Items), time: faults.path(field+".time", c.Time)}
	if c.Path != "" && !strings.HasPrefix(c.Path, "/") {
		faults.add(field+".path", "does not begin with /", "write it as /status")
	}
	for _, key := range slices.Sorted(maps.Keys(c.Match)) {
		e.match = append(e.match, condition{faults.path(field+".match", key), c.Match[key]})
	}
	var err error
	e.clock, err = compileClock(field, c.TimeFormat, c.TimeZone)
	faults.note(err)
	return e, faults.err()
}

// concerns says whether a request to that path brings such events.
func (e *events) concerns(path string) bool {
	return e.under == "" || e.under == strings.TrimSuffix(path, "/")
}

// find returns the elements of a payload that fit.
func (e *events) find(payload any) []any {
	var out []any
	for _, item := range e.items.objects(payload) {
		if e.fits(item) {
			out = append(out, item)
		}
	}
	return out
}

func (e *events) fits(item any) bool {
	for _, c := range e.match {
		if c.at.text(item) != c.want {
			return false
		}
	}
	return true
}

// at reads the time of an element; zero where there is none.
func (e *events) timeOf(ctx context.Context, item any) time.Time {
	text := ""
	if len(e.time) > 0 {
		text = e.time.text(item)
	}
	if text == "" {
		return time.Time{}
	}
	t, err := e.clock.read(text)
	if err != nil {
		sdk.Logger(ctx).Warn("the time of an event cannot be read; it counts as now", "error", err)
	}
	return t
}

// optional reads a path that may be left out of the config.
func (p path) optional(item any) string {
	if len(p) == 0 {
		return ""
	}
	return p.text(item)
}

// receipts reads receipts.
type receipts struct {
	events

	id, attemptID, status, code, message, recipient path
	statuses                                        map[string]sdk.ReceiptStatus
}

var receiptStatuses = map[string]sdk.ReceiptStatus{
	"delivered": sdk.Delivered, "undelivered": sdk.Undelivered, "read": sdk.Read, "progress": sdk.Progress,
}

func compileReceipts(c *receiptsConfig) (*receipts, error) {
	const field = "callback.receipts"
	var faults problems
	e, err := compileEvents(field, &c.eventConfig)
	faults.note(err)
	r := &receipts{
		events: e,
		id:     faults.path(field+".id", c.ID), attemptID: faults.path(field+".attempt_id", c.AttemptID),
		status: faults.path(field+".status", c.Status), code: faults.path(field+".code", c.Code),
		message: faults.path(field+".message", c.Message), recipient: faults.path(field+".recipient", c.Recipient),
		statuses: make(map[string]sdk.ReceiptStatus, len(c.Statuses)),
	}
	if c.ID == "" && c.AttemptID == "" {
		faults.add(field+".id", "is missing", "give the path of the provider's id, or attempt_id: a receipt must find its message")
	}
	for _, key := range slices.Sorted(maps.Keys(c.Statuses)) {
		status, ok := receiptStatuses[c.Statuses[key]]
		if !ok {
			faults.add(field+".statuses."+key, fmt.Sprintf("%q is no status", c.Statuses[key]), "one of: delivered, undelivered, read, progress")
		}
		r.statuses[key] = status
	}
	return r, faults.err()
}

// at is the receipts that a request to that path brings; nil: none.
func (r *receipts) at(path string) *receipts {
	if r == nil || !r.concerns(path) {
		return nil
	}
	return r
}

// read makes receipts of a payload.
func (r *receipts) read(ctx context.Context, payload any) []sdk.DeliveryReceipt {
	if r == nil {
		return nil
	}
	var out []sdk.DeliveryReceipt
	for _, item := range r.find(payload) {
		one := sdk.DeliveryReceipt{
			ProviderID: r.id.optional(item), AttemptID: r.attemptID.optional(item),
			At: r.timeOf(ctx, item), Recipient: r.recipient.optional(item),
		}
		if one.ProviderID == "" && one.AttemptID == "" {
			sdk.Logger(ctx).Warn("a receipt without an id was passed over: nobody can tell which message it is about")
			continue
		}
		r.state(ctx, &one, item)
		out = append(out, one)
	}
	return out
}

// state fills in what became of the message. A status that the config does not know changes nothing,
// but is kept.
func (r *receipts) state(ctx context.Context, one *sdk.DeliveryReceipt, item any) {
	text := r.status.text(item)
	status, known := r.statuses[text]
	if !known {
		status, known = r.statuses["*"]
	}
	if !known {
		status = sdk.Progress
		sdk.Logger(ctx).Warn("a receipt has a status that callback.receipts.statuses does not name", "status", text)
	}
	one.Status = status
	if status == sdk.Undelivered {
		why := orElse(excerpt([]byte(r.message.optional(item))), "the provider reported "+orElse(text, "no status"))
		one.Err = sdk.Permanent(errors.New(why), sdk.Code(codeUndelivered), sdk.ProviderCode(orElse(r.code.optional(item), text)))
	}
}

// inbound reads messages of users.
type inbound struct {
	events

	id, from, to, text path
}

func compileInbound(c *inboundConfig) (*inbound, error) {
	const field = "callback.inbound"
	var faults problems
	e, err := compileEvents(field, &c.eventConfig)
	faults.note(err)
	if c.ID == "" && c.Time == "" {
		faults.add(field+".id", "is missing", "give the path of the provider's id, or time: a message that the provider repeats must not count twice")
	}
	return &inbound{
		events: e,
		id:     faults.path(field+".id", c.ID), from: faults.path(field+".from", c.From),
		to: faults.path(field+".to", c.To), text: faults.path(field+".text", c.Text),
	}, faults.err()
}

// at is the messages that a request to that path brings; nil: none.
func (in *inbound) at(path string) *inbound {
	if in == nil || !in.concerns(path) {
		return nil
	}
	return in
}

// read makes messages of a payload.
func (in *inbound) read(ctx context.Context, payload any) []sdk.Inbound {
	if in == nil {
		return nil
	}
	var out []sdk.Inbound
	for _, item := range in.find(payload) {
		one := sdk.Inbound{
			ProviderID: in.id.optional(item), From: in.from.text(item), To: in.to.optional(item),
			Text: in.text.text(item), At: in.timeOf(ctx, item),
		}
		if one.From == "" {
			sdk.Logger(ctx).Warn("an inbound message without a sender was passed over", "provider_id", one.ProviderID)
			continue
		}
		out = append(out, one)
	}
	return out
}
