package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
	"github.com/pigeonry/pigeonry/sdk"
)

func TestSend(t *testing.T) {
	smsc := newSMSC(t)
	c := openConnector(t, smsc.config())
	receipt, err := c.Send(t.Context(), message("Hello {€}"))
	if err != nil {
		t.Fatalf("Send: %v", err)
	}
	if receipt.ProviderID() != "id1" || receipt.Segments != 1 {
		t.Errorf("receipt %+v, want id1 and one segment", receipt)
	}
	m := smsc.taken()[0]
	if got := string(m.Message); got != "Hello \x1b(\x1be\x1b)" || m.DataCoding != 0 || m.ESMClass != 0 {
		t.Errorf("submitted %q with data_coding %d, esm_class %#x", got, m.DataCoding, m.ESMClass)
	}
	if m.Dest != (smpp.Address{TON: 1, NPI: 1, Addr: "8613800138000"}) || m.Source != (smpp.Address{TON: 5, Addr: "Shop"}) {
		t.Errorf("submitted from %+v to %+v", m.Source, m.Dest)
	}
	if m.RegisteredDelivery != 1 {
		t.Errorf("registered_delivery %d, want 1", m.RegisteredDelivery)
	}
}

func TestSendLongTexts(t *testing.T) {
	smsc := newSMSC(t)
	c := openConnector(t, smsc.config())
	text := strings.Repeat("短信😀", 40) // 160 units
	receipt, err := c.Send(t.Context(), message(text))
	if err != nil {
		t.Fatalf("Send: %v", err)
	}
	if got := strings.Join(receipt.ProviderIDs, " "); got != "id1 id2 id3" || receipt.Segments != 3 {
		t.Errorf("receipt %+v, want three ids in order", receipt)
	}
	parts := smsc.taken()
	for i, m := range parts {
		want := []byte{5, 0, 3, parts[0].Message[3], 3, byte(i + 1)}
		if !bytes.Equal(m.Message[:6], want) || m.ESMClass != smpp.ESMClassUDHI || m.DataCoding != 8 {
			t.Errorf("part %d: header % x, esm_class %#x, data_coding %d", i+1, m.Message[:6], m.ESMClass, m.DataCoding)
		}
	}
	cfg := smsc.config()
	cfg.MaxParts = 2
	_, err = openConnector(t, cfg).Send(t.Context(), message(text))
	wantOutcome(t, err, sdk.OutcomeRejected, "too_many_parts")
}

func wantOutcome(t *testing.T, err error, outcome sdk.Outcome, code string) {
	t.Helper()
	e, ok := errors.AsType[*sdk.DeliveryError](err)
	if !ok || e.Outcome != outcome || e.Code != code {
		t.Errorf("error %v (%+v), want %s with code %s", err, e, outcome, code)
	}
}

func TestRefusedBeforeSending(t *testing.T) {
	smsc := newSMSC(t)
	c := openConnector(t, smsc.config())
	for name, tc := range map[string]struct {
		change func(m *sdk.Message)
		code   string
	}{
		"no number":       {func(m *sdk.Message) { m.Recipient = "user@example.com" }, "invalid_recipient"},
		"number too long": {func(m *sdk.Message) { m.Recipient = "+" + strings.Repeat("1", 21) }, "invalid_recipient"},
		"no text":         {func(m *sdk.Message) { m.Plain = "" }, "empty_text"},
		"sender too long": {func(m *sdk.Message) { m.Attributes = map[string]string{"sender": "A shop with a long name"} }, "invalid_sender"},
	} {
		t.Run(name, func(t *testing.T) {
			m := message("Hello")
			tc.change(m)
			_, err := c.Send(t.Context(), m)
			wantOutcome(t, err, sdk.OutcomeRejected, tc.code)
		})
	}
	if n := len(smsc.taken()); n != 0 {
		t.Errorf("%d messages reached the SMSC", n)
	}
}

