package wechat

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// openID is what users are called, each for one account.
var openID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// escaped is a character that WeChat wants to have as it is.
var escaped = regexp.MustCompile(`\\u[0-9a-fA-F]{4}`)

const (
	// repeatsLast is for how long WeChat knows the client_msg_id of a template message.
	repeatsLast = 10 * time.Minute
	// maxClientID is how long a client_msg_id may be, in bytes.
	maxClientID = 64
	// maxText is how long the text of a customer-service message may be, in bytes.
	maxText = 2048
	// replyTime and replyCount are for how long after a message of a user there may be how many to him.
	replyTime  = 48 * time.Hour
	replyCount = 5
)

// parameter is a value of a template.
type parameter struct {
	Value any    `json:"value"`
	Color string `json:"color"`
}

// miniProgram is what opens when a user taps a message.
type miniProgram struct {
	AppID    string `json:"appid"`
	PagePath string `json:"pagepath"`
}

// templated is a message by a template: all three kinds of them.
type templated struct {
	ToUser      string               `json:"touser"`
	TemplateID  string               `json:"template_id"`
	URL         string               `json:"url"`
	Page        string               `json:"page"`
	Scene       json.RawMessage      `json:"scene"` // a number, of which most clients make a string
	Title       string               `json:"title"`
	ClientMsgID string               `json:"client_msg_id"`
	MiniProgram miniProgram          `json:"miniprogram"`
	Data        map[string]parameter `json:"data"`
}

