package redis

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/trace"
)

// A chunk is what one write adds to a bucket: a format number, and entries one after the other. Numbers
// are varints, so that a usual entry of three nodes takes about 45 bytes.
//
//	chunk  format, entry…
//	entry  length of the rest, last 11 bytes of the trace id, account, node…
//	node   words, attempt, start, duration, detail
//	words  the numbers of a known name (low half) and status (high half); 0: the word follows as text
//	start  microseconds after the finish of the node before, or its start while it lasts; the first
//	       node's after the time of the record id
//	duration  in microseconds, plus 1; 0: not finished
//	text   length, bytes
const format = 1

// errFormat says that a chunk was not written by this package, or by another version of it.
var errFormat = errors.New("a trace in Redis cannot be read: its format is not known")

// tail is the part of a trace id that its bucket does not tell.
type tail [11]byte

// place is where a trace stands.
type place struct {
	bucket int64 // seconds, about, of the record id
	tail   tail
	time   time.Time // of the record id
}

// bucketBits is how many low bits of a record id share a bucket: those of 1.024 seconds.
const bucketBits = 12 + 10

func bucketOf(id core.RecordID) int64 { return int64(id) >> bucketBits }

// placeOf finds the place of a trace, or returns false if id is not a trace id.
func placeOf(id core.TraceID) (p place, ok bool) {
	record, ok := id.RecordID()
	if !ok {
		return p, false
	}
	var b [16]byte
	_, err := hex.Decode(b[:], []byte(strings.TrimPrefix(string(id), "msg_")))
	copy(p.tail[:], b[5:])
	p.bucket, p.time = bucketOf(record), record.Time()
	return p, err == nil
}

// appendEntry adds an entry to a chunk.
func appendEntry(b []byte, p place, e *trace.Entry) []byte {
	// Most lengths fit in one byte; a longer one moves what follows.
	begin := len(b)
	b = append(append(b, 0), p.tail[:]...)
	b = binary.AppendVarint(b, int64(e.Account))
	b = appendNodes(b, p.time, e.Nodes)
	n := len(b) - begin - 1
	if n < 0x80 {
		b[begin] = byte(n)
		return b
	}
	var length [binary.MaxVarintLen64]byte
	more := binary.PutUvarint(length[:], uint64(n)) - 1
	b = append(b, length[:more]...)
	copy(b[begin+1+more:], b[begin+1:begin+1+n])
	copy(b[begin:], length[:more+1])
	return b
}

func appendNodes(b []byte, before time.Time, nodes []core.Node) []byte {
	at := before.UnixMicro()
	for i := range nodes {
		n := &nodes[i]
		name, status := numberOf(names, n.Name), numberOf(statuses, n.Status)
		b = append(b, name|status<<4)
		if name == 0 {
			b = appendText(b, n.Name)
		}
		if status == 0 {
			b = appendText(b, string(n.Status))
		}
		b = binary.AppendVarint(b, int64(n.Attempt))
		start := n.Start.UnixMicro()
		b = binary.AppendVarint(b, start-at)
		at = start
		lasted := uint64(0)
		if !n.Finish.IsZero() {
			at = max(start, n.Finish.UnixMicro())
			lasted = uint64(at-start) + 1
		}
		b = binary.AppendUvarint(b, lasted)
		b = appendText(b, n.Detail)
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// names and statuses have their number by their place, from 1. They are only ever added to.
var (
	names    = []string{core.NodeQueue, core.NodeProcess, core.NodeSend, core.NodeCallback}
	statuses = []core.NodeStatus{core.NodePending, core.NodeSuccess, core.NodeFailed}
)

func numberOf[T ~string](words []T, word T) byte {
	for i, w := range words {
		if w == word {
			return byte(i + 1)
		}
	}
	return 0
}
