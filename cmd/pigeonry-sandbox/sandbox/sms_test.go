package sandbox_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
)

// dial binds as a transceiver; receipts come out of the channel.
func dial(tb testing.TB, s *sandbox.Sandbox) (*smpp.Session, <-chan smpp.Receipt) {
	tb.Helper()
	receipts := make(chan smpp.Receipt, 20_000)
	session, err := smpp.Dial(tb.Context(), smpp.Client{
		Addr: s.Addresses().SMPP,
		Bind: smpp.Bind{SystemID: "shop", Password: "secret"},
		Deliver: func(_ context.Context, _ *smpp.Session, m *smpp.ShortMessage) smpp.Status {
			if r, ok := smpp.ParseReceipt(m); ok {
				receipts <- r
			}
			return smpp.StatusOK
		},
		Options: smpp.Options{Window: 200},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { session.Close() })
	return session, receipts
}

func sms(to string, coding byte, payload []byte) *smpp.ShortMessage {
	return &smpp.ShortMessage{
		Source: smpp.Address{TON: 5, Addr: "Shop"}, Dest: smpp.Address{TON: 1, NPI: 1, Addr: to},
		DataCoding: coding, Message: payload, RegisteredDelivery: 1,
	}
}

func ucs2(text string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(text)) {
		out = append(out, byte(u>>8), byte(u))
	}
	return out
}

func awaitReceipt(tb testing.TB, receipts <-chan smpp.Receipt) smpp.Receipt {
	tb.Helper()
	select {
	case r := <-receipts:
		return r
	case <-time.After(10 * time.Second):
		tb.Fatal("no receipt came")
		return smpp.Receipt{}
	}
}

func TestSMSIsDecodedForTheInbox(t *testing.T) {
	s := start(t, sandbox.Options{ReceiptDelay: -1})
	session, receipts := dial(t, s)
	tests := []struct {
		name    string
		coding  byte
		payload []byte
		want    string
	}{
		{"GSM default", 0, []byte("Hello \x00 \x1b\x65 \x11"), "Hello @ € _"},
		{"GSM escape at the end", 0, []byte("x\x1b"), "x\uFFFD"},
		{"UCS-2", 8, ucs2("验证码 123456 🕊"), "验证码 123456 🕊"},
		{"UCS-2 with half a pair", 8, ucs2("🕊")[:2], "\uFFFD"},
		{"Latin-1", 3, []byte("Caf\xe9"), "Café"},
		{"binary", 4, []byte{0xde, 0xad}, "dead"},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			to := "861380013800" + string(rune('0'+i))
			id, err := session.Submit(t.Context(), sms(to, test.coding, test.payload))
			if err != nil {
				t.Fatal(err)
			}
			got := await(t, s, sandbox.Filter{Channel: "sms", To: "+" + to}, 1)[0]
			if got.Text != test.want || got.To != "+"+to || got.From != "Shop" || got.ProviderID != id || got.Parts != 1 {
				t.Errorf("inbox has %+v, want %q", got, test.want)
			}
			if r := awaitReceipt(t, receipts); r.ID != id || r.State != smpp.StateDelivered {
				t.Errorf("receipt is %+v, want DELIVRD for %s", r, id)
			}
		})
	}
}