// text is the message as a user would see it, more or less.
func (m *templated) text() string {
	var b strings.Builder
	for _, name := range sortedKeys(m.Data) {
		fmt.Fprintf(&b, "%s: %v\n", name, m.Data[name].Value)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// sendTemplate answers https://developers.weixin.qq.com/doc/service/api/notify/template/api_sendtemplatemessage.html
func (p *Provider) sendTemplate(rw http.ResponseWriter, r *http.Request) {
	var m templated
	if code := p.read(r, &m); code != 0 {
		fail(rw, code)
		return
	}
	if len(m.ClientMsgID) > maxClientID {
		fail(rw, errClientID)
		return
	}
	send := func() (id int64, decision desk.Decision, err error) {
		return p.take(r, p.message(&m, m.TemplateID), p.judgeTemplate(&m, errStranger), p.templateResult)
	}
	if m.ClientMsgID == "" {
		p.answer(rw, send)
		return
	}
	p.once(rw, m.ToUser+"\x00"+m.ClientMsgID, send)
}

// sendNotice answers https://developers.weixin.qq.com/doc/service/api/notify/notify/api_sendnewsubscribemsg.html
func (p *Provider) sendNotice(rw http.ResponseWriter, r *http.Request) {
	var m templated
	if code := p.read(r, &m); code != 0 {
		fail(rw, code)
		return
	}
	template := m.TemplateID
	p.answer(rw, func() (int64, desk.Decision, error) {
		return p.take(r, p.message(&m, template), p.judgeTemplate(&m, errRefused), func(to string, receipt desk.Receipt) desk.Callback {
			return p.noticeResult(to, template, receipt)
		})
	})
}

// sendOnce answers https://developers.weixin.qq.com/doc/offiaccount/Message_Management/One-time_subscription_info.html
func (p *Provider) sendOnce(rw http.ResponseWriter, r *http.Request) {
	var m templated
	if code := p.read(r, &m); code != 0 {
		fail(rw, code)
		return
	}
	judged := p.judgeTemplate(&m, errRefused)
	if _, ok := m.Data["content"]; judged == 0 && (!ok || m.Title == "" || len(m.Scene) == 0) {
		judged = errArgument
	}
	p.answer(rw, func() (int64, desk.Decision, error) {
		return p.take(r, p.message(&m, m.Title), judged, nil)
	})
}

func (p *Provider) message(m *templated, subject string) desk.Message {
	return desk.Message{
		To: m.ToUser, From: p.current().AppID, Subject: subject, Text: m.text(), Reference: m.ClientMsgID, Idempotency: m.ClientMsgID,
	}
}

// read decodes the body of a message, or returns the error code.
func (p *Provider) read(r *http.Request, into any) int {
	body, err := readAll(r)
	switch {
	case err != nil:
		return errTooLarge
	case len(body) == 0:
		return errEmpty
	case escaped.Match(body):
		return errEscaped
	case json.Unmarshal(body, into) != nil:
		return errFormat
	default:
		return 0
	}
}

// judgeTemplate returns the error code of a message by a template, or 0. Who does not follow the account is told by stranger.
func (p *Provider) judgeTemplate(m *templated, stranger int) int {
	s := p.current()
	needed, known := s.Templates[m.TemplateID]
	switch {
	case m.ToUser == "":
		return errNoOpenID
	case !openID.MatchString(m.ToUser):
		return errOpenID
	case m.TemplateID == "" || (len(s.Templates) > 0 && !known):
		return errTemplate
	case slices.Contains(s.Strangers, m.ToUser):
		return stranger
	case slices.Contains(s.Refusers, m.ToUser) && stranger == errRefused:
		return errRefused // of a template message it comes with the receipt
	}
	for _, name := range needed {
		if value := m.Data[name].Value; value == nil || value == "" {
			return errArgument
		}
	}
	return 0
}

// take gives a message to the desk. What the provider itself refuses is judged.
func (p *Provider) take(r *http.Request, m desk.Message, judged int, result func(to string, receipt desk.Receipt) desk.Callback) (int64, desk.Decision, error) {
	id := p.ids.Add(1)
	m.ProviderID = strconv.FormatInt(id, 10)
	if judged != 0 {
		m.Refused = strconv.Itoa(judged)
	}
	var callback func(desk.Receipt) desk.Callback
	if result != nil {
		callback = func(receipt desk.Receipt) desk.Callback { return result(m.To, receipt) }
	}
	decision, err := p.desk.Take(r.Context(), p, m, callback)
	if err != nil {
		return 0, decision, fmt.Errorf("take a message: %w", err)
	}
	return id, decision, nil
}

// answer tells the sender what became of a message.
func (p *Provider) answer(rw http.ResponseWriter, send func() (int64, desk.Decision, error)) {
	id, decision, err := send()
	tell(rw, id, decision, err)
}

func tell(rw http.ResponseWriter, id int64, decision desk.Decision, err error) {
	switch {
	case err != nil:
		fail(rw, errSystem)
	case decision.Answer == desk.HangUp:
		desk.HangUpNow()
	case decision.Answer == desk.Accept:
		reply(rw, map[string]any{"errcode": 0, "errmsg": "ok", "msgid": id})
	default:
		refuse(rw, decision)
	}
}

// repeat is a message by its client_msg_id.
type repeat struct {
	key     string
	settled chan struct{} // closed when id is known, or 0 for a message that was not taken
	id      int64
	at      time.Time // when it was taken
}

// once answers a message that is a repeat of another as that one, and sends it once. WeChat does not say what it answers, only that
// it sends one message for a user and client_msg_id within ten minutes.
func (p *Provider) once(rw http.ResponseWriter, key string, send func() (int64, desk.Decision, error)) {
	mine := &repeat{key: key, settled: make(chan struct{})}
	for {
		first := p.claim(mine)
		if first == mine {
			break
		}
		<-first.settled
		if first.id != 0 {
			tell(rw, first.id, desk.Decision{}, nil)
			return
		}
	}
	id, decision, err := send()
	p.settle(mine, id, err == nil && (decision.Answer == desk.Accept || decision.Answer == desk.HangUp))
	tell(rw, id, decision, err)
}

// claim returns the message of that key, which is mine if there was none within ten minutes.
func (p *Provider) claim(mine *repeat) *repeat {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.taken) > 0 && time.Since(p.taken[0].at) > repeatsLast {
		delete(p.repeats, p.taken[0].key)
		p.taken = p.taken[1:]
	}
	if first := p.repeats[mine.key]; first != nil {
		return first
	}
	p.repeats[mine.key] = mine
	return mine
}

func (p *Provider) settle(mine *repeat, id int64, taken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if taken {
		mine.id, mine.at = id, time.Now()
		p.taken = append(p.taken, mine)
	} else {
		delete(p.repeats, mine.key)
	}
	close(mine.settled)
}

// custom is a customer-service message.
type custom struct {
	ToUser  string `json:"touser"`
	MsgType string `json:"msgtype"`
	Text    struct {
		Content string `json:"content"`
	} `json:"text"`
	Image  media `json:"image"`
	Voice  media `json:"voice"`
	Video  media `json:"video"`
	MPNews media `json:"mpnews"`
	Music  music `json:"music"`
	News   struct {
		Articles []article `json:"articles"`
	} `json:"news"`
	MPNewsArticle struct {
		ArticleID string `json:"article_id"`
	} `json:"mpnewsarticle"`
	MsgMenu struct {
		Head string `json:"head_content"`
		List []struct {
			ID      string `json:"id"`
			Content string `json:"content"`
		} `json:"list"`
		Tail string `json:"tail_content"`
	} `json:"msgmenu"`
	WXCard struct {
		CardID string `json:"card_id"`
	} `json:"wxcard"`
	MiniProgramPage struct {
		Title    string `json:"title"`
		AppID    string `json:"appid"`
		PagePath string `json:"pagepath"`
		Thumb    string `json:"thumb_media_id"`
	} `json:"miniprogrampage"`
	CustomService struct {
		Account string `json:"kf_account"`
	} `json:"customservice"`
}

type media struct {
	MediaID     string `json:"media_id"`
	Thumb       string `json:"thumb_media_id"`
	Title       string `json:"title"`
	Description string `json:"description"`
}

type music struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	URL         string `json:"musicurl"`
	HQURL       string `json:"hqmusicurl"`
	Thumb       string `json:"thumb_media_id"`
}

type article struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	URL         string `json:"url"`
	Picture     string `json:"picurl"`
}

