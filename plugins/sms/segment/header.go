package segment

import "encoding/binary"

// Information elements that number the parts of a message (3GPP TS 23.040 sections 9.2.3.24.1
// and 9.2.3.24.8).
const (
	elementConcat8  = 0x00
	elementConcat16 = 0x08
)

// Concat says which part of which message a short message is.
type Concat struct {
	// Reference is the same for all parts of one message between two numbers.
	Reference uint16
	// Total counts the parts; Number runs from 1 to Total. Both are 0 for a message of its own.
	Total, Number int
}

// Whole tells that the message is not a part of another.
func (c Concat) Whole() bool { return c.Total == 0 }

// Header is the user data header of a part, with a reference of 8 bits, which every phone knows.
func Header(c Concat) []byte {
	return []byte{5, elementConcat8, 3, byte(c.Reference), byte(c.Total), byte(c.Number)}
}

// ParseHeader takes the user data header off a payload. Elements other than the numbering, e.g.
// ports, are passed over; a numbering that makes no sense (part 3 of 2) is ignored, as phones do. ok
// is false when the header is longer than the payload, which is then given back whole.
func ParseHeader(payload []byte) (c Concat, rest []byte, ok bool) {
	if len(payload) == 0 || int(payload[0]) >= len(payload) {
		return Concat{}, payload, false
	}
	end := int(payload[0]) + 1
	elements, rest := payload[1:end], payload[end:]
	for len(elements) >= 2 && len(elements) >= 2+int(elements[1]) {
		id, value := elements[0], elements[2:2+elements[1]]
		elements = elements[2+elements[1]:]
		if found, ok := concatOf(id, value); ok {
			c = found
		}
	}
	return c, rest, true
}

func concatOf(id byte, value []byte) (c Concat, ok bool) {
	switch {
	case id == elementConcat8 && len(value) == 3:
		c = Concat{Reference: uint16(value[0]), Total: int(value[1]), Number: int(value[2])}
	case id == elementConcat16 && len(value) == 4:
		c = Concat{Reference: binary.BigEndian.Uint16(value), Total: int(value[2]), Number: int(value[3])}
	}
	return c, c.Number >= 1 && c.Number <= c.Total
}
