package pluginhost_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost"
)

func TestConnectorStates(t *testing.T) {
	h := run(t, nil, "good")
	h.pid("good", 0)
	for name, c := range map[string]struct {
		config string
		state  core.ConnectorState
		says   string
	}{
		"valid":            {`{}`, core.ConnectorReady, ""},
		"invalid":          {`{"fail": "validate"}`, core.ConnectorMisconfigured, "the port is not free"},
		"not taken":        {`{"fail": "configure"}`, core.ConnectorMisconfigured, "the provider is away"},
		"no JSON":          {`{`, core.ConnectorUnavailable, "ValidateConfig: "},
		"not serving":      {`{"health": "down"}`, core.ConnectorUnavailable, "down"},
		"not well serving": {`{"health": "shaky"}`, core.ConnectorDegraded, "shaky"},
	} {
		t.Run(name, func(t *testing.T) {
			h.Configure(t.Context(), nil)
			h.Configure(t.Context(), []pluginhost.ConnectorConfig{connector("good", 1, c.config)})
			h.await("the connector is "+string(c.state), func() bool { return h.status("good").State == c.state })
			s := h.status("good")
			wantText(t, "message", s.Message, c.says)
			if s.Version != "1.0.0" || !s.Receipts || !s.Query || !s.Idempotent {
				t.Errorf("status: %+v", s)
			}
			if ready := c.state == core.ConnectorReady || c.state == core.ConnectorDegraded; h.Ready("test/good") != ready {
				t.Errorf("ready: %v", !ready)
			}
		})
	}
}

func TestDiagnosticsNameTheField(t *testing.T) {
	h := run(t, nil, "good")
	h.pid("good", 0)
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{connector("good", 1, `{"fail": "validate", "token": "hunter22"}`)})
	ds := h.status("good").Diagnostics
	if len(ds) != 2 || !ds[0].Warning || ds[1].Warning {
		t.Fatalf("diagnostics: %+v", ds)
	}
	if want := []any{"servers", 2, "port"}; !slices.Equal(ds[1].Path, want) {
		t.Errorf("path: %#v, want %#v", ds[1].Path, want)
	}
	if want := "Take another, not [redacted]."; ds[1].Detail != want {
		t.Errorf("detail: %q, want %q", ds[1].Detail, want)
	}
}

func TestConnectorsWithoutPlugin(t *testing.T) {
	h := run(t, nil, "good")
	h.pid("good", 0)
	other := connector("good", 1, `{}`)
	other.ID = "pager/main"
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{connector("absent", 1, `{}`), other})
	if s := h.status("absent"); s.State != core.ConnectorMisconfigured || len(s.Diagnostics) != 1 {
		t.Errorf("without a plugin: %+v", s)
	}
	wantText(t, "message", h.status("absent").Message, `plugin "absent" is not installed`, "/absent/<version>/absent")
	all := h.Connectors()
	if len(all) != 2 || all[0].ID != "pager/main" || all[0].State != core.ConnectorMisconfigured {
		t.Fatalf("connectors: %+v", all)
	}
	wantText(t, "message", all[0].Message, `does not serve the channel "pager"`)
}

// A configuration that is refused leaves the earlier one in force, also over a crash of the plugin.
func TestRefusedConfigurationChangesNothing(t *testing.T) {
	h := run(t, nil, "good")
	h.connect("good")
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{connector("good", 2, `{"fail": "validate"}`)})
	check := func() {
		t.Helper()
		s := h.status("good")
		if s.State != core.ConnectorDegraded {
			t.Errorf("status: %+v", s)
		}
		wantText(t, "message", s.Message, "the one before it is in force", "the port is not free")
		if got := h.deliver("good", batch("accept")); got[1].Outcome != core.OutcomeAccepted {
			t.Errorf("result: %+v", got[1])
		}
	}
	check()
	pid := h.pid("good", 0)
	kill(t, pid)
	h.pid("good", pid)
	h.await("ready again", func() bool { return h.Ready("test/good") })
	check()
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{connector("good", 3, `{"health": "shaky"}`)})
	h.await("the third is in force", func() bool { return h.status("good").Message == "shaky" })
}

