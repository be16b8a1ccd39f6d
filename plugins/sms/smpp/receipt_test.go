package smpp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
)

func TestParseReceipt(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		tlvs       smpp.TLVs
		want       smpp.Receipt
	}{
		{
			name: "the form of appendix B",
			text: "id:0123456789 sub:001 dlvrd:001 submit date:0610191507 done date:0610191508 stat:DELIVRD err:000 text:Hello",
			want: smpp.Receipt{
				ID: "0123456789", Submitted: "001", Delivered: "001", SubmitDate: "0610191507",
				DoneDate: "0610191508", Stat: "DELIVRD", State: smpp.StateDelivered, Err: "000", Text: "Hello",
			},
		},
		{
			name: "other case and order, fields missing",
			text: "ID:a1B2 Stat:Undelivered Err:1f Done Date:061019150859",
			want: smpp.Receipt{
				ID: "a1B2", Stat: "Undelivered", State: smpp.StateUndeliverable, Err: "1f", DoneDate: "061019150859",
			},
		},
		{
			name: "fields without a value",
			text: "id:7 sub: dlvrd: submit date: done date: stat:EXPIRED err: text:",
			want: smpp.Receipt{ID: "7", Stat: "EXPIRED", State: smpp.StateExpired},
		},
		{
			name: "a text that looks like fields",
			text: "id:7 stat:REJECTD err:005 text:id:8 stat:DELIVRD",
			want: smpp.Receipt{ID: "7", Stat: "REJECTD", State: smpp.StateRejected, Err: "005", Text: "id:8 stat:DELIVRD"},
		},
		{
			name: "parameters alone",
			tlvs: smpp.TLVs{
				smpp.TextTLV(smpp.TagReceiptedMessageID, "x9"),
				smpp.OctetTLV(smpp.TagMessageState, byte(smpp.StateDelivered)),
				{Tag: smpp.TagNetworkErrorCode, Value: []byte{3, 0, 21}},
			},
			want: smpp.Receipt{ID: "x9", State: smpp.StateDelivered, Err: "021"},
		},
		{
			name: "parameters win over the text",
			text: "id:10 stat:ENROUTE err:000",
			tlvs: smpp.TLVs{
				smpp.TextTLV(smpp.TagReceiptedMessageID, "0A"),
				smpp.OctetTLV(smpp.TagMessageState, byte(smpp.StateDelivered)),
			},
			want: smpp.Receipt{ID: "0A", Stat: "ENROUTE", State: smpp.StateDelivered, Err: "000"},
		},
		{
			name: "a word nobody knows",
			text: "id:7 stat:PENDING err:000",
			want: smpp.Receipt{ID: "7", Stat: "PENDING", State: smpp.StateUnknown, Err: "000"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := &smpp.ShortMessage{ESMClass: smpp.ESMClassReceipt, Message: []byte(tc.text), TLVs: tc.tlvs}
			got, ok := smpp.ParseReceipt(m)
			if !ok || got != tc.want {
				t.Errorf("got  %+v, %v\nwant %+v", got, ok, tc.want)
			}
		})
	}
}

// Receipts of SMSCs that put it all into parameters, with no text or one of their own.
func TestReceiptInParameters(t *testing.T) {
	parameters := smpp.TLVs{
		smpp.TextTLV(smpp.TagReceiptedMessageID, "0A1B"), smpp.OctetTLV(smpp.TagMessageState, 5),
		{Tag: smpp.TagNetworkErrorCode, Value: []byte{3, 0, 27}}, // GSM: absent subscriber
	}
	for name, tc := range map[string]struct {
		m    smpp.ShortMessage
		stat string
	}{
		"no text":                 {smpp.ShortMessage{ESMClass: smpp.ESMClassReceipt, TLVs: parameters}, ""},
		"no esm_class":            {smpp.ShortMessage{TLVs: parameters}, ""},
		"another form":            {smpp.ShortMessage{ESMClass: smpp.ESMClassReceipt, Message: []byte("Message not delivered."), TLVs: parameters}, ""},
		"another id and state":    {smpp.ShortMessage{ESMClass: smpp.ESMClassReceipt, Message: []byte("id:2587 stat:DELIVRD err:000"), TLVs: parameters}, "DELIVRD"},
		"text in a parameter":     {smpp.ShortMessage{ESMClass: smpp.ESMClassReceipt, TLVs: append(smpp.TLVs{{Tag: smpp.TagMessagePayload, Value: []byte("id:9 stat:ACCEPTD")}}, parameters...)}, "ACCEPTD"},
		"octets that are no text": {smpp.ShortMessage{ESMClass: smpp.ESMClassReceipt, Message: []byte{0, 1, 0xFF}, TLVs: parameters}, ""},
	} {
		r, ok := smpp.ParseReceipt(&tc.m)
		if !ok || r.ID != "0A1B" || r.State != smpp.StateUndeliverable || r.Err != "027" || r.Stat != tc.stat {
			t.Errorf("%s: %+v, %v", name, r, ok)
		}
	}
	malformed := smpp.ShortMessage{ESMClass: smpp.ESMClassReceipt, Message: []byte("id:7 stat:DELIVRD err:011"), TLVs: smpp.TLVs{
		smpp.OctetTLV(smpp.TagMessageState, 99), {Tag: smpp.TagNetworkErrorCode, Value: []byte{3}},
	}}
	if r, ok := smpp.ParseReceipt(&malformed); !ok || r.ID != "7" || r.State != smpp.StateDelivered || r.Err != "011" {
		t.Errorf("malformed parameters: %+v, %v", r, ok)
	}
}

