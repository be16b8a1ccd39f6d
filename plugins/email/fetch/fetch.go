// Package fetch gets files from URLs that callers of the gateway give: once for all mails of a batch, bounded in size
// and time, and never from a private network unless the operator allows it.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// keepFor is how long a file serves the mails that follow: as long as a batch is on its way.
	keepFor = time.Minute
	// keepFailure is the same for a failure, so that a thousand mails do not ask a thousand times.
	keepFailure = 5 * time.Second
	// keepBytes bounds the files that are kept.
	keepBytes = 64 << 20
	// maxRedirects that are followed.
	maxRedirects = 3
	// sniffed is how many bytes of a file tell its type (net/http.DetectContentType).
	sniffed = 512
)

// Kind is why a file could not be fetched.
type Kind int

// The kinds.
const (
	// Refused: the URL is none, leads where it must not, or its server says that there is no such file.
	Refused Kind = iota
	// TooLarge: the file is larger than allowed.
	TooLarge
	// Unavailable: it may work later.
	Unavailable
)

// Error is what went wrong. It quotes of the URL nothing but the host: the rest may be a signature.
type Error struct {
	Kind Kind
	// RetryAfter is what the server asks for; 0: nothing.
	RetryAfter time.Duration
	Err        error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the underlying error.
func (e *Error) Unwrap() error { return e.Err }

// File is what was fetched. It is shared: treat it as read-only.
type File struct {
	Data []byte
	// ContentType is what the server says, or what the content looks like where the server does not know.
	ContentType string
	// Looks is what the content looks like, whatever the server says.
	Looks string
	// Name is the file's name, as the server or the URL has it; may be empty.
	Name string
}

// Options of a Fetcher.
type Options struct {
	// AllowPrivate lets URLs lead to this machine and to private networks.
	AllowPrivate bool
	// Timeout of one file, connection and content together.
	Timeout time.Duration
	// MaxBytes of one file.
	MaxBytes int64
}

// Fetcher fetches files. Its methods may be called from any goroutine.
type Fetcher struct {
	client  *http.Client
	options Options
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	entries map[string]*entry // by URL
	kept    int64             // bytes in entries
}

// entry is a file that is being fetched, or was.
type entry struct {
	done chan struct{} // closed when the rest is set
	file *File
	err  error
	at   time.Time
}

// New returns a Fetcher. Close ends it.
func New(o Options) *Fetcher {
	f := &Fetcher{options: o, entries: map[string]*entry{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	dialer := &net.Dialer{Timeout: o.Timeout}
	if !o.AllowPrivate {
		dialer.ControlContext = refusePrivate
	}
	f.client = &http.Client{
		Timeout: o.Timeout,
		Transport: &http.Transport{
			Proxy:       nil, // a proxy would connect where our dialer cannot look
			DialContext: dialer.DialContext, TLSHandshakeTimeout: o.Timeout, ForceAttemptHTTP2: true,
			MaxIdleConns: 16, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // the bound is on what is read
		},
		CheckRedirect: checkRedirect,
	}
	return f
}

// Close ends what is being fetched and forgets what was.
func (f *Fetcher) Close() {
	f.cancel()
	f.running.Wait()
	f.client.CloseIdleConnections()
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	req.Header.Del("Referer") // it may be a signed URL
	switch {
	case len(via) > maxRedirects:
		return &Error{Kind: Refused, Err: fmt.Errorf("more than %d redirects", maxRedirects)}
	case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
		return &Error{Kind: Refused, Err: errors.New("a redirect from https to another scheme")}
	}
	_, err := check(req.URL.String())
	return err
}

// check says whether a URL may be asked for at all.
func check(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil: // its text quotes the URL
		return nil, &Error{Kind: Refused, Err: errors.New("it is no URL")}
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, &Error{Kind: Refused, Err: errors.New("the URL begins neither with https:// nor with http://")}
	case u.Hostname() == "":
		return nil, &Error{Kind: Refused, Err: errors.New("the URL has no host")}
	case u.User != nil:
		return nil, &Error{Kind: Refused, Err: errors.New("the URL holds credentials")}
	}
	return u, nil
}

// Get returns the file at a URL. Whoever asks for the same one meanwhile, or up to a minute later, gets the same file.
// The error is an *Error.
func (f *Fetcher) Get(ctx context.Context, raw string) (*File, error) {
	u, err := check(raw)
	if err != nil {
		return nil, err
	}
	e := f.entry(u)
	select {
	case <-e.done:
		return e.file, e.err
	case <-ctx.Done():
		return nil, &Error{Kind: Unavailable, Err: fmt.Errorf("%s did not answer in time: %w", u.Host, context.Cause(ctx))}
	}
}

// entry finds the entry of a URL, or begins to fetch it.
func (f *Fetcher) entry(u *url.URL) *entry {
	key := u.String()
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.forget(now)
	if e := f.entries[key]; e != nil {
		return e
	}
	e := &entry{done: make(chan struct{})}
	f.entries[key] = e
	f.running.Go(func() {
		file, err := f.fetch(u)
		f.mu.Lock()
		defer f.mu.Unlock()
		e.file, e.err, e.at = file, err, time.Now()
		if file != nil {
			f.kept += int64(len(file.Data))
		}
		close(e.done)
	})
	return e
}

// forget drops what is too old, then the oldest while there is too much; the caller holds the lock.
func (f *Fetcher) forget(now time.Time) {
	for key, e := range f.entries {
		if e.over(now) {
			f.drop(key)
		}
	}
	for f.kept > keepBytes {
		oldest := ""
		for key, e := range f.entries {
			if e.file != nil && (oldest == "" || e.at.Before(f.entries[oldest].at)) {
				oldest = key
			}
		}
		f.drop(oldest)
	}
}

// over says whether an entry has served its time; one that is being fetched has not.
func (e *entry) over(now time.Time) bool {
	if e.at.IsZero() {
		return false
	}
	if e.err != nil {
		return now.Sub(e.at) > keepFailure
	}
	return now.Sub(e.at) > keepFor
}

func (f *Fetcher) drop(key string) {
	if file := f.entries[key].file; file != nil {
		f.kept -= int64(len(file.Data))
	}
	delete(f.entries, key)
}

// fetch asks the server once.
func (f *Fetcher) fetch(u *url.URL) (*File, error) {
	req, err := http.NewRequestWithContext(f.ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, &Error{Kind: Refused, Err: errors.New("it is no URL")}
	}
	req.Header.Set("User-Agent", "pigeonry-email")
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, failure(u, err)
	}
	defer resp.Body.Close()
	if err := judge(u, resp); err != nil {
		return nil, err
	}
	tooLarge := &Error{Kind: TooLarge, Err: fmt.Errorf("the file of %s has more than %d bytes", u.Host, f.options.MaxBytes)}
	if resp.ContentLength > f.options.MaxBytes {
		return nil, tooLarge
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, f.options.MaxBytes+1))
	switch {
	case err != nil:
		return nil, failure(u, err)
	case int64(len(data)) > f.options.MaxBytes:
		return nil, tooLarge
	}
	return describe(u, resp.Header, data), nil
}

