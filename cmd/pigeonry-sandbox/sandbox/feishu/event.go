package feishu

import (
	"bytes"
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// tenant is the key of the only company here.
const tenant = "sandbox-tenant"

// played is what Play takes. type says which fields count:
//
//	message      from writes to the bot, text or message_type and content, in chat_id or alone
//	read         from has read message_ids
//	bot_added    the bot comes into the group chat_id; bot_deleted: it leaves
//	event        event_type with the content event
//	challenge    Feishu asks whether the URL is the customer's; v1 events have no other use here
//
// event_id makes it the same event as another one.
type played struct {
	Type       string          `json:"type"`
	From       string          `json:"from"`
	Text       string          `json:"text"`
	Kind       string          `json:"message_type"`
	Content    json.RawMessage `json:"content"`
	Chat       string          `json:"chat_id"`
	MessageID  string          `json:"message_id"`
	MessageIDs []string        `json:"message_ids"`
	EventID    string          `json:"event_id"`
	EventType  string          `json:"event_type"`
	Event      json.RawMessage `json:"event"`
}

// Play implements desk.Provider.
func (p *provider) Play(_ context.Context, event json.RawMessage) error {
	var e played
	decoder := json.NewDecoder(bytes.NewReader(event))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil {
		return fmt.Errorf("read the event: %w", err)
	}
	if p.current().CallbackURL == "" {
		return errors.New("callback_url: is not set, so events have nowhere to go")
	}
	if e.Type == "challenge" {
		p.desk.Send(p.challenge())
		return nil
	}
	kind, body, err := p.eventOf(e)
	if err != nil {
		return err
	}
	p.desk.Send(p.event(kind, e.EventID, body))
	return nil
}

// eventOf is the type and the content of an event that is played.
func (p *provider) eventOf(e played) (string, any, error) {
	from := cmp.Or(e.From, "ou_sandbox_user")
	switch e.Type {
	case "message":
		return "im.message.receive_v1", p.written(e, from), nil
	case "read":
		if len(e.MessageIDs) == 0 {
			return "", nil, errors.New("message_ids: is empty")
		}
		return "im.message.message_read_v1", p.readBy(from, e.MessageIDs), nil
	case "bot_added", "bot_deleted":
		kind := map[string]string{"bot_added": "im.chat.member.bot.added_v1", "bot_deleted": "im.chat.member.bot.deleted_v1"}[e.Type]
		return kind, map[string]any{
			"chat_id": cmp.Or(e.Chat, "oc_sandbox"), "operator_id": person(from), "external": false, "operator_tenant_key": tenant, "name": "Sandbox",
		}, nil
	case "event":
		if e.EventType == "" {
			return "", nil, errors.New("event_type: is empty")
		}
		return e.EventType, e.Event, nil
	default:
		return "", nil, fmt.Errorf("type: want message, read, bot_added, bot_deleted, event or challenge, got %q", e.Type)
	}
}

// written is what a user writes to the bot.
func (p *provider) written(e played, from string) any {
	content := string(e.Content)
	if content == "" {
		text, err := compact(map[string]string{"text": e.Text})
		if err != nil {
			text = []byte("{}")
		}
		content = string(text)
	}
	chat, chatType := e.Chat, "group"
	if chat == "" {
		chat, chatType = "oc_"+p.desk.NewID(), "p2p"
	}
	now := strconv.FormatInt(p.now().UnixMilli(), 10)
	return map[string]any{
		"sender": map[string]any{"sender_id": person(from), "sender_type": "user", "tenant_key": tenant},
		"message": map[string]any{
			"message_id": cmp.Or(e.MessageID, "om_"+p.desk.NewID()), "create_time": now, "update_time": now, "chat_id": chat,
			"chat_type": chatType, "message_type": cmp.Or(e.Kind, "text"), "content": content,
		},
	}
}

// readBy is that a user has read messages, of which the sandbox makes a note.
func (p *provider) readBy(open string, ids []string) any {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for _, id := range ids {
		if m, ok := p.messages.byID[id]; ok {
			m.readAt(open, now)
		}
	}
	return readEvent(open, ids, now)
}

// readAt notes that a user has read the message, if it is not known yet. The caller holds the provider's lock.
func (m *message) readAt(open string, now time.Time) {
	if !slices.ContainsFunc(m.readers, func(r reader) bool { return r.id == open }) {
		m.readers = append(m.readers, reader{open, now})
	}
}

func readEvent(open string, ids []string, now time.Time) any {
	return map[string]any{
		"reader":          map[string]any{"reader_id": person(open), "read_time": strconv.FormatInt(now.UnixMilli(), 10), "tenant_key": tenant},
		"message_id_list": ids,
	}
}

func person(open string) map[string]any {
	return map[string]any{"union_id": "on_" + open, "user_id": "u_" + open, "open_id": open}
}

// readReceipt makes the one receipt that Feishu has: a user has opened the message. There is none of what is written into a
// group, nor of what did not arrive.
func (p *provider) readReceipt(m *message) func(desk.Receipt) desk.Callback {
	if m.toType == "chat_id" {
		return nil
	}
	open := m.to
	if m.toType != "open_id" {
		open = "ou_of_" + m.to
	}
	return func(r desk.Receipt) desk.Callback {
		if r.Status == desk.Progress || (r.Status == desk.Undelivered && r.ProviderID == m.id) || p.current().CallbackURL == "" {
			return desk.Callback{}
		}
		now := p.now()
		if r.ProviderID == m.id { // it is not among the messages yet
			p.mu.Lock()
			m.readAt(open, now)
			p.mu.Unlock()
		}
		return p.event("im.message.message_read_v1", "", readEvent(open, []string{r.ProviderID}, now))
	}
}

// event is an event of version 2.0. The same event comes again with the same event_id.
func (p *provider) event(kind, id string, body any) desk.Callback {
	s := p.current()
	return p.push(map[string]any{
		"schema": "2.0",
		"header": map[string]any{
			"event_id": cmp.Or(id, p.desk.NewID()), "event_type": kind, "create_time": strconv.FormatInt(p.now().UnixMilli(), 10),
			"token": s.VerificationToken, "app_id": s.AppID, "tenant_key": tenant,
		},
		"event": body,
	}, func(status int, _ []byte) bool { return status == http.StatusOK })
}

// challenge is the question that the developer console asks when the URL is saved.
func (p *provider) challenge() desk.Callback {
	challenge := p.desk.NewID()
	return p.push(map[string]any{
		"challenge": challenge, "token": p.current().VerificationToken, "type": "url_verification",
	}, func(status int, body []byte) bool {
		var said struct {
			Challenge string `json:"challenge"`
		}
		return status == http.StatusOK && json.Unmarshal(body, &said) == nil && said.Challenge == challenge
	})
}

// push is a callback with that body, encrypted and signed if there is an Encrypt Key.
func (p *provider) push(body any, taken func(int, []byte) bool) desk.Callback {
	s := p.current()
	request := func(ctx context.Context) (*http.Request, error) {
		text, err := compact(body)
		if err == nil && s.EncryptKey != "" {
			text, err = sealed(text, s.EncryptKey)
		}
		if err != nil {
			return nil, fmt.Errorf("write the event: %w", err)
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.CallbackURL, bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("make the request: %w", err)
		}
		r.Header.Set("Content-Type", "application/json;charset=utf-8")
		if s.EncryptKey != "" {
			sign(r.Header, text, s.EncryptKey, p.now())
		}
		return r, nil
	}
	return desk.Callback{Request: request, Taken: taken}
}

// sign adds the headers by which the customer knows who calls.
func sign(h http.Header, body []byte, key string, now time.Time) {
	timestamp, nonce := strconv.FormatInt(now.Unix(), 10), rand.Text()
	sum := sha256.Sum256(slices.Concat([]byte(timestamp+nonce+key), body))
	h.Set("X-Lark-Request-Timestamp", timestamp)
	h.Set("X-Lark-Request-Nonce", nonce)
	h.Set("X-Lark-Signature", hex.EncodeToString(sum[:]))
}

// sealed is {"encrypt": …}: AES-256-CBC under the SHA-256 of the key, after the initialization vector, in base64.
func sealed(text []byte, key string) ([]byte, error) {
	sum := sha256.Sum256([]byte(key))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		return nil, err
	}
	padding := aes.BlockSize - len(text)%aes.BlockSize
	out := make([]byte, aes.BlockSize, aes.BlockSize+len(text)+padding)
	if _, err := rand.Read(out); err != nil {
		return nil, err
	}
	padded := slices.Concat(text, bytes.Repeat([]byte{byte(padding)}, padding))
	cipher.NewCBCEncrypter(block, out[:aes.BlockSize]).CryptBlocks(padded, padded)
	return compact(map[string]string{"encrypt": base64.StdEncoding.EncodeToString(append(out, padded...))})
}