func TestAnswersOfTheSMSC(t *testing.T) {
	for _, tc := range []struct {
		status   smpp.Status
		statuses map[string]string
		outcome  sdk.Outcome
		code     string
		fault    sdk.Fault
	}{
		{smpp.StatusThrottled, nil, sdk.OutcomeThrottled, "throttled", sdk.FaultProvider},
		{smpp.StatusQueueFull, nil, sdk.OutcomeThrottled, "queue_full", sdk.FaultProvider},
		{smpp.StatusSysErr, nil, sdk.OutcomeRetryable, "provider_error", sdk.FaultProvider},
		{smpp.StatusTemporaryAppError, nil, sdk.OutcomeRetryable, "provider_error", sdk.FaultProvider},
		{smpp.StatusInvBindStatus, nil, sdk.OutcomeRetryable, "provider_error", sdk.FaultProvider},
		{smpp.StatusInvDstAddr, nil, sdk.OutcomeRejected, "invalid_recipient", sdk.FaultMessage},
		{smpp.StatusInvSrcAddr, nil, sdk.OutcomeRejected, "invalid_sender", sdk.FaultConfig},
		{smpp.StatusInvRegDelivery, nil, sdk.OutcomeRejected, "invalid_parameter", sdk.FaultConfig},
		{smpp.StatusPermanentAppError, nil, sdk.OutcomeRejected, "rejected_by_provider", sdk.FaultMessage},
		{smpp.StatusInvCmdID, nil, sdk.OutcomeRejected, "protocol_error", sdk.FaultPlugin},
		{0x450, nil, sdk.OutcomeRetryable, "provider_error", sdk.FaultProvider},
		{0x450, map[string]string{"0x450": "rejected"}, sdk.OutcomeRejected, "rejected_by_provider", sdk.FaultMessage},
		{0x450, map[string]string{"1104": "throttled"}, sdk.OutcomeThrottled, "throttled", sdk.FaultProvider},
		{smpp.StatusInvDstAddr, map[string]string{"0x0b": "retryable"}, sdk.OutcomeRetryable, "provider_error", sdk.FaultProvider},
	} {
		t.Run(tc.status.String(), func(t *testing.T) {
			smsc := newSMSC(t)
			smsc.answers(tc.status)
			cfg := smsc.config()
			cfg.Statuses = tc.statuses
			_, err := openConnector(t, cfg).Send(t.Context(), message("Hello"))
			wantOutcome(t, err, tc.outcome, tc.code)
			e, _ := errors.AsType[*sdk.DeliveryError](err)
			if e == nil || e.Fault != tc.fault || !strings.HasPrefix(e.ProviderCode, "0x") {
				t.Errorf("error %+v, want fault %d and the number of the status", e, tc.fault)
			}
			if tc.outcome == sdk.OutcomeThrottled && e.RetryAfter != cfg.ThrottleBackoff {
				t.Errorf("retry after %s, want %s", e.RetryAfter, cfg.ThrottleBackoff)
			}
		})
	}
}

func TestNoAnswerIsUncertain(t *testing.T) {
	smsc := newSMSC(t)
	smsc.answers(smpp.NoAnswer)
	cfg := smsc.config()
	cfg.ResponseTimeout = 50 * time.Millisecond
	_, err := openConnector(t, cfg).Send(t.Context(), message("Hello"))
	wantOutcome(t, err, sdk.OutcomeUncertain, "no_response")
}

func TestLostConnectionIsUncertain(t *testing.T) {
	smsc := newSMSC(t)
	smsc.answer = func(*smpp.ShortMessage) smpp.Status {
		for _, s := range smsc.server.Sessions() {
			s.Abort()
		}
		return smpp.NoAnswer
	}
	c := openConnector(t, smsc.config())
	_, err := c.Send(t.Context(), message("Hello"))
	wantOutcome(t, err, sdk.OutcomeUncertain, "no_response")

	smsc.answers()
	<-smsc.bound
	<-smsc.bound // It binds again by itself.
	if err := eventually(t, func() error { return c.Check(t.Context()) }); err != nil {
		t.Fatalf("Check after a new bind: %v", err)
	}
	if _, err := c.Send(t.Context(), message("Hello again")); err != nil {
		t.Errorf("Send over the new bind: %v", err)
	}
}

