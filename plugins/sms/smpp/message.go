package smpp

import "fmt"

// Address is a number or name with its type of number and numbering plan (section 5.2.5, 5.2.6).
type Address struct {
	// TON: 0 unknown, 1 international, 2 national, 3 network specific, 5 alphanumeric.
	TON byte
	// NPI: 0 unknown, 1 ISDN (E.164).
	NPI byte
	// Addr has up to 20 octets; international numbers without "+".
	Addr string
}

// Bits of esm_class (section 5.2.12).
const (
	// ESMClassUDHI: the message begins with a user data header.
	ESMClassUDHI byte = 0x40
	// ESMClassReceipt: the message is a delivery receipt of the SMSC.
	ESMClassReceipt byte = 0x04
	// ESMClassIntermediate: the message is an intermediate delivery notification.
	ESMClassIntermediate byte = 0x20

	esmClassTypeMask byte = 0x3C
)

// Data codings (section 5.2.19) that texts are sent and understood in.
const (
	DataCodingDefault byte = 0x00 // the SMSC's default alphabet, usually GSM 03.38
	DataCodingASCII   byte = 0x01
	DataCodingLatin1  byte = 0x03
	DataCodingUCS2    byte = 0x08
)

// MaxShortMessage is the most that fits into short_message, in octets (section 5.2.21).
const MaxShortMessage = 254

// ShortMessage is the body of submit_sm and deliver_sm (sections 4.4.1 and 4.6.1).
type ShortMessage struct {
	ServiceType  string
	Source, Dest Address
	ESMClass     byte
	ProtocolID   byte
	Priority     byte
	// ScheduleTime and Validity are in the time format of section 7.1.1; see [RelativeTime].
	ScheduleTime, Validity string
	// RegisteredDelivery asks for receipts: 1 on the final state, 2 on failure only, bit 4 for
	// intermediate notifications.
	RegisteredDelivery byte
	ReplaceIfPresent   byte
	DataCoding         byte
	DefaultMsgID       byte
	// Message is short_message, up to 254 octets. See [ShortMessage.Payload] for reading.
	Message []byte
	TLVs    TLVs
}

// Payload is the user data: short_message, or message_payload when that is used in its place.
func (m *ShortMessage) Payload() []byte {
	if len(m.Message) == 0 {
		if payload, ok := m.TLVs.Get(TagMessagePayload); ok {
			return payload
		}
	}
	return m.Message
}

// IsReceipt tells whether a delivered message is about the fate of a submitted one. Only what the
// SMSC alone sets counts, esm_class and receipted_message_id, never the text: anybody may send a
// text that looks like a receipt.
func (m *ShortMessage) IsReceipt() bool {
	kind := m.ESMClass & esmClassTypeMask
	if kind == ESMClassReceipt || kind == ESMClassIntermediate {
		return true
	}
	_, ok := m.TLVs.Get(TagReceiptedMessageID)
	return ok
}

func (m *ShortMessage) encode(e *encoder) {
	e.cstring("service_type", m.ServiceType, 6)
	e.address("source_addr", m.Source)
	e.address("destination_addr", m.Dest)
	e.octet(m.ESMClass)
	e.octet(m.ProtocolID)
	e.octet(m.Priority)
	e.cstring("schedule_delivery_time", m.ScheduleTime, 17)
	e.cstring("validity_period", m.Validity, 17)
	e.octet(m.RegisteredDelivery)
	e.octet(m.ReplaceIfPresent)
	e.octet(m.DataCoding)
	e.octet(m.DefaultMsgID)
	if len(m.Message) > MaxShortMessage {
		e.fail("short_message", fmt.Sprintf("%d octets, at most %d are allowed", len(m.Message), MaxShortMessage))
		return
	}
	e.octet(byte(len(m.Message)))
	e.buf = append(e.buf, m.Message...)
	e.tlvs(m.TLVs)
}

func (m *ShortMessage) decode(d *decoder) {
	m.ServiceType = d.cstring("service_type")
	m.Source = d.address("source_addr")
	m.Dest = d.address("destination_addr")
	m.ESMClass = d.octet("esm_class")
	m.ProtocolID = d.octet("protocol_id")
	m.Priority = d.octet("priority_flag")
	m.ScheduleTime = d.cstring("schedule_delivery_time")
	m.Validity = d.cstring("validity_period")
	m.RegisteredDelivery = d.octet("registered_delivery")
	m.ReplaceIfPresent = d.octet("replace_if_present_flag")
	m.DataCoding = d.octet("data_coding")
	m.DefaultMsgID = d.octet("sm_default_msg_id")
	m.Message = d.octets("short_message", int(d.octet("sm_length")))
	m.TLVs = d.tlvs()
}

// Data is the body of data_sm (section 4.7.1): a message whose user data is in message_payload.
type Data struct {
	ServiceType        string
	Source, Dest       Address
	ESMClass           byte
	RegisteredDelivery byte
	DataCoding         byte
	TLVs               TLVs
}

// ShortMessage gives the same message in the form of submit_sm and deliver_sm.
func (m *Data) ShortMessage() *ShortMessage {
	return &ShortMessage{
		ServiceType: m.ServiceType, Source: m.Source, Dest: m.Dest, ESMClass: m.ESMClass,
		RegisteredDelivery: m.RegisteredDelivery, DataCoding: m.DataCoding, TLVs: m.TLVs,
	}
}

func (m *Data) encode(e *encoder) {
	e.cstring("service_type", m.ServiceType, 6)
	e.octet(m.Source.TON)
	e.octet(m.Source.NPI)
	e.cstring("source_addr", m.Source.Addr, 65)
	e.octet(m.Dest.TON)
	e.octet(m.Dest.NPI)
	e.cstring("destination_addr", m.Dest.Addr, 65)
	e.octet(m.ESMClass)
	e.octet(m.RegisteredDelivery)
	e.octet(m.DataCoding)
	e.tlvs(m.TLVs)
}

func (m *Data) decode(d *decoder) {
	m.ServiceType = d.cstring("service_type")
	m.Source = d.address("source_addr")
	m.Dest = d.address("destination_addr")
	m.ESMClass = d.octet("esm_class")
	m.RegisteredDelivery = d.octet("registered_delivery")
	m.DataCoding = d.octet("data_coding")
	m.TLVs = d.tlvs()
}
