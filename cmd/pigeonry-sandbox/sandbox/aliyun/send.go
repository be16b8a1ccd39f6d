package aliyun

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

const (
	maxSingle = 1000 // numbers of SendSms
	maxBatch  = 100  // numbers of SendBatchSms
	maxOutID  = 255
	maxBody   = 1 << 20
	// maxRolls is how often the dice are thrown for a message of a request that is taken, until they let it pass.
	maxRolls = 100
)

// variable is what a template has places for.
var variable = regexp.MustCompile(`\$\{([A-Za-z0-9_]+)\}`)

// ServeHTTP implements desk.Rooted.
func (p *provider) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		p.refuse(rw, &fault{"InvalidParameter", "The body cannot be read."})
		return
	}
	if f := p.verify(r, body); f != nil {
		p.refuse(rw, f)
		return
	}
	form := r.URL.Query()
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		posted, _ := url.ParseQuery(string(body))
		for name, values := range posted {
			form[name] = append(form[name], values...)
		}
	}
	switch action := r.Header.Get("X-Acs-Action"); {
	case r.Header.Get("X-Acs-Version") != "2017-05-25":
		p.refuse(rw, &fault{"InvalidVersion", "Specified parameter Version is not valid."})
	case action == "SendSms":
		p.send(rw, r, form, single(form))
	case action == "SendBatchSms":
		p.send(rw, r, form, batch(form))
	case action == "QuerySendDetails":
		p.query(rw, form)
	default:
		p.refuse(rw, refusal("InvalidAction.NotFound"))
	}
}

// message is one of a request.
type message struct {
	phone, sign, text string
	parameters        json.RawMessage
	refused           string // the code of its refusal
}

// request is what a request asks for; broken is the code of one that cannot be read.
type request struct {
	messages []message
	broken   string
}

// single reads SendSms: the same to each number.
func single(form url.Values) request {
	numbers := strings.Split(form.Get("PhoneNumbers"), ",")
	if len(numbers) > maxSingle {
		return request{broken: "isv.MOBILE_COUNT_OVER_LIMIT"}
	}
	var out request
	for _, number := range numbers {
		out.messages = append(out.messages, message{
			phone: number, sign: form.Get("SignName"), parameters: json.RawMessage(form.Get("TemplateParam")),
		})
	}
	return out
}

// batch reads SendBatchSms: arrays of the same length.
func batch(form url.Values) request {
	var numbers, signs []string
	var parameters []json.RawMessage
	for name, into := range map[string]any{"PhoneNumberJson": &numbers, "SignNameJson": &signs, "TemplateParamJson": &parameters} {
		text := form.Get(name)
		if text == "" && name == "TemplateParamJson" {
			continue
		}
		if json.Unmarshal([]byte(text), into) != nil {
			return request{broken: "isv.INVALID_JSON_PARAM"}
		}
	}
	switch {
	case len(numbers) > maxBatch:
		return request{broken: "isv.MOBILE_COUNT_OVER_LIMIT"}
	case len(numbers) == 0 || len(signs) != len(numbers) || len(parameters) != 0 && len(parameters) != len(numbers):
		return request{broken: "isv.INVALID_PARAMETERS"}
	}
	var out request
	for i, number := range numbers {
		m := message{phone: number, sign: signs[i]}
		if len(parameters) > 0 {
			m.parameters = parameters[i]
		}
		out.messages = append(out.messages, m)
	}
	return out
}

// send answers SendSms and SendBatchSms. A request is taken or refused whole.
func (p *provider) send(rw http.ResponseWriter, r *http.Request, form url.Values, all request) {
	outID := form.Get("OutId")
	if all.broken == "" && len(outID) > maxOutID {
		all.broken = "isv.PARAM_LENGTH_LIMIT"
	}
	if all.broken != "" {
		p.refuse(rw, refusal(all.broken))
		return
	}
	s := p.current()
	for i := range all.messages {
		m := &all.messages[i]
		m.fill(s, form.Get("TemplateCode"))
		if m.refused == "" {
			continue
		}
		decision, err := p.desk.Take(r.Context(), p, p.entry(m, "", ""), nil)
		p.answer(rw, decision, err, "")
		return
	}
	bizID := p.desk.NewID()
	hungUp := false
	for i := range all.messages {
		decision, err := p.take(r, &all.messages[i], form.Get("TemplateCode"), bizID, outID, i > 0)
		hungUp = hungUp || decision.Answer == desk.HangUp
		if err != nil || i == 0 && decision.Answer != desk.Accept && decision.Answer != desk.HangUp {
			p.answer(rw, decision, err, "")
			return
		}
	}
	if hungUp {
		desk.HangUpNow()
	}
	p.answer(rw, desk.Decision{}, nil, bizID)
}

