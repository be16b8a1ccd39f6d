package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// files is a server of files that counts what it is asked for.
type files struct {
	*httptest.Server

	asked atomic.Int64
	slow  chan struct{} // what waits for it to be closed
}

var png = []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")

func serve(tb testing.TB) *files {
	tb.Helper()
	f := &files{slow: make(chan struct{})}
	mux := http.NewServeMux()
	give := func(path, contentType string, body []byte) {
		mux.HandleFunc(path, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header()["Content-Type"] = []string{contentType}
			_, _ = rw.Write(body)
		})
	}
	give("/logo.png", "image/png", png)
	give("/unknown", "application/octet-stream", png)
	give("/page.png", "image/png", []byte("<!DOCTYPE html><html>please log in"))
	give("/large", "text/plain", bytes.Repeat([]byte("x"), 2000))
	mux.HandleFunc("/stream", func(rw http.ResponseWriter, _ *http.Request) { // large, and says nothing of its length
		for range 20 {
			_, _ = rw.Write(bytes.Repeat([]byte("x"), 100))
			_ = http.NewResponseController(rw).Flush()
		}
	})
	mux.HandleFunc("/named", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Disposition", `attachment; filename*=UTF-8''%2E%2E%2F%E5%8F%91%E7%A5%A8.pdf`)
		_, _ = rw.Write([]byte("%PDF-1.7"))
	})
	mux.HandleFunc("/status/{code}", func(rw http.ResponseWriter, r *http.Request) {
		var code int
		_, _ = fmt.Sscan(r.PathValue("code"), &code)
		rw.Header().Set("Retry-After", "7")
		rw.WriteHeader(code)
	})
	mux.HandleFunc("/zipped", func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("Content-Encoding", "gzip") })
	mux.HandleFunc("/short", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", "10")
		_, _ = rw.Write([]byte("half"))
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-f.slow:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/hop/{n}", func(rw http.ResponseWriter, r *http.Request) {
		if r.Referer() != "" {
			tb.Errorf("%s is asked for with a Referer", r.URL.Path)
		}
		next := map[string]string{"1": "/logo.png", "2": "/hop/1", "3": "/hop/2", "4": "/hop/3", "file": "file:///etc/passwd"}
		http.Redirect(rw, r, next[r.PathValue("n")], http.StatusFound)
	})
	f.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		mux.ServeHTTP(rw, r)
	}))
	tb.Cleanup(f.Close)
	return f
}

func open(tb testing.TB, o Options) *Fetcher {
	tb.Helper()
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 1000
	}
	f := New(o)
	tb.Cleanup(f.Close)
	return f
}

func TestGet(t *testing.T) {
	server := serve(t)
	f := open(t, Options{AllowPrivate: true})
	tests := []struct{ path, contentType, looks, name string }{
		{"/logo.png", "image/png", "image/png", "logo.png"},
		{"/unknown", "image/png", "image/png", "unknown"},
		{"/page.png", "image/png", "text/html; charset=utf-8", "page.png"},
		{"/named", "application/pdf", "application/pdf", "发票.pdf"},
		{"/hop/3", "image/png", "image/png", "3"},
	}
	for _, test := range tests {
		got, err := f.Get(t.Context(), server.URL+test.path+"?sig=s3cret#part")
		if err != nil || got.ContentType != test.contentType || got.Looks != test.looks || got.Name != test.name || len(got.Data) == 0 {
			t.Errorf("%s gives %+v, %v", test.path, got, err)
		}
	}
}

func TestFailures(t *testing.T) {
	server := serve(t)
	f := open(t, Options{AllowPrivate: true})
	tests := []struct {
		url   string
		kind  Kind
		after time.Duration
	}{
		{"/status/404", Refused, 0},
		{"/status/403", Refused, 0},
		{"/status/204", Refused, 0},
		{"/status/304", Refused, 0},
		{"/status/429", Unavailable, 7 * time.Second},
		{"/status/503", Unavailable, 7 * time.Second},
		{"/status/500", Unavailable, 7 * time.Second},
		{"/short", Unavailable, 0},
		{"/zipped", Refused, 0},
		{"/large", TooLarge, 0},
		{"/stream", TooLarge, 0},
		{"/hop/4", Refused, 0},
		{"/hop/file", Refused, 0},
		{"http://127.0.0.1:1/closed", Unavailable, 0},
		{"http://no.such.host.invalid/", Unavailable, 0},
		{"ftp://example.com/a", Refused, 0},
		{"file:///etc/passwd", Refused, 0},
		{"//example.com/a", Refused, 0},
		{"https://", Refused, 0},
		{"https://user:s3cret@example.com/", Refused, 0},
		{"http://[::1%25x", Refused, 0},
	}
	for _, test := range tests {
		url := test.url
		if strings.HasPrefix(url, "/") && !strings.HasPrefix(url, "//") {
			url = server.URL + url + "?sig=s3cret"
		}
		_, err := f.Get(t.Context(), url)
		failed, ok := errors.AsType[*Error](err)
		if !ok || failed.Kind != test.kind || failed.RetryAfter != test.after {
			t.Errorf("%s gives %#v, want kind %d", test.url, err, test.kind)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s quotes a signature: %v", test.url, err)
		}
	}
}

