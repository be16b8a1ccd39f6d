package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/segment"
	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
	"github.com/pigeonry/pigeonry/sdk"
)

// attributeSender is the attribute of a message that overrides the connector's source.
const attributeSender = "sender"

// Types of number and numbering plans (SMPP 3.4 sections 5.2.5 and 5.2.6).
const (
	tonInternational = 1
	tonNetwork       = 3
	tonAlphanumeric  = 5
	npiISDN          = 1
)

// maxName is the most characters of an alphanumeric sender (3GPP TS 23.040 section 9.1.2.5);
// maxShortCode the most digits that are taken for a short code.
const (
	maxName      = 11
	maxShortCode = 6
)

// compose turns a message into the submits that carry it: one, or one per part.
func (c *connector) compose(m *sdk.Message) ([]*smpp.ShortMessage, error) {
	dest, err := recipient(m.Recipient)
	if err != nil {
		return nil, sdk.Permanent(err, sdk.Code("invalid_recipient"))
	}
	source, err := c.source(m)
	if err != nil {
		return nil, sdk.Permanent(err, sdk.Code("invalid_sender"))
	}
	if m.Text() == "" {
		return nil, sdk.Permanent(errors.New("the message has no text"), sdk.Code("empty_text"))
	}
	text := segment.Encode(m.Text(), c.config.alphabet())
	if n := len(text.Parts); n > c.config.MaxParts {
		return nil, sdk.Permanent(fmt.Errorf("the text needs %d parts; max_parts allows %d", n, c.config.MaxParts),
			sdk.Code("too_many_parts"))
	}
	whole := smpp.ShortMessage{
		ServiceType:        c.config.ServiceType,
		Source:             source,
		Dest:               smpp.Address{TON: byte(c.config.DestTON), NPI: byte(c.config.DestNPI), Addr: dest},
		RegisteredDelivery: byte(c.config.RegisteredDelivery),
		DataCoding:         c.dataCoding(text.Encoding),
		Validity:           c.validity(m.NotAfter),
		TLVs:               c.reference(m),
	}
	return c.parts(whole, text.Parts), nil
}

// parts copies whole for each part; several carry a header that numbers them.
func (c *connector) parts(whole smpp.ShortMessage, texts [][]byte) []*smpp.ShortMessage {
	if len(texts) == 1 {
		whole.Message = texts[0]
		return []*smpp.ShortMessage{&whole}
	}
	whole.ESMClass |= smpp.ESMClassUDHI
	reference := uint16(c.concat.Add(1) & 0xFF)
	parts := make([]*smpp.ShortMessage, len(texts))
	for i, text := range texts {
		part := whole
		part.Message = segment.Header(segment.Concat{Reference: reference, Total: len(texts), Number: i + 1})
		part.Message = append(part.Message, text...)
		parts[i] = &part
	}
	return parts
}

func (c *connector) dataCoding(e segment.Encoding) byte {
	if e == segment.UCS2 {
		return smpp.DataCodingUCS2
	}
	return byte(c.config.DataCoding)
}

// validity is the span until the message expires, in the form that needs no agreement on time zones.
func (c *connector) validity(notAfter time.Time) string {
	if !c.config.Validity || notAfter.IsZero() {
		return ""
	}
	return smpp.RelativeTime(time.Until(notAfter))
}

// reference is user_message_reference: the lowest 16 bits of the message's number.
func (c *connector) reference(m *sdk.Message) smpp.TLVs {
	if !c.config.MessageReference {
		return nil
	}
	number, err := strconv.ParseUint(m.ID, 10, 64)
	if err != nil { // Ids need not be numbers.
		h := fnv.New64a()
		h.Write([]byte(m.ID))
		number = h.Sum64()
	}
	return smpp.TLVs{{Tag: smpp.TagUserMessageReference, Value: []byte{byte(number >> 8), byte(number)}}}
}

// recipient checks a number and gives it the form of SMPP, digits alone.
func recipient(number string) (string, error) {
	digits := strings.TrimPrefix(number, "+")
	if len(digits) < 3 || len(digits) > 20 || !isDigits(digits) {
		return "", fmt.Errorf("%q is no phone number: expected + and 3 to 20 digits", number)
	}
	return digits, nil
}

// source is the sender of a message: its own, else the connector's.
func (c *connector) source(m *sdk.Message) (smpp.Address, error) {
	sender := m.Attributes[attributeSender]
	if sender == "" {
		sender = c.config.Source
	}
	return c.config.sender(sender)
}

// sender reads a sender and fills in the type of number and the numbering plan it has of itself.
func (c config) sender(sender string) (smpp.Address, error) {
	a := smpp.Address{Addr: strings.TrimPrefix(sender, "+")}
	switch {
	case sender == "":
	case !isDigits(a.Addr):
		if len(sender) > maxName {
			return a, fmt.Errorf("%q has %d characters: a name may have %d", sender, len(sender), maxName)
		}
		if err := printable(sender); err != nil {
			return a, fmt.Errorf("%q %w", sender, err)
		}
		a.TON, a.Addr = tonAlphanumeric, sender
	case len(a.Addr) > 20:
		return a, fmt.Errorf("%q is longer than 20 digits", sender)
	case len(a.Addr) <= maxShortCode:
		a.TON = tonNetwork
	default:
		a.TON, a.NPI = tonInternational, npiISDN
	}
	if c.SourceTON >= 0 {
		a.TON = byte(c.SourceTON)
	}
	if c.SourceNPI >= 0 {
		a.NPI = byte(c.SourceNPI)
	}
	return a, nil
}

func isDigits(text string) bool {
	for _, r := range text {
		if r < '0' || r > '9' {
			return false
		}
	}
	return text != ""
}
