package memory

import "github.com/pigeonry/pigeonry/core"

// idBits is how many bits a message id needs. The bits above carry the number of messages in the first
// word of an envelope's messages.
const idBits = 53

// maxID is the largest message id that the first word has room for, and that queue.Check lets pass.
const maxID = core.RecordID(1)<<idBits - 1

// chunkWords makes a chunk 8 KiB, a size class of the allocator.
const chunkWords = 1023

// chunk is a piece of a fifo. Only its link is a pointer, so the garbage collector does not read the words.
type chunk struct {
	next  *chunk
	words [chunkWords]uint64
}

// fifo holds envelopes in the order of their publishing, packed: the envelope's id, then its messages.
// An envelope may begin in one chunk and end in the next.
type fifo struct {
	first, last   *chunk
	read, written int // words of first and last that are done
	spare         *chunk
}

// push appends an envelope, which queue.Check has passed.
func (f *fifo) push(e *core.Envelope) {
	f.write(uint64(e.ID))
	f.write(uint64(len(e.Records))<<idBits | uint64(e.Records[0]))
	for _, id := range e.Records[1:] {
		f.write(uint64(id))
	}
}

// pop takes the oldest envelope. The fifo must not be empty.
func (f *fifo) pop() (id int64, records []core.RecordID) {
	id = int64(f.take())
	head := f.take()
	records = make([]core.RecordID, head>>idBits)
	records[0] = core.RecordID(head) & maxID
	for i := range records[1:] {
		records[i+1] = core.RecordID(f.take())
	}
	return id, records
}

func (f *fifo) empty() bool { return f.first == f.last && f.read == f.written }

func (f *fifo) write(word uint64) {
	if f.last == nil || f.written == chunkWords {
		f.grow()
	}
	f.last.words[f.written] = word
	f.written++
}

func (f *fifo) take() uint64 {
	word := f.first.words[f.read]
	f.read++
	if f.empty() { // begin the only chunk anew
		f.read, f.written = 0, 0
	} else if f.read == chunkWords {
		f.shrink()
	}
	return word
}

// grow links a further chunk.
func (f *fifo) grow() {
	c := f.spare
	f.spare = nil
	if c == nil {
		c = &chunk{}
	}
	if f.last == nil {
		f.first = c
	} else {
		f.last.next = c
	}
	f.last, f.written = c, 0
}

// shrink unlinks the first chunk, which has been read, and keeps it for the next grow.
func (f *fifo) shrink() {
	c := f.first
	f.first, f.read = c.next, 0
	c.next = nil
	f.spare = c
}
