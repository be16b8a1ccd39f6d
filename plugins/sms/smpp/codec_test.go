package smpp_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
)

// Frames written out by hand from the field tables of SMPP 3.4 chapter 4.
var frames = []struct {
	name string
	hex  string
	pdu  smpp.PDU
}{
	{
		name: "bind_transceiver",
		hex: "00000025 00000009 00000000 00000001" +
			"73686f7000 73656372657400 534d505000 34 00 00 00",
		pdu: smpp.PDU{
			Command: smpp.BindTransceiver, Sequence: 1,
			Body: &smpp.Bind{SystemID: "shop", Password: "secret", SystemType: "SMPP", InterfaceVersion: 0x34},
		},
	},
	{
		name: "bind_transmitter_resp",
		hex:  "0000001a 80000002 00000000 00000001" + "736d736300" + "0210000134",
		pdu: smpp.PDU{
			Command: smpp.BindTransmitterResp, Sequence: 1,
			Body: &smpp.BindResp{SystemID: "smsc", TLVs: smpp.TLVs{smpp.OctetTLV(smpp.TagSCInterfaceVersion, 0x34)}},
		},
	},
	{
		name: "submit_sm",
		hex: "00000035 00000004 00000000 0000000a" +
			"00 05 00 53686f7000 01 01 3439313700 00 00 00 00 00 01 00 00 00 02 4869" + "0424 0003 010203",
		pdu: smpp.PDU{
			Command: smpp.SubmitSM, Sequence: 10,
			Body: &smpp.ShortMessage{
				Source: smpp.Address{TON: 5, Addr: "Shop"}, Dest: smpp.Address{TON: 1, NPI: 1, Addr: "4917"},
				RegisteredDelivery: 1, Message: []byte("Hi"),
				TLVs: smpp.TLVs{{Tag: smpp.TagMessagePayload, Value: []byte{1, 2, 3}}},
			},
		},
	},
	{
		name: "submit_sm_resp",
		hex:  "00000014 80000004 00000000 0000000a" + "61626300",
		pdu:  smpp.PDU{Command: smpp.SubmitSMResp, Sequence: 10, Body: &smpp.MessageResp{MessageID: "abc"}},
	},
	{
		name: "submit_sm_resp refused, without a body",
		hex:  "00000010 80000004 00000058 0000000a",
		pdu: smpp.PDU{
			Command: smpp.SubmitSMResp, Status: smpp.StatusThrottled, Sequence: 10, Body: &smpp.MessageResp{},
		},
	},
	{
		name: "query_sm",
		hex:  "0000001a 00000003 00000000 00000002" + "61626300 01 01 31323300",
		pdu: smpp.PDU{
			Command: smpp.QuerySM, Sequence: 2,
			Body: &smpp.Query{MessageID: "abc", Source: smpp.Address{TON: 1, NPI: 1, Addr: "123"}},
		},
	},
	{
		name: "query_sm_resp",
		hex:  "00000017 80000003 00000000 00000002" + "61626300 00 02 00",
		pdu: smpp.PDU{
			Command: smpp.QuerySMResp, Sequence: 2,
			Body: &smpp.QueryResp{MessageID: "abc", State: smpp.StateDelivered},
		},
	},
	{
		name: "enquire_link",
		hex:  "00000010 00000015 00000000 00000004",
		pdu:  smpp.PDU{Command: smpp.EnquireLink, Sequence: 4},
	},
	{
		name: "generic_nack",
		hex:  "00000010 80000000 00000003 00000005",
		pdu:  smpp.PDU{Command: smpp.GenericNack, Status: smpp.StatusInvCmdID, Sequence: 5},
	},
	{
		name: "a command of another version",
		hex:  "00000012 00000112 00000000 00000006" + "0102",
		pdu:  smpp.PDU{Command: 0x112, Sequence: 6, Body: &smpp.Raw{Octets: []byte{1, 2}}},
	},
}

func octets(t testing.TB, spaced string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(spaced, " ", ""))
	if err != nil {
		t.Fatalf("bad hexadecimal in the test: %v", err)
	}
	if len(b) >= 4 { // Lengths are counted here, so that the frames above stay readable.
		binary.BigEndian.PutUint32(b, uint32(len(b)))
	}
	return b
}

func TestFrames(t *testing.T) {
	for _, tc := range frames {
		t.Run(tc.name, func(t *testing.T) {
			frame := octets(t, tc.hex)
			got, err := smpp.Decode(frame)
			if err != nil {
				t.Fatalf("Decode: %v", err)
			}
			if bind, ok := got.Body.(*smpp.Bind); ok && bind.Mode != smpp.Transceiver {
				t.Errorf("mode %s, want transceiver", bind.Mode)
			}
			if !reflect.DeepEqual(got, tc.pdu) {
				t.Errorf("decoded %+v %+v\nwant    %+v %+v", got, got.Body, tc.pdu, tc.pdu.Body)
			}
			if strings.Contains(tc.name, "without a body") {
				return // Its encoding has the empty string in place of the missing one.
			}
			back, err := got.Append([]byte("before"))
			if err != nil || !bytes.Equal(back, append([]byte("before"), frame...)) {
				t.Errorf("encoded %x, %v; want %x", back, err, frame)
			}
		})
	}
}

