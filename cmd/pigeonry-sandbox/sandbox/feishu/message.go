package feishu

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

const (
	// remembersFor is how long a repeat with the same uuid is dropped.
	remembersFor = time.Hour
	// keepsFor is how long a message can be asked for.
	keepsFor = 24 * time.Hour
	// maxMessages bounds what is remembered; the oldest are forgotten.
	maxMessages = 200_000
)

// incoming is a message that an app sends.
type incoming struct {
	ReceiveID string `json:"receive_id"`
	Type      string `json:"msg_type"`
	Content   string `json:"content"`
	UUID      string `json:"uuid"`
}

// message is one that was taken.
type message struct {
	id, chat, kind, content, uuid string
	to, toType                    string
	at                            time.Time
	readers                       []reader
}

// reader is who has read a message, and when.
type reader struct {
	id string
	at time.Time
}

// messages are those that were taken. The provider's lock guards them.
type messages struct {
	byID   map[string]*message
	byUUID map[string]*message // nil: it is being sent
	order  []*message          // the oldest first
}

func newMessages() messages {
	return messages{byID: map[string]*message{}, byUUID: map[string]*message{}}
}

func (ms *messages) add(m *message, now time.Time) {
	ms.byID[m.id] = m
	ms.order = append(ms.order, m)
	if m.uuid != "" {
		ms.byUUID[m.uuid] = m
	}
	for len(ms.order) > maxMessages || now.Sub(ms.order[0].at) > keepsFor {
		oldest := ms.order[0]
		delete(ms.byID, oldest.id)
		if ms.byUUID[oldest.uuid] == oldest {
			delete(ms.byUUID, oldest.uuid)
		}
		ms.order = ms.order[1:]
	}
}

// repeat is the message with that uuid: nil if it is being sent, and false if there is none within the hour.
func (ms *messages) repeat(uuid string, now time.Time) (*message, bool) {
	m, ok := ms.byUUID[uuid]
	if ok && m != nil && now.Sub(m.at) > remembersFor {
		delete(ms.byUUID, uuid)
		return nil, false
	}
	return m, ok
}

// create takes a message for a user or a group.
func (p *provider) create(rw http.ResponseWriter, r *http.Request) {
	var in incoming
	body, err := io.ReadAll(io.LimitReader(r.Body, 256<<10))
	if err != nil || json.Unmarshal(body, &in) != nil {
		refuse(rw, http.StatusBadRequest, 9499, "Bad Request")
		return
	}
	idType := r.URL.Query().Get("receive_id_type")
	title, text, ok := contentText(in.Type, []byte(in.Content))
	limit := 150 << 10
	if in.Type == "post" || in.Type == "interactive" {
		limit = 30 << 10
	}
	switch {
	case !slices.Contains([]string{"open_id", "user_id", "union_id", "email", "chat_id"}, idType):
		refuse(rw, http.StatusBadRequest, 99992402, "field validation failed: receive_id_type")
	case in.ReceiveID == "" || in.Type == "" || in.Content == "":
		refuse(rw, http.StatusBadRequest, 99992402, "field validation failed: receive_id, msg_type and content are required")
	case len(in.UUID) > 50:
		refuse(rw, http.StatusBadRequest, 99992402, "field validation failed: the max length of uuid is 50")
	case !fits(in.ReceiveID, idType):
		refuse(rw, http.StatusBadRequest, 230001, "Your request contains an invalid request parameter, ext=invalid receive_id.")
	case !ok:
		refuse(rw, http.StatusBadRequest, 230001, "Your request contains an invalid request parameter, ext=invalid message content.")
	case len(body) > limit:
		refuse(rw, http.StatusBadRequest, 230025, texts[230025])
	default:
		p.take(rw, r, in, idType, title, text)
	}
}

// fits says whether an id may be of that type: those of Feishu's own begin with what they are.
func fits(id, idType string) bool {
	prefix, own := map[string]string{"open_id": "ou_", "union_id": "on_", "chat_id": "oc_"}[idType]
	switch {
	case own:
		return strings.HasPrefix(id, prefix)
	case idType == "email":
		return strings.Contains(id, "@")
	default:
		return true
	}
}

