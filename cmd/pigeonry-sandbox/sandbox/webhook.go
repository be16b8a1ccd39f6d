package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"
)

// maxHook bounds the body of a message that is posted.
const maxHook = 16 << 20

// channelName is what a channel may be called in the path of a hook.
var channelName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// hooks is the HTTP provider: it takes a message of any channel but those that have a provider of their own, as JSON
// or as plain text. It knows no faults.
type hooks struct {
	sandbox  *Sandbox
	idPrefix string
	lastID   atomic.Int64
}

// hooked is the body of a posted message.
type hooked struct {
	ID      string `json:"id"` // the sender's own, see Entry.Reference
	To      string `json:"to"`
	From    string `json:"from"`
	Subject string `json:"subject"`
	Text    string `json:"text"`
	HTML    string `json:"html"`
}

func newHooks(s *Sandbox) *hooks { return &hooks{sandbox: s, idPrefix: runPrefix()} }

// take answers POST /hooks/{channel}.
func (h *hooks) take(rw http.ResponseWriter, r *http.Request) {
	received := time.Now()
	m, wrong := readHook(rw, r)
	channel := r.PathValue("channel")
	switch {
	case channel == ChannelEmail || channel == ChannelSMS:
		wrong = append(wrong, &FieldError{Field: "channel", Reason: fmt.Sprintf("%q comes by its own protocol, not by HTTP", channel)})
	case !channelName.MatchString(channel):
		wrong = append(wrong, &FieldError{Field: "channel", Reason: fmt.Sprintf("want a–z, 0–9, - and _, got %q", channel)})
	}
	if len(wrong) > 0 {
		refuse(rw, wrong...)
		return
	}
	e := Entry{
		Channel: channel, To: m.To, From: m.From, Reference: m.ID, Idempotency: r.Header.Get("Idempotency-Key"),
		ProviderID: "H" + h.idPrefix + strconv.FormatInt(h.lastID.Add(1), 36),
		SHA256:     textHash(m.Text), Outcome: OutcomeDelivered, Answer: "200", ReceivedAt: received,
	}
	if err := h.sandbox.ledger.append(e); err != nil {
		h.sandbox.log.ErrorContext(r.Context(), "cannot witness a posted message", "error", err)
		http.Error(rw, "ledger is not writable", http.StatusServiceUnavailable)
		return
	}
	h.sandbox.inbox.add(&Message{
		Channel: channel, To: m.To, From: m.From, Subject: m.Subject, Text: clip(m.Text), HTML: clip(m.HTML),
		ProviderID: e.ProviderID, Reference: m.ID, ReceivedAt: received,
	})
	answer(rw, http.StatusOK, map[string]string{"id": e.ProviderID})
}

// readHook reads a message: a JSON object, or else the text, of which the header To says for whom it is.
func readHook(rw http.ResponseWriter, r *http.Request) (hooked, []*FieldError) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxHook))
	if err != nil {
		return hooked{}, []*FieldError{{Field: "body", Reason: err.Error()}}
	}
	var m hooked
	if err := json.Unmarshal(body, &m); err != nil {
		m = hooked{Text: string(body)}
	}
	if m.To == "" {
		m.To = r.Header.Get("To")
	}
	if m.To == "" {
		return m, []*FieldError{{Field: "to", Reason: `want the recipient: {"to": …, "text": …}, or the text alone and a header To`}}
	}
	return m, nil
}