func TestTime(t *testing.T) {
	server := serve(t)
	_, err := open(t, Options{AllowPrivate: true, Timeout: 20 * time.Millisecond}).Get(t.Context(), server.URL+"/slow")
	if failed, ok := errors.AsType[*Error](err); !ok || failed.Kind != Unavailable {
		t.Errorf("a slow server gives %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = open(t, Options{AllowPrivate: true}).Get(ctx, server.URL+"/slow")
	if failed, ok := errors.AsType[*Error](err); !ok || failed.Kind != Unavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that is gone gets %v", err)
	}
}

// TestOnce fetches a file once for all mails of a batch, also a file that is not there.
func TestOnce(t *testing.T) {
	server := serve(t)
	f := open(t, Options{AllowPrivate: true})
	for _, path := range []string{"/logo.png", "/status/404"} {
		before := server.asked.Load()
		var mails sync.WaitGroup
		for range 50 {
			mails.Go(func() { _, _ = f.Get(t.Context(), server.URL+path) })
		}
		mails.Wait()
		if n := server.asked.Load() - before; n != 1 {
			t.Errorf("50 mails asked %d times for %s", n, path)
		}
	}
}

// TestForgets looks at what is kept when time passes, and when there is too much.
func TestForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Fetcher{entries: map[string]*entry{}}
		put := func(key string, size int, err error) {
			e := &entry{at: time.Now(), err: err}
			if err == nil {
				e.file = &File{Data: make([]byte, size)}
				f.kept += int64(size)
			}
			f.entries[key] = e
		}
		has := func(want ...string) {
			t.Helper()
			f.forget(time.Now())
			if len(f.entries) != len(want) {
				t.Errorf("%d entries are kept, want %q", len(f.entries), want)
			}
			for _, key := range want {
				if f.entries[key] == nil {
					t.Errorf("%s is not kept", key)
				}
			}
		}
		pass := func(d time.Duration) { <-time.After(d) } // in the bubble's own time
		f.entries["running"] = &entry{}
		put("failed", 0, errors.New("x"))
		put("first", keepBytes/2, nil)
		pass(keepFailure + time.Second)
		put("second", keepBytes/2, nil)
		has("running", "first", "second")
		put("third", 1, nil)
		has("running", "second", "third")
		pass(keepFor + time.Second)
		has("running")
		if f.kept != 0 {
			t.Errorf("%d bytes are kept of nothing", f.kept)
		}
	})
}

// TestPrivate refuses this machine and private networks: as an address, as a name, and at the end of a redirect.
func TestPrivate(t *testing.T) {
	server := serve(t)
	f := open(t, Options{})
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	for _, url := range []string{
		server.URL, "http://localhost" + port, "http://[::1]" + port, "http://[::ffff:127.0.0.1]" + port, "http://0.0.0.0" + port,
		"http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://[64:ff9b::7f00:1]/", "http://2130706433" + port,
	} {
		_, err := f.Get(t.Context(), url)
		failed, ok := errors.AsType[*Error](err)
		if !ok || failed.Kind == TooLarge || failed.Kind == Unavailable && !strings.Contains(url, "2130706433") {
			t.Errorf("%s gives %v", url, err)
		}
	}
	if n := server.asked.Load(); n != 0 {
		t.Errorf("the server was asked %d times", n)
	}
}

func FuzzCheck(f *testing.F) {
	for _, url := range []string{"https://example.com/a?b=c#d", "http://[::1]:80", "javascript:alert(1)", "https://a@b", "\x00", "HTTPS://EXAMPLE.com"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := check(raw)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("%v has no kind", err)
			}
			return
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
			t.Fatalf("%q is taken as %+v", raw, u)
		}
	})
}
