package sandbox

import (
	"encoding/binary"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
)

// Information elements of a user data header that number the parts of a long SMS
// (3GPP TS 23.040 section 9.2.3.24).
const (
	elementConcat8  = 0x00 // reference of 8 bits
	elementConcat16 = 0x08 // reference of 16 bits
)

// part is one submit_sm as the sandbox understands it.
type part struct {
	from, to string
	text     string
	// reference, number and total tell which part of which SMS it is; total is 0 if it is whole.
	reference, number, total int
	// messageReference is user_message_reference, if the sender set it.
	messageReference string
}

// readPart decodes a submit_sm. Whatever the sender got wrong shows in the text.
func readPart(m *smpp.ShortMessage) part {
	p := part{from: numberOf(m.Source), to: numberOf(m.Dest)}
	if n, ok := m.TLVs.Uint(smpp.TagUserMessageReference); ok {
		p.messageReference = strconv.FormatUint(uint64(n), 10)
	}
	payload := m.Payload()
	if m.ESMClass&smpp.ESMClassUDHI != 0 {
		var header []byte
		header, payload = splitHeader(payload)
		p.readConcat(header)
	} else {
		p.readSAR(m.TLVs)
	}
	p.text = decodeSMS(m.DataCoding, payload)
	return p
}

// numberOf writes an address as people do: with a plus sign where the type of number says so.
func numberOf(a smpp.Address) string {
	if a.TON == 1 && !strings.HasPrefix(a.Addr, "+") {
		return "+" + a.Addr
	}
	return a.Addr
}

// splitHeader takes the user data header off a payload.
func splitHeader(payload []byte) (header, rest []byte) {
	if len(payload) == 0 || int(payload[0]) >= len(payload) {
		return nil, payload
	}
	end := int(payload[0]) + 1
	return payload[1:end], payload[end:]
}

// readConcat looks for the numbers of a part among the information elements of a header.
func (p *part) readConcat(header []byte) {
	for len(header) >= 2 {
		id, length := header[0], int(header[1])
		if len(header) < 2+length {
			return
		}
		value := header[2 : 2+length]
		header = header[2+length:]
		switch {
		case id == elementConcat8 && length == 3:
			p.setConcat(int(value[0]), value[2], value[1])
		case id == elementConcat16 && length == 4:
			p.setConcat(int(binary.BigEndian.Uint16(value)), value[3], value[2])
		}
	}
}

// readSAR looks for the numbers of a part in the optional parameters.
func (p *part) readSAR(tlvs smpp.TLVs) {
	reference, ok1 := tlvs.Uint(smpp.TagSARMsgRefNum)
	number, ok2 := tlvs.Uint(smpp.TagSARSegmentSeqnum)
	total, ok3 := tlvs.Uint(smpp.TagSARTotalSegments)
	if ok1 && ok2 && ok3 {
		p.setConcat(int(reference), byte(number), byte(total))
	}
}

// setConcat ignores numbers that make no sense, as a phone does.
func (p *part) setConcat(reference int, number, total byte) {
	if number >= 1 && number <= total {
		p.reference, p.number, p.total = reference, int(number), int(total)
	}
}

// partPatience is how long an SMS waits for its missing parts.
const partPatience = 10 * time.Minute

// partKey tells which SMS a part belongs to.
type partKey struct {
	from, to         string
	reference, total int
}

// assembly is a long SMS in the making.
type assembly struct {
	texts   []string
	have    []bool
	missing int
	firstID string
	began   time.Time
}

// partStore puts long SMS together.
type partStore struct {
	mu    sync.Mutex
	open  map[partKey]*assembly
	sweep time.Time
}

func newPartStore() *partStore { return &partStore{open: map[partKey]*assembly{}} }

// add returns the whole text once the last part is there, and the id of the first part.
func (s *partStore) add(p part, id string, now time.Time) (text, firstID string, complete bool) {
	if p.total == 0 {
		return p.text, id, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(now)
	key := partKey{p.from, p.to, p.reference, p.total}
	a, ok := s.open[key]
	if !ok {
		a = &assembly{texts: make([]string, p.total), have: make([]bool, p.total), missing: p.total, began: now}
		s.open[key] = a
	}
	if !a.have[p.number-1] {
		a.have[p.number-1] = true
		a.missing--
	}
	a.texts[p.number-1] = p.text
	if p.number == 1 {
		a.firstID = id
	}
	if a.missing > 0 {
		return "", "", false
	}
	delete(s.open, key)
	return strings.Join(a.texts, ""), a.firstID, true
}

// forget drops, once a minute, what waited too long for its missing parts.
func (s *partStore) forget(now time.Time) {
	if now.Sub(s.sweep) < time.Minute {
		return
	}
	s.sweep = now
	for key, a := range s.open {
		if now.Sub(a.began) > partPatience {
			delete(s.open, key)
		}
	}
}