// eventually calls try until it succeeds or 5 s have passed: what another process or a goroutine
// without a signal does.
func eventually(t *testing.T, try func() error) error {
	t.Helper()
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline:
			return err
		}
	}
}

func TestUnboundIsRetryable(t *testing.T) {
	t.Run("nobody listens", func(t *testing.T) {
		c := openConnector(t, configFor("127.0.0.1:1"))
		_, err := c.Send(t.Context(), message("Hello"))
		wantOutcome(t, err, sdk.OutcomeRetryable, "not_bound")
		wantOutcome(t, c.Check(t.Context()), sdk.OutcomeRetryable, "not_bound")
	})
	t.Run("wrong password", func(t *testing.T) {
		smsc := newSMSC(t)
		smsc.server.Authenticate = func(context.Context, smpp.Bind) smpp.Status { return smpp.StatusInvPassword }
		c := openConnector(t, smsc.config())
		_, err := c.Send(t.Context(), message("Hello"))
		wantOutcome(t, err, sdk.OutcomeRetryable, "auth_failed")
		if e, _ := errors.AsType[*sdk.DeliveryError](err); e.Fault != sdk.FaultConfig || !strings.Contains(e.ProviderCode, "ESME_RINVPASWD") {
			t.Errorf("error %+v, want the config blamed for ESME_RINVPASWD", e)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the password stands in %q", err)
		}
	})
	t.Run("the SMSC does not answer the bind", func(t *testing.T) {
		smsc := newSMSC(t)
		release := make(chan struct{})
		smsc.server.Authenticate = func(context.Context, smpp.Bind) smpp.Status {
			<-release
			return smpp.StatusOK
		}
		defer close(release)
		cfg := smsc.config()
		cfg.ConnectTimeout = 50 * time.Millisecond
		wantOutcome(t, openConnector(t, cfg).Check(t.Context()), sdk.OutcomeRetryable, "not_bound")
	})
}

func TestPartsOfALongMessage(t *testing.T) {
	long := message(strings.Repeat("x", 400)) // three parts
	t.Run("the first is refused", func(t *testing.T) {
		smsc := newSMSC(t)
		smsc.answers(smpp.StatusSysErr)
		_, err := openConnector(t, smsc.config()).Send(t.Context(), long)
		wantOutcome(t, err, sdk.OutcomeRetryable, "provider_error")
		if n := len(smsc.taken()); n != 1 {
			t.Errorf("%d parts were submitted, want the first alone", n)
		}
	})
	t.Run("a later one is refused for a moment", func(t *testing.T) {
		smsc := newSMSC(t)
		smsc.answers(smpp.StatusOK, smpp.StatusThrottled, smpp.StatusOK, smpp.StatusOK)
		receipt, err := openConnector(t, smsc.config()).Send(t.Context(), long)
		if err != nil || len(receipt.ProviderIDs) != 3 {
			t.Errorf("got %+v, %v; want the part to be tried again", receipt, err)
		}
	})
	t.Run("a later one is refused for good", func(t *testing.T) {
		smsc := newSMSC(t)
		smsc.answers(smpp.StatusOK, smpp.StatusOK, smpp.StatusInvMsgLen)
		receipt, err := openConnector(t, smsc.config()).Send(t.Context(), long)
		wantOutcome(t, err, sdk.OutcomeUncertain, "partly_sent")
		if !strings.Contains(err.Error(), "2 of 3 parts were taken (id1, id2), part 3 was not") {
			t.Errorf("error %q does not say what happened", err)
		}
		if len(receipt.ProviderIDs) != 0 {
			t.Errorf("provider ids %v: a receipt of some parts would pass for that of the whole", receipt.ProviderIDs)
		}
	})
}

