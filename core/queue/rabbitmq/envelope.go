package rabbitmq

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

// format is the first byte of every body, so that a later release can tell its own from today's.
const format = 1

// errShort says that a body ends before what it announced.
var errShort = errors.New("the body ends too early")

// encode writes an envelope: format, id, lane, channel, and the messages as the differences of their ids,
// which are small, as those committed together have ids that follow each other.
func encode(e *core.Envelope) []byte {
	body := make([]byte, 0, 16+len(e.Channel)+3*len(e.Records))
	body = append(body, format)
	body = binary.AppendVarint(body, e.ID)
	body = append(body, byte(e.Lane), byte(len(e.Channel)))
	body = append(body, e.Channel...)
	body = binary.AppendUvarint(body, uint64(len(e.Records)))
	last := core.RecordID(0)
	for _, id := range e.Records {
		body = binary.AppendVarint(body, int64(id-last))
		last = id
	}
	return body
}

// decode reads what encode wrote, and nothing else.
func decode(body []byte) (core.Envelope, error) {
	r := reader{rest: body}
	if f := r.byte(); f != format {
		return core.Envelope{}, fmt.Errorf("format %d is not known", f)
	}
	e := core.Envelope{ID: r.varint(), Lane: core.Lane(r.byte())}
	e.Channel = string(r.take(int(r.byte())))
	e.Records = r.records()
	if r.err == nil && len(r.rest) > 0 {
		r.err = fmt.Errorf("%d bytes follow its end", len(r.rest))
	}
	if r.err == nil {
		r.err = queue.Check(&e)
	}
	if r.err != nil {
		return core.Envelope{}, r.err
	}
	return e, nil
}

// reader takes values off the front of a body. After the first error it gives zeros.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

// take returns the next n bytes.
func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.fail(errShort)
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte {
	b := r.take(1)
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	r.skip(n)
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	r.skip(n)
	return v
}

// skip leaves a number of n bytes behind; package binary says with n <= 0 that there was none.
func (r *reader) skip(n int) {
	if n <= 0 {
		r.fail(errShort)
		return
	}
	r.rest = r.rest[n:]
}

func (r *reader) records() []core.RecordID {
	n := r.uvarint()
	if n > core.MaxEnvelope { // before memory is taken for them
		r.fail(fmt.Errorf("it holds %d messages, more than %d", n, core.MaxEnvelope))
		return nil
	}
	records := make([]core.RecordID, n)
	last := core.RecordID(0)
	for i := range records {
		last += core.RecordID(r.varint())
		records[i] = last
	}
	return records
}
