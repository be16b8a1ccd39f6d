package sdk_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// do posts to url through DoHTTP, and returns what it says in short.
func do(ctx context.Context, t *testing.T, url string, secrets ...sdk.Secret) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("text"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = sdk.DoHTTP(req, secrets...)
	out := sdk.OutcomeOf(err).String()
	if e, ok := errors.AsType[*sdk.DeliveryError](err); ok {
		out += " " + e.Code + " " + e.ProviderCode
	}
	return out, err
}

// Every status has its outcome.
func TestDoHTTPStatus(t *testing.T) {
	for code, want := range map[int]string{
		200: "accepted", 202: "accepted", 204: "accepted",
		302: "rejected http_status 302", 307: "rejected http_status 307", 308: "rejected http_status 308",
		400: "rejected http_status 400", 404: "rejected http_status 404", 422: "rejected http_status 422",
		401: "rejected auth_failed 401", 403: "rejected auth_failed 403",
		408: "retryable unavailable 408", 425: "retryable unavailable 425", 503: "retryable unavailable 503",
		429: "throttled throttled 429",
		500: "uncertain http_status 500", 502: "uncertain http_status 502", 504: "uncertain http_status 504",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
		}))
		if got, _ := do(t.Context(), t, s.URL); got != want {
			t.Errorf("%d: got %s, want %s", code, got, want)
		}
		s.Close()
	}
}

// Retry-After is seconds or a date.
func TestDoHTTPRetryAfter(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"7": 7 * time.Second, "-1": 0, "": 0, "soon": 0,
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Hour,
		"Mon, 02 Jan 2006 15:04:05 GMT":                         0,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(http.StatusTooManyRequests)
		}))
		_, err := do(t.Context(), t, s.URL)
		e, _ := errors.AsType[*sdk.DeliveryError](err)
		if e == nil || (e.RetryAfter-want).Abs() > 5*time.Second {
			t.Errorf("%q: got %+v, want %s", header, e, want)
		}
		s.Close()
	}
}

// What never reached the provider is retryable; what may have, is uncertain.
func TestDoHTTPNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	_ = l.Close()
	if got, _ := do(t.Context(), t, url); got != "retryable connect_failed " {
		t.Errorf("nobody listens: %s", got)
	}

	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := do(ctx, t, slow.URL); got != "uncertain timeout " || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer: %s, %v", got, err)
	}
	close(release)
	slow.Close()

	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		_ = conn.Close()
	}))
	defer cut.Close()
	if got, _ := do(t.Context(), t, cut.URL); got != "uncertain uncertain " {
		t.Errorf("hung up: %s", got)
	}
}

// A request that cannot be made is not taken for a provider that cannot be reached: it would be tried for ever.
func TestDoHTTPImpossible(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the request was sent") }))
	defer s.Close()
	for name, c := range map[string]struct {
		change func(*http.Request)
		want   string
	}{
		"a line break in a header": {func(r *http.Request) { r.Header.Set("X-Text", "a\nb") }, "rejected invalid_request message"},
		"in the idempotency key":   {func(r *http.Request) { r.Header.Set("Idempotency-Key", "a\nb") }, "rejected invalid_request message"},
		"in the token":             {func(r *http.Request) { r.Header.Set("Authorization", "Bearer s3cret\n") }, "rejected invalid_request config"},
		"a name that is none":      {func(r *http.Request) { r.Header["X Text"] = []string{"a"} }, "rejected invalid_request config"},
		"another scheme":           {func(r *http.Request) { r.URL.Scheme = "ftp" }, "rejected invalid_request config"},
		"no host":                  {func(r *http.Request) { r.URL.Host = "" }, "rejected invalid_request config"},
		"a method that is none":    {func(r *http.Request) { r.Method = "PO ST" }, "rejected invalid_request config"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		c.change(req)
		_, err = sdk.DoHTTP(req)
		e, _ := errors.AsType[*sdk.DeliveryError](err)
		if e == nil {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		fault := map[sdk.Fault]string{sdk.FaultConfig: "config", sdk.FaultMessage: "message"}[e.Fault]
		if got := e.Outcome.String() + " " + e.Code + " " + fault; got != c.want || strings.Contains(e.Error(), "s3cret") {
			t.Errorf("%s: got %s (%v), want %s", name, got, err, c.want)
		}
	}
}

// What a request logs in with is cut out, also in the form in which basic authentication sends it.
func TestDoHTTPCredentials(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		http.Error(w, user+" "+password+" "+r.Header.Get("Authorization"), http.StatusForbidden)
	}))
	defer s.Close()
	for name, login := range map[string]struct {
		change func(*http.Request)
		want   string
	}{
		"header": {func(r *http.Request) { r.SetBasicAuth("shop", "hunter2") }, "shop [redacted] Basic [redacted]"},
		"URL":    {func(r *http.Request) { r.URL.User = url.UserPassword("shop", "hunter2") }, "shop [redacted] Basic [redacted]"},
		"bearer": {func(r *http.Request) { r.Header.Set("Authorization", "Bearer hunter2") }, "Bearer [redacted]"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		login.change(req)
		if _, err = sdk.DoHTTP(req); err == nil || err.Error() != "provider answered 403 Forbidden: "+login.want {
			t.Errorf("%s: got %v, want %q", name, err, login.want)
		}
	}
}

