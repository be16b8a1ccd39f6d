package smpp

import "fmt"

// Body is what follows the header of a PDU: *Bind, *BindResp, *ShortMessage, *MessageResp, *Query,
// *QueryResp, *Data or Raw. PDUs without a body have nil.
type Body interface {
	encode(e *encoder)
	decode(d *decoder)
}

// newBody gives the empty body that belongs to a command; nil for those without one.
func newBody(c Command) Body {
	switch c {
	case BindReceiver, BindTransmitter, BindTransceiver:
		return &Bind{}
	case BindReceiverResp, BindTransmitterResp, BindTransceiverResp:
		return &BindResp{}
	case SubmitSM, DeliverSM:
		return &ShortMessage{}
	case SubmitSMResp, DeliverSMResp, DataSMResp:
		return &MessageResp{}
	case QuerySM:
		return &Query{}
	case QuerySMResp:
		return &QueryResp{}
	case DataSM:
		return &Data{}
	case GenericNack, Unbind, UnbindResp, EnquireLink, EnquireLinkResp:
		return nil
	default:
		return &Raw{}
	}
}

// Mode is what a bind may be used for.
type Mode int

// The three binds of section 2.2.
const (
	// Transceiver submits and receives over one connection.
	Transceiver Mode = iota
	// Transmitter only submits.
	Transmitter
	// Receiver only receives.
	Receiver
)

// String is "transceiver", "transmitter" or "receiver".
func (m Mode) String() string {
	switch m {
	case Transmitter:
		return "transmitter"
	case Receiver:
		return "receiver"
	default:
		return "transceiver"
	}
}

func (m Mode) command() Command {
	switch m {
	case Transmitter:
		return BindTransmitter
	case Receiver:
		return BindReceiver
	default:
		return BindTransceiver
	}
}

func modeOf(c Command) (Mode, bool) {
	switch c {
	case BindTransceiver:
		return Transceiver, true
	case BindTransmitter:
		return Transmitter, true
	case BindReceiver:
		return Receiver, true
	default:
		return 0, false
	}
}

// Bind is the request that opens a session (section 4.1).
type Bind struct {
	// Mode is not a field of the body: it chooses the command, and is set on a decoded bind.
	Mode Mode
	// SystemID is the user name, up to 15 octets.
	SystemID string
	// Password has up to 8 octets by the specification; up to 64 are let through, for providers
	// that take more.
	Password string
	// SystemType is the kind of client, up to 12 octets; often empty.
	SystemType string
	// InterfaceVersion is 0x34; 0 is sent as 0x34.
	InterfaceVersion byte
	// Range is what addresses the client serves, as a regular expression; mostly empty.
	Range Address
}

func (b *Bind) encode(e *encoder) {
	e.cstring("system_id", b.SystemID, 16)
	e.cstring("password", b.Password, 65)
	e.cstring("system_type", b.SystemType, 13)
	version := b.InterfaceVersion
	if version == 0 {
		version = interfaceVersion
	}
	e.octet(version)
	e.octet(b.Range.TON)
	e.octet(b.Range.NPI)
	e.cstring("address_range", b.Range.Addr, 41)
}

func (b *Bind) decode(d *decoder) {
	b.Mode, _ = modeOf(d.command)
	b.SystemID = d.cstring("system_id")
	b.Password = d.cstring("password")
	b.SystemType = d.cstring("system_type")
	b.InterfaceVersion = d.octet("interface_version")
	b.Range = Address{TON: d.octet("addr_ton"), NPI: d.octet("addr_npi"), Addr: d.cstring("address_range")}
}

// String tells who binds, without the password.
func (b *Bind) String() string { return fmt.Sprintf("bind_%s as %q", b.Mode, b.SystemID) }

// BindResp answers a bind.
type BindResp struct {
	// SystemID names the SMSC.
	SystemID string
	TLVs     TLVs
}

func (b *BindResp) encode(e *encoder) {
	e.cstring("system_id", b.SystemID, 16)
	e.tlvs(b.TLVs)
}

func (b *BindResp) decode(d *decoder) {
	b.SystemID = d.lastCString()
	b.TLVs = d.lenientTLVs()
}

// MessageResp answers submit_sm, deliver_sm and data_sm.
type MessageResp struct {
	// MessageID is the SMSC's name of a submitted message, up to 64 octets; empty in deliver_sm_resp.
	MessageID string
	TLVs      TLVs
}

func (m *MessageResp) encode(e *encoder) {
	e.cstring("message_id", m.MessageID, 65)
	e.tlvs(m.TLVs)
}

func (m *MessageResp) decode(d *decoder) {
	m.MessageID = d.lastCString()
	m.TLVs = d.lenientTLVs()
}

// Query asks for the state of a submitted message (section 4.8).
type Query struct {
	MessageID string
	// Source is the source address the message was submitted with.
	Source Address
}

func (q *Query) encode(e *encoder) {
	e.cstring("message_id", q.MessageID, 65)
	e.address("source_addr", q.Source)
}

func (q *Query) decode(d *decoder) {
	q.MessageID = d.cstring("message_id")
	q.Source = d.address("source_addr")
}

// QueryResp answers a query.
type QueryResp struct {
	MessageID string
	// FinalDate is when the message reached its final state, in the time format of section 7.1.1;
	// empty while it has none.
	FinalDate string
	State     State
	// ErrorCode is the network's or the SMSC's, 0 for none.
	ErrorCode byte
}

func (q *QueryResp) encode(e *encoder) {
	e.cstring("message_id", q.MessageID, 65)
	e.cstring("final_date", q.FinalDate, 17)
	e.octet(byte(q.State))
	e.octet(q.ErrorCode)
}

func (q *QueryResp) decode(d *decoder) {
	if len(d.rest) == 0 { // A refusal comes without a body.
		return
	}
	q.MessageID = d.cstring("message_id")
	q.FinalDate = d.cstring("final_date")
	q.State = State(d.octet("message_state"))
	if len(d.rest) > 0 {
		q.ErrorCode = d.octet("error_code")
	}
}

// Raw is the body of a command that this package does not know, as it came.
type Raw struct{ Octets []byte }

func (r *Raw) encode(e *encoder) { e.buf = append(e.buf, r.Octets...) }

func (r *Raw) decode(d *decoder) { r.Octets = d.octets("body", len(d.rest)) }