// A new configuration over which the plugin hangs does not keep a new process from the earlier one.
func TestConfigurationThatHangsChangesNothing(t *testing.T) {
	h := run(t, func(o *pluginhost.Options) { o.Timing.Call = 300 * time.Millisecond }, "good")
	h.connect("good")
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{connector("good", 2, `{"fail": "hang"}`)})
	pid := h.pid("good", 0)
	kill(t, pid)
	h.pid("good", pid)
	h.await("the earlier one is in force", func() bool { return h.status("good").State == core.ConnectorDegraded })
	wantText(t, "message", h.status("good").Message, "the one before it is in force", "no answer in time")
	if got := h.deliver("good", batch("accept")); got[1].Outcome != core.OutcomeAccepted {
		t.Errorf("result: %+v", got[1])
	}
}

// A connector whose provider was away is tried again without anybody asking.
func TestRefusedByTheProviderIsTriedAgain(t *testing.T) {
	h := run(t, nil, "good")
	h.pid("good", 0)
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{connector("good", 1, `{"fail": "configure", "token": "canary-token"}`)})
	h.await("it is tried again", func() bool {
		return strings.Count(h.log.String(), "configured with token") >= 2
	})
}

func TestRemovedConnectorIsForgotten(t *testing.T) {
	h := run(t, nil, "good")
	h.connect("good")
	h.Configure(t.Context(), nil)
	if len(h.Connectors()) != 0 {
		t.Errorf("connectors: %+v", h.Connectors())
	}
	h.connect("good")
}

// A config that crashes the plugin ends in failed and tells which call it was; the gateway lives.
func TestConfigThatCrashesThePlugin(t *testing.T) {
	h := run(t, nil, "good")
	h.pid("good", 0)
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{connector("good", 1, `{"fail": "crash"}`)})
	wantText(t, "error", h.failed("good"), "crash loop", "exit status 9")
}

// No secret of a config reaches a log, the kept standard error or an error.
func TestSecretsAreHidden(t *testing.T) {
	h := run(t, nil, "good")
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{
		connector("good", 1, `{"token": "s3cr3t-\"tök\\en", "keys": ["alpha-key", "beta\nsecond line of a key"]}`),
	})
	h.await("ready", func() bool { return h.Ready("test/good") })
	h.await("the plugin has written", func() bool {
		return strings.Contains(h.generation("good", "1.0.0").LastStderr, "keys are")
	})
	for what, text := range map[string]string{"log": h.log.String(), "standard error": h.generation("good", "1.0.0").LastStderr} {
		wantText(t, what, text, "[redacted]")
		for _, secret := range []string{"s3cr3t", "tök", "alpha-key", "second line"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %q: %s", what, secret, text)
			}
		}
	}
}

