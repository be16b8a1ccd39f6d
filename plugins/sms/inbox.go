package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
	"github.com/pigeonry/pigeonry/sdk"
)

// Bounds of what is taken from the SMSC.
const (
	// maxEvents is how many deliveries are handed to the gateway together.
	maxEvents = 256
	// inboxTick is how often waiting parts of long messages are looked at.
	inboxTick = 500 * time.Millisecond
)

// delivery is one deliver_sm whose sender waits for an answer.
type delivery struct {
	m       *smpp.ShortMessage
	answer  chan smpp.Status // takes the one answer without waiting
	settled atomic.Bool      // answered or given up, whichever came first
}

// reply answers, without waiting. false: the answer comes too late, and the SMSC will repeat.
func (d *delivery) reply(s smpp.Status) bool {
	if !d.settled.CompareAndSwap(false, true) {
		return false
	}
	d.answer <- s
	return true
}

// await gives the answer, or a refusal for the time being when ctx ends before.
func (d *delivery) await(ctx context.Context) smpp.Status {
	select {
	case status := <-d.answer:
		return status
	case <-ctx.Done():
	}
	if d.settled.CompareAndSwap(false, true) {
		return smpp.StatusTemporaryAppError
	}
	return <-d.answer
}

// inbox hands what the SMSC delivers to Receive, and holds each answer back until the gateway has
// stored the event. While Receive does not run, deliveries wait for it, then are refused for the time
// being, so that the SMSC repeats them.
type inbox struct {
	decoder
	log      *slog.Logger
	patience time.Duration // of a delivery with the gateway
	incoming chan *delivery

	// The rest belongs to the goroutine of Receive.
	parts    *reassembly
	repeats  *repeats
	unstored []sdk.Inbound // long messages on their way to the gateway
}

func newInbox(c config, log *slog.Logger) (*inbox, error) {
	zone, err := time.LoadLocation(c.ReceiptZone)
	if err != nil {
		return nil, sdk.FieldError("receipt_zone", fmt.Sprintf("%q is no time zone", c.ReceiptZone), "write it as Asia/Shanghai")
	}
	if c.ReceiptZone == "" {
		zone = nil
	}
	return &inbox{
		decoder:  decoder{alphabet: c.alphabet(), dataCoding: byte(c.DataCoding), receiptID: c.ReceiptID, zone: zone},
		log:      log,
		patience: c.ResponseTimeout,
		incoming: make(chan *delivery),
		parts:    newReassembly(),
		repeats:  newRepeats(),
	}, nil
}

// deliver is the handler of all sessions. It answers StatusOK only once the gateway has the event.
func (b *inbox) deliver(ctx context.Context, _ *smpp.Session, m *smpp.ShortMessage) smpp.Status {
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	d := &delivery{m: m, answer: make(chan smpp.Status, 1)}
	select {
	case b.incoming <- d:
		return d.await(ctx)
	case <-ctx.Done():
		return smpp.StatusTemporaryAppError
	}
}

// Receive takes deliveries, turns them into events and answers each once its event is stored.
func (c *connector) Receive(ctx context.Context, emit sdk.Emit) error {
	return c.inbox.receive(ctx, emit)
}

func (b *inbox) receive(ctx context.Context, emit sdk.Emit) error {
	tick := time.NewTicker(inboxTick)
	defer tick.Stop()
	for {
		var taken batch
		select {
		case d := <-b.incoming:
			b.add(&taken, d)
			b.fill(&taken)
		case <-tick.C:
			b.expire()
		case <-ctx.Done():
			b.parts.release()
			return context.Cause(ctx)
		}
		b.store(ctx, &taken, emit)
	}
}

// batch is what is handed to the gateway in one call, and who waits for it.
type batch struct {
	receipts []sdk.DeliveryReceipt
	inbound  []sdk.Inbound
	single   []*delivery // of inbound, one by one
	others   []*delivery
}

func (t *batch) size() int { return len(t.single) + len(t.others) }

// fill adds what else waits, up to maxEvents.
func (b *inbox) fill(taken *batch) {
	for taken.size() < maxEvents {
		select {
		case d := <-b.incoming:
			b.add(taken, d)
		default:
			return
		}
	}
}

// add turns a delivery into an event, or keeps it when it is a part of a longer message.
func (b *inbox) add(taken *batch, d *delivery) {
	if d.m.IsReceipt() {
		b.addReceipt(taken, d)
		return
	}
	p := b.part(d.m)
	if p.concat.Whole() {
		m := b.inbound([]part{p}, nil)
		m.DedupeKey = b.repeats.key(m)
		taken.inbound = append(taken.inbound, m)
		taken.single = append(taken.single, d)
		return
	}
	parts, waiting := b.parts.add(time.Now(), p, d)
	if parts != nil {
		b.long(b.inbound(parts, nil))
	}
	taken.others = append(taken.others, waiting...)
}

func (b *inbox) addReceipt(taken *batch, d *delivery) {
	r, ok := b.receipt(d.m)
	if !ok { // It names no message, and a repeat would not either.
		b.log.Warn("receipt without a message id", "text", string(d.m.Payload()))
		d.reply(smpp.StatusPermanentAppError)
		return
	}
	taken.receipts = append(taken.receipts, r)
	taken.others = append(taken.others, d)
}

// long queues a message of several parts. It stays queued until it is stored, since the SMSC need
// not repeat all of its parts.
func (b *inbox) long(m sdk.Inbound) {
	m.DedupeKey = rand.Text()
	b.unstored = append(b.unstored, m)
	if n := len(b.unstored) - maxAssemblies; n > 0 {
		b.log.Error("inbound messages dropped: the gateway does not take them", "count", n)
		b.unstored = b.unstored[n:]
	}
}

// expire queues what stayed incomplete.
func (b *inbox) expire() {
	for _, a := range b.parts.expire(time.Now()) {
		b.log.Warn("inbound message stays incomplete", "from", a.key.from, "missing", a.absent())
		b.long(b.inbound(a.parts(), a.absent()))
	}
}

// store hands the events to the gateway and answers the deliveries.
func (b *inbox) store(ctx context.Context, taken *batch, emit sdk.Emit) {
	events := sdk.Events{Receipts: taken.receipts, Inbound: append(taken.inbound, b.unstored...)}
	status := smpp.StatusOK
	if !events.Empty() {
		if err := emit(ctx, events); err != nil {
			b.log.Warn("events not stored", "error", err.Error())
			status = smpp.StatusTemporaryAppError
		} else {
			b.unstored = nil
		}
	}
	for i, d := range taken.single {
		if !d.reply(status) || status != smpp.StatusOK {
			b.repeats.remember(taken.inbound[i])
		}
	}
	for _, d := range taken.others {
		d.reply(status)
	}
}