// A text that anybody can send must not pass for the SMSC's word.
func TestForgedReceipt(t *testing.T) {
	m := &smpp.ShortMessage{Message: []byte("id:7 stat:DELIVRD err:000")}
	if r, ok := smpp.ParseReceipt(m); ok {
		t.Errorf("a text message was taken for the receipt %+v", r)
	}
	if _, ok := smpp.ParseReceipt(&smpp.ShortMessage{ESMClass: smpp.ESMClassReceipt, Message: []byte("stat:DELIVRD")}); ok {
		t.Error("a receipt that names no message was taken")
	}
}

func TestNewReceiptIsUnderstood(t *testing.T) {
	submitted := &smpp.ShortMessage{Source: smpp.Address{Addr: "Shop"}, Dest: smpp.Address{Addr: "4917"}}
	at := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	for _, state := range []smpp.State{smpp.StateDelivered, smpp.StateUndeliverable, smpp.StateExpired, smpp.StateUnknown} {
		m := smpp.NewReceipt(submitted, "id-1", state, 7, at, at)
		r, ok := smpp.ParseReceipt(m)
		if !ok || r.ID != "id-1" || r.State != state || r.Stat != state.String() || r.Err != "007" {
			t.Errorf("%s: got %+v, %v", state, r, ok)
		}
		if done, ok := r.DoneAt(time.UTC); !ok || !done.Equal(at) {
			t.Errorf("%s: done at %v, %v", state, done, ok)
		}
		if m.Source != submitted.Dest || m.Dest != submitted.Source {
			t.Errorf("%s: a receipt goes the other way: from %v to %v", state, m.Source, m.Dest)
		}
		if r := strings.Contains(string(m.Message), "stat:"+state.String()); !r {
			t.Errorf("%s: text %q", state, m.Message)
		}
	}
}

func TestStateWords(t *testing.T) {
	for state := smpp.StateEnroute; state <= smpp.StateRejected; state++ {
		if got := smpp.ParseState(strings.ToLower(state.String())); got != state {
			t.Errorf("%s reads as %s", state, got)
		}
	}
}

func TestRelativeTime(t *testing.T) {
	for span, want := range map[time.Duration]string{
		0:                              "000000000001000R",
		90*time.Minute + 5*time.Second: "000000013005000R",
		25 * time.Hour:                 "000001010000000R",
		1000 * 24 * time.Hour:          "000099000000000R",
	} {
		if got := smpp.RelativeTime(span); got != want || len(got) != 16 {
			t.Errorf("RelativeTime(%s) = %q, want %q", span, got, want)
		}
	}
}

func FuzzParseReceipt(f *testing.F) {
	f.Add("id:0123456789 sub:001 dlvrd:001 submit date:0610191507 done date:0610191508 stat:DELIVRD err:000 text:Hello", []byte{2})
	f.Add("id: stat: err:", []byte(nil))
	f.Add("ID:1 STAT:x TEXT:id:2", []byte{9, 9})
	f.Fuzz(func(t *testing.T, text string, state []byte) {
		m := &smpp.ShortMessage{
			ESMClass: smpp.ESMClassReceipt, Message: []byte(text),
			TLVs: smpp.TLVs{{Tag: smpp.TagMessageState, Value: state}},
		}
		r, ok := smpp.ParseReceipt(m)
		if ok && (r.ID == "" || strings.ContainsAny(r.ID, " \n")) {
			t.Errorf("%q gives the id %q", text, r.ID)
		}
		if r.State > smpp.StateRejected {
			t.Errorf("% x gives the state %d", state, r.State)
		}
	})
}