func TestReceipts(t *testing.T) {
	smsc := newSMSC(t)
	c := openConnector(t, smsc.config())
	events := receiving(t, c)
	session := <-smsc.bound
	if _, err := c.Send(t.Context(), message("Hello")); err != nil {
		t.Fatalf("Send: %v", err)
	}
	submitted := smsc.taken()[0]
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		state  smpp.State
		status sdk.ReceiptStatus
		code   string
	}{
		{smpp.StateDelivered, sdk.Delivered, ""},
		{smpp.StateEnroute, sdk.Progress, ""},
		{smpp.StateAccepted, sdk.Progress, ""},
		{smpp.StateUnknown, sdk.Progress, ""},
		{smpp.StateUndeliverable, sdk.Undelivered, "undeliverable"},
		{smpp.StateExpired, sdk.Undelivered, "expired_at_provider"},
		{smpp.StateDeleted, sdk.Undelivered, "deleted_at_provider"},
		{smpp.StateRejected, sdk.Undelivered, "rejected_by_provider"},
	} {
		if err := session.Deliver(t.Context(), smpp.NewReceipt(submitted, "id1", tc.state, 5, at, at)); err != nil {
			t.Fatalf("%s: the receipt was not taken: %v", tc.state, err)
		}
		r := (<-events).Receipts[0]
		if r.ProviderID != "id1" || r.Status != tc.status || r.Recipient != "+8613800138000" || r.DedupeKey == "" {
			t.Errorf("%s gives %+v", tc.state, r)
		}
		if tc.code != "" {
			wantOutcome(t, r.Err, sdk.OutcomeRejected, tc.code)
		} else if r.Err != nil {
			t.Errorf("%s has the error %v", tc.state, r.Err)
		}
	}
}

func TestReceiptIDs(t *testing.T) {
	for _, tc := range []struct{ form, answer, receipt, want string }{
		{"as_is", "0A1b", "0A1b", "0A1b"},
		{"lower", "0A1b", "0a1B", "0a1b"},
		{"hex_to_dec", "0000002583", "a17", "2583"},
		{"dec_to_hex", "00000A17", "0000002583", "a17"},
		{"dec_to_hex", "5F0E8B7C9A1D2E3F4B5C", "448893121367566733757276", "5f0e8b7c9a1d2e3f4b5c"}, // beyond 64 bits
		{"dec_to_hex", "not-a-number", "not-a-number", "not-a-number"},
	} {
		answer, receipt := canonicalID(tc.answer, tc.form, fromAnswer), canonicalID(tc.receipt, tc.form, fromReceipt)
		if answer != tc.want || receipt != tc.want {
			t.Errorf("%s: answer %s became %s, receipt %s became %s; want both %s",
				tc.form, tc.answer, answer, tc.receipt, receipt, tc.want)
		}
	}
}

