package main_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/pigeonry/pigeonry/core/enginetest"
)

// deafable puts a line before a server that can be made deaf: connections stay open and nothing comes through.
func deafable(t *testing.T, server *url.URL) (near *url.URL, line *toxiproxy.Proxy) {
	t.Helper()
	line = toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "line", freeAddress(t), server.Host)
	if err := line.Start(); err != nil {
		t.Fatal(err)
	}
	near = new(*server)
	near.Host = line.Listen
	t.Cleanup(line.Stop)
	return near, line
}

// deafen makes a line deaf in both directions.
func deafen(t *testing.T, line *toxiproxy.Proxy) {
	t.Helper()
	for _, stream := range []string{"upstream", "downstream"} {
		toxic := `{"name": "` + stream + `", "type": "timeout", "stream": "` + stream + `", "attributes": {"timeout": 0}}`
		if _, err := line.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			t.Fatal(err)
		}
	}
}

// An engine that does not answer cannot keep a gateway from ending, and what it had is sent after the next start.
func TestSIGTERMBesideADeafEngine(t *testing.T) {
	t.Parallel() // most of it is waiting
	for _, engine := range []string{"PostgreSQL", "RabbitMQ"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			p := enginetest.NewProduction(t)
			server := &p.Database
			if engine == "RabbitMQ" {
				server = &p.Broker
			}
			near, line := deafable(t, *server)
			*server = near
			s := startSystem(t, p.HCL())
			b := s.sendBatch(0, 1000)
			s.await("some went out", 30*time.Second, func() bool { return len(s.ledger("sms")) > 20 })
			deafen(t, line)
			begun := time.Now()
			err := s.gateway.terminate(25 * time.Second) // 15 s, if the machine has time for it
			t.Logf("it ended after %s with %v", time.Since(begun), err)
			select {
			case <-s.gateway.exited:
			default:
				t.Fatal(err)
			}
			if err != nil && s.logs(": it was not done 15s after the signal to end") == 0 {
				t.Errorf("it does not say what it gave up:\n%s", s.gateway.output)
			}
			line.Stop()
			line.Toxics.ResetToxics(t.Context())
			if err := line.Start(); err != nil {
				t.Fatal(err)
			}
			s.start()
			s.await("every message is settled", 120*time.Second, func() bool { return s.settled(b) })
			t.Logf("%d repeats, all marked", s.audit(b))
		})
	}
}
