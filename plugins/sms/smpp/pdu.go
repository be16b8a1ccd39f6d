package smpp

import (
	"bufio"
	"encoding/binary"
	"io"
)

const (
	headerLen             = 16
	interfaceVersion byte = 0x34
	maxSequence           = 0x7FFFFFFF
)

// DefaultMaxPDU is the longest PDU a [Reader] takes unless told otherwise, in octets: a
// message_payload of 64 KiB and the rest of a message around it.
const DefaultMaxPDU = 66 << 10

// PDU is one protocol unit (section 3.2): the header, its length aside, and the body.
type PDU struct {
	Command  Command
	Status   Status
	Sequence uint32
	// Body is nil for commands without one.
	Body Body
}

// Append encodes the PDU behind dst. The error is an *EncodeError that names the field.
func (p PDU) Append(dst []byte) ([]byte, error) {
	start := len(dst)
	e := encoder{buf: append(dst, 0, 0, 0, 0)}
	e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(p.Command))
	e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(p.Status))
	e.buf = binary.BigEndian.AppendUint32(e.buf, p.Sequence)
	if p.Body != nil {
		p.Body.encode(&e)
	}
	if e.err != nil {
		return dst, e.err
	}
	binary.BigEndian.PutUint32(e.buf[start:], uint32(len(e.buf)-start))
	return e.buf, nil
}

// Decode decodes one whole PDU, its length included. With an error of type *DecodeError the header
// fields of the result are set, so that the PDU can be answered. Nothing of frame is kept.
func Decode(frame []byte) (PDU, error) {
	if len(frame) < headerLen || binary.BigEndian.Uint32(frame) != uint32(len(frame)) {
		return PDU{}, &FrameError{Length: uint32(len(frame)), Max: DefaultMaxPDU}
	}
	p := PDU{
		Command:  Command(binary.BigEndian.Uint32(frame[4:])),
		Status:   Status(binary.BigEndian.Uint32(frame[8:])),
		Sequence: binary.BigEndian.Uint32(frame[12:]),
	}
	body := newBody(p.Command)
	if body == nil {
		return p, nil
	}
	d := decoder{command: p.Command, rest: frame[headerLen:]}
	body.decode(&d)
	if d.err != nil {
		return p, d.err
	}
	p.Body = body
	return p, nil
}

// Reader reads PDUs from a stream. It is not safe for concurrent use.
type Reader struct {
	src *bufio.Reader
	max uint32
	buf []byte
}

// NewReader reads from src PDUs of at most maxPDU octets; 0 means [DefaultMaxPDU].
func NewReader(src io.Reader, maxPDU int) *Reader {
	if maxPDU <= 0 {
		maxPDU = DefaultMaxPDU
	}
	return &Reader{src: bufio.NewReaderSize(src, 32<<10), max: uint32(maxPDU)}
}

// Next gives the next PDU. io.EOF means that the stream ended between two PDUs, a *FrameError that it
// cannot be followed, a *DecodeError that this PDU alone is malformed (its header is returned).
func (r *Reader) Next() (PDU, error) {
	head, err := r.src.Peek(4)
	if err != nil {
		if len(head) > 0 && err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return PDU{}, err
	}
	length := binary.BigEndian.Uint32(head)
	if length < headerLen || length > r.max {
		return PDU{}, &FrameError{Length: length, Max: r.max}
	}
	if int(length) > cap(r.buf) {
		r.buf = make([]byte, max(int(length), 1024))
	}
	frame := r.buf[:length]
	if _, err := io.ReadFull(r.src, frame); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return PDU{}, err
	}
	return Decode(frame)
}