func TestEventsAreAcknowledgedOnceStored(t *testing.T) {
	smsc := newSMSC(t)
	c := openConnector(t, smsc.config())
	session := <-smsc.bound
	emitted := make(chan sdk.Events)
	stored := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- c.Receive(ctx, func(_ context.Context, e sdk.Events) error {
			emitted <- e
			return <-stored
		})
	}()
	acknowledged := make(chan error, 1)
	deliver := func() {
		acknowledged <- session.Deliver(t.Context(), &smpp.ShortMessage{
			Source: smpp.Address{TON: 1, NPI: 1, Addr: "491701234567"}, Dest: smpp.Address{Addr: "12345"}, Message: []byte("STOP"),
		})
	}
	go deliver()
	first := (<-emitted).Inbound[0]
	if first.From != "+491701234567" || first.To != "12345" || first.Text != "STOP" {
		t.Errorf("inbound %+v", first)
	}
	select {
	case err := <-acknowledged:
		t.Fatalf("acknowledged (%v) before it was stored", err)
	default:
	}
	stored <- errors.New("disk full")
	refused, ok := errors.AsType[*smpp.StatusError](<-acknowledged)
	if !ok || refused.Status != smpp.StatusTemporaryAppError {
		t.Errorf("not stored, yet answered %v; want ESME_RX_T_APPN", refused)
	}

	go deliver() // The SMSC repeats it.
	second := (<-emitted).Inbound[0]
	stored <- nil
	if err := <-acknowledged; err != nil {
		t.Errorf("stored, yet answered %v", err)
	}
	if second.DedupeKey != first.DedupeKey {
		t.Errorf("the repeat has the key %s, the first one %s", second.DedupeKey, first.DedupeKey)
	}

	go deliver() // The user says it again.
	third := (<-emitted).Inbound[0]
	stored <- nil
	<-acknowledged
	if third.DedupeKey == second.DedupeKey {
		t.Error("a second message of the same words has the key of the first")
	}
	cancel()
	<-ended
}

func TestWithoutReceiveTheSMSCKeepsIt(t *testing.T) {
	smsc := newSMSC(t)
	cfg := smsc.config()
	cfg.ResponseTimeout = 50 * time.Millisecond
	openConnector(t, cfg)
	err := (<-smsc.bound).Deliver(t.Context(), &smpp.ShortMessage{Message: []byte("Hello")})
	if refused, ok := errors.AsType[*smpp.StatusError](err); !ok || refused.Status != smpp.StatusTemporaryAppError {
		t.Errorf("answered %v, want ESME_RX_T_APPN", err)
	}
}

func TestBindModesAndSeveralBinds(t *testing.T) {
	for mode, want := range map[string][]smpp.Mode{
		"transceiver": {smpp.Transceiver, smpp.Transceiver},
		"pair":        {smpp.Transmitter, smpp.Transmitter, smpp.Receiver, smpp.Receiver},
		"transmitter": {smpp.Transmitter, smpp.Transmitter},
	} {
		t.Run(mode, func(t *testing.T) {
			smsc := newSMSC(t)
			cfg := smsc.config()
			cfg.BindMode, cfg.Binds = mode, 2
			c := openConnector(t, cfg)
			seen := map[smpp.Mode]int{}
			for range want {
				seen[(<-smsc.bound).Mode()]++
			}
			for _, m := range want {
				if seen[m] != 2 {
					t.Errorf("%d binds as %s, want 2", seen[m], m)
				}
			}
			for range 4 {
				if _, err := c.Send(t.Context(), message("Hello")); err != nil {
					t.Errorf("Send: %v", err)
				}
			}
		})
	}
}

func TestOneOfTwoBindsDies(t *testing.T) {
	smsc := newSMSC(t)
	cfg := smsc.config()
	cfg.Binds = 2
	c := openConnector(t, cfg)
	first := <-smsc.bound
	<-smsc.bound
	first.Abort()
	for range 20 { // The other bind takes over; what was written to the dying one is uncertain.
		if _, err := c.Send(t.Context(), message("Hello")); err != nil && sdk.OutcomeOf(err) != sdk.OutcomeUncertain {
			t.Errorf("Send: %v", err)
		}
	}
}

func TestThrottlingHalvesTheWindow(t *testing.T) {
	smsc := newSMSC(t)
	smsc.answers(smpp.StatusThrottled)
	c := openConnector(t, smsc.config())
	if _, err := c.Send(t.Context(), message("Hello")); sdk.OutcomeOf(err) != sdk.OutcomeThrottled {
		t.Fatalf("Send: %v, want throttled", err)
	}
	if n := c.pace.size(); n != 5 {
		t.Errorf("window %d after throttling, want half of 10", n)
	}
	for range 100 {
		if _, err := c.Send(t.Context(), message("Hello")); err != nil {
			t.Fatalf("Send: %v", err)
		}
	}
	if n := c.pace.size(); n != 10 {
		t.Errorf("window %d after 100 successes, want 10 again", n)
	}
}

