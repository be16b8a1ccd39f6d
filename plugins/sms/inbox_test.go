package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/segment"
	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
	"github.com/pigeonry/pigeonry/sdk"
)

// post is an inbox whose Receive runs in the bubble of synctest, with a gateway that stores
// everything while fail is nil.
type post struct {
	t     *testing.T
	inbox *inbox

	mu     sync.Mutex
	stored []sdk.Inbound
	fail   error
}

// emit is the gateway.
func (p *post) emit(_ context.Context, e sdk.Events) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail == nil {
		p.stored = append(p.stored, e.Inbound...)
	}
	return p.fail
}

// failWith sets what the gateway says from now on.
func (p *post) failWith(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = err
}

// all are the messages stored so far.
func (p *post) all() []sdk.Inbound {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.stored)
}

// withPost runs f with an inbox.
func withPost(t *testing.T, f func(p *post)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := configFor("127.0.0.1:2775")
		cfg.ResponseTimeout = 10 * time.Second
		in, err := newInbox(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		p := &post{t: t, inbox: in}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = in.receive(ctx, p.emit)
		}()
		f(p)
		cancel()
		<-done
	})
}

// deliver hands a message to the inbox and gives the answer, once there is one.
func (p *post) deliver(m *smpp.ShortMessage) <-chan smpp.Status {
	answer := make(chan smpp.Status, 1)
	go func() { answer <- p.inbox.deliver(p.t.Context(), nil, m) }()
	synctest.Wait()
	return answer
}

