package sandbox

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds the body of a request to the sandbox.
const maxBody = 64 << 10

// page is the inbox page: one file, no remote assets.
//
//go:embed page/index.html
var page embed.FS

// web answers HTTP: the inbox page and the API that the README of this command describes.
type web struct {
	sandbox *Sandbox
}

func newWeb(s *Sandbox) *http.Server {
	w := &web{sandbox: s}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", w.page)
	mux.HandleFunc("POST /hooks/{channel}", newHooks(s).take)
	mux.HandleFunc("GET /api/messages", w.messages)
	mux.HandleFunc("DELETE /api/messages", w.clear)
	mux.HandleFunc("GET /api/events", w.events)
	mux.HandleFunc("GET /api/faults", w.getFaults)
	mux.HandleFunc("PUT /api/faults", w.putFault)
	mux.HandleFunc("DELETE /api/faults", w.clearFaults)
	mux.HandleFunc("GET /api/ledger", w.ledger)
	mux.HandleFunc("GET /api/ledger/summary", w.summary)
	s.providers.register(mux)
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, http.StatusOK, w.sandbox.Addresses()) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true) // APNs speaks nothing else
	return server
}

// stopWeb lets requests finish; event streams end by themselves when the sandbox stops.
func stopWeb(ctx context.Context, server *http.Server) error {
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("stop HTTP server: %w", err), server.Close())
	}
	return nil
}

func (*web) page(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-src 'self'")
	http.ServeFileFS(rw, r, page, "page/index.html")
}

func (w *web) messages(rw http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	filter := Filter{Channel: query.Get("channel"), To: query.Get("to")}
	limit, wrong := whole(query.Get("limit"), "limit")
	if wrong != nil {
		refuse(rw, wrong)
		return
	}
	filter.Limit = int(limit)
	found, count := w.sandbox.inbox.find(filter)
	answer(rw, http.StatusOK, map[string]any{"count": count, "messages": found})
}

func (w *web) clear(rw http.ResponseWriter, _ *http.Request) {
	answer(rw, http.StatusOK, map[string]int{"deleted": w.sandbox.inbox.clear()})
}

// events tells a page that the inbox changed, at most ten times a second (server-sent events).
func (w *web) events(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", "text/event-stream")
	rw.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(rw)
	for {
		changed := w.sandbox.inbox.changes()
		if _, err := io.WriteString(rw, "event: inbox\ndata: changed\n\n"); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		stopping := w.sandbox.stopping
		if !await(r.Context(), stopping, time.After(100*time.Millisecond)) || !await(r.Context(), stopping, changed) {
			return
		}
	}
}

// await waits for a signal and reports false when the reader went away or the sandbox stops.
func await[T any](ctx context.Context, stopping <-chan struct{}, signal <-chan T) bool {
	select {
	case <-signal:
		return true
	case <-ctx.Done():
		return false
	case <-stopping:
		return false
	}
}

func (w *web) getFaults(rw http.ResponseWriter, _ *http.Request) {
	answer(rw, http.StatusOK, w.sandbox.faults.all())
}

func (w *web) putFault(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		refuse(rw, &FieldError{Field: "body", Reason: err.Error()})
		return
	}
	fault, wrong := decodeFault(body, w.sandbox.faults.names)
	if len(wrong) > 0 {
		refuse(rw, wrong...)
		return
	}
	w.sandbox.faults.set(fault)
	answer(rw, http.StatusOK, fault)
}

func (w *web) clearFaults(rw http.ResponseWriter, r *http.Request) {
	channel := r.URL.Query().Get("channel")
	if names := w.sandbox.faults.names; channel != "" && !slices.Contains(names, channel) {
		refuse(rw, &FieldError{Field: "channel", Reason: fmt.Sprintf("want one of %s, got %q", strings.Join(names, ", "), channel)})
		return
	}
	w.sandbox.faults.clear(channel)
	answer(rw, http.StatusOK, w.sandbox.faults.all())
}

// ledger streams the entries as JSON lines, those after ?after= and of ?channel= and ?to= alone.
func (w *web) ledger(rw http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	after, wrong := whole(query.Get("after"), "after")
	if wrong != nil {
		refuse(rw, wrong)
		return
	}
	filter := Filter{Channel: query.Get("channel"), To: query.Get("to")}
	rw.Header().Set("Content-Type", "application/x-ndjson")
	if after == 0 && filter == (Filter{}) {
		_, _ = io.Copy(rw, w.sandbox.ledger.reader()) // a reader that went away is its own concern
		return
	}
	out := bufio.NewWriter(rw)
	err := eachEntry(w.sandbox.ledger.reader(), func(line []byte, e Entry) error {
		if e.Seq <= after || !filter.match(&Message{Channel: e.Channel, To: e.To}) {
			return nil
		}
		_, err := out.Write(line)
		return err
	})
	if err = errors.Join(err, out.Flush()); err != nil {
		w.sandbox.log.DebugContext(r.Context(), "ledger not streamed to its end", "error", err)
	}
}

func (w *web) summary(rw http.ResponseWriter, _ *http.Request) {
	answer(rw, http.StatusOK, w.sandbox.Summary())
}

// whole reads a query parameter that is a whole number from 0; empty is 0.
func whole(s, field string) (int64, *FieldError) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, &FieldError{Field: field, Reason: fmt.Sprintf("want a whole number from 0, got %q", s)}
	}
	return n, nil
}

func refuse(rw http.ResponseWriter, wrong ...*FieldError) {
	answer(rw, http.StatusBadRequest, map[string]any{"errors": wrong})
}

func answer(rw http.ResponseWriter, status int, body any) {
	rw.Header().Set("Content-Type", "application/json; charset=utf-8")
	rw.Header().Set("Cache-Control", "no-store")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(body) //nolint:errchkjson // a reader that went away is its own concern
}
