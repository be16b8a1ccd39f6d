package main

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// fileServer serves a picture, a page in its place, a large file and failures, and counts what it is asked for.
func fileServer(t *testing.T) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	mux := http.NewServeMux()
	mux.HandleFunc("/logo", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("\x89PNG\r\n\x1a\n....")) })
	mux.HandleFunc("/page", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "image/png")
		_, _ = rw.Write([]byte("<html><body>log in"))
	})
	mux.HandleFunc("/large", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(bytes.Repeat([]byte("x"), 5000)) })
	mux.HandleFunc("/busy", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Retry-After", "30")
		rw.WriteHeader(http.StatusServiceUnavailable)
	})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		mux.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

func TestAttachmentsByURL(t *testing.T) {
	url, asked := fileServer(t)
	server := startSink(t, sinkOptions{})
	c := connect(t, server.port, func(c *config) { c.AllowPrivateURLs, c.MaxAttachmentBytes, c.MaxMailBytes = true, 4000, 9000 })
	tests := []struct {
		name    string
		files   []sdk.Attachment
		outcome sdk.Outcome
		code    string
		after   time.Duration
	}{
		{"a picture", []sdk.Attachment{{URL: url + "/logo", ContentID: "logo"}}, sdk.OutcomeAccepted, "", 0},
		{"a page for a picture", []sdk.Attachment{{URL: url + "/page"}}, sdk.OutcomeRejected, "invalid_attachment", 0},
		{"what is not there", []sdk.Attachment{{URL: url + "/gone"}}, sdk.OutcomeRejected, "invalid_attachment", 0},
		{"no URL", []sdk.Attachment{{URL: "ftp://example.com/"}}, sdk.OutcomeRejected, "invalid_attachment", 0},
		{"too large a file", []sdk.Attachment{{URL: url + "/large"}}, sdk.OutcomeRejected, codeTooLarge, 0},
		{"too many files", []sdk.Attachment{{Data: make([]byte, 6000)}, {Data: make([]byte, 6000)}}, sdk.OutcomeRejected, codeTooLarge, 0},
		{"too large a mail", []sdk.Attachment{{Data: make([]byte, 7500)}}, sdk.OutcomeRejected, codeTooLarge, 0},
		{"a busy server", []sdk.Attachment{{URL: url + "/busy"}}, sdk.OutcomeRetryable, codeUnavailable, 30 * time.Second},
	}
	for _, test := range tests {
		m := message("hi")
		m.Attachments = test.files
		_, err := c.Send(t.Context(), m)
		if got := sdk.OutcomeOf(err); got != test.outcome {
			t.Errorf("%s gives %s (%v), want %s", test.name, got, err, test.outcome)
		}
		if failed, ok := errors.AsType[*sdk.DeliveryError](err); ok && (failed.Code != test.code || failed.Fault != sdk.FaultMessage || failed.RetryAfter != test.after) {
			t.Errorf("%s gives %+v, want %s of the message", test.name, failed, test.code)
		}
		if m.Attachments[0].URL != test.files[0].URL || len(m.Attachments[0].Data) != len(test.files[0].Data) {
			t.Errorf("%s: the message was changed", test.name)
		}
	}
	if len(server.all()) != 1 {
		t.Fatalf("%d mails went out, want 1", len(server.all()))
	}
	parsed, body := read(t, server.all()[0].raw)
	parts, _ := leaves(t, textproto.MIMEHeader(parsed.Header), bytes.NewReader(body))
	if want := (leaf{"image/png", "inline", "logo", "<logo>", "\x89PNG\r\n\x1a\n...."}); len(parts) != 2 || parts[1] != want {
		t.Errorf("parts are %+v", parts)
	}

	asked.Store(0)
	other := connect(t, server.port, func(c *config) { c.AllowPrivateURLs = true })
	var batch sync.WaitGroup
	for range 20 {
		batch.Go(func() {
			m := message("hi")
			m.Attachments = []sdk.Attachment{{URL: url + "/logo"}}
			if _, err := other.Send(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
	}
	batch.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("20 mails asked %d times for their file", n)
	}
}

func TestPrivateURLs(t *testing.T) {
	url, asked := fileServer(t)
	c := connect(t, 25)
	m := message("hi")
	m.Attachments = []sdk.Attachment{{URL: url + "/logo"}}
	_, err := c.Send(t.Context(), m)
	failed, _ := errors.AsType[*sdk.DeliveryError](err)
	if failed == nil || failed.Outcome != sdk.OutcomeRejected || failed.Code != "invalid_attachment" || asked.Load() != 0 {
		t.Errorf("a URL of this machine gives %v, and %d requests", err, asked.Load())
	}
}

func TestTypesAndNames(t *testing.T) {
	tests := []struct{ name, contentType, data, wantName, wantType string }{
		{"a.png", "", "", "a.png", "image/png"},
		{"a", "", "\x89PNG\r\n\x1a\n", "a", "image/png"},
		{"", "image/jpeg", "", "attachment.jpg", "image/jpeg"},
		{"", "", "\x89PNG\r\n\x1a\n", "attachment.png", "image/png"},
		{"", "", "%PDF-1.7", "attachment.pdf", "application/pdf"},
		{"", "text/plain", "", "attachment.txt", "text/plain"},
		{"", "application/x-odd", "", "attachment", "application/x-odd"},
		{"", "", "\x00\x01", "attachment", "application/octet-stream"},
		{"page.html", "text/plain", "<html>", "page.html", "text/plain"},
	}
	for _, test := range tests {
		m := message("hi")
		m.Attachments = []sdk.Attachment{{Name: test.name, ContentType: test.contentType, Data: []byte(test.data)}}
		l, err := compose(sender(t), m, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		parsed, body := read(t, l.raw)
		parts, _ := leaves(t, textproto.MIMEHeader(parsed.Header), bytes.NewReader(body))
		if got := parts[len(parts)-1]; got.name != test.wantName || got.mediaType != test.wantType {
			t.Errorf("%+v becomes %q, %s", test, got.name, got.mediaType)
		}
	}
	if got := nameOf("no type"); got != "attachment" {
		t.Errorf("no type gives %q", got)
	}
}
