package smpp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
)

// pair binds a client to a server over a pipe, so that it works with the clock of synctest.
func pair(t *testing.T, server *smpp.Server, client smpp.Client) (ours, theirs *smpp.Session) {
	t.Helper()
	bound := make(chan *smpp.Session, 1)
	server.Bound = func(s *smpp.Session) { bound <- s }
	near, far := net.Pipe()
	server.ServeConn(far)
	session, err := smpp.Open(t.Context(), near, client)
	if err != nil {
		t.Fatalf("bind: %v", err)
	}
	t.Cleanup(func() {
		session.Close()
		server.Close()
	})
	return session, <-bound
}

func accept(_ context.Context, _ *smpp.Session, m *smpp.ShortMessage) (string, smpp.Status) {
	return "id-" + string(m.Message), smpp.StatusOK
}

func text(s string) *smpp.ShortMessage { return &smpp.ShortMessage{Message: []byte(s)} }

func TestSubmitAndDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delivered := make(chan string, 1)
		client, server := pair(t,
			&smpp.Server{SystemID: "smsc", Submit: accept},
			smpp.Client{
				Bind: smpp.Bind{SystemID: "shop"},
				Deliver: func(_ context.Context, _ *smpp.Session, m *smpp.ShortMessage) smpp.Status {
					delivered <- string(m.Message)
					return smpp.StatusOK
				},
			})
		if client.Peer() != "smsc" || server.SystemID() != "shop" {
			t.Errorf("bound %q to %q, want shop to smsc", server.SystemID(), client.Peer())
		}
		if id, err := client.Submit(t.Context(), text("1")); err != nil || id != "id-1" {
			t.Errorf("Submit = %q, %v; want id-1", id, err)
		}
		if err := server.Deliver(t.Context(), text("back")); err != nil || <-delivered != "back" {
			t.Errorf("Deliver: %v", err)
		}
		if err := server.EnquireLink(t.Context()); err != nil {
			t.Errorf("EnquireLink: %v", err)
		}
	})
}

func TestAuthenticate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &smpp.Server{Authenticate: func(_ context.Context, b smpp.Bind) smpp.Status {
			if b.Password != "secret" {
				return smpp.StatusInvPassword
			}
			return smpp.StatusOK
		}}
		defer server.Close()
		near, far := net.Pipe()
		server.ServeConn(far)
		_, err := smpp.Open(t.Context(), near, smpp.Client{Bind: smpp.Bind{SystemID: "shop", Password: "wrong"}})
		refused, ok := errors.AsType[*smpp.StatusError](err)
		if !ok || refused.Status != smpp.StatusInvPassword || refused.Command != smpp.BindTransceiver {
			t.Errorf("error %v, want bind_transceiver refused with ESME_RINVPASWD", err)
		}
		pair(t, server, smpp.Client{Bind: smpp.Bind{SystemID: "shop", Password: "secret"}})
	})
}

func TestBindModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t, &smpp.Server{Submit: accept}, smpp.Client{Bind: smpp.Bind{Mode: smpp.Receiver}})
		if _, err := client.Submit(t.Context(), text("1")); !errors.Is(err, smpp.ErrWrongMode) || !errors.Is(err, smpp.ErrNotSent) {
			t.Errorf("submit over a receiver: %v, want ErrWrongMode and ErrNotSent", err)
		}
		// A client that does it all the same is refused.
		_, err := client.Request(t.Context(), smpp.SubmitSM, text("1"))
		if refused, ok := errors.AsType[*smpp.StatusError](err); !ok || refused.Status != smpp.StatusInvBindStatus {
			t.Errorf("submit over a receiver at the server: %v, want ESME_RINVBNDSTS", err)
		}
		if server.Mode() != smpp.Receiver {
			t.Errorf("the server sees a %s", server.Mode())
		}
		_, transmitter := pair(t, &smpp.Server{}, smpp.Client{Bind: smpp.Bind{Mode: smpp.Transmitter}})
		if err := transmitter.Deliver(t.Context(), text("1")); !errors.Is(err, smpp.ErrWrongMode) {
			t.Errorf("deliver over a transmitter: %v, want ErrWrongMode", err)
		}
	})
}

func TestUnboundRequestIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &smpp.Server{Submit: accept, BindTimeout: time.Second}
		near, far := net.Pipe()
		server.ServeConn(far)
		frame, _ := smpp.PDU{Command: smpp.SubmitSM, Sequence: 9, Body: text("1")}.Append(nil)
		go near.Write(frame)
		r := smpp.NewReader(near, 0)
		p, err := r.Next()
		if err != nil || p.Status != smpp.StatusInvBindStatus || p.Sequence != 9 {
			t.Errorf("got %+v, %v; want ESME_RINVBNDSTS", p, err)
		}
		began := time.Now()
		if _, err := r.Next(); !errors.Is(err, io.EOF) || time.Since(began) != time.Second {
			t.Errorf("after %s: %v; want the end after a second without a bind", time.Since(began), err)
		}
		near.Close()
		server.Close()
	})
}

