package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"

	"github.com/pigeonry/pigeonry/sdk"
)

// client speaks HTTP to the provider of one connector. A transport follows no redirects: a message and
// its credentials go to the configured server and nowhere else.
type client struct {
	transport *http.Transport
	maxAnswer int
}

func newClient(c *config) (*client, error) {
	tlsConfig, err := tlsOf(c)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // of the standard library
	transport.DialContext = (&net.Dialer{Timeout: c.ConnectTimeout}).DialContext
	transport.TLSHandshakeTimeout = c.ConnectTimeout
	transport.TLSClientConfig = tlsConfig
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = maxInFlight, maxInFlight
	return &client{transport: transport, maxAnswer: c.MaxAnswerBytes}, nil
}

// tlsOf is what TLS is spoken with.
func tlsOf(c *config) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLSCA != "" {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM([]byte(c.TLSCA)) {
			return nil, sdk.FieldError("tls_ca", "holds no certificate", `give the PEM text itself, e.g. file("ca.pem")`)
		}
	}
	switch {
	case c.TLSCert == "" && c.TLSKey == "":
		return t, nil
	case c.TLSCert == "" || c.TLSKey == "":
		return nil, sdk.FieldError("tls_cert", "needs tls_key, and tls_key needs it", "give both or neither")
	}
	pair, err := tls.X509KeyPair([]byte(c.TLSCert), []byte(c.TLSKey.Reveal()))
	if err != nil { // its text says which of the two, and quotes neither
		return nil, sdk.FieldError("tls_cert", "does not go with tls_key: "+err.Error(), `give both as PEM text, e.g. file("client.pem")`)
	}
	t.Certificates = []tls.Certificate{pair}
	return t, nil
}

// exchange sends a request once and reads the answer. An error has an outcome: without a connection
// nothing was sent, and after that nobody knows.
func (c *client) exchange(req *http.Request, body []byte) (*answer, error) {
	var progress progress
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), progress.trace()))
	progress.give(req, body)
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		// The server alone: a credential may stand in the rest of the URL.
		err = fmt.Errorf("%s %s://%s: %w", req.Method, req.URL.Scheme, req.URL.Host, err)
		if !progress.connected.Load() {
			return nil, sdk.Retryable(err, sdk.Code(sdk.CodeConnectFailed))
		}
		return nil, uncertain(err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(io.LimitReader(resp.Body, int64(c.maxAnswer)+1))
	a := &answer{status: resp.StatusCode, title: resp.Status, header: resp.Header, body: read}
	if len(read) > c.maxAnswer {
		a.body, a.truncated = read[:c.maxAnswer], true
	}
	if err != nil {
		return a, uncertain(fmt.Errorf("read the answer: %w", err))
	}
	return a, nil
}

// uncertain keeps the SDK's code for a deadline.
func uncertain(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return sdk.Uncertain(err, sdk.Code(sdk.CodeTimeout))
	}
	return sdk.Uncertain(err)
}

// progress is how far a request has come.
type progress struct {
	connected atomic.Bool // there was a connection
	spent     atomic.Bool // the whole request has left over HTTP/1, and may have been acted upon
	multiplex atomic.Bool // the connection speaks HTTP/2
}

func (p *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			p.connected.Store(true)
			secure, ok := info.Conn.(*tls.Conn)
			p.multiplex.Store(ok && secure.ConnectionState().NegotiatedProtocol == "h2")
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			p.spent.Store(info.Err == nil && !p.multiplex.Load())
		},
	}
}

var errLost = errors.New("the connection was lost before the answer")

// give sets the body of a request. When a connection that served before is lost, net/http by itself
// repeats a GET, and whatever carries an Idempotency-Key: the message would go out twice and nobody
// would know. It asks GetBody for the body of the repeat, which refuses once the request has left. In
// HTTP/2 the server says which requests it did not look at, and only those are repeated.
func (p *progress) give(req *http.Request, body []byte) {
	if len(body) == 0 && req.Method != http.MethodGet {
		req.Body = http.NoBody
		return
	}
	open := func() io.ReadCloser { return io.NopCloser(bytes.NewReader(body)) }
	req.ContentLength = int64(len(body))
	req.Body = open()
	req.GetBody = func() (io.ReadCloser, error) {
		if p.spent.Load() {
			return nil, errLost
		}
		return open(), nil
	}
}

// reach connects to the server, or to the proxy before it, and asks nothing.
func (c *client) reach(ctx context.Context, server *url.URL) error {
	via := server
	if proxy, err := c.transport.Proxy(&http.Request{URL: server}); err == nil && proxy != nil {
		via = proxy
	}
	port := via.Port()
	if port == "" {
		port = map[string]string{"https": "443"}[via.Scheme]
	}
	target := net.JoinHostPort(via.Hostname(), orElse(port, "80"))
	conn, err := c.transport.DialContext(ctx, "tcp", target)
	if err != nil {
		return sdk.Retryable(fmt.Errorf("connect to %s: %w", target, err), sdk.Code(sdk.CodeConnectFailed))
	}
	defer conn.Close()
	if via.Scheme != "https" {
		return nil
	}
	settings := c.transport.TLSClientConfig.Clone()
	settings.ServerName = via.Hostname()
	if err := tls.Client(conn, settings).HandshakeContext(ctx); err != nil {
		return sdk.Retryable(fmt.Errorf("speak TLS with %s: %w", target, err), sdk.Code(sdk.CodeConnectFailed))
	}
	return nil
}
