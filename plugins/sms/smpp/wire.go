package smpp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// decoder walks over one body. After the first fault every read gives zero values, so that the
// decoders of bodies are straight lists of fields and check once at the end.
type decoder struct {
	command Command
	rest    []byte
	err     error
}

func (d *decoder) fail(field, reason string, status Status) {
	if d.err == nil {
		d.err = &DecodeError{Command: d.command, Field: field, Reason: reason, Status: status}
	}
	d.rest = nil
}

func (d *decoder) octet(field string) byte {
	if len(d.rest) == 0 {
		d.fail(field, "body ends before this field", StatusInvCmdLen)
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

// cstring reads a C-Octet String. Maxima are not enforced on what peers send: several exceed those
// of passwords and message ids, and the PDU bounds the length anyway.
func (d *decoder) cstring(field string) string {
	end := bytes.IndexByte(d.rest, 0)
	if end < 0 {
		d.fail(field, "string without its terminating zero", StatusInvCmdLen)
		return ""
	}
	s := string(d.rest[:end])
	d.rest = d.rest[end+1:]
	return s
}

// lastCString reads the string that ends a response. SMSCs are known to leave out its zero, or the
// whole string when the status is not OK.
func (d *decoder) lastCString() string {
	end := bytes.IndexByte(d.rest, 0)
	if end < 0 {
		s := string(d.rest)
		d.rest = nil
		return s
	}
	s := string(d.rest[:end])
	d.rest = d.rest[end+1:]
	return s
}

func (d *decoder) octets(field string, n int) []byte {
	if n > len(d.rest) {
		d.fail(field, fmt.Sprintf("%d octets announced, %d left", n, len(d.rest)), StatusInvMsgLen)
		return nil
	}
	b := bytes.Clone(d.rest[:n])
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) address(field string) Address {
	return Address{TON: d.octet(field + "_ton"), NPI: d.octet(field + "_npi"), Addr: d.cstring(field)}
}

// tlvs reads the optional parameters that fill the rest of the body.
func (d *decoder) tlvs() TLVs {
	var all TLVs
	for len(d.rest) > 0 {
		if len(d.rest) < 4 {
			d.fail("optional parameter", "cut short", StatusInvOptStream)
			return nil
		}
		tag, n := Tag(binary.BigEndian.Uint16(d.rest)), int(binary.BigEndian.Uint16(d.rest[2:]))
		if n > len(d.rest)-4 {
			d.fail("optional parameter "+tag.String(), "longer than the PDU", StatusInvParamLen)
			return nil
		}
		all = append(all, TLV{Tag: tag, Value: bytes.Clone(d.rest[4 : 4+n])})
		d.rest = d.rest[4+n:]
	}
	return all
}

// lenientTLVs reads optional parameters of a response: what is malformed there is dropped, for the
// answer itself matters more.
func (d *decoder) lenientTLVs() TLVs {
	probe := decoder{command: d.command, rest: d.rest}
	all := probe.tlvs()
	d.rest = nil
	return all
}

// encoder appends fields to a buffer and keeps the first fault.
type encoder struct {
	buf []byte
	err error
}

func (e *encoder) fail(field, reason string) {
	if e.err == nil {
		e.err = &EncodeError{Field: field, Reason: reason}
	}
}

func (e *encoder) octet(b byte) { e.buf = append(e.buf, b) }

// cstring appends a C-Octet String of at most size octets, the terminating zero included.
func (e *encoder) cstring(field, s string, size int) {
	if len(s) >= size {
		e.fail(field, fmt.Sprintf("%d octets, at most %d are allowed", len(s), size-1))
		return
	}
	if strings.IndexByte(s, 0) >= 0 {
		e.fail(field, "contains a zero octet")
		return
	}
	e.buf = append(e.buf, s...)
	e.buf = append(e.buf, 0)
}

func (e *encoder) address(field string, a Address) {
	e.octet(a.TON)
	e.octet(a.NPI)
	e.cstring(field, a.Addr, 21)
}

func (e *encoder) tlvs(all TLVs) {
	for _, t := range all {
		if len(t.Value) > 0xFFFF {
			e.fail(t.Tag.String(), fmt.Sprintf("%d octets, at most 65535 are allowed", len(t.Value)))
			return
		}
		e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(t.Tag))
		e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(len(t.Value)))
		e.buf = append(e.buf, t.Value...)
	}
}
