package postgres

import (
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// deaf is a connection that never has anything to read before its deadline.
type deaf struct {
	net.Conn

	deadline time.Time
}

func (d *deaf) SetDeadline(t time.Time) error     { d.deadline = t; return nil }
func (d *deaf) SetReadDeadline(t time.Time) error { d.deadline = t; return nil }

func (d *deaf) Read([]byte) (int, error) {
	if d.deadline.IsZero() {
		select {} // for ever
	}
	<-time.After(time.Until(d.deadline))
	return 0, os.ErrDeadlineExceeded
}

func TestSocketDoesNotWaitForAServerThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		s := &socket{Conn: &deaf{}, silent: func() { told++ }}
		began := time.Now()
		if _, err := s.Read(nil); err == nil || time.Since(began) != silence {
			t.Errorf("got %v after %s, want an error after %s", err, time.Since(began), silence)
		}
		if err := s.SetDeadline(began.Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(nil); err == nil || time.Since(began) != 20*time.Second {
			t.Errorf("got %v after %s, want an error at the deadline that was set", err, time.Since(began))
		}
		if err := s.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(nil); err == nil || time.Since(began) != 20*time.Second+silence {
			t.Errorf("got %v after %s, want the bound again when the deadline is lifted", err, time.Since(began))
		}
		if told != 2 {
			t.Errorf("the silence was told %d times, want once for each that nobody had set a deadline for", told)
		}
	})
}