func TestCallback(t *testing.T) {
	h := run(t, func(o *pluginhost.Options) { o.PublicURL = "https://gateway.example.com/" }, "good", "bare")
	h.connect("good", "bare")
	body := bytes.Repeat([]byte("x"), pluginhost.MaxCallbackBody)
	response, err := h.HandleCallback(t.Context(), "test/good", pluginhost.CallbackRequest{
		Method: "POST", Path: "/dlr", Query: "a=1", Header: http.Header{"X-Sign": {"1", "2"}}, Body: body,
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := []string{"POST", "/dlr", "a=1", "https://gateway.example.com/callbacks/test/good"}
	if response.Status != 202 || !slices.Equal(response.Header["X-Seen"], seen) || !bytes.Equal(response.Body, body) {
		t.Errorf("response: %d %v, %d bytes", response.Status, response.Header, len(response.Body))
	}
	if len(response.Receipts) != 2 || len(response.Inbound) != 1 {
		t.Fatalf("events: %+v, %+v", response.Receipts, response.Inbound)
	}
	known, odd := response.Receipts[0], response.Receipts[1]
	if known.Connector != "test/good" || known.Record != 12 || known.Attempt != 3 || known.Status != core.ReceiptDelivered || known.DedupeKey != "d1" || known.ReceivedAt.IsZero() {
		t.Errorf("receipt: %+v", known)
	}
	if odd.Status != core.ReceiptProgress || odd.DedupeKey == "" {
		t.Errorf("receipt of unknown status: %+v", odd)
	}
	if in := response.Inbound[0]; in.Text != "STOP" || in.DedupeKey == "" || in.At.IsZero() {
		t.Errorf("inbound: %+v", in)
	}
	if response, err = h.HandleCallback(t.Context(), "test/good", pluginhost.CallbackRequest{Path: "/odd"}); err != nil || response.Status != http.StatusBadGateway {
		t.Errorf("status 7: %d, %v", response.Status, err)
	}
	for name, c := range map[string]struct {
		id   core.ConnectorID
		body []byte
		want core.Kind
	}{
		"too large":         {"test/good", append(body, 'x'), core.KindTooLarge},
		"unknown connector": {"test/none", nil, core.KindNotFound},
		"without callbacks": {"test/bare", nil, core.KindNotFound},
	} {
		if _, err := h.HandleCallback(t.Context(), c.id, pluginhost.CallbackRequest{Body: c.body}); core.KindOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestQueryAndCheck(t *testing.T) {
	h := run(t, nil, "good", "bare")
	h.connect("good", "bare")
	results, err := h.Query(t.Context(), "test/good", []core.Inquiry{
		{Record: 1, Attempt: 2, IdempotencyKey: "known", ProviderIDs: []string{"p"}}, {Record: 2, Attempt: 1},
	})
	if err != nil || len(results) != 1 || results[0].Record != 1 || results[0].Attempt != 2 || results[0].Outcome != core.OutcomeAccepted {
		t.Errorf("query: %+v, %v", results, err)
	}
	if _, err := h.Query(t.Context(), "test/bare", nil); core.KindOf(err) != core.KindUnprocessable {
		t.Errorf("query of a plugin that cannot: %v", err)
	}
	if check, err := h.Check(t.Context(), "test/good"); err != nil || !check.OK || check.Latency <= 0 {
		t.Errorf("check: %+v, %v", check, err)
	}
	if check, err := h.Check(t.Context(), "test/bare"); err != nil || !check.OK || check.Message == "" {
		t.Errorf("check of a plugin that cannot: %+v, %v", check, err)
	}
	if _, err := h.Check(t.Context(), "test/none"); core.KindOf(err) != core.KindNotFound {
		t.Errorf("check of an unknown connector: %v", err)
	}
	if err := h.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := h.Check(t.Context(), "test/good"); core.KindOf(err) != core.KindUnavailable {
		t.Errorf("check after the stop: %v", err)
	}
}

// Events are acknowledged only once they are stored, in order, and none of another plugin's connector.
func TestReceivedEventsAreStoredBeforeTheAcknowledgement(t *testing.T) {
	var mu sync.Mutex
	var keys []string
	failures := 2
	stored := make(chan struct{})
	h := run(t, func(o *pluginhost.Options) {
		o.Events = func(_ context.Context, receipts []core.Receipt, _ []core.Inbound) error {
			mu.Lock()
			defer mu.Unlock()
			if failures > 0 {
				failures--
				return errors.New("the store is away")
			}
			for _, r := range receipts {
				keys = append(keys, string(r.Connector)+" "+r.DedupeKey)
			}
			if len(keys) == 2 {
				close(stored)
			}
			return nil
		}
	}, "good")
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{connector("good", 1, `{"emit": 3}`)})
	select {
	case <-stored:
	case <-time.After(10 * time.Second):
		t.Fatal("events were not stored")
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"test/good 2", "test/good 3"}; !slices.Equal(keys, want) {
		t.Errorf("stored %q, want %q", keys, want)
	}
	if v := h.Violations("good"); v.Foreign != 1 {
		t.Errorf("violations: %+v", v)
	}
}

// Nothing that a plugin writes stops the host or the plugin: long lines, noise before and after the
// handshake, lines that look like hclog's JSON and are not.
func TestNoiseIsHarmless(t *testing.T) {
	h := run(t, nil, "noisy")
	h.connect("noisy")
	if _, err := h.Check(t.Context(), "test/noisy"); err != nil {
		t.Fatal(err)
	}
	h.await("all of it is read", func() bool {
		_, err := h.Check(t.Context(), "test/noisy") // twice, so that a blocked pipe would show
		return err == nil && strings.Contains(h.log.String(), "still here") && strings.Contains(h.log.String(), "printed while serving")
	})
	wantText(t, "log", h.log.String(), `level=WARN msg="still here" plugin=noisy version=1.0.0 answer=42 module=noisy`, "zz… plugin=noisy")
	if got := h.deliver("noisy", batch("accept")); got[1].Outcome != core.OutcomeAccepted {
		t.Errorf("result: %+v", got[1])
	}
	if g := h.generation("noisy", "1.0.0"); g.Restarts != 0 || len(g.LastStderr) > 64<<10 {
		t.Errorf("%d restarts, %d bytes of standard error", g.Restarts, len(g.LastStderr))
	}
}
