package storetest

import (
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

var intakeTests = []test{
	{"reserved ids grow, have no gaps and are below 2^53", func(f *fixture) {
		last := core.RecordID(0)
		for _, n := range []int{1, 5, 1000, 1} {
			first, err := f.ReserveIDs(f.ctx, n)
			f.check("ReserveIDs", err)
			if first <= last {
				f.Errorf("ids from %d were reserved after %d", first, last)
			}
			last = first + core.RecordID(n) - 1
		}
		if last >= 1<<53 {
			f.Errorf("id %d is not exact in JavaScript", last)
		}
	}},
	{"what is accepted is loaded as it was given, alone and among many", func(f *fixture) {
		for _, others := range []int{0, 500} {
			full, plain := f.full(), f.message()
			group := []core.Message{full, plain}
			for range others {
				group = append(group, f.message())
			}
			f.accept(group...)
			loaded, err := f.Load(f.ctx, []core.RecordID{plain.ID, full.ID + 1000, full.ID})
			f.check("Load", err)
			if len(loaded) != 2 {
				f.Fatalf("loaded %d messages, want the two that exist", len(loaded))
			}
			for i, want := range []core.Message{plain, full} {
				want.Status, want.UpdatedAt = core.StatusQueued, want.CreatedAt
				if !reflect.DeepEqual(inUTC(loaded[i]), inUTC(want)) {
					f.Errorf("message %d:\n got %+v\nwant %+v", i, loaded[i], want)
				}
			}
		}
	}},
	{"a message may be of several megabytes", func(f *fixture) {
		m := f.message(func(m *core.Message) { m.Content.Text = strings.Repeat("long ", 1<<20) })
		f.accept(m)
		loaded, err := f.Load(f.ctx, []core.RecordID{m.ID})
		f.check("Load", err)
		if len(loaded) != 1 || loaded[0].Content.Text != m.Content.Text {
			f.Errorf("loaded %d messages, or another text", len(loaded))
		}
	}},
	{"a message with a time is scheduled and in no envelope", func(f *fixture) {
		later := f.message(func(m *core.Message) { m.NextAttempt = at(time.Hour) })
		now := f.message()
		f.equalIDs("enveloped", recordsOf(f.accept(later, now)), []core.RecordID{now.ID})
		f.wantStatus(now.ID, core.StatusQueued)
		m := f.wantStatus(later.ID, core.StatusScheduled)
		equalTime(f, "scheduled for", m.NextAttempt, at(time.Hour))
	}},
	{"envelopes hold up to 100 messages of one channel and lane, in order", func(f *fixture) {
		var messages []core.Message
		want := map[core.Lane][]core.RecordID{}
		for i := range 450 {
			m := f.message(func(m *core.Message) {
				m.Priority = core.Priority(i % 2 * 9)
				m.Channel = []string{"sms", "email", "sms"}[i%3]
			})
			messages = append(messages, m)
			if m.Channel == "sms" {
				want[m.Lane()] = append(want[m.Lane()], m.ID)
			}
		}
		got := map[core.Lane][]core.RecordID{}
		last := int64(0)
		for _, e := range f.accept(messages...) {
			if len(e.Records) == 0 || len(e.Records) > core.MaxEnvelope {
				f.Errorf("an envelope holds %d messages", len(e.Records))
			}
			if e.ID <= last {
				f.Errorf("envelope id %d follows %d", e.ID, last)
			}
			last = e.ID
			if e.Channel == "sms" {
				got[e.Lane] = append(got[e.Lane], e.Records...)
			}
		}
		f.equalIDs("urgent", got[core.LaneUrgent], want[core.LaneUrgent])
		f.equalIDs("low", got[core.LaneLow], want[core.LaneLow])
	}},
	{"a taken key leaves out its submission alone", func(f *fixture) {
		first, repeat, neighbour := f.message(), f.message(), f.message()
		_, _, err := f.Accept(f.ctx, []store.Submission{f.keyed("k", first)})
		f.check("Accept", err)
		envelopes, refused, err := f.Accept(f.ctx, []store.Submission{f.keyed("k", repeat), f.keyed("other", neighbour)})
		f.check("Accept", err)
		if !errors.Is(refused[0], store.ErrKeyTaken) || refused[1] != nil {
			f.Errorf("submissions were answered %v, want the first refused with ErrKeyTaken", refused)
		}
		f.equalIDs("enveloped", recordsOf(envelopes), []core.RecordID{neighbour.ID})
		_, _, err = f.Message(f.ctx, f.account, repeat.ID)
		f.wantKind("the message that was left out", err, core.KindNotFound)
	}},
	{"beside a taken key everything else of the call is stored", func(f *fixture) {
		f.check("SaveKey", f.SaveKey(f.ctx, *f.keyed("k", f.message()).Key))
		repeat := f.message()
		f.next++
		batch := core.Batch{ID: core.BatchID(f.next), Account: f.account, Channel: "sms", Accepted: 2, CreatedAt: t0}
		full, later := f.full(), f.message(func(m *core.Message) { m.NextAttempt = at(time.Hour) })
		full.Batch, later.Batch = batch.ID, batch.ID
		envelopes, refused, err := f.Accept(f.ctx, []store.Submission{
			f.keyed("k", repeat), {Account: f.account, Batch: &batch, Messages: []core.Message{full, later}},
		})
		f.check("Accept", err)
		if !errors.Is(refused[0], store.ErrKeyTaken) || refused[1] != nil {
			f.Errorf("submissions were answered %v, want the first refused with ErrKeyTaken", refused)
		}
		f.equalIDs("enveloped", recordsOf(envelopes), []core.RecordID{full.ID})
		f.wantUnpublished(at(time.Minute), 10, envelopes...)
		equal(f, "content", f.wantStatus(full.ID, core.StatusQueued).Content.Text, full.Content.Text)
		f.wantStatus(later.ID, core.StatusScheduled)
		equal(f, "listed as scheduled", len(f.list(store.Filter{Status: core.StatusScheduled, Limit: 10})), 1)
		_, counts, err := f.Batch(f.ctx, f.account, batch.ID)
		f.check("Batch", err)
		equal(f, "of the batch", counts[core.StatusQueued]+counts[core.StatusScheduled], 2)
		_, _, err = f.Message(f.ctx, f.account, repeat.ID)
		f.wantKind("the message that was left out", err, core.KindNotFound)
	}},
	{"of two submissions with one key in one call the first is taken", func(f *fixture) {
		first, second := f.message(), f.message()
		_, refused, err := f.Accept(f.ctx, []store.Submission{f.keyed("k", first), f.keyed("k", second)})
		f.check("Accept", err)
		if refused[0] != nil || !errors.Is(refused[1], store.ErrKeyTaken) {
			f.Errorf("submissions were answered %v", refused)
		}
	}},
	{"a key belongs to its account", func(f *fixture) {
		mine, theirs := f.keyed("k", f.message()), f.keyed("k", f.message())
		theirs.Account, theirs.Key.Account, theirs.Messages[0].Account = f.other, f.other, f.other
		_, refused, err := f.Accept(f.ctx, []store.Submission{mine, theirs})
		f.check("Accept", err)
		if refused[0] != nil || refused[1] != nil {
			f.Errorf("submissions were answered %v, want both taken", refused)
		}
	}},
	{"the answer to a key is found until it expires", func(f *fixture) {
		s := f.keyed("k", f.message())
		_, _, err := f.Accept(f.ctx, []store.Submission{s})
		f.check("Accept", err)
		got, err := f.FindKey(f.ctx, f.account, "k", at(23*time.Hour))
		f.check("FindKey", err)
		equal(f, "body hash", got.BodyHash, s.Key.BodyHash)
		equal(f, "status", got.Status, 202)
		equal(f, "response", string(got.Response), `{"code":0}`)
		equalTime(f, "expires", got.ExpiresAt, s.Key.ExpiresAt)
		_, err = f.FindKey(f.ctx, f.account, "k", at(24*time.Hour))
		f.wantKind("an expired key", err, core.KindNotFound)
		_, err = f.FindKey(f.ctx, f.account, "nobody's", t0)
		f.wantKind("an unknown key", err, core.KindNotFound)
		_, err = f.FindKey(f.ctx, f.other, "k", t0)
		f.wantKind("another account's key", err, core.KindNotFound)
	}},
	{"a key that expired is free even before the purge", func(f *fixture) {
		s := f.keyed("k", f.message())
		f.check("SaveKey", f.SaveKey(f.ctx, *s.Key))
		s.Key.CreatedAt, s.Key.ExpiresAt, s.Key.Status = at(25*time.Hour), at(49*time.Hour), 201
		_, refused, err := f.Accept(f.ctx, []store.Submission{s})
		f.check("Accept", err)
		f.check("the submission", refused[0])
		got, err := f.FindKey(f.ctx, f.account, "k", at(26*time.Hour))
		f.check("FindKey", err)
		equal(f, "status", got.Status, 201)
	}},
	{"a key is saved once", func(f *fixture) {
		k := *f.keyed("k", f.message()).Key
		f.check("SaveKey", f.SaveKey(f.ctx, k))
		if err := f.SaveKey(f.ctx, k); !errors.Is(err, store.ErrKeyTaken) {
			f.Errorf("the second SaveKey: %v, want ErrKeyTaken", err)
		}
	}},
	{"a submission that fails changes nothing, nor do those beside it", func(f *fixture) {
		old := f.message()
		f.accept(old)
		fresh := f.message()
		if _, _, err := f.Accept(f.ctx, []store.Submission{f.keyed("k", fresh), {Account: f.account, Messages: []core.Message{old}}}); err == nil {
			f.Error("a message was accepted twice under one id")
		}
		_, _, err := f.Message(f.ctx, f.account, fresh.ID)
		f.wantKind("the message beside it", err, core.KindNotFound)
		_, err = f.FindKey(f.ctx, f.account, "k", t0)
		f.wantKind("its key", err, core.KindNotFound)
		f.accept(fresh)
	}},
	{"a batch of ten thousand is one commit", func(f *fixture) {
		f.next++
		b := core.Batch{ID: core.BatchID(f.next), Account: f.account, Channel: "sms", Template: 7, Accepted: 10_000, Rejected: 3, CreatedAt: t0}
		messages := make([]core.Message, 10_000)
		for i := range messages {
			messages[i] = f.message(func(m *core.Message) { m.Batch = b.ID })
		}
		envelopes, _, err := f.Accept(f.ctx, []store.Submission{{Account: f.account, Batch: &b, Messages: messages}})
		f.check("Accept", err)
		equal(f, "envelopes", len(envelopes), 100)
		got, counts, err := f.Batch(f.ctx, f.account, b.ID)
		f.check("Batch", err)
		got.CreatedAt = got.CreatedAt.UTC()
		equal(f, "batch", got, b)
		equal(f, "queued", counts[core.StatusQueued], 10_000)
	}},
}

// full is a message with something in every field.
func (f *fixture) full() core.Message {
	return f.message(func(m *core.Message) {
		m.Template, m.Priority, m.RecipientGiven, m.Pinned = 7, 9, "138 0000 0001", "sms/backup"
		m.ExpireAt = at(time.Hour)
		m.Metadata = map[string]string{"order": "42"}
		m.Content = core.Content{
			Subject: "s", Text: "t\x01\n你好", HTML: "<b>h</b>", Attributes: map[string]string{"k": "v"},
			Attachments:       []core.Attachment{{Name: "a.txt", ContentType: "text/plain", ContentID: "c", Data: []byte{0, 1, 255}}, {Name: "b", URL: "https://example.com"}},
			ProviderTemplates: map[core.ConnectorID]core.ProviderTemplate{"sms/a": {ID: "SMS_1", Parameters: map[string]string{"code": "1"}}},
		}
	})
}

// keyed is a submission with an idempotency key that lasts a day.
func (f *fixture) keyed(key string, m core.Message) store.Submission {
	return store.Submission{
		Account: f.account, Messages: []core.Message{m},
		Key: &store.IdempotencyRecord{
			Account: f.account, Key: key, BodyHash: [32]byte{1, 2, 3}, Status: 202, Response: []byte(`{"code":0}`),
			CreatedAt: t0, ExpiresAt: at(24 * time.Hour),
		},
	}
}

// inUTC makes messages comparable, whatever location the store gives times in.
func inUTC(m core.Message) core.Message {
	for _, t := range []*time.Time{&m.NextAttempt, &m.ExpireAt, &m.LeaseUntil, &m.CreatedAt, &m.UpdatedAt, &m.SentAt} {
		*t = t.UTC()
	}
	return m
}