func TestDataIsAShortMessage(t *testing.T) {
	frame := octets(t, "00000000 00000103 00000000 00000003 00 01 01 3100 01 01 3200 40 01 08 0424 0002 4e2d")
	p, err := smpp.Decode(frame)
	if err != nil {
		t.Fatalf("Decode: %v", err)
	}
	m := p.Body.(*smpp.Data).ShortMessage()
	if m.Dest.Addr != "2" || m.DataCoding != smpp.DataCodingUCS2 || m.ESMClass != smpp.ESMClassUDHI {
		t.Errorf("got %+v", m)
	}
	if string(m.Payload()) != "\x4e\x2d" {
		t.Errorf("payload % x, want that of message_payload", m.Payload())
	}
	if back, err := p.Append(nil); err != nil || !bytes.Equal(back, frame) {
		t.Errorf("encoded %x, %v; want %x", back, err, frame)
	}
}

func TestMalformedBodies(t *testing.T) {
	for _, tc := range []struct {
		name, hex string
		want      smpp.Status
	}{
		{"submit_sm that ends within a string", "00000000 00000004 00000000 00000001 0001", smpp.StatusInvCmdLen},
		{
			"sm_length beyond the PDU",
			"00000000 00000004 00000000 00000001 00 000000 000000 000000 00 00 00000000 09 41", smpp.StatusInvMsgLen,
		},
		{
			"parameter beyond the PDU",
			"00000000 00000004 00000000 00000001 00 000000 000000 000000 00 00 00000000 00 0424ffff41",
			smpp.StatusInvParamLen,
		},
		{
			"one octet behind the last parameter",
			"00000000 00000103 00000000 00000001 00 01013100 01013200 00 01 08 0424 0002 4e2d 00",
			smpp.StatusInvOptStream,
		},
		{"empty bind", "00000000 00000009 00000000 00000001", smpp.StatusInvCmdLen},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := smpp.Decode(octets(t, tc.hex))
			decode, ok := errors.AsType[*smpp.DecodeError](err)
			if !ok || decode.Status != tc.want {
				t.Fatalf("error %v, want a DecodeError with %s", err, tc.want)
			}
			if p.Sequence != 1 {
				t.Errorf("sequence %d: the header is needed for the answer", p.Sequence)
			}
		})
	}
}

// SMSCs leave out the zero of a message id, or end a response with octets nobody understands. What
// they accepted is accepted nevertheless.
func TestLenientResponses(t *testing.T) {
	for _, body := range []string{"616263", "61626300", "61626300 00", "61626300 001dffff41"} {
		p, err := smpp.Decode(octets(t, "00000000 80000004 00000000 00000001"+body))
		if err != nil {
			t.Errorf("body %s: %v", body, err)
			continue
		}
		if id := p.Body.(*smpp.MessageResp).MessageID; id != "abc" {
			t.Errorf("body %s: message id %q, want abc", body, id)
		}
	}
}

func TestEncodeRefusesWhatDoesNotFit(t *testing.T) {
	long := strings.Repeat("x", 70)
	for _, tc := range []struct {
		field string
		body  smpp.Body
	}{
		{"system_id", &smpp.Bind{SystemID: long}},
		{"password", &smpp.Bind{Password: long}},
		{"system_type", &smpp.Bind{SystemType: long}},
		{"address_range", &smpp.Bind{Range: smpp.Address{Addr: long}}},
		{"source_addr", &smpp.ShortMessage{Source: smpp.Address{Addr: long}}},
		{"destination_addr", &smpp.ShortMessage{Dest: smpp.Address{Addr: "1\x002"}}},
		{"short_message", &smpp.ShortMessage{Message: make([]byte, 255)}},
		{"message_payload", &smpp.ShortMessage{
			TLVs: smpp.TLVs{{Tag: smpp.TagMessagePayload, Value: make([]byte, 65536)}},
		}},
		{"message_id", &smpp.MessageResp{MessageID: long}},
	} {
		t.Run(tc.field, func(t *testing.T) {
			got, err := smpp.PDU{Body: tc.body}.Append([]byte("kept"))
			encode, ok := errors.AsType[*smpp.EncodeError](err)
			if !ok || encode.Field != tc.field {
				t.Errorf("error %v, want an EncodeError about %s", err, tc.field)
			}
			if string(got) != "kept" {
				t.Errorf("%q was appended, want nothing", got)
			}
		})
	}
}