// What an error says about a request decides whether the message may be sent again.
func TestErrorsTellWhetherItWasSent(t *testing.T) {
	submit := func(status smpp.Status) func(context.Context, *smpp.Session, *smpp.ShortMessage) (string, smpp.Status) {
		return func(context.Context, *smpp.Session, *smpp.ShortMessage) (string, smpp.Status) { return "", status }
	}
	options := smpp.Options{ResponseTimeout: 2 * time.Second}

	t.Run("refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, _ := pair(t, &smpp.Server{Submit: submit(smpp.StatusThrottled)}, smpp.Client{Options: options})
			_, err := client.Submit(t.Context(), text("1"))
			if refused, ok := errors.AsType[*smpp.StatusError](err); !ok || refused.Status != smpp.StatusThrottled {
				t.Errorf("error %v, want ESME_RTHROTTLED", err)
			}
		})
	})
	t.Run("no answer in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, _ := pair(t, &smpp.Server{Submit: submit(smpp.NoAnswer)}, smpp.Client{Options: options})
			began := time.Now()
			_, err := client.Submit(t.Context(), text("1"))
			if !errors.Is(err, smpp.ErrNoResponse) || time.Since(began) != options.ResponseTimeout {
				t.Errorf("after %s: %v; want ErrNoResponse after %s", time.Since(began), err, options.ResponseTimeout)
			}
			synctest.Wait()
			if client.Err() != nil { // It answered enquire_link: it is alive.
				t.Errorf("the session ended: %v", client.Err())
			}
		})
	})
	t.Run("connection lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := &smpp.Server{Submit: func(_ context.Context, s *smpp.Session, _ *smpp.ShortMessage) (string, smpp.Status) {
				s.Abort()
				return "", smpp.NoAnswer
			}}
			client, _ := pair(t, server, smpp.Client{Options: options})
			_, err := client.Submit(t.Context(), text("1"))
			if !errors.Is(err, smpp.ErrNoResponse) || !errors.Is(err, io.EOF) {
				t.Errorf("error %v, want ErrNoResponse because of io.EOF", err)
			}
			if _, err := client.Submit(t.Context(), text("2")); !errors.Is(err, smpp.ErrNotSent) {
				t.Errorf("on the lost connection: %v, want ErrNotSent", err)
			}
		})
	})
	t.Run("the window stays full", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, _ := pair(t, &smpp.Server{Submit: submit(smpp.NoAnswer)},
				smpp.Client{Options: smpp.Options{Window: 1, ResponseTimeout: time.Minute}})
			first := make(chan error, 1)
			go func() {
				_, err := client.Submit(t.Context(), text("1"))
				first <- err
			}()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := client.Submit(ctx, text("2")); !errors.Is(err, smpp.ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("second: %v, want ErrNotSent", err)
			}
			client.Close()
			if err := <-first; !errors.Is(err, smpp.ErrNoResponse) {
				t.Errorf("first: %v, want ErrNoResponse", err)
			}
		})
	})
	t.Run("it does not fit the protocol", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, _ := pair(t, &smpp.Server{Submit: accept}, smpp.Client{})
			m := &smpp.ShortMessage{Message: make([]byte, 300)}
			_, err := client.Submit(t.Context(), m)
			if _, ok := errors.AsType[*smpp.EncodeError](err); !ok || !errors.Is(err, smpp.ErrNotSent) {
				t.Errorf("error %v, want ErrNotSent and an EncodeError", err)
			}
		})
	})
}

// A peer that takes nothing off the wire: what the writer could not begin is surely unsent.
func TestStuckPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go func() { // Binds the client, then reads no more.
			p, _ := smpp.NewReader(far, 0).Next()
			frame, _ := smpp.PDU{Command: p.Command.Response(), Sequence: p.Sequence, Body: &smpp.BindResp{}}.Append(nil)
			far.Write(frame)
		}()
		client, err := smpp.Open(t.Context(), near, smpp.Client{
			Options: smpp.Options{ResponseTimeout: 10 * time.Second, EnquireLink: -1},
		})
		if err != nil {
			t.Fatal(err)
		}
		results := make([]error, 3)
		done := make(chan int)
		for i := range results {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, results[i] = client.Submit(ctx, text(fmt.Sprint(i)))
				done <- i
			}()
			synctest.Wait() // One after the other: the first is in the writer's hands.
		}
		for range results {
			<-done
		}
		if !errors.Is(results[0], smpp.ErrNoResponse) {
			t.Errorf("first, whose write had begun: %v, want ErrNoResponse", results[0])
		}
		for _, err := range results[1:] {
			if !errors.Is(err, smpp.ErrNotSent) {
				t.Errorf("behind it: %v, want ErrNotSent", err)
			}
		}
		<-client.Done() // The write times out.
		client.Close()
		far.Close()
	})
}

func TestEnquireLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		seen := make(chan time.Time, 8)
		go func() { // Binds, answers the first enquire_link and falls silent.
			r := smpp.NewReader(far, 0)
			for n := 0; ; n++ {
				p, err := r.Next()
				if err != nil {
					return
				}
				answer := smpp.PDU{Command: p.Command.Response(), Sequence: p.Sequence}
				if n == 0 {
					answer.Body = &smpp.BindResp{}
				} else {
					seen <- time.Now()
				}
				if frame, _ := answer.Append(nil); n < 2 {
					far.Write(frame)
				}
			}
		}()
		client, err := smpp.Open(t.Context(), near, smpp.Client{
			Options: smpp.Options{EnquireLink: 20 * time.Second, ResponseTimeout: 5 * time.Second},
		})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		<-client.Done()
		if !errors.Is(client.Err(), smpp.ErrLinkDead) || time.Since(began) != 45*time.Second {
			t.Errorf("ended after %s: %v; want ErrLinkDead after 20 + 20 + 5 s", time.Since(began), client.Err())
		}
		for i, want := range []time.Duration{20 * time.Second, 40 * time.Second} {
			if at := (<-seen).Sub(began); at != want {
				t.Errorf("enquire_link %d after %s, want %s", i+1, at, want)
			}
		}
		client.Close()
		far.Close()
	})
}

func TestUnbindAwaitsAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &smpp.Server{Submit: func(context.Context, *smpp.Session, *smpp.ShortMessage) (string, smpp.Status) {
			<-time.After(3 * time.Second)
			return "late", smpp.StatusOK
		}}
		client, theirs := pair(t, server, smpp.Client{})
		result := make(chan error, 1)
		go func() {
			_, err := client.Submit(t.Context(), text("1"))
			result <- err
		}()
		synctest.Wait()
		began := time.Now()
		if err := client.Unbind(t.Context()); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("Unbind after %s: %v; want it to await the answer for 3 s", time.Since(began), err)
		}
		if err := <-result; err != nil {
			t.Errorf("the submit under way: %v", err)
		}
		if _, err := client.Submit(t.Context(), text("2")); !errors.Is(err, smpp.ErrNotSent) || !errors.Is(err, smpp.ErrClosed) {
			t.Errorf("afterwards: %v, want ErrNotSent and ErrClosed", err)
		}
		<-theirs.Done()
		if !errors.Is(theirs.Err(), smpp.ErrPeerUnbound) {
			t.Errorf("the server's session ended with %v, want ErrPeerUnbound", theirs.Err())
		}
	})
}

func TestUnbindGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &smpp.Server{Submit: func(context.Context, *smpp.Session, *smpp.ShortMessage) (string, smpp.Status) {
			return "", smpp.NoAnswer
		}}
		client, _ := pair(t, server, smpp.Client{Options: smpp.Options{ResponseTimeout: time.Hour}})
		go client.Submit(t.Context(), text("1"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := client.Unbind(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Unbind: %v, want the deadline", err)
		}
		if client.Err() == nil {
			t.Error("the session still lives")
		}
	})
}

func TestShutdownUnbindsClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &smpp.Server{Submit: accept}
		client, _ := pair(t, server, smpp.Client{})
		if err := server.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		<-client.Done()
		if !errors.Is(client.Err(), smpp.ErrPeerUnbound) {
			t.Errorf("the client's session ended with %v, want ErrPeerUnbound", client.Err())
		}
	})
}

func TestTooManyHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		server := &smpp.Server{
			Options: smpp.Options{MaxHandlers: 1},
			Submit: func(context.Context, *smpp.Session, *smpp.ShortMessage) (string, smpp.Status) {
				<-release
				return "1", smpp.StatusOK
			},
		}
		client, _ := pair(t, server, smpp.Client{})
		first := make(chan error, 1)
		go func() {
			_, err := client.Submit(t.Context(), text("1"))
			first <- err
		}()
		synctest.Wait()
		_, err := client.Submit(t.Context(), text("2"))
		if refused, ok := errors.AsType[*smpp.StatusError](err); !ok || refused.Status != smpp.StatusThrottled {
			t.Errorf("second: %v, want ESME_RTHROTTLED", err)
		}
		close(release)
		if err := <-first; err != nil {
			t.Errorf("first: %v", err)
		}
	})
}

func TestUnknownAndMalformedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t, &smpp.Server{Submit: accept}, smpp.Client{})
		for name, tc := range map[string]struct {
			command smpp.Command
			body    smpp.Body
			want    smpp.Status
		}{
			"a command of another version":  {0x112, &smpp.Raw{Octets: []byte{1}}, smpp.StatusInvCmdID},
			"a query nobody serves":         {smpp.QuerySM, &smpp.Query{}, smpp.StatusInvCmdID},
			"a second bind":                 {smpp.BindTransceiver, &smpp.Bind{}, smpp.StatusAlreadyBound},
			"a body that ends in its midst": {smpp.SubmitSM, &smpp.Raw{Octets: []byte{0, 1}}, smpp.StatusInvCmdLen},
			"a delivery from a client":      {smpp.DeliverSM, text("1"), smpp.StatusInvCmdID},
		} {
			_, err := client.Request(t.Context(), tc.command, tc.body)
			if refused, ok := errors.AsType[*smpp.StatusError](err); !ok || refused.Status != tc.want {
				t.Errorf("%s: %v, want %s", name, err, tc.want)
			}
		}
		// Nobody takes deliveries here: the SMSC is to keep them.
		err := server.Deliver(t.Context(), text("1"))
		if refused, ok := errors.AsType[*smpp.StatusError](err); !ok || refused.Status != smpp.StatusTemporaryAppError {
			t.Errorf("deliver without a handler: %v, want ESME_RX_T_APPN", err)
		}
	})
}

func TestOversizePDUEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &smpp.Server{Submit: accept, Options: smpp.Options{MaxPDU: 256}}
		client, theirs := pair(t, server, smpp.Client{})
		m := text("x")
		m.TLVs = smpp.TLVs{{Tag: smpp.TagMessagePayload, Value: make([]byte, 1000)}}
		go client.Submit(t.Context(), m)
		<-theirs.Done()
		if frame, ok := errors.AsType[*smpp.FrameError](theirs.Err()); !ok || frame.Max != 256 {
			t.Errorf("ended with %v, want a FrameError", theirs.Err())
		}
	})
}

func TestQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &smpp.Server{Query: func(_ context.Context, _ *smpp.Session, q *smpp.Query) (*smpp.QueryResp, smpp.Status) {
			if q.MessageID != "known" {
				return nil, smpp.StatusQueryFailed
			}
			return &smpp.QueryResp{MessageID: q.MessageID, State: smpp.StateExpired, ErrorCode: 3}, smpp.StatusOK
		}}
		client, _ := pair(t, server, smpp.Client{})
		got, err := client.Query(t.Context(), &smpp.Query{MessageID: "known"})
		if err != nil || got.State != smpp.StateExpired || got.ErrorCode != 3 {
			t.Errorf("got %+v, %v", got, err)
		}
		_, err = client.Query(t.Context(), &smpp.Query{MessageID: "other"})
		if refused, ok := errors.AsType[*smpp.StatusError](err); !ok || refused.Status != smpp.StatusQueryFailed {
			t.Errorf("error %v, want ESME_RQUERYFAIL", err)
		}
	})
}

// The window holds in both directions of a change.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		server := &smpp.Server{Submit: func(context.Context, *smpp.Session, *smpp.ShortMessage) (string, smpp.Status) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			<-time.After(time.Second)
			running.Add(-1)
			return "1", smpp.StatusOK
		}}
		client, _ := pair(t, server, smpp.Client{Options: smpp.Options{Window: 4, ResponseTimeout: time.Hour}})
		run := func(n int) time.Duration {
			most.Store(0)
			began, done := time.Now(), make(chan error, n)
			for range n {
				go func() {
					_, err := client.Submit(t.Context(), text("1"))
					done <- err
				}()
			}
			for range n {
				if err := <-done; err != nil {
					t.Errorf("Submit: %v", err)
				}
			}
			return time.Since(began)
		}
		for _, size := range []int{4, 1, 8} {
			client.SetWindow(size)
			if took := run(16); took != time.Duration(16/size)*time.Second || int(most.Load()) != size {
				t.Errorf("window %d: %s with %d at once", size, took, most.Load())
			}
		}
		if client.Load() != 0 {
			t.Errorf("%d slots in use at the end", client.Load())
		}
	})
}

func TestBindGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		go io.Copy(io.Discard, far)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := smpp.Open(ctx, near, smpp.Client{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the deadline", err)
		}
	})
}