// sendCustom answers https://developers.weixin.qq.com/doc/service/api/customer/message/api_sendcustommessage.html
func (p *Provider) sendCustom(rw http.ResponseWriter, r *http.Request) {
	var m custom
	if code := p.read(r, &m); code != 0 {
		fail(rw, code)
		return
	}
	text, judged := m.content()
	if judged == 0 {
		judged = p.judgeCustom(&m)
	}
	p.answer(rw, func() (int64, desk.Decision, error) {
		message := desk.Message{To: m.ToUser, From: p.current().AppID, Subject: m.subject(), Text: text}
		_, decision, err := p.take(r, message, judged, nil)
		return 0, decision, err
	})
}

// content is what a user would see, and the error code of what there is to see.
func (m *custom) content() (string, int) {
	need := func(text, required string, code int) (string, int) {
		if required == "" {
			return "", code
		}
		return text, 0
	}
	switch m.MsgType {
	case "text":
		if len(m.Text.Content) > maxText {
			return m.Text.Content, errTooLarge
		}
		return need(m.Text.Content, m.Text.Content, errNoContent)
	case "image":
		return need("[image "+m.Image.MediaID+"]", m.Image.MediaID, errNoMediaID)
	case "voice":
		return need("[voice "+m.Voice.MediaID+"]", m.Voice.MediaID, errNoMediaID)
	case "video":
		return need("[video "+m.Video.MediaID+"] "+m.Video.Description, m.Video.MediaID, errNoMediaID)
	case "mpnews":
		return need("[article "+m.MPNews.MediaID+"]", m.MPNews.MediaID, errNoMediaID)
	case "mpnewsarticle":
		return need("[article "+m.MPNewsArticle.ArticleID+"]", m.MPNewsArticle.ArticleID, errParameter)
	case "music":
		return need("[music "+m.Music.URL+"] "+m.Music.Description, m.Music.Thumb, errNoMediaID)
	case "wxcard":
		return need("[card "+m.WXCard.CardID+"]", m.WXCard.CardID, errParameter)
	case "miniprogrampage":
		page := m.MiniProgramPage
		return need("[mini program "+page.AppID+" "+page.PagePath+"]", page.AppID, errAppID)
	case "news":
		if len(m.News.Articles) != 1 {
			return "", errNoNews
		}
		a := m.News.Articles[0]
		return need(strings.TrimSpace(a.Description+"\n"+a.URL), a.Title, errNoNews)
	case "msgmenu":
		lines := []string{m.MsgMenu.Head}
		for _, entry := range m.MsgMenu.List {
			lines = append(lines, entry.ID+": "+entry.Content)
		}
		return need(strings.Join(append(lines, m.MsgMenu.Tail), "\n"), fmt.Sprint(len(m.MsgMenu.List)), errParameter)
	default:
		return "", errMessageType
	}
}

func (m *custom) subject() string {
	switch {
	case m.MsgType == "news" && len(m.News.Articles) > 0:
		return m.News.Articles[0].Title
	case m.MsgType == "video":
		return m.Video.Title
	case m.MsgType == "music":
		return m.Music.Title
	case m.MsgType == "miniprogrampage":
		return m.MiniProgramPage.Title
	default:
		return ""
	}
}

// judgeCustom returns the error code of whom a customer-service message is for, or 0.
func (p *Provider) judgeCustom(m *custom) int {
	s := p.current()
	switch {
	case m.ToUser == "":
		return errNoOpenID
	case !openID.MatchString(m.ToUser):
		return errOpenID
	case slices.Contains(s.Strangers, m.ToUser), slices.Contains(s.Refusers, m.ToUser):
		return errWindow
	case s.ReplyWindow:
		return p.useWindow(m.ToUser)
	default:
		return 0
	}
}

// window is how many messages a user may still get, and until when.
type window struct {
	left  int
	until time.Time
}

// opened notes what a user did: each thing opens the window anew, for as long and as much as WeChat says.
func (p *Provider) opened(user, kind, event string) {
	w := &window{replyCount, time.Now().Add(replyTime)}
	if kind == "event" {
		switch event {
		case "subscribe", "SCAN", "CLICK", "scancode_push", "scancode_waitmsg":
			w = &window{3, time.Now().Add(time.Minute)}
		default:
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.windows[user] = w
}

func (p *Provider) useWindow(user string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.windows[user]
	switch {
	case w == nil || time.Now().After(w.until):
		return errWindow
	case w.left == 0:
		return errReplies
	default:
		w.left--
		return 0
	}
}

// upload answers https://developers.weixin.qq.com/doc/service/api/material/temporary/api_uploadtempmedia.html
func (p *Provider) upload(rw http.ResponseWriter, r *http.Request) {
	kind := r.URL.Query().Get("type")
	if !slices.Contains([]string{"image", "voice", "video", "thumb"}, kind) {
		fail(rw, errMediaType)
		return
	}
	r.Body = http.MaxBytesReader(rw, r.Body, maxBody)
	file, header, err := r.FormFile("media")
	if err != nil || header.Size == 0 {
		fail(rw, errNoMedia)
		return
	}
	defer file.Close()
	id := "SANDBOX_MEDIA_" + p.desk.NewID()
	p.mu.Lock()
	p.media[id] = true
	p.mu.Unlock()
	reply(rw, map[string]any{"type": kind, "media_id": id, "created_at": time.Now().Unix()})
}