// failure reads an error of net/http, whose own text quotes the whole URL.
func failure(u *url.URL, err error) error {
	if refused, ok := errors.AsType[*Error](err); ok {
		return &Error{Kind: refused.Kind, Err: fmt.Errorf("%s: %w", u.Host, refused.Err)}
	}
	if quoting, ok := errors.AsType[*url.Error](err); ok {
		err = quoting.Err
	}
	return &Error{Kind: Unavailable, Err: fmt.Errorf("fetch from %s: %w", u.Host, err)}
}

// judge reads the status of an answer.
func judge(u *url.URL, resp *http.Response) error {
	status := resp.StatusCode
	err := fmt.Errorf("%s answered %s", u.Host, resp.Status)
	switch {
	case status == http.StatusOK:
		if coding := resp.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
			return &Error{Kind: Refused, Err: fmt.Errorf("%s sends the file encoded as %.20q, though it was asked not to", u.Host, coding)}
		}
		return nil
	case status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests || status >= 500:
		return &Error{Kind: Unavailable, RetryAfter: retryAfter(resp.Header), Err: err}
	default:
		return &Error{Kind: Refused, Err: err}
	}
}

// retryAfter reads the seconds of a Retry-After header; its dates are left to the gateway's own pauses.
func retryAfter(header http.Header) time.Duration {
	seconds, err := strconv.ParseUint(header.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// describe finds name and type of a file.
func describe(u *url.URL, header http.Header, data []byte) *File {
	f := &File{Data: data, Looks: http.DetectContentType(data[:min(len(data), sniffed)])}
	f.ContentType = f.Looks
	if said, params, err := mime.ParseMediaType(header.Get("Content-Type")); err == nil && strings.Contains(said, "/") &&
		said != "application/octet-stream" && said != "binary/octet-stream" {
		f.ContentType = mime.FormatMediaType(said, params)
	}
	if _, params, err := mime.ParseMediaType(header.Get("Content-Disposition")); err == nil {
		f.Name = path.Base(strings.ReplaceAll(params["filename"], `\`, "/"))
	}
	if f.Name == "" || f.Name == "." || f.Name == "/" {
		f.Name = path.Base(u.Path)
	}
	if f.Name == "." || f.Name == "/" {
		f.Name = ""
	}
	return f
}