// take hands a message to the desk, unless it is a repeat or there are too many.
func (p *provider) take(rw http.ResponseWriter, r *http.Request, in incoming, idType, title, text string) {
	if !p.begin(rw, in, idType) {
		return
	}
	m := &message{
		id: "om_" + p.desk.NewID(), chat: "oc_" + p.desk.NewID(), kind: in.Type, content: in.Content, uuid: in.UUID,
		to: in.ReceiveID, toType: idType, at: p.now(),
	}
	if idType == "chat_id" {
		m.chat = in.ReceiveID
	}
	s := p.current()
	refused := ""
	if code, ok := s.Refuse[in.ReceiveID]; ok {
		refused = strconv.Itoa(code)
	}
	kept := false
	defer func() { // also when the connection is to be closed without an answer
		if !kept {
			p.forget(in.UUID)
		}
	}()
	d, err := p.desk.Take(r.Context(), p, desk.Message{
		To: in.ReceiveID, From: s.AppID, Subject: title, Text: text, Reference: in.UUID, Idempotency: in.UUID, ProviderID: m.id, Refused: refused,
	}, p.readReceipt(m))
	if err != nil {
		refuse(rw, http.StatusInternalServerError, 10500, "internal server error")
		return
	}
	if d.Answer == desk.Accept || d.Answer == desk.HangUp {
		p.keep(m)
		kept = true
	}
	if !decline(rw, d) {
		write(rw, http.StatusOK, answer{Message: "success", Data: m.view(s)})
	}
}

// begin checks the rates and the uuid. It reports false after it has answered.
func (p *provider) begin(rw http.ResponseWriter, in incoming, idType string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, s := p.now(), p.settings
	if in.UUID != "" {
		if m, ok := p.messages.repeat(in.UUID, now); ok {
			if m == nil {
				refuse(rw, http.StatusBadRequest, 230049, texts[230049])
			} else {
				write(rw, http.StatusOK, answer{Message: "success", Data: m.view(s)})
			}
			return false
		}
	}
	for _, rate := range []struct {
		key   string
		span  time.Duration
		limit int
	}{{"app/s", time.Second, s.AppPerSecond}, {"app/m", time.Minute, s.AppPerMinute}} {
		if ok, room := p.rates.pass(rate.key, now, rate.span, rate.limit); !ok {
			limited(rw, rate.limit, int(math.Ceil(room.Seconds())))
			return false
		}
	}
	if ok, _ := p.rates.pass("to/"+idType+"/"+in.ReceiveID, now, time.Second, s.RecipientPerSecond); !ok {
		refuse(rw, http.StatusBadRequest, 230020, texts[230020])
		return false
	}
	if in.UUID != "" {
		p.messages.byUUID[in.UUID] = nil
	}
	return true
}

func (p *provider) keep(m *message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages.add(m, p.now())
}

// forget lets a uuid be used again, whose message was not taken.
func (p *provider) forget(uuid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m, ok := p.messages.byUUID[uuid]; ok && m == nil {
		delete(p.messages.byUUID, uuid)
	}
}

// view is a message as the interface shows it.
func (m *message) view(s Settings) map[string]any {
	at := strconv.FormatInt(m.at.UnixMilli(), 10)
	return map[string]any{
		"message_id": m.id, "msg_type": m.kind, "create_time": at, "update_time": at, "deleted": false, "updated": false, "chat_id": m.chat,
		"sender": map[string]any{"id": s.AppID, "id_type": "app_id", "sender_type": "app", "tenant_key": tenant},
		"body":   map[string]any{"content": m.content},
	}
}

// find returns a message by the id in the path of a request, or answers that there is none.
func (p *provider) find(rw http.ResponseWriter, r *http.Request) (message, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, ok := p.messages.byID[r.PathValue("id")]
	if !ok {
		refuse(rw, http.StatusBadRequest, 230001, "Your request contains an invalid request parameter, ext=invalid message_id.")
		return message{}, false
	}
	found := *m
	found.readers = slices.Clone(m.readers)
	return found, true
}

func (p *provider) get(rw http.ResponseWriter, r *http.Request) {
	if m, ok := p.find(rw, r); ok {
		write(rw, http.StatusOK, answer{Message: "success", Data: map[string]any{"items": []any{m.view(p.current())}}})
	}
}

func (p *provider) readUsers(rw http.ResponseWriter, r *http.Request) {
	m, ok := p.find(rw, r)
	if !ok {
		return
	}
	items := []any{}
	for _, by := range m.readers {
		items = append(items, map[string]any{
			"user_id_type": "open_id", "user_id": by.id, "timestamp": strconv.FormatInt(by.at.UnixMilli(), 10), "tenant_key": tenant,
		})
	}
	write(rw, http.StatusOK, answer{Message: "success", Data: map[string]any{"items": items, "has_more": false, "page_token": ""}})
}
