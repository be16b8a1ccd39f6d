package smpp

import (
	"fmt"
	"strings"
	"time"
)

// State is what became of a message (section 5.2.28).
type State byte

// Message states of SMPP 3.4.
const (
	StateEnroute       State = 1
	StateDelivered     State = 2
	StateExpired       State = 3
	StateDeleted       State = 4
	StateUndeliverable State = 5
	StateAccepted      State = 6
	StateUnknown       State = 7
	StateRejected      State = 8
)

// String is the seven letters that receipts use (appendix B), e.g. "DELIVRD".
func (s State) String() string {
	switch s {
	case StateEnroute:
		return "ENROUTE"
	case StateDelivered:
		return "DELIVRD"
	case StateExpired:
		return "EXPIRED"
	case StateDeleted:
		return "DELETED"
	case StateUndeliverable:
		return "UNDELIV"
	case StateAccepted:
		return "ACCEPTD"
	case StateRejected:
		return "REJECTD"
	default:
		return "UNKNOWN"
	}
}

// ParseState reads the stat of a receipt. Case does not matter, nor how far the word is cut short:
// "DELIVRD", "Delivered" and "delivrd" are one. Words nobody knows give StateUnknown.
func ParseState(word string) State {
	word = strings.ToUpper(word)
	for _, known := range []struct {
		prefix string
		state  State
	}{
		{"ENROU", StateEnroute},
		{"BUFFE", StateEnroute},
		{"SCHED", StateEnroute},
		{"DELIV", StateDelivered},
		{"EXPIR", StateExpired},
		{"DELET", StateDeleted},
		{"UNDEL", StateUndeliverable},
		{"FAIL", StateUndeliverable},
		{"ACCEP", StateAccepted},
		{"REJEC", StateRejected},
	} {
		if strings.HasPrefix(word, known.prefix) {
			return known.state
		}
	}
	return StateUnknown
}

// Receipt is the content of a delivery receipt (appendix B). SMPP leaves its form to the SMSC; this
// is the form that nearly all of them use:
//
//	id:IIIIIIIIII sub:SSS dlvrd:DDD submit date:YYMMDDhhmm done date:YYMMDDhhmm stat:DDDDDDD err:E text:…
type Receipt struct {
	// ID is the message id as this receipt writes it: some SMSCs write another number base here
	// than in submit_sm_resp.
	ID string
	// State is what became of the message; Stat the word of the text it was read from, "" when
	// it came from message_state alone.
	State State
	Stat  string
	// Err is the error code of the network (network_error_code), else that of the text, as written.
	Err string
	// SubmitDate and DoneDate are YYMMDDhhmm or YYMMDDhhmmss in the SMSC's own time zone.
	SubmitDate, DoneDate string
	// Submitted and Delivered are the counts sub and dlvrd, as written.
	Submitted, Delivered string
	// Text is the beginning of the message.
	Text string
}

// ParseReceipt reads a receipt from its optional parameters receipted_message_id, message_state and network_error_code
// (sections 5.3.2.12, 5.3.2.35, 5.3.2.31), and from its text, which may be missing or in another form. The parameters
// win, as they are exact. ok is false when m is no receipt or names no message.
func ParseReceipt(m *ShortMessage) (r Receipt, ok bool) {
	if !m.IsReceipt() {
		return Receipt{}, false
	}
	r = parseReceiptText(string(m.Payload()))
	if id := m.TLVs.Text(TagReceiptedMessageID); id != "" {
		r.ID = id
	}
	if state, ok := m.TLVs.Uint(TagMessageState); ok && state <= uint32(StateRejected) {
		r.State = State(state)
	}
	if code, ok := m.TLVs.Get(TagNetworkErrorCode); ok && len(code) == 3 {
		r.Err = fmt.Sprintf("%03d", int(code[1])<<8|int(code[2]))
	}
	return r, r.ID != ""
}

