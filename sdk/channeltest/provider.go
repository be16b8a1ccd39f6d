package channeltest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// Recipients that tell a Provider what to do, see To.
const (
	// SlowRecipient makes a Provider take its time.
	SlowRecipient = "channeltest-slow"
	// RefusedRecipient makes a Provider refuse, with an answer that quotes the credentials.
	RefusedRecipient = "channeltest-refused"
)

// providerPause is how slow a Provider is: longer than deadlineFor, as Suite.Slow wants it.
const providerPause = 1500 * time.Millisecond

// Provider is an HTTP provider for tests of channels that call one. It answers any request with 200 and
// a JSON object that has an id; a recipient of the names above, wherever it stands in the address, the
// headers or the body, makes it slow or refuse.
type Provider struct {
	// URL is its address.
	URL string

	server *http.Server
	sent   atomic.Int64
}

// StartProvider starts a provider at a free port of this machine. Close it at the end.
func StartProvider() (*Provider, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the provider: %w", err)
	}
	p := &Provider{URL: "http://" + listener.Addr().String()}
	p.server = &http.Server{Handler: http.HandlerFunc(p.answer), ReadHeaderTimeout: answerTimeout}
	go func() { _ = p.server.Serve(listener) }() // ends with Close
	return p, nil
}

// Suite completes s for a channel that calls p.
func (p *Provider) Suite(s Suite) Suite {
	s.Sent = p.Sent
	if s.Slow == nil {
		s.Slow = To(SlowRecipient)
	}
	if s.Fails == nil {
		s.Fails = To(RefusedRecipient)
	}
	return s
}

// Sent counts the requests that were not refused.
func (p *Provider) Sent() int { return int(p.sent.Load()) }

// Close ends the provider at once.
func (p *Provider) Close() error {
	if err := p.server.Close(); err != nil {
		return fmt.Errorf("stop the provider: %w", err)
	}
	return nil
}

func (p *Provider) answer(w http.ResponseWriter, r *http.Request) {
	request := []byte(r.URL.String())
	for _, values := range r.Header {
		for _, v := range values {
			request = append(append(request, ' '), v...)
		}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, sdk.MaxReceiveBytes))
	if err != nil {
		http.Error(w, "unreadable body", http.StatusBadRequest)
		return
	}
	request = append(append(request, ' '), body...)
	if bytes.Contains(request, []byte(RefusedRecipient)) {
		http.Error(w, fmt.Sprintf("no thanks, %s: %.1000s", r.Header.Get("Authorization"), request), http.StatusBadRequest)
		return
	}
	id := p.sent.Add(1)
	if bytes.Contains(request, []byte(SlowRecipient)) {
		pause(r.Context(), providerPause)
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"id": "channeltest-%d"}`, id)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