func TestReader(t *testing.T) {
	link := octets(t, "00000000 00000015 00000000 00000004")
	bad := octets(t, "00000000 00000004 00000000 00000005 00")
	stream := bytes.Join([][]byte{link, bad, link}, nil)
	for name, src := range map[string]io.Reader{
		"at once":         bytes.NewReader(stream),
		"octet for octet": iotest.OneByteReader(bytes.NewReader(stream)),
	} {
		t.Run(name, func(t *testing.T) {
			r := smpp.NewReader(src, 0)
			if p, err := r.Next(); err != nil || p.Command != smpp.EnquireLink {
				t.Fatalf("first: %v, %v", p, err)
			}
			if _, err := r.Next(); !isDecodeError(err) {
				t.Fatalf("second: error %v, want a DecodeError", err)
			}
			if p, err := r.Next(); err != nil || p.Sequence != 4 {
				t.Fatalf("third, behind a malformed one: %v, %v", p, err)
			}
			if _, err := r.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("end: error %v, want io.EOF", err)
			}
		})
	}
}

func isDecodeError(err error) bool {
	_, ok := errors.AsType[*smpp.DecodeError](err)
	return ok
}

func TestReaderBounds(t *testing.T) {
	for _, tc := range []struct {
		name   string
		stream []byte
		frame  bool // want a FrameError, else io.ErrUnexpectedEOF
	}{
		{"one octet too long", []byte{0, 0, 1, 1, 0}, true},
		{"4 GiB", []byte{0xFF, 0xFF, 0xFF, 0xFF, 0}, true},
		{"shorter than a header", []byte{0, 0, 0, 15, 0}, true},
		{"ends within the length", []byte{0, 0}, false},
		{"ends within the PDU", []byte{0, 0, 1, 0, 0}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := smpp.NewReader(bytes.NewReader(tc.stream), 256).Next()
			_, frame := errors.AsType[*smpp.FrameError](err)
			if frame != tc.frame || !frame && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("error %v, want a FrameError: %v", err, tc.frame)
			}
		})
	}
}

func TestStatusNames(t *testing.T) {
	for status, want := range map[smpp.Status]string{
		smpp.StatusOK: "ESME_ROK", smpp.StatusThrottled: "ESME_RTHROTTLED", smpp.StatusQueueFull: "ESME_RMSGQFUL",
		smpp.StatusInvDstAddr: "ESME_RINVDSTADR", smpp.StatusTemporaryAppError: "ESME_RX_T_APPN", 0x450: "status 0x00000450",
	} {
		if got := status.String(); got != want {
			t.Errorf("status 0x%x is %q, want %q", uint32(status), got, want)
		}
		if status.Known() != strings.HasPrefix(want, "ESME") {
			t.Errorf("Known of %s is %v", want, status.Known())
		}
	}
	for command, want := range map[smpp.Command]string{
		smpp.SubmitSM: "submit_sm", smpp.BindTransceiverResp: "bind_transceiver_resp",
		smpp.GenericNack: "generic_nack", 0x80000112: "command 0x80000112",
	} {
		if got := command.String(); got != want {
			t.Errorf("command is %q, want %q", got, want)
		}
	}
}

// FuzzDecode: whatever decodes can be encoded, and means the same afterwards.
func FuzzDecode(f *testing.F) {
	for _, tc := range frames {
		f.Add(octets(f, tc.hex))
	}
	f.Add([]byte{0, 0, 0, 16})
	f.Fuzz(func(t *testing.T, frame []byte) {
		p, err := smpp.Decode(frame)
		if err != nil {
			return
		}
		again, err := p.Append(nil)
		if err != nil {
			return // Peers may send longer strings than we would.
		}
		q, err := smpp.Decode(again)
		if err != nil {
			t.Fatalf("%x was encoded as %x, which fails: %v", frame, again, err)
		}
		if !reflect.DeepEqual(p, q) && !isEmptyVersion(p.Body) {
			t.Errorf("%x became %x:\n%+v\n%+v", frame, again, p.Body, q.Body)
		}
	})
}

// isEmptyVersion: interface_version 0 is sent as 0x34.
func isEmptyVersion(b smpp.Body) bool {
	bind, ok := b.(*smpp.Bind)
	return ok && bind.InterfaceVersion == 0
}

// FuzzReader: no stream makes the reader panic, hang or hand out more than it was given.
func FuzzReader(f *testing.F) {
	for _, tc := range frames {
		f.Add(octets(f, tc.hex))
	}
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF})
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := smpp.NewReader(bytes.NewReader(stream), 4096)
		for range len(stream)/16 + 1 {
			if _, err := r.Next(); err != nil && !isDecodeError(err) {
				return
			}
		}
		t.Errorf("more than %d PDUs in %d octets", len(stream)/16, len(stream))
	})
}