func TestLongSMSIsPutTogether(t *testing.T) {
	headers := map[string]func(number byte) ([]byte, smpp.TLVs){
		"8-bit reference":  func(n byte) ([]byte, smpp.TLVs) { return []byte{5, 0, 3, 42, 3, n}, nil },
		"16-bit reference": func(n byte) ([]byte, smpp.TLVs) { return []byte{6, 8, 4, 1, 42, 3, n}, nil },
		"SAR parameters": func(n byte) ([]byte, smpp.TLVs) {
			return nil, smpp.TLVs{
				{Tag: smpp.TagSARMsgRefNum, Value: []byte{0, 42}},
				smpp.OctetTLV(smpp.TagSARTotalSegments, 3), smpp.OctetTLV(smpp.TagSARSegmentSeqnum, n),
			}
		},
	}
	for name, header := range headers {
		t.Run(name, func(t *testing.T) {
			s := start(t, sandbox.Options{})
			session, _ := dial(t, s)
			texts := map[byte]string{1: "一二", 2: "三四", 3: "五六"}
			firstID := ""
			for _, n := range []byte{3, 1, 2} { // as networks do, out of order
				udh, tlvs := header(n)
				m := sms("8613800138000", 8, append(udh, ucs2(texts[n])...))
				m.TLVs = tlvs
				if udh != nil {
					m.ESMClass = smpp.ESMClassUDHI
				}
				id, err := session.Submit(t.Context(), m)
				if err != nil {
					t.Fatal(err)
				}
				if n == 1 {
					firstID = id
				}
			}
			got := await(t, s, sandbox.Filter{}, 1)
			if len(got) != 1 || got[0].Text != "一二三四五六" || got[0].Parts != 3 || got[0].ProviderID != firstID {
				t.Errorf("inbox has %+v", got[0])
			}
			if e := entries(t, s); len(e) != 3 || e[0].Part != 3 || e[0].Parts != 3 {
				t.Errorf("ledger has %+v, want each part", e)
			}
			sum := s.Summary().Channels["sms"]
			if sum.Entries != 3 || sum.Messages != 1 || sum.Doubles != 0 {
				t.Errorf("summary is %+v, want one message of three entries", sum)
			}
		})
	}
}

func TestSMSFaults(t *testing.T) {
	tests := []struct {
		fault   sandbox.Fault
		status  smpp.Status
		outcome sandbox.Outcome
		state   smpp.State // of the receipt; 0 for none
		inbox   int
	}{
		{sandbox.Fault{}, smpp.StatusOK, sandbox.OutcomeDelivered, smpp.StateDelivered, 1},
		{sandbox.Fault{Undelivered: 1}, smpp.StatusOK, sandbox.OutcomeUndelivered, smpp.StateUndeliverable, 0},
		{sandbox.Fault{AcceptThenDrop: 1}, smpp.StatusOK, sandbox.OutcomeDropped, 0, 0},
		{sandbox.Fault{ErrorRate: 1}, smpp.StatusSysErr, sandbox.OutcomeFailed, 0, 0},
		{sandbox.Fault{ErrorRate: 1, ErrorKind: sandbox.ErrorPermanent}, smpp.StatusInvDstAddr, sandbox.OutcomeRefused, 0, 0},
		{sandbox.Fault{Throttle: -1}, smpp.StatusThrottled, sandbox.OutcomeThrottled, 0, 0},
	}
	for _, test := range tests {
		t.Run(string(test.outcome), func(t *testing.T) {
			s := start(t, sandbox.Options{ReceiptDelay: -1})
			session, receipts := dial(t, s)
			test.fault.Channel = sandbox.ChannelSMS
			if err := s.SetFault(test.fault); err != nil {
				t.Fatal(err)
			}
			_, err := session.Submit(t.Context(), sms("8613800138000", 0, []byte("hi")))
			status := smpp.StatusOK
			if refused, ok := errors.AsType[*smpp.StatusError](err); ok {
				status = refused.Status
			}
			if status != test.status {
				t.Errorf("sender was told %v (%v), want %v", status, err, test.status)
			}
			if e := entries(t, s); len(e) != 1 || e[0].Outcome != test.outcome {
				t.Errorf("ledger has %+v, want %s", e, test.outcome)
			}
			if n := len(s.Messages(sandbox.Filter{})); n != test.inbox {
				t.Errorf("inbox has %d, want %d", n, test.inbox)
			}
			if test.state != 0 {
				if r := awaitReceipt(t, receipts); r.State != test.state {
					t.Errorf("receipt says %v, want %v", r.State, test.state)
				}
			}
		})
	}
}

