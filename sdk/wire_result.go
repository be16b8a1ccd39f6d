package sdk

import (
	"strings"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// maxErrorText bounds the text of an error on the wire. Providers answer with whole web pages.
const maxErrorText = 1000

// setReceipt copies r into res. Strings come from the provider: protobuf refuses to send invalid
// UTF-8, and one such id would cost the whole batch its results.
func setReceipt(res *channelv1.Result, r Receipt) {
	res.ProviderIds = validAll(r.ProviderIDs)
	res.Segments = int32(r.Segments)
	res.Cost = protoCost(r.Cost)
}

// protoCost is nil where nothing is known.
func protoCost(c Cost) *channelv1.Cost {
	if c == (Cost{}) {
		return nil
	}
	return &channelv1.Cost{Amount: valid(c.Amount), Currency: valid(c.Currency)}
}

// protoError is e for the wire, clean of secrets. text is the text of the error that e was found in.
func (s *Server) protoError(e *DeliveryError, text string) *channelv1.Error {
	return &channelv1.Error{
		Code:         valid(e.Code),
		ProviderCode: s.redact.clean(e.ProviderCode),
		Message:      abbreviate(s.redact.clean(text), maxErrorText),
		Fault:        channelv1.Fault(e.Fault),
	}
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func validAll(ss []string) []string {
	for i, s := range ss {
		if v := valid(s); len(v) != len(s) || v != s {
			out := append([]string(nil), ss...)
			for j := i; j < len(out); j++ {
				out[j] = valid(out[j])
			}
			return out
		}
	}
	return ss
}
