package smpp

import (
	"fmt"
	"time"
)

// maxWrite is about how many octets the writer gathers for one write.
const maxWrite = 32 << 10

// writeLoop writes what is queued; frames that wait together leave together.
func (s *Session) writeLoop() {
	var batch []outgoing
	var buf []byte
	for {
		select {
		case o := <-s.out:
			batch = s.gather(append(batch[:0], o))
		case <-s.done:
			return
		}
		var err error
		if buf, err = s.write(batch, buf[:0]); err != nil {
			s.end(err)
			return
		}
		if last := batch[len(batch)-1].last; last != nil {
			s.end(last)
			return
		}
		clear(batch) // Frames can be large: do not keep them.
	}
}

// gather adds what else is queued, up to maxWrite octets or the session's last frame.
func (s *Session) gather(batch []outgoing) []outgoing {
	size := 0
	for {
		o := batch[len(batch)-1]
		size += len(o.frame)
		if size >= maxWrite || o.last != nil {
			return batch
		}
		select {
		case o := <-s.out:
			batch = append(batch, o)
		default:
			return batch
		}
	}
}

// write sends the frames in one write. Requests given up meanwhile are left out; those of which
// no octet was written are marked unsent.
func (s *Session) write(batch []outgoing, buf []byte) ([]byte, error) {
	starts := make([]int, len(batch))
	for i, o := range batch {
		if o.request != nil && !o.request.stage.CompareAndSwap(stageQueued, stageWritten) {
			batch[i].request = nil
			continue
		}
		starts[i] = len(buf)
		buf = append(buf, o.frame...)
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.options.ResponseTimeout)); err != nil {
		return buf, fmt.Errorf("write: %w", err)
	}
	n, err := s.conn.Write(buf)
	if err == nil {
		return buf, nil
	}
	for i, o := range batch {
		if o.request != nil && starts[i] >= n {
			o.request.stage.Store(stageUnsent)
		}
	}
	return buf, fmt.Errorf("write: %w", err)
}
