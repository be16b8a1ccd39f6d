package smpp

import "fmt"

// Command is the command_id of a PDU (section 5.1.2). The highest bit marks a response.
type Command uint32

// Commands of SMPP 3.4 that this package decodes. Others are kept as [Raw] bodies.
const (
	GenericNack         Command = 0x80000000
	BindReceiver        Command = 0x00000001
	BindReceiverResp    Command = 0x80000001
	BindTransmitter     Command = 0x00000002
	BindTransmitterResp Command = 0x80000002
	QuerySM             Command = 0x00000003
	QuerySMResp         Command = 0x80000003
	SubmitSM            Command = 0x00000004
	SubmitSMResp        Command = 0x80000004
	DeliverSM           Command = 0x00000005
	DeliverSMResp       Command = 0x80000005
	Unbind              Command = 0x00000006
	UnbindResp          Command = 0x80000006
	BindTransceiver     Command = 0x00000009
	BindTransceiverResp Command = 0x80000009
	EnquireLink         Command = 0x00000015
	EnquireLinkResp     Command = 0x80000015
	DataSM              Command = 0x00000103
	DataSMResp          Command = 0x80000103
)

const responseBit Command = 0x80000000

// IsResponse tells whether c answers a request. GenericNack is a response too.
func (c Command) IsResponse() bool { return c&responseBit != 0 }

// Response is the command that answers c.
func (c Command) Response() Command { return c | responseBit }

// String is the name of the specification, e.g. "submit_sm_resp".
func (c Command) String() string {
	if c == GenericNack {
		return "generic_nack"
	}
	name := requestName(c &^ responseBit)
	if name == "" {
		return fmt.Sprintf("command 0x%08x", uint32(c))
	}
	if c.IsResponse() {
		return name + "_resp"
	}
	return name
}

func requestName(c Command) string {
	switch c {
	case BindReceiver:
		return "bind_receiver"
	case BindTransmitter:
		return "bind_transmitter"
	case BindTransceiver:
		return "bind_transceiver"
	case QuerySM:
		return "query_sm"
	case SubmitSM:
		return "submit_sm"
	case DeliverSM:
		return "deliver_sm"
	case Unbind:
		return "unbind"
	case EnquireLink:
		return "enquire_link"
	case DataSM:
		return "data_sm"
	default:
		return ""
	}
}
