package feishu

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// maxHookBytes is how large the request of a custom bot may be.
const maxHookBytes = 20 << 10

// posted is the body of a request to a custom bot.
type posted struct {
	Timestamp json.RawMessage `json:"timestamp"` // a text or a number
	Sign      string          `json:"sign"`
	Type      string          `json:"msg_type"`
	Content   json.RawMessage `json:"content"`
	Card      json.RawMessage `json:"card"`
}

// hook takes a message for the group of a custom bot. Every answer has the status 200.
func (p *provider) hook(rw http.ResponseWriter, r *http.Request) {
	say := func(code int, message string) { refuse(rw, http.StatusOK, code, message) }
	s := p.current()
	bot, ok := s.bot(r.PathValue("token"))
	if !ok {
		say(19001, texts[19001])
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxHookBytes+1))
	var m posted
	switch {
	case err != nil, len(body) > maxHookBytes, json.Unmarshal(body, &m) != nil:
		say(9499, texts[9499])
		return
	case bot.Secret != "" && !p.signed(m, bot.Secret):
		say(19021, texts[19021])
		return
	}
	title, text, ok := m.says()
	switch {
	case m.Type == "":
		say(19002, "params error, msg_type need")
	case !ok:
		say(19002, "params error, "+m.Type+" content is wrong")
	case !hasKeyword(title+"\n"+text, bot.Keywords):
		say(19024, texts[19024])
	case !p.hookRate(bot.Token, s):
		say(11232, "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]")
	default:
		p.takeHook(rw, r, bot, title, text)
	}
}

func (p *provider) takeHook(rw http.ResponseWriter, r *http.Request, bot Hook, title, text string) {
	d, err := p.desk.Take(r.Context(), p, desk.Message{
		To: bot.Token, Subject: title, Text: text, ProviderID: "om_" + p.desk.NewID(),
	}, nil)
	switch {
	case err != nil:
		refuse(rw, http.StatusInternalServerError, 10500, "internal server error")
	case d.Answer == desk.HangUp:
		desk.HangUpNow()
	case d.Answer == desk.Fail && d.Code == "":
		http.Error(rw, "upstream connect error or disconnect/reset before headers", http.StatusServiceUnavailable)
	case d.Answer != desk.Accept:
		code := codeOf(d, map[desk.Answer]int{desk.Refuse: 19024, desk.Throttle: 11232})
		refuse(rw, http.StatusOK, code, texts[code])
	default:
		write(rw, http.StatusOK, map[string]any{"StatusCode": 0, "StatusMessage": "success", "code": 0, "data": map[string]any{}, "msg": "success"})
	}
}

// signed checks the signature: the HMAC of nothing under the time and the key.
func (p *provider) signed(m posted, secret string) bool {
	timestamp := strings.Trim(string(m.Timestamp), `"`)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || math.Abs(p.now().Sub(time.Unix(seconds, 0)).Seconds()) > 3600 {
		return false
	}
	mac := hmac.New(sha256.New, []byte(timestamp+"\n"+secret))
	given, err := base64.StdEncoding.DecodeString(m.Sign)
	return err == nil && hmac.Equal(given, mac.Sum(nil))
}

func hasKeyword(text string, keywords []string) bool {
	for _, k := range keywords {
		if strings.Contains(text, k) {
			return true
		}
	}
	return len(keywords) == 0
}

func (p *provider) hookRate(token string, s Settings) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if ok, _ := p.rates.pass("hook/s/"+token, now, time.Second, s.HookPerSecond); !ok {
		return false
	}
	ok, _ := p.rates.pass("hook/m/"+token, now, time.Minute, s.HookPerMinute)
	return ok
}

// says reads what a message to a custom bot says; false if its content does not fit its type.
func (m posted) says() (title, text string, ok bool) {
	switch m.Type {
	case "interactive":
		return cardText(m.Card)
	case "post":
		var content struct {
			Post json.RawMessage `json:"post"`
		}
		if json.Unmarshal(m.Content, &content) != nil {
			return "", "", false
		}
		return postText(content.Post)
	case "share_chat":
		return fieldText(m.Content, "share_chat_id")
	case "text", "image":
		return contentText(m.Type, m.Content)
	default:
		return "", "", false
	}
}