// take has a message of a request taken. The dice decide about a request by its first message: those that follow are
// taken with it, so the dice are thrown again where they will not have one.
func (p *provider) take(r *http.Request, m *message, template, bizID, outID string, following bool) (desk.Decision, error) {
	phone, _ := normal(m.phone)
	sent := &record{phone: phone, bizID: bizID, outID: outID, template: template, content: m.text, sent: p.now(), status: 1}
	for roll := 1; ; roll++ {
		decision, err := p.desk.Take(r.Context(), p, p.entry(m, bizID, outID), p.report(sent))
		if err != nil {
			return decision, err //nolint:wrapcheck // the caller's own
		}
		if decision.Answer == desk.Accept || decision.Answer == desk.HangUp {
			p.mu.Lock()
			p.sent.add(sent)
			p.mu.Unlock()
			return decision, nil
		}
		if !following || roll == maxRolls {
			return decision, nil
		}
	}
}

// entry is what the ledger gets. The sender's reference, where it stands for one message, is without the attempt.
func (p *provider) entry(m *message, bizID, outID string) desk.Message {
	phone, ok := normal(m.phone)
	e := desk.Message{To: m.phone, From: m.sign, Text: m.text, Refused: m.refused}
	if ok {
		e.To, e.ProviderID = international(phone), bizID+"/"+phone
	}
	if at := strings.LastIndexByte(outID, '.'); at > 0 && strings.HasPrefix(outID, "pg-") {
		e.Reference = outID[len("pg-"):at]
	}
	return e
}

// fill renders the text and finds out whether the message is refused.
func (m *message) fill(s Settings, template string) {
	parameters := map[string]string{}
	if len(m.parameters) > 0 && json.Unmarshal(m.parameters, &parameters) != nil {
		m.refused = "isv.INVALID_JSON_PARAM"
		return
	}
	missing := false
	m.text = variable.ReplaceAllStringFunc(s.Templates[template], func(place string) string {
		value, ok := parameters[place[2:len(place)-1]]
		missing = missing || !ok
		return value
	})
	phone, ok := normal(m.phone)
	switch {
	case !ok:
		m.refused = "isv.MOBILE_NUMBER_ILLEGAL"
	case s.Refuse[international(phone)] != "":
		m.refused = s.Refuse[international(phone)]
	case !slices.Contains(s.Signs, m.sign):
		m.refused = "isv.SMS_SIGNATURE_ILLEGAL"
	case s.Templates[template] == "":
		m.refused = "isv.SMS_TEMPLATE_ILLEGAL"
	case missing:
		m.refused = "isv.TEMPLATE_MISSING_PARAMETERS"
	}
}

// answer tells the sender what became of a request.
func (p *provider) answer(rw http.ResponseWriter, d desk.Decision, err error, bizID string) {
	code := d.Code
	switch {
	case err != nil:
		code = "InternalError"
	case d.Answer == desk.Accept:
		write(rw, http.StatusOK, map[string]string{"Code": "OK", "Message": "OK", "BizId": bizID, "RequestId": p.desk.NewID()})
		return
	case d.Answer == desk.HangUp:
		desk.HangUpNow()
	case code != "":
	case d.Answer == desk.Throttle:
		code = "Throttling.User"
	case d.Answer == desk.Fail:
		code = "ServiceUnavailable"
	default:
		code = "isv.MOBILE_NUMBER_ILLEGAL"
	}
	p.refuse(rw, refusal(code))
}

// report makes the SmsReport of a message, and notes what it says. Progress is none of SmsReport's words.
func (p *provider) report(sent *record) func(desk.Receipt) desk.Callback {
	return func(r desk.Receipt) desk.Callback {
		address := p.current().ReportURL
		if r.Status == desk.Progress {
			return desk.Callback{}
		}
		code, words, success := "DELIVERED", "用户接收成功", true
		if r.Status == desk.Undelivered {
			code, words, success = "MOBILE_NOT_ON_SERVICE", "手机号停机、空号、暂停服务、关机或不在服务区", false
		}
		p.mu.Lock()
		sent.status, sent.errCode, sent.received = 3, code, r.At
		if !success {
			sent.status = 2
		}
		p.mu.Unlock()
		if address == "" {
			return desk.Callback{}
		}
		bizID, outID := sent.bizID, sent.outID
		if r.ProviderID != bizID+"/"+sent.phone { // of a message that was never given
			bizID, outID = r.ProviderID, ""
		}
		return push(address, map[string]any{
			"phone_number": sent.phone, "send_time": sent.sent.In(zone).Format(timeLayout), "report_time": r.At.In(zone).Format(timeLayout),
			"success": success, "err_code": code, "err_msg": words, "sms_size": size(sent.content), "biz_id": bizID, "out_id": outID,
		})
	}
}

// size is how many messages a text is billed as, as the provider writes it.
func size(text string) string {
	n := utf8.RuneCountInString(text)
	if n <= 70 {
		return "1"
	}
	return strconv.Itoa((n + 66) / 67)
}