// texts are the texts stored so far.
func (p *post) texts() string {
	var all []string
	for _, m := range p.all() {
		text := m.Text
		if missing := m.Attributes["missing_parts"]; missing != "" {
			text += " without " + missing
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func (p *post) want(texts string) {
	p.t.Helper()
	if got := p.texts(); got != texts {
		p.t.Errorf("stored %q, want %q", got, texts)
	}
}

func (p *post) wantAnswer(answer <-chan smpp.Status, want smpp.Status) {
	p.t.Helper()
	synctest.Wait()
	select {
	case got := <-answer:
		if got != want {
			p.t.Errorf("answered %s, want %s", got, want)
		}
	default:
		p.t.Errorf("not answered, want %s", want)
	}
}

func (p *post) wantNoAnswer(answer <-chan smpp.Status) {
	p.t.Helper()
	synctest.Wait()
	select {
	case got := <-answer:
		p.t.Errorf("answered %s already", got)
	default:
	}
}

// inboundPart is part number of total of a text in letters.
func inboundPart(reference, total, number int, text string) *smpp.ShortMessage {
	header := segment.Header(segment.Concat{Reference: uint16(reference), Total: total, Number: number})
	return &smpp.ShortMessage{
		Source: smpp.Address{TON: 1, Addr: "4917"}, ESMClass: smpp.ESMClassUDHI, Message: append(header, text...),
	}
}

func TestPartsAreStoredTogether(t *testing.T) {
	withPost(t, func(p *post) {
		second := p.deliver(inboundPart(7, 3, 2, "b"))
		third := p.deliver(inboundPart(7, 3, 3, "c"))
		p.wantNoAnswer(second)
		p.want("")
		first := p.deliver(inboundPart(7, 3, 1, "a"))
		for _, answer := range []<-chan smpp.Status{first, second, third} {
			p.wantAnswer(answer, smpp.StatusOK)
		}
		p.want("abc")
		if got := p.all()[0]; got.From != "+4917" || got.Attributes["parts"] != "3" {
			p.t.Errorf("stored %+v", got)
		}
	})
}

// An SMSC that awaits each answer, but goes on after a refusal.
func TestPartRefusedThenCompleted(t *testing.T) {
	withPost(t, func(p *post) {
		first := p.deliver(inboundPart(7, 2, 1, "a"))
		<-time.After(partWait + inboxTick)
		p.wantAnswer(first, smpp.StatusTemporaryAppError)
		p.wantAnswer(p.deliver(inboundPart(7, 2, 2, "b")), smpp.StatusOK)
		p.want("ab")
		p.wantAnswer(p.deliver(inboundPart(7, 2, 1, "a")), smpp.StatusOK)
		p.want("ab") // The repeat is known.
	})
}

// An SMSC that repeats a part until it is taken, before it sends the next one.
func TestPartRepeatedBeforeTheNext(t *testing.T) {
	withPost(t, func(p *post) {
		first := p.deliver(inboundPart(7, 2, 1, "a"))
		<-time.After(partWait + inboxTick)
		p.wantAnswer(first, smpp.StatusTemporaryAppError)
		p.wantAnswer(p.deliver(inboundPart(7, 2, 1, "a")), smpp.StatusOK)
		p.want("")
		p.wantAnswer(p.deliver(inboundPart(7, 2, 2, "b")), smpp.StatusOK)
		p.want("ab")
	})
}

func TestIncompleteIsHandedOnInTheEnd(t *testing.T) {
	withPost(t, func(p *post) {
		p.deliver(inboundPart(7, 3, 1, "a"))
		p.deliver(inboundPart(7, 3, 3, "c"))
		<-time.After(partPatience + time.Second)
		p.want("ac without 2")
		p.wantAnswer(p.deliver(inboundPart(7, 3, 1, "a")), smpp.StatusOK)
		p.want("ac without 2")
	})
}

// The 8 bits of a reference come round: other octets in the same place are another message.
func TestSameReferenceOtherMessage(t *testing.T) {
	withPost(t, func(p *post) {
		old := p.deliver(inboundPart(7, 2, 1, "old"))
		first := p.deliver(inboundPart(7, 2, 1, "a"))
		p.wantAnswer(old, smpp.StatusTemporaryAppError)
		p.wantAnswer(p.deliver(inboundPart(7, 2, 2, "b")), smpp.StatusOK)
		p.wantAnswer(first, smpp.StatusOK)
		<-time.After(inboxTick)
		p.want("ab, old without 2")
	})
}

func TestNotStoredIsRefused(t *testing.T) {
	withPost(t, func(p *post) {
		p.failWith(errors.New("disk full"))
		first := p.deliver(inboundPart(7, 2, 1, "a"))
		second := p.deliver(inboundPart(7, 2, 2, "b"))
		p.wantAnswer(first, smpp.StatusTemporaryAppError)
		p.wantAnswer(second, smpp.StatusTemporaryAppError)
		p.failWith(nil)
		<-time.After(inboxTick) // It is kept, and stored with the next tick, once.
		p.want("ab")
		p.wantAnswer(p.deliver(inboundPart(7, 2, 1, "a")), smpp.StatusOK)
		p.want("ab")
	})
}

func TestReassemblyIsBounded(t *testing.T) {
	now := time.Now()
	add := func(r *reassembly, from, octets int) {
		p := part{from: fmt.Sprint(from), octets: make([]byte, octets), concat: segment.Concat{Total: 2, Number: 1}}
		r.add(now, p, &delivery{answer: make(chan smpp.Status, 1)})
	}
	for name, tc := range map[string]struct{ octets, keep int }{
		"in messages": {1, maxAssemblies},
		"in octets":   {maxAssemblyBytes/10 - 2*slotBytes, 10},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReassembly()
			for i := range tc.keep + 5 {
				add(r, i, tc.octets)
			}
			if n := len(r.order); n != tc.keep || n != len(r.known) {
				t.Errorf("%d messages kept, want %d", n, tc.keep)
			}
			if spilt := r.expire(now); len(spilt) != 5 || spilt[0].key.from != "0" {
				t.Errorf("%d messages handed on to make room, want the 5 oldest", len(spilt))
			}
			late := now.Add(partPatience)
			if n := len(r.expire(late)); n != tc.keep {
				t.Errorf("%d messages handed on incomplete, want %d", n, tc.keep)
			}
			if again := r.expire(late.Add(partPatience)); len(again) != 0 || len(r.order) != 0 || r.bytes != 0 {
				t.Errorf("kept at the end: %d messages of %d octets", len(r.order), r.bytes)
			}
		})
	}
}

func TestInboundTexts(t *testing.T) {
	sar := func(total, number byte) smpp.TLVs {
		return smpp.TLVs{
			{Tag: smpp.TagSARMsgRefNum, Value: []byte{0, 7}},
			smpp.OctetTLV(smpp.TagSARTotalSegments, total), smpp.OctetTLV(smpp.TagSARSegmentSeqnum, number),
		}
	}
	for name, tc := range map[string]struct {
		messages []*smpp.ShortMessage
		want     string
	}{
		"GSM 7-bit": {[]*smpp.ShortMessage{{Message: []byte{0x00, 0x1B, 0x65}}}, "@€"},
		"UCS-2":     {[]*smpp.ShortMessage{{DataCoding: 8, Message: []byte{0x4E, 0x2D, 0xD8, 0x3D, 0xDE, 0x00}}}, "中😀"},
		"Latin-1":   {[]*smpp.ShortMessage{{DataCoding: 3, Message: []byte{'@', 0xE9}}}, "@é"},
		"flash":     {[]*smpp.ShortMessage{{DataCoding: 0xF0, Message: []byte{0x00}}}, "@"},
		"binary":    {[]*smpp.ShortMessage{{DataCoding: 4, Message: []byte{0xDE, 0xAD}}}, "dead"},
		"payload": {[]*smpp.ShortMessage{{
			TLVs: smpp.TLVs{{Tag: smpp.TagMessagePayload, Value: []byte("long")}},
		}}, "long"},
		"sar parameters": {[]*smpp.ShortMessage{
			{Message: []byte("b"), TLVs: sar(2, 2)}, {Message: []byte("a"), TLVs: sar(2, 1)},
		}, "ab"},
		"a surrogate pair cut in two": {[]*smpp.ShortMessage{
			{DataCoding: 8, Message: []byte{0xD8, 0x3D}, TLVs: sar(2, 1)},
			{DataCoding: 8, Message: []byte{0xDE, 0x00}, TLVs: sar(2, 2)},
		}, "😀"},
		"ports before the text": {[]*smpp.ShortMessage{{
			ESMClass: smpp.ESMClassUDHI, Message: []byte{6, 5, 4, 0, 1, 0, 2, 'x'},
		}}, "x"},
		"a receipt that anybody could write": {[]*smpp.ShortMessage{{
			Message: []byte("id:7 stat:DELIVRD"),
		}}, "id:7 stat:DELIVRD"},
	} {
		t.Run(name, func(t *testing.T) {
			withPost(t, func(p *post) {
				for _, m := range tc.messages {
					p.deliver(m)
				}
				p.want(tc.want)
			})
		})
	}
}

func TestReceiptWithoutAnID(t *testing.T) {
	withPost(t, func(p *post) {
		answer := p.deliver(&smpp.ShortMessage{ESMClass: smpp.ESMClassReceipt, Message: []byte("stat:DELIVRD")})
		p.wantAnswer(answer, smpp.StatusPermanentAppError)
		p.want("")
	})
}

func TestReceiptZone(t *testing.T) {
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	m := &smpp.ShortMessage{ESMClass: smpp.ESMClassReceipt, Message: []byte("id:7 done date:2603012000 stat:DELIVRD")}
	r, ok := (&decoder{zone: zone}).receipt(m)
	if want := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC); !ok || !r.At.Equal(want) {
		t.Errorf("at %s, want %s", r.At, want)
	}
	if r, _ := (&decoder{}).receipt(m); !r.At.IsZero() {
		t.Errorf("at %s without a zone, want the time of arrival", r.At)
	}
}

func TestPaceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		p := newPace(time.Second, 8, func(n int) { sizes = append(sizes, n) })
		p.throttled()
		p.throttled() // What was under way as well: it counts once.
		began := time.Now()
		if err := p.wait(t.Context()); err != nil || time.Since(began) != time.Second {
			t.Errorf("waited %s, %v; want a second", time.Since(began), err)
		}
		p.throttled()
		p.throttled()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := p.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the deadline", err)
		}
		for range 5 {
			<-time.After(time.Second)
			p.throttled()
		}
		if fmt.Sprint(sizes) != "[4 2 1]" {
			t.Errorf("windows %v, want 4, 2, 1 and no less", sizes)
		}
		for range 100 {
			p.accepted()
		}
		if p.size() != 8 {
			t.Errorf("window %d, want 8 again", p.size())
		}
	})
}
