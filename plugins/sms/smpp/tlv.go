package smpp

import (
	"encoding/binary"
	"fmt"
)

// Tag names an optional parameter (section 5.3.2).
type Tag uint16

// Optional parameters that this package and its users look at; all others are kept as they come.
const (
	TagUserMessageReference Tag = 0x0204
	TagReceiptedMessageID   Tag = 0x001E // receipted_message_id: C-Octet String
	TagSCInterfaceVersion   Tag = 0x0210
	TagSARMsgRefNum         Tag = 0x020C // sar_msg_ref_num: 2 octets
	TagSARTotalSegments     Tag = 0x020E // sar_total_segments: 1 octet
	TagSARSegmentSeqnum     Tag = 0x020F // sar_segment_seqnum: 1 octet
	TagNetworkErrorCode     Tag = 0x0423 // network_error_code: network type, 2 octets of code
	TagMessagePayload       Tag = 0x0424 // message_payload: up to 64 KiB in place of short_message
	TagMessageState         Tag = 0x0427 // message_state: 1 octet
)

// String is the number in hexadecimal, with the name of the better known ones.
func (t Tag) String() string {
	switch t {
	case TagReceiptedMessageID:
		return "receipted_message_id"
	case TagMessagePayload:
		return "message_payload"
	case TagMessageState:
		return "message_state"
	case TagNetworkErrorCode:
		return "network_error_code"
	default:
		return fmt.Sprintf("0x%04x", uint16(t))
	}
}

// TLV is one optional parameter.
type TLV struct {
	Tag   Tag
	Value []byte
}

// TLVs are the optional parameters of a PDU, in their order.
type TLVs []TLV

// Get gives the value of the first parameter with tag.
func (t TLVs) Get(tag Tag) ([]byte, bool) {
	for _, p := range t {
		if p.Tag == tag {
			return p.Value, true
		}
	}
	return nil, false
}

// Text gives a C-Octet String parameter without its zero; "" when absent.
func (t TLVs) Text(tag Tag) string {
	value, _ := t.Get(tag)
	for i, b := range value {
		if b == 0 {
			return string(value[:i])
		}
	}
	return string(value)
}

// Uint gives a parameter that is an integer of 1, 2 or 4 octets.
func (t TLVs) Uint(tag Tag) (uint32, bool) {
	value, _ := t.Get(tag)
	switch len(value) {
	case 1:
		return uint32(value[0]), true
	case 2:
		return uint32(binary.BigEndian.Uint16(value)), true
	case 4:
		return binary.BigEndian.Uint32(value), true
	}
	return 0, false
}

// TextTLV makes a C-Octet String parameter.
func TextTLV(tag Tag, s string) TLV { return TLV{Tag: tag, Value: append([]byte(s), 0)} }

// OctetTLV makes a parameter of one octet.
func OctetTLV(tag Tag, b byte) TLV { return TLV{Tag: tag, Value: []byte{b}} }
