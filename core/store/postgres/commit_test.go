package postgres_test

import (
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/enginetest"
	"github.com/pigeonry/pigeonry/core/store"
)

// wire stands between a store and its server, and cuts the connections when the server answers while it is muted.
type wire struct {
	net.Listener

	server string
	muted  atomic.Bool
	ends   sync.WaitGroup
}

// wired returns a wire to a database, and the URL of the database through it.
func wired(t *testing.T, at string) (*wire, string) {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l, server: u.Host}
	w.ends.Go(w.serve)
	t.Cleanup(func() {
		_ = l.Close()
		w.ends.Wait()
	})
	u.Host = l.Addr().String()
	return w, u.String()
}

func (w *wire) serve() {
	for {
		client, err := w.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", w.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		w.ends.Go(func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
		})
		w.ends.Go(func() {
			_, _ = io.Copy(w.unlessMuted(client), server)
			_ = client.Close()
		})
	}
}

// unlessMuted is where answers go.
func (w *wire) unlessMuted(client io.Writer) io.Writer {
	return writer(func(b []byte) (int, error) {
		if w.muted.Load() {
			return 0, io.ErrClosedPipe
		}
		return client.Write(b)
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// A connection that breaks before the commit is confirmed leaves open whether the messages are stored.
func TestAnUnseenCommitIsUnknown(t *testing.T) {
	w, through := wired(t, enginetest.Database(t).String())
	s := open(t, through)
	defer closeStore(t, s)
	benchAccept(t, s, benchMessages(t, s, 1)) // has the statements prepared
	messages := benchMessages(t, s, 3)
	w.muted.Store(true)
	_, _, err := s.Accept(t.Context(), []store.Submission{{Account: 1, Messages: messages}})
	w.muted.Store(false)
	if !errors.Is(err, store.ErrUnknown) || core.KindOf(err) != core.KindUnavailable {
		t.Errorf("the end of the commit was not seen: %v, want ErrUnknown", err)
	}
	if _, _, err := s.Message(t.Context(), 1, messages[0].ID); err != nil {
		t.Errorf("what was stored all the same: %v", err)
	}
}

// What could not even be begun is in no doubt.
func TestWithoutAConnectionNothingIsUnknown(t *testing.T) {
	w, through := wired(t, enginetest.Database(t).String())
	s := open(t, through)
	defer closeStore(t, s)
	messages := benchMessages(t, s, 3)
	w.muted.Store(true)
	_ = w.Close()
	for range 16 { // connections may be open still
		_, _, err := s.Accept(t.Context(), []store.Submission{{Account: 1, Messages: messages}})
		if core.KindOf(err) != core.KindUnavailable {
			t.Fatalf("without a server: %v", err)
		}
		if !errors.Is(err, store.ErrUnknown) {
			return
		}
	}
	t.Error("every attempt was in doubt")
}