// parseReceiptText takes each field where it stands, in any order and case; any may be missing or
// empty. The first of two counts. What follows "text:" was written by the sender of the message and
// is never taken for a field.
func parseReceiptText(text string) (r Receipt) {
	var ignored string // what stands before the first field
	value, start := &ignored, 0
	set := func(end int) {
		if *value == "" {
			*value = firstWord(text[start:end])
		}
	}
	for at := range len(text) {
		if at > 0 && text[at-1] > ' ' { // Names begin words.
			continue
		}
		next, length := r.field(text[at:])
		if next == nil {
			continue
		}
		set(at)
		value, start = next, at+length
		if next == &r.Text {
			r.Text = text[start:]
			break
		}
	}
	if value != &r.Text {
		set(len(text))
	}
	r.State = ParseState(r.Stat)
	return r
}

// field tells which field of the receipt text begins with, and how long its name is.
func (r *Receipt) field(text string) (value *string, length int) { //nolint:recvcheck // it gives places in r; the rest only reads
	for _, f := range []struct {
		name  string
		value *string
	}{
		{"id:", &r.ID},
		{"sub:", &r.Submitted},
		{"dlvrd:", &r.Delivered},
		{"submit date:", &r.SubmitDate},
		{"done date:", &r.DoneDate},
		{"stat:", &r.Stat},
		{"err:", &r.Err},
		{"text:", &r.Text},
	} {
		if len(text) >= len(f.name) && strings.EqualFold(text[:len(f.name)], f.name) {
			return f.value, len(f.name)
		}
	}
	return nil, 0
}

func firstWord(text string) string {
	if words := strings.Fields(strings.TrimRight(text, "\x00")); len(words) > 0 {
		return words[0]
	}
	return ""
}

// String is the text of the receipt in the form of appendix B.
func (r Receipt) String() string {
	stat := r.Stat
	if stat == "" {
		stat = r.State.String()
	}
	return fmt.Sprintf("id:%s sub:%s dlvrd:%s submit date:%s done date:%s stat:%s err:%s text:%s",
		r.ID, r.Submitted, r.Delivered, r.SubmitDate, r.DoneDate, stat, r.Err, r.Text)
}

// NewReceipt makes the deliver_sm by which an SMSC reports state about message id, submitted as m.
// code is the error to report, 0 for none, up to 999.
func NewReceipt(m *ShortMessage, id string, state State, code int, submitted, done time.Time) *ShortMessage {
	delivered := "000"
	if state == StateDelivered {
		delivered = "001"
	}
	r := Receipt{
		ID: id, State: state, Err: fmt.Sprintf("%03d", code), Submitted: "001", Delivered: delivered,
		SubmitDate: submitted.Format(receiptDate), DoneDate: done.Format(receiptDate),
	}
	return &ShortMessage{
		Source: m.Dest, Dest: m.Source,
		ESMClass: ESMClassReceipt,
		Message:  []byte(r.String()),
		TLVs:     TLVs{TextTLV(TagReceiptedMessageID, id), OctetTLV(TagMessageState, byte(state))},
	}
}

const receiptDate = "0601021504"

// DoneAt reads DoneDate in the time zone of the SMSC; ok is false when it is missing or malformed.
func (r Receipt) DoneAt(zone *time.Location) (at time.Time, ok bool) {
	for _, layout := range []string{receiptDate, receiptDate + "05"} {
		if at, err := time.ParseInLocation(layout, r.DoneDate, zone); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// RelativeTime writes a span in the relative time format of section 7.1.1.2, YYMMDDhhmmss000R, as
// schedule_delivery_time and validity_period take it. Spans below a second become one second,
// those above 99 days 99 days.
func RelativeTime(span time.Duration) string {
	const day = 24 * time.Hour
	span = min(max(span.Truncate(time.Second), time.Second), 99*day)
	return fmt.Sprintf("0000%02d%02d%02d%02d000R",
		int(span/day), int(span%day/time.Hour), int(span%time.Hour/time.Minute), int(span%time.Minute/time.Second))
}
