package sdk

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	// maxHTTPBody bounds what is read of a provider's answer.
	maxHTTPBody = 1 << 20
	// excerptBytes is how much of a refusal's body becomes the error's text.
	excerptBytes = 300
)

// newHTTPTransport returns what carries the requests of one plugin. It follows no redirects, as a client would: a message
// and its credentials go to the configured provider and nowhere else.
func newHTTPTransport() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // of the standard library
	transport.MaxIdleConnsPerHost = defaultSenderInFlight
	return transport
}

// DoHTTP sends req and turns what happens into an outcome:
//
//	2xx                                     accepted
//	429                                     throttled, Retry-After obeyed
//	503, 408, 425                           retryable, Retry-After obeyed
//	401, 403                                rejected, the config's fault
//	3xx, other 4xx                          rejected
//	other 5xx                               uncertain
//	no connection                           retryable: surely not sent
//	a request that cannot be made           rejected: the message's or the config's fault
//	anything after that, such as a timeout  uncertain
//
// Give req the ctx of Send. The secrets, beside those of the config and of the Authorization header, are cut out of error
// texts.
func DoHTTP(req *http.Request, secrets ...Secret) (Receipt, error) {
	return DoHTTPFunc(req, func(*http.Response, []byte) (Receipt, error) { return Receipt{}, nil }, secrets...)
}

// DoHTTPFunc is DoHTTP for a provider whose answer must be read: it calls read with each 2xx answer
// and its body (at most 1 MiB). read may return an error of this package, for providers that refuse
// with status 200.
func DoHTTPFunc(req *http.Request, read func(*http.Response, []byte) (Receipt, error), secrets ...Secret) (Receipt, error) {
	return DoHTTPAnswer(req, func(resp *http.Response, body []byte) (Receipt, error) {
		if err := HTTPOutcome(resp, body); err != nil {
			return Receipt{}, err
		}
		return read(resp, body)
	}, secrets...)
}

// DoHTTPAnswer is DoHTTPFunc for a provider whose refusals must be read, too: it calls read with every answer, whatever its
// status. Of an answer that read does not understand it returns HTTPOutcome, or Uncertain if that is nil.
func DoHTTPAnswer(req *http.Request, read func(*http.Response, []byte) (Receipt, error), secrets ...Secret) (Receipt, error) {
	transport := http.DefaultTransport // outside a call of the SDK, in an author's test
	if c := callFrom(req.Context()); c != nil {
		transport = c.server.http
	}
	return DoHTTPOver(transport, req, read, secrets...)
}

// DoHTTPOver is DoHTTPAnswer over a transport of the plugin's own, such as one that trusts other authorities or calls no
// private addresses.
func DoHTTPOver(transport http.RoundTripper, req *http.Request, read func(*http.Response, []byte) (Receipt, error), secrets ...Secret) (Receipt, error) {
	clean := cleaner(append(credentials(req), secrets...))
	if err := impossible(req); err != nil {
		return Receipt{}, cleanError(clean, err)
	}
	var progress httpProgress
	resp, err := transport.RoundTrip(progress.follow(req))
	if err != nil {
		// The server alone: a credential may stand in the rest of the URL.
		err = fmt.Errorf("%s %s://%s: %w", req.Method, req.URL.Scheme, req.URL.Host, err)
		if !progress.connected.Load() {
			return Receipt{}, Retryable(clean("connect", err), Code(CodeConnectFailed))
		}
		return Receipt{}, classify(clean("send request", err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxHTTPBody))
	if err != nil { // what came of it is no answer to be read
		if outcome := HTTPOutcome(resp, body); outcome != nil {
			return Receipt{}, cleanError(clean, outcome)
		}
		return Receipt{}, Uncertain(clean("read answer", err))
	}
	r, err := read(resp, body)
	return r, cleanError(clean, err)
}

// impossible says why a request cannot be made at all: to try it again later would be in vain.
func impossible(req *http.Request) error {
	fail := func(f Fault, format string, args ...any) error {
		return Permanent(fmt.Errorf("the request cannot be made: "+format, args...), Code(CodeBadRequest), Blame(f))
	}
	switch {
	case req.URL == nil || req.URL.Host == "":
		return fail(FaultConfig, "its URL has no host")
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return fail(FaultConfig, "the scheme of its URL is %q: want http or https", req.URL.Scheme)
	case req.Method != "" && !httpguts.ValidHeaderFieldName(req.Method): // names of headers and of methods are alike
		return fail(FaultConfig, "its method is %q", req.Method)
	}
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		switch bad := slices.ContainsFunc(req.Header[name], func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) }); {
		case !httpguts.ValidHeaderFieldName(name):
			return fail(FaultConfig, "a header has the name %q", name)
		case bad && isCredential(name):
			return fail(FaultConfig, "the header %s holds a line break or another control character", name)
		case bad:
			return fail(FaultMessage, "the header %s holds a line break or another control character", name)
		}
	}
	return nil
}

