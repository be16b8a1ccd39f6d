package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
	"github.com/pigeonry/pigeonry/sdk"
)

func startSandbox(t *testing.T) *sandbox.Sandbox {
	t.Helper()
	s, err := sandbox.Start(t.Context(), sandbox.Options{SMTP: "127.0.0.1:0", SMPP: "127.0.0.1:0", HTTP: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop sandbox: %v", err)
		}
	})
	return s
}

// The sandbox decodes with tables of its own.
func TestDeliversToSandbox(t *testing.T) {
	s := startSandbox(t)
	cfg := configFor(s.Addresses().SMPP)
	cfg.MessageReference = true
	c := openConnector(t, cfg)
	events := receiving(t, c)
	for _, text := range []string{
		"Hello {€} @$_Ωè", "您的验证码是 123456", strings.Repeat("€uro ", 80), strings.Repeat("验证码😀", 40),
	} {
		s.Clear()
		m := message(text)
		m.ID = "12345"
		receipt, err := c.Send(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		inbox := s.Messages(sandbox.Filter{Channel: sandbox.ChannelSMS, To: m.Recipient})
		if len(inbox) != 1 {
			t.Fatalf("%d messages in the inbox", len(inbox))
		}
		got := inbox[0]
		if got.Text != text || got.From != "Shop" || got.Parts != receipt.Segments ||
			got.ProviderID != receipt.ProviderID() || got.Reference != "12345" {
			t.Errorf("inbox has %+v, the receipt is %+v", got, receipt)
		}
		wantDelivered(t, events, receipt.ProviderIDs)
	}
}

func TestSandboxFaultsBecomeOutcomes(t *testing.T) {
	for _, tc := range []struct {
		fault   sandbox.Fault
		outcome sdk.Outcome
		code    string
	}{
		{sandbox.Fault{ErrorRate: 1}, sdk.OutcomeRetryable, "provider_error"},
		{sandbox.Fault{ErrorRate: 1, ErrorKind: sandbox.ErrorPermanent}, sdk.OutcomeRejected, "invalid_recipient"},
		{sandbox.Fault{Unanswered: 1}, sdk.OutcomeUncertain, "no_response"},
	} {
		t.Run(tc.code, func(t *testing.T) {
			s := startSandbox(t)
			c := openConnector(t, configFor(s.Addresses().SMPP))
			tc.fault.Channel = sandbox.ChannelSMS
			if err := s.SetFault(tc.fault); err != nil {
				t.Fatal(err)
			}
			_, err := c.Send(t.Context(), message("Hello"))
			wantOutcome(t, err, tc.outcome, tc.code)
		})
	}
}
