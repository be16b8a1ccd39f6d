package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/pigeonry/pigeonry/sdk"
)

// provider writes pushes in its own form and sends them.
type provider interface {
	// send makes one request. Its error is an outcome.
	send(ctx context.Context, p *push) (sdk.Receipt, error)
	// check logs in, without sending anything.
	check(ctx context.Context) error
}

// connector sends the messages of one connector.
type connector struct {
	config    *config
	provider  provider
	transport *http.Transport
	pace      *rate.Limiter // nil: no bound
	now       func() time.Time
}

// open makes a connector ready. ctx is that of Open.
func open(ctx context.Context, c config) (*connector, error) {
	if err := validate(c); err != nil {
		return nil, err
	}
	out := &connector{config: &c, transport: newTransport(&c), now: time.Now}
	if c.Rate > 0 {
		out.pace = rate.NewLimiter(rate.Limit(c.Rate), c.Rate)
	}
	var err error
	switch {
	case c.FCM != nil:
		out.provider, err = newFCM(ctx, c.FCM, out.transport)
	case c.APNs != nil:
		out.provider, err = newAPNs(ctx, c.APNs, out.transport)
	case c.WebPush != nil:
		out.provider, err = newWebPush(c.WebPush, out.transport)
	default:
		out.provider = newHuawei(ctx, c.Huawei, out.transport)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

const (
	// pingAfter is how long an HTTP/2 connection may be silent before it is asked whether it is alive, and pingWait how
	// long the answer may take: a firewall may have forgotten a connection that neither end knows to be dead.
	pingAfter = 30 * time.Second
	pingWait  = 10 * time.Second
)

// newTransport returns what carries the requests of a connector. It follows no redirects, as a client would.
func newTransport(c *config) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // of the standard library
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLSCA != "" {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		t.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(c.TLSCA)) // validate has read it
	}
	t.MaxIdleConns, t.MaxIdleConnsPerHost = maxInFlight, maxInFlight
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWait}
	return t
}

// Send pushes m.
func (c *connector) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	p, err := newPush(c.config, m, c.now())
	if err != nil {
		return sdk.Receipt{}, err
	}
	if err := c.wait(ctx); err != nil {
		return sdk.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	return c.provider.send(ctx, p)
}

// maxPause is how long a push waits here for its turn: one that has to wait longer waits better at the gateway.
const maxPause = time.Second

// wait keeps to the rate of the config.
func (c *connector) wait(ctx context.Context) error {
	if c.pace == nil {
		return nil
	}
	turn := c.pace.Reserve()
	pause := turn.Delay()
	if pause > maxPause {
		turn.Cancel()
		return sdk.Throttled(fmt.Errorf("faster than the %d pushes a second of the config", c.config.Rate), pause, sdk.Code(codeThrottled), sdk.Blame(sdk.FaultConfig))
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		turn.Cancel()
		return sdk.Retryable(fmt.Errorf("wait for the turn: %w", context.Cause(ctx)), sdk.Code(sdk.CodeNotStarted))
	}
}

// Check logs in at the provider.
func (c *connector) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	return c.provider.check(ctx)
}

// HandleCallback reads the receipts of a provider that has them.
func (c *connector) HandleCallback(_ context.Context, r *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events, error) { //nolint:unparam // of the interface
	h, ok := c.provider.(*huawei)
	if !ok {
		return &sdk.CallbackResponse{Status: http.StatusNotFound}, sdk.Events{}, nil
	}
	answer, events := h.callback(r, c.now())
	return answer, events, nil
}

// Close lets go of idle connections.
func (c *connector) Close() error { //nolint:unparam // an io.Closer may fail
	c.transport.CloseIdleConnections()
	return nil
}