// No secret stays in an error, whether the provider quotes it or the URL holds it.
func TestDoHTTPSecrets(t *testing.T) {
	const secret = "s3cret/word+1"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "not known:\n "+r.URL.Query().Get("token"), http.StatusForbidden)
	}))
	_, err := do(t.Context(), t, s.URL+"?token=s3cret%2Fword%2B1", secret)
	if want := "provider answered 403 Forbidden: not known: [redacted]"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	s.Close()
	_, err = do(t.Context(), t, s.URL+"?token=s3cret%2Fword%2B1", secret)
	if strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "POST "+s.URL+":") {
		t.Errorf("got %q", err)
	}
}

// DoHTTPFunc reads the answer, and may refuse it.
func TestDoHTTPFunc(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("id-1")) }))
	defer s.Close()
	gw := opened(t, senderFunc(func(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, http.NoBody)
		if err != nil {
			return sdk.Receipt{}, err
		}
		return sdk.DoHTTPFunc(req, func(_ *http.Response, body []byte) (sdk.Receipt, error) {
			if m.Recipient == "r1" {
				return sdk.Receipt{}, sdk.Permanent(errors.New("blocked"), sdk.Code("blocked"))
			}
			return sdk.Accepted(string(body)), nil
		})
	}))
	results, err := gw.deliver(t.Context(), batchOf("test/a", 2))
	if err != nil || results["a0"].GetProviderIds()[0] != "id-1" || verdict(results["a1"]) != "rejected blocked message" {
		t.Errorf("%v, %v", results, err)
	}
}

// DoHTTPAnswer reads refusals, too, and falls back on what the status says.
func TestDoHTTPAnswer(t *testing.T) {
	var status atomic.Int64
	var body atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
		_, _ = io.WriteString(w, body.Load().(string))
	}))
	defer s.Close()
	read := func(resp *http.Response, body []byte) (sdk.Receipt, error) {
		switch string(body) {
		case "ok":
			return sdk.Accepted("id-1"), nil
		case "token":
			return sdk.Receipt{}, sdk.Permanent(errors.New("token s3cret is bad"), sdk.Code("token_bad"))
		}
		return sdk.Receipt{}, sdk.HTTPOutcome(resp, body)
	}
	for _, c := range []struct {
		status           int
		body, want, text string
	}{
		{status: 200, body: "ok", want: "accepted"},
		{status: 400, body: "token", want: "rejected token_bad ", text: "token [redacted] is bad"},
		{status: 503, body: "<html>", want: "retryable unavailable 503", text: "provider answered 503 Service Unavailable: <html>"},
	} {
		status.Store(int64(c.status))
		body.Store(c.body)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		_, err = sdk.DoHTTPAnswer(req, read, "s3cret")
		got := sdk.OutcomeOf(err).String()
		if e, ok := errors.AsType[*sdk.DeliveryError](err); ok {
			got += " " + e.Code + " " + e.ProviderCode
			if e.Error() != c.text {
				t.Errorf("%d: text %q, want %q", c.status, e, c.text)
			}
		}
		if got != c.want {
			t.Errorf("%d %s: got %q, want %q", c.status, c.body, got, c.want)
		}
	}
}

// net/http must not repeat what the provider may have taken: nobody would know that it went out twice.
func TestDoHTTPSendsOnce(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"GET":                func(r *http.Request) { r.Method, r.Body, r.GetBody, r.ContentLength = http.MethodGet, nil, nil, 0 },
		"an idempotency key": func(r *http.Request) { r.Header.Set("Idempotency-Key", "msg_1") },
		"POST":               func(*http.Request) {},
	} {
		t.Run(name, func(t *testing.T) {
			address, requests := forgetful(t)
			send := func() error {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address, strings.NewReader("text"))
				if err != nil {
					t.Fatal(err)
				}
				change(req)
				_, err = sdk.DoHTTP(req)
				return err
			}
			if err := send(); err != nil {
				t.Fatal(err)
			}
			err := send() // over the same connection
			if sdk.OutcomeOf(err) != sdk.OutcomeUncertain || requests.Load() != 2 {
				t.Errorf("%v after %d requests: %v", sdk.OutcomeOf(err), requests.Load(), err)
			}
		})
	}
}

// forgetful is a server that answers the first request of a connection, reads the second and hangs up.
func forgetful(t *testing.T) (address string, requests *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests = &atomic.Int64{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answerOnce(conn, requests)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String(), requests
}

func answerOnce(conn net.Conn, requests *atomic.Int64) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	r := bufio.NewReader(conn)
	for i := range 2 {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		requests.Add(1)
		if i == 0 {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}
}