func TestReceiptWaitsForTheNextBind(t *testing.T) {
	s := start(t, sandbox.Options{ReceiptDelay: -1})
	if err := s.SetFault(sandbox.Fault{Channel: sandbox.ChannelSMS, Unanswered: 1}); err != nil {
		t.Fatal(err)
	}
	// The first session cannot take the receipt, which may come before its connection is closed.
	first, err := smpp.Dial(t.Context(), smpp.Client{
		Addr: s.Addresses().SMPP, Bind: smpp.Bind{SystemID: "shop"},
		Deliver: func(context.Context, *smpp.Session, *smpp.ShortMessage) smpp.Status {
			return smpp.StatusTemporaryAppError
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = first.Submit(t.Context(), sms("8613800138000", 0, []byte("hi")))
	if !errors.Is(err, smpp.ErrNoResponse) {
		t.Fatalf("got %v, want no response", err)
	}
	_, receipts := dial(t, s)
	e := entries(t, s)
	if r := awaitReceipt(t, receipts); r.ID != e[0].ProviderID || e[0].Outcome != sandbox.OutcomeUnanswered || e[0].Answer != "" {
		t.Errorf("receipt is for %s, ledger has %+v", r.ID, e)
	}
}

func TestReceiptThatCannotBeStoredComesAgain(t *testing.T) {
	s := start(t, sandbox.Options{ReceiptDelay: -1})
	offered := make(chan string, 10)
	refuseOnce := make(chan struct{}, 1)
	refuseOnce <- struct{}{}
	session, err := smpp.Dial(t.Context(), smpp.Client{
		Addr: s.Addresses().SMPP, Bind: smpp.Bind{SystemID: "shop"},
		Deliver: func(_ context.Context, _ *smpp.Session, m *smpp.ShortMessage) smpp.Status {
			r, _ := smpp.ParseReceipt(m)
			offered <- r.ID
			select {
			case <-refuseOnce:
				return smpp.StatusTemporaryAppError
			default:
				return smpp.StatusOK
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	id, err := session.Submit(t.Context(), sms("8613800138000", 0, []byte("hi")))
	if err != nil {
		t.Fatal(err)
	}
	if first, second := <-offered, <-offered; first != id || second != id {
		t.Errorf("offered %s, then %s, want %s twice", first, second, id)
	}
}

func TestReceiptsPlayTricks(t *testing.T) {
	tests := []struct {
		name  string
		fault sandbox.Fault
		want  []smpp.State
	}{
		{"doubled", sandbox.Fault{ReceiptDoubled: 1}, []smpp.State{smpp.StateDelivered, smpp.StateDelivered}},
		{"forged", sandbox.Fault{ReceiptForged: 1}, []smpp.State{smpp.StateDelivered, smpp.StateUndeliverable}},
		{"disordered", sandbox.Fault{ReceiptDisordered: 1}, []smpp.State{smpp.StateDelivered, smpp.StateEnroute}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, sandbox.Options{ReceiptDelay: -1})
			session, receipts := dial(t, s)
			test.fault.Channel = sandbox.ChannelSMS
			if err := s.SetFault(test.fault); err != nil {
				t.Fatal(err)
			}
			id, err := session.Submit(t.Context(), sms("8613800138000", 0, []byte("x")))
			if err != nil {
				t.Fatal(err)
			}
			var got []smpp.State
			for range test.want {
				r := awaitReceipt(t, receipts)
				got = append(got, r.State)
				if forged := r.State == smpp.StateUndeliverable; (r.ID == id) == forged {
					t.Errorf("a receipt says %s for %s; the message is %s", r.State, r.ID, id)
				}
			}
			slices.Sort(got)
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("receipts say %v, want %v", got, test.want)
			}
		})
	}
}

func TestReceiptComesBeforeTheAnswer(t *testing.T) {
	s := start(t, sandbox.Options{ReceiptDelay: time.Hour})
	session, receipts := dial(t, s)
	if err := s.SetFault(sandbox.Fault{Channel: sandbox.ChannelSMS, ReceiptEarly: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Submit(t.Context(), sms("8613800138000", 0, []byte("x"))); err != nil {
		t.Fatal(err)
	}
	select {
	case <-receipts:
	default:
		t.Error("the answer came before the receipt")
	}
}