func TestQuery(t *testing.T) {
	smsc := newSMSC(t)
	states := map[string]smpp.State{"ok": smpp.StateDelivered, "way": smpp.StateEnroute, "bad": smpp.StateUndeliverable}
	smsc.server.Query = func(_ context.Context, _ *smpp.Session, q *smpp.Query) (*smpp.QueryResp, smpp.Status) {
		state, known := states[q.MessageID]
		if !known {
			return nil, smpp.StatusInvMsgID
		}
		return &smpp.QueryResp{MessageID: q.MessageID, State: state}, smpp.StatusOK
	}
	c := openConnector(t, smsc.config())
	results, err := c.Query(t.Context(), []sdk.Attempt{
		{AttemptID: "delivered", ProviderIDs: []string{"ok", "way"}},
		{AttemptID: "failed", ProviderIDs: []string{"ok", "bad"}},
		{AttemptID: "unknown", ProviderIDs: []string{"ok", "?"}},
		{AttemptID: "without ids"},
	})
	if err != nil || len(results) != 2 {
		t.Fatalf("got %+v, %v; want results for two", results, err)
	}
	if results[0].AttemptID != "delivered" || results[0].Err != nil {
		t.Errorf("first %+v, want delivered to be accepted", results[0])
	}
	wantOutcome(t, results[1].Err, sdk.OutcomeRejected, "undeliverable")
}

func TestDrainUnbinds(t *testing.T) {
	smsc := newSMSC(t)
	c := openConnector(t, smsc.config())
	session := <-smsc.bound
	if err := c.Check(t.Context()); err != nil {
		t.Fatalf("Check: %v", err)
	}
	if err := c.Drain(t.Context()); err != nil {
		t.Errorf("Drain: %v", err)
	}
	<-session.Done()
	if !errors.Is(session.Err(), smpp.ErrPeerUnbound) {
		t.Errorf("the session ended with %v, want an unbind", session.Err())
	}
	_, err := c.Send(t.Context(), message("Hello"))
	wantOutcome(t, err, sdk.OutcomeRetryable, "not_bound")
}

func TestMessageParameters(t *testing.T) {
	smsc := newSMSC(t)
	cfg := smsc.config()
	cfg.Validity, cfg.MessageReference, cfg.Alphabet, cfg.DataCoding = true, true, "latin1", 3
	c := openConnector(t, cfg)
	m := message("é")
	m.ID = "66051" // 0x10203
	m.NotAfter = time.Now().Add(time.Hour + 5*time.Second)
	m.Attributes = map[string]string{"sender": "+4912345678"}
	for range 2 {
		if _, err := c.Send(t.Context(), m); err != nil {
			t.Fatalf("Send: %v", err)
		}
	}
	first, second := smsc.taken()[0], smsc.taken()[1]
	if !strings.HasPrefix(first.Validity, "00000001000") || !strings.HasSuffix(first.Validity, "000R") {
		t.Errorf("validity_period %q, want an hour", first.Validity)
	}
	if string(first.Message) != "\xe9" || first.DataCoding != 3 {
		t.Errorf("text % x with data_coding %d, want Latin-1 with 3", first.Message, first.DataCoding)
	}
	if first.Source != (smpp.Address{TON: 1, NPI: 1, Addr: "4912345678"}) {
		t.Errorf("source %+v, want that of the message", first.Source)
	}
	a, ok := first.TLVs.Uint(smpp.TagUserMessageReference)
	if b, _ := second.TLVs.Uint(smpp.TagUserMessageReference); !ok || a != 0x0203 || b != a {
		t.Errorf("user_message_reference %#x and %#x (%v), want 0x203 in both attempts", a, b, ok)
	}
}