// isCredential says whether the value of a header comes from the config, as far as its name tells.
func isCredential(name string) bool {
	name = strings.ToLower(name)
	return name != "idempotency-key" && slices.ContainsFunc([]string{"auth", "key", "secret", "token"}, func(word string) bool {
		return strings.Contains(name, word)
	})
}

// credentials are what a request logs in with. An answer may quote them in a form that no secret of the config has.
func credentials(req *http.Request) []Secret {
	var out []Secret
	if req.URL != nil && req.URL.User != nil {
		password, _ := req.URL.User.Password()
		pair := req.URL.User.Username() + ":" + password
		out = append(out, Secret(password), Secret(base64.StdEncoding.EncodeToString([]byte(pair))))
	}
	if _, password, ok := req.BasicAuth(); ok {
		out = append(out, Secret(password))
	}
	for _, name := range []string{"Authorization", "Proxy-Authorization"} {
		value := req.Header.Get(name)
		if _, credential, ok := strings.Cut(value, " "); ok {
			value = credential
		}
		out = append(out, Secret(value))
	}
	return out
}

// httpProgress is how far a request has come.
type httpProgress struct {
	connected atomic.Bool // there was a connection
	left      atomic.Bool // the whole request has left over HTTP/1, and may have been acted upon
	multiplex atomic.Bool // the connection speaks HTTP/2
}

var errHTTPLost = errors.New("the connection was lost before the answer")

// follow returns req with its progress noted, and sent at most once. When a connection that served before is lost,
// net/http by itself repeats a GET, and whatever carries an Idempotency-Key: the message would go out twice and
// nobody would know. It asks GetBody for the body of the repeat, which refuses once the request has left. In HTTP/2
// the server says which requests it did not look at, and only those are repeated.
func (p *httpProgress) follow(req *http.Request) *http.Request {
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			p.connected.Store(true)
			secure, ok := info.Conn.(*tls.Conn)
			p.multiplex.Store(ok && secure.ConnectionState().NegotiatedProtocol == "h2")
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			p.left.Store(info.Err == nil && !p.multiplex.Load())
		},
	}))
	if user := req.URL.User; user != nil && req.Header.Get("Authorization") == "" {
		req.Header = req.Header.Clone()
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	again := req.GetBody
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		req.Body = io.NopCloser(strings.NewReader(""))
		again = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }
	case again == nil:
		return req // nothing can be repeated of which the body is gone
	}
	req.GetBody = func() (io.ReadCloser, error) {
		if p.left.Load() {
			return nil, errHTTPLost
		}
		return again()
	}
	return req
}

// HTTPOutcome returns the error that the status of an answer stands for, as the table of DoHTTP has it; nil for 2xx. Its
// text quotes the beginning of body.
func HTTPOutcome(resp *http.Response, body []byte) error {
	code := resp.StatusCode
	err := fmt.Errorf("provider answered %s: %s", resp.Status, excerpt(body))
	opts := []Option{Code(CodeHTTPStatus), ProviderCode(strconv.Itoa(code))}
	switch {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusTooManyRequests:
		return Throttled(err, retryAfter(resp), ProviderCode(strconv.Itoa(code)))
	case code == http.StatusServiceUnavailable || code == http.StatusRequestTimeout || code == http.StatusTooEarly:
		return Retryable(err, ProviderCode(strconv.Itoa(code)), RetryAfter(retryAfter(resp)))
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return Permanent(err, append(opts, Code(CodeAuthFailed), Blame(FaultConfig))...)
	case code >= 300 && code < 400:
		return Permanent(err, append(opts, Blame(FaultConfig))...)
	case code >= 400 && code < 500:
		return Permanent(err, opts...)
	default: // it may have done the work before it failed
		return Uncertain(err, opts...)
	}
}

// retryAfter reads the header of RFC 9110 section 10.2.3: seconds or a date.
func retryAfter(resp *http.Response) time.Duration {
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// excerpt is the beginning of a body on one line.
func excerpt(body []byte) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(body[:min(len(body), 4*excerptBytes)]), "\uFFFD")), " ")
	if text == "" {
		return "no body"
	}
	return abbreviate(text, excerptBytes)
}

// cleaner returns a function that says what was tried and cuts secrets out of the error's text. The
// chain is kept: errors.Is still finds a timeout.
func cleaner(secrets []Secret) func(doing string, err error) error {
	r := &redactor{}
	values := make([]string, len(secrets))
	for i, s := range secrets {
		values[i] = s.Reveal()
	}
	r.add(values)
	return func(doing string, err error) error {
		if doing != "" {
			err = fmt.Errorf("%s: %w", doing, err)
		}
		return &cleanedError{text: r.clean(err.Error()), err: err}
	}
}

// cleanError cleans the text of an error that has an outcome already.
func cleanError(clean func(string, error) error, err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*DeliveryError](err)
	if !ok {
		return clean("", err)
	}
	out := *e
	out.Err = clean("", err)
	return &out
}

// cleanedError shows another text than the error it wraps.
type cleanedError struct {
	text string
	err  error
}

func (e *cleanedError) Error() string { return e.text }
func (e *cleanedError) Unwrap() error { return e.err }
