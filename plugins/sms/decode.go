package main

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/segment"
	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
	"github.com/pigeonry/pigeonry/sdk"
)

// decoder turns what the SMSC delivers into events.
type decoder struct {
	alphabet   segment.Alphabet
	dataCoding byte // of the default alphabet
	receiptID  string
	zone       *time.Location // of dates in receipts; nil: they are not used
}

// receipt reads a delivery receipt; ok is false when it names no message.
func (x *decoder) receipt(m *smpp.ShortMessage) (out sdk.DeliveryReceipt, ok bool) {
	r, ok := smpp.ParseReceipt(m)
	if !ok {
		return out, false
	}
	out = sdk.DeliveryReceipt{
		ProviderID: canonicalID(r.ID, x.receiptID, fromReceipt),
		Status:     receiptStatus(r.State),
		Recipient:  number(m.Source),
	}
	out.DedupeKey = fmt.Sprintf("%s/%s/%s", out.ProviderID, r.State, r.DoneDate)
	if x.zone != nil {
		out.At, _ = r.DoneAt(x.zone)
	}
	if out.Status == sdk.Undelivered {
		word := r.Stat
		if word == "" {
			word = r.State.String()
		}
		out.Err = sdk.Permanent(fmt.Errorf("the provider reports %s, error %q", word, r.Err),
			sdk.Code(receiptCode(r.State)), sdk.ProviderCode(strings.TrimSpace(word+" "+r.Err)))
	}
	return out, true
}

// receiptStatus: what is not final, or not understood, only shows progress.
func receiptStatus(s smpp.State) sdk.ReceiptStatus {
	switch s {
	case smpp.StateDelivered:
		return sdk.Delivered
	case smpp.StateExpired, smpp.StateDeleted, smpp.StateUndeliverable, smpp.StateRejected:
		return sdk.Undelivered
	default:
		return sdk.Progress
	}
}

func receiptCode(s smpp.State) string {
	switch s {
	case smpp.StateExpired:
		return "expired_at_provider"
	case smpp.StateDeleted:
		return "deleted_at_provider"
	case smpp.StateRejected:
		return "rejected_by_provider"
	default:
		return "undeliverable"
	}
}

// part is one inbound short message, its numbering taken off.
type part struct {
	from, to string
	coding   byte
	octets   []byte
	concat   segment.Concat
}

// part reads the numbering from the user data header or from the sar parameters.
func (x *decoder) part(m *smpp.ShortMessage) part {
	p := part{from: number(m.Source), to: number(m.Dest), coding: m.DataCoding, octets: m.Payload()}
	if m.ESMClass&smpp.ESMClassUDHI != 0 {
		p.concat, p.octets, _ = segment.ParseHeader(p.octets)
		return p
	}
	reference, ok1 := m.TLVs.Uint(smpp.TagSARMsgRefNum)
	total, ok2 := m.TLVs.Uint(smpp.TagSARTotalSegments)
	seq, ok3 := m.TLVs.Uint(smpp.TagSARSegmentSeqnum)
	if ok1 && ok2 && ok3 && seq >= 1 && seq <= total && total <= segment.MaxParts {
		p.concat = segment.Concat{Reference: uint16(reference), Total: int(total), Number: int(seq)}
	}
	return p
}

// inbound joins the parts of a message. missing tells which of them never came.
func (x *decoder) inbound(parts []part, missing []int) sdk.Inbound {
	var text strings.Builder
	for i := 0; i < len(parts); {
		// Octets are joined before they are decoded: some phones cut a surrogate pair in two.
		coding, octets := parts[i].coding, []byte(nil)
		for ; i < len(parts) && parts[i].coding == coding; i++ {
			octets = append(octets, parts[i].octets...)
		}
		text.WriteString(x.text(coding, octets))
	}
	m := sdk.Inbound{From: parts[0].from, To: parts[0].to, Text: text.String()}
	if total := parts[0].concat.Total; total > 0 {
		m.Attributes = map[string]string{"parts": fmt.Sprint(total)}
	}
	if len(missing) > 0 {
		m.Attributes["missing_parts"] = strings.Trim(fmt.Sprint(missing), "[]")
	}
	return m
}

// text decodes by data_coding (SMPP 3.4 section 5.2.19, and the general data codings of 3GPP TS
// 23.038 section 4 in the upper half). What is no text is given in hexadecimal.
func (x *decoder) text(coding byte, octets []byte) string {
	switch {
	case coding == x.dataCoding || coding == smpp.DataCodingDefault:
		return segment.Decode(octets, segment.Default, x.alphabet)
	case coding == smpp.DataCodingUCS2:
		return segment.Decode(octets, segment.UCS2, x.alphabet)
	case coding == smpp.DataCodingASCII || coding == smpp.DataCodingLatin1:
		return segment.DecodeLatin1(octets)
	case coding&0xF4 == 0xF0: // With a message class, GSM 7-bit.
		return segment.Decode(octets, segment.Default, segment.GSM7)
	}
	return hex.EncodeToString(octets)
}

// number writes an address as people do: with a plus sign where the type of number says so.
func number(a smpp.Address) string {
	if a.TON == tonInternational && isDigits(a.Addr) {
		return "+" + a.Addr
	}
	return a.Addr
}
