package redis

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// parseChunk returns the nodes that a chunk has of a trace of an account.
func parseChunk(chunk string, account core.AccountID, p place) ([]core.Node, error) {
	r := reader{rest: []byte(chunk)}
	if r.byte() != format {
		return nil, errFormat
	}
	var nodes []core.Node
	for len(r.rest) > 0 && !r.bad {
		e := reader{rest: r.bytes()}
		if !bytes.Equal(e.take(len(p.tail)), p.tail[:]) || core.AccountID(e.varint()) != account {
			continue
		}
		nodes = append(nodes, e.nodes(p.time)...)
		r.bad = r.bad || e.bad
	}
	if r.bad {
		return nil, errFormat
	}
	return nodes, nil
}

// reader reads what encode.go writes. After a fault it is bad and reads zeros.
type reader struct {
	rest []byte
	bad  bool
}

// fail makes the reader bad.
func (r *reader) fail() { r.rest, r.bad = nil, true }

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.fail()
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// bytes reads a length and what it counts.
func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	return r.take(int(n))
}

// word reads a word by its number.
func word[T ~string](r *reader, words []T, number byte) T {
	switch n := int(number); {
	case n == 0:
		return T(r.bytes())
	case n <= len(words):
		return words[n-1]
	default:
		r.fail()
		return ""
	}
}

// nodes reads nodes to the end.
func (r *reader) nodes(before time.Time) []core.Node {
	var nodes []core.Node
	at := before.UnixMicro()
	for len(r.rest) > 0 {
		words := r.byte()
		n := core.Node{Name: word(r, names, words&0x0f), Status: word(r, statuses, words>>4)}
		n.Attempt = int(r.varint())
		at += r.varint()
		n.Start = time.UnixMicro(at).UTC()
		if lasted := r.uvarint(); lasted > 0 {
			at += int64(lasted - 1)
			n.Finish = time.UnixMicro(at).UTC()
		}
		n.Detail = string(r.bytes())
		nodes = append(nodes, n)
	}
	return nodes
}
