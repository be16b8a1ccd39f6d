package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/core/api/client"
)

const (
	// callTimeout bounds one request to the gateway.
	callTimeout = time.Minute
	// maxTries is how often a request is made that the gateway could not take for the moment.
	maxTries = 8
	// maxPause bounds the wait between two tries where the gateway does not name one.
	maxPause = 10 * time.Second
)

// addRemoteFlags gives a command the flags of the gateway that it talks to.
func addRemoteFlags(cmd *cobra.Command) {
	cmd.Flags().String("url", "", "address of the gateway (default: PIGEONRY_URL, else http://127.0.0.1:8080)")
	cmd.Flags().String("key", "", "API key (default: PIGEONRY_API_KEY)")
}

// remote is the gateway at the other end of the API.
type remote struct {
	*client.ClientWithResponses
	url string
}

func (p Process) remote(cmd *cobra.Command, needsKey bool) (*remote, error) {
	url, key := p.getenv("PIGEONRY_URL"), p.getenv("PIGEONRY_API_KEY")
	if f := cmd.Flags().Lookup("url"); f.Changed {
		url = f.Value.String()
	}
	if f := cmd.Flags().Lookup("key"); f != nil && f.Changed {
		key = f.Value.String()
	}
	if url == "" {
		url = "http://127.0.0.1:8080"
	}
	if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
		return nil, fmt.Errorf("--url %q is not an address of a gateway; write it like http://127.0.0.1:8080", url)
	}
	if needsKey && key == "" {
		return nil, errors.New("no API key; give --key or set PIGEONRY_API_KEY (pigeonry key create makes one)")
	}
	options := []client.ClientOption{client.WithHTTPClient(&http.Client{Timeout: callTimeout})}
	if key != "" {
		options = append(options, client.WithKey(key))
	}
	c, err := client.NewClientWithResponses(url, options...)
	if err != nil {
		return nil, fmt.Errorf("use the gateway at %s: %w", url, err)
	}
	return &remote{ClientWithResponses: c, url: url}, nil
}

// refusal is an answer of the gateway that is not a success.
type refusal struct {
	status     int
	retryAfter time.Duration
	client.ErrorAnswer
}

// Error says what the gateway said, field by field.
func (r *refusal) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the gateway refused (HTTP %d", r.status)
	if r.Code != 0 {
		fmt.Fprintf(&b, ", code %d", r.Code)
	}
	b.WriteString(")")
	if r.Message != "" {
		b.WriteString(": " + r.Message)
	}
	for _, f := range r.Errors {
		if line := f.Field + ": " + f.Reason; line != r.Message {
			b.WriteString("\n  " + line)
		}
	}
	if r.RequestId != "" {
		fmt.Fprintf(&b, "\n  request %s in the gateway's log", r.RequestId)
	}
	return b.String()
}

// answered turns anything but a success into a refusal.
func answered(response *http.Response, body []byte) error {
	if response.StatusCode/100 == 2 {
		return nil
	}
	r := &refusal{status: response.StatusCode}
	if err := json.Unmarshal(body, &r.ErrorAnswer); err != nil {
		r.Message = "the answer is not one of Pigeonry's; is this the address of a gateway?"
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds >= 0 {
		r.retryAfter = time.Duration(seconds) * time.Second
	}
	return r
}

// ask makes a request that is safe to repeat until the gateway answers, and returns the data of the answer.
func ask[T any](ctx context.Context, r *remote, request func() (*http.Response, error)) (T, error) {
	return dataOf[T](func(once func() (*http.Response, []byte, error)) error { return r.insist(ctx, once) }, request)
}

// order makes a request once, and returns the data of the answer.
func order[T any](r *remote, request func() (*http.Response, error)) (T, error) {
	return dataOf[T](func(once func() (*http.Response, []byte, error)) error {
		response, body, err := once() //nolint:bodyclose // it is read and closed
		if err != nil {
			return fmt.Errorf("reach the gateway at %s: %w", r.url, err)
		}
		return answered(response, body)
	}, request)
}

// dataOf has a request made and returns the data of its answer.
func dataOf[T any](perform func(once func() (*http.Response, []byte, error)) error, request func() (*http.Response, error)) (T, error) {
	var answer struct {
		Data *T `json:"data"`
	}
	var body []byte
	err := perform(func() (*http.Response, []byte, error) {
		response, err := request()
		if err != nil {
			return nil, nil, err
		}
		defer response.Body.Close()
		body, err = io.ReadAll(response.Body)
		return response, body, err
	})
	if err == nil && (json.Unmarshal(body, &answer) != nil || answer.Data == nil) {
		err = errNotPigeonry
	}
	if err != nil {
		var none T
		return none, err
	}
	return *answer.Data, nil
}

// insist makes a request until the gateway takes or refuses it for good. The request must be safe to
// repeat: it carries an Idempotency-Key.
func (r *remote) insist(ctx context.Context, request func() (*http.Response, []byte, error)) error {
	for try := 1; ; try++ {
		response, body, err := request() //nolint:bodyclose // the generated client has read and closed it
		if err == nil {
			err = answered(response, body)
		} else {
			err = fmt.Errorf("reach the gateway at %s: %w", r.url, err)
		}
		if err == nil || try == maxTries || ctx.Err() != nil || !passing(err) {
			return err
		}
		if err := pause(ctx, try, err); err != nil {
			return err
		}
	}
}

// passing says whether an error may be gone a moment later.
func passing(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return true // the network
	}
	switch r.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusConflict: // the first request with this key is still being worked on
		return r.retryAfter > 0
	default:
		return false
	}
}

// pause waits as long as the gateway asked for, or for a jittered while that doubles.
func pause(ctx context.Context, try int, err error) error {
	wait := min(maxPause, 200*time.Millisecond<<try)
	wait = wait/2 + rand.N(wait/2)
	if r, ok := errors.AsType[*refusal](err); ok && r.retryAfter > 0 {
		wait = r.retryAfter
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
