package tencent

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

const (
	maxNumbers = 200
	maxSession = 511
	maxBody    = 1 << 20
)

// variable is what a template has places for.
var variable = regexp.MustCompile(`\{(\d+)\}`)

// ServeHTTP implements desk.Rooted.
func (p *provider) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		p.refuse(rw, &fault{"RequestSizeLimitExceeded", "The request is too large."})
		return
	}
	if f := p.verify(r, body); f != nil {
		p.refuse(rw, f)
		return
	}
	switch action := r.Header.Get("X-Tc-Action"); {
	case r.Header.Get("X-Tc-Version") != "2021-01-11":
		p.refuse(rw, &fault{"NoSuchVersion", "The API version does not exist."})
	case action == "SendSms":
		p.send(rw, r, body)
	case action == "PullSmsSendStatusByPhoneNumber":
		p.pull(rw, body)
	default:
		p.refuse(rw, &fault{"InvalidAction", "The action does not exist."})
	}
}

// sendSms are the parameters of SendSms.
type sendSms struct {
	PhoneNumberSet   []string
	SmsSdkAppID      string `json:"SmsSdkAppId"`
	TemplateID       string `json:"TemplateId"`
	SignName         string
	TemplateParamSet []string
	ExtendCode       string
	SessionContext   string
	SenderID         string `json:"SenderId"`
}

// check finds what is wrong with a request whatever it says to whom.
func (q *sendSms) check(s Settings) *fault {
	mainland := 0
	for _, number := range q.PhoneNumberSet {
		if country, _, _ := split(number); country == "86" {
			mainland++
		}
	}
	switch {
	case len(q.PhoneNumberSet) == 0:
		return &fault{"MissingParameter.EmptyPhoneNumberSet", "phone number set is empty"}
	case len(q.PhoneNumberSet) > maxNumbers:
		return &fault{"LimitExceeded.PhoneNumberCountLimit", "phone number count exceeds 200"}
	case q.SmsSdkAppID != s.AppID:
		return &fault{"UnauthorizedOperation.SmsSdkAppIdVerifyFail", "SmsSdkAppId verify fail"}
	case len(q.SessionContext) > maxSession:
		return &fault{"InvalidParameterValue", "SessionContext is too long"}
	case mainland > 0 && mainland < len(q.PhoneNumberSet):
		return &fault{"UnsupportedOperation.ContainDomesticAndInternationalPhoneNumber", "contain domestic and international phone number"}
	}
	return nil
}

// text renders the template; code says why it cannot be.
func (q *sendSms) text(s Settings) (text, code string) {
	template, ok := s.Templates[q.TemplateID]
	places := variable.FindAllString(template, -1)
	switch {
	case !ok:
		return "", "FailedOperation.TemplateIncorrectOrUnapproved"
	case len(places) != len(q.TemplateParamSet):
		return "", "FailedOperation.TemplateParamSetNotMatchApprovedTemplate"
	}
	return variable.ReplaceAllStringFunc(template, func(place string) string {
		n, err := strconv.Atoi(place[1 : len(place)-1])
		if err != nil || n < 1 || n > len(q.TemplateParamSet) {
			return ""
		}
		return q.TemplateParamSet[n-1]
	}), ""
}

// send answers SendSms: each number has a status of its own.
func (p *provider) send(rw http.ResponseWriter, r *http.Request, body []byte) {
	var q sendSms
	if json.Unmarshal(body, &q) != nil {
		p.refuse(rw, &fault{"InvalidParameter", "The body is not JSON."})
		return
	}
	s := p.current()
	if f := q.check(s); f != nil {
		p.refuse(rw, f)
		return
	}
	text, broken := q.text(s)
	statuses := make([]map[string]any, 0, len(q.PhoneNumberSet))
	hungUp := false
	for _, number := range q.PhoneNumberSet {
		m := q.message(s, number, text, broken)
		m.ProviderID = p.desk.NewID()
		sent := &report{number: m.To, serial: m.ProviderID, session: q.SessionContext}
		decision, err := p.desk.Take(r.Context(), p, m, p.report(sent))
		if err != nil {
			p.refuse(rw, &fault{"InternalError.OtherError", "other error"})
			return
		}
		hungUp = hungUp || decision.Answer == desk.HangUp
		statuses = append(statuses, q.status(m, decision))
	}
	if hungUp {
		desk.HangUpNow()
	}
	p.answer(rw, map[string]any{"SendStatusSet": statuses})
}

// message is what the ledger gets. The sender's reference, where it stands for one message, is without the attempt.
func (q *sendSms) message(s Settings, number, text, broken string) desk.Message {
	m := desk.Message{To: number, From: q.SignName, Text: text, Refused: broken}
	if at := strings.LastIndexByte(q.SessionContext, '.'); at > 0 && strings.HasPrefix(q.SessionContext, "pg-") {
		m.Reference = q.SessionContext[len("pg-"):at]
	}
	country, mobile, ok := split(number)
	if ok {
		m.To = "+" + country + mobile
	}
	switch {
	case m.Refused != "":
	case !ok:
		m.Refused = "InvalidParameterValue.IncorrectPhoneNumber"
	case s.Refuse[m.To] != "":
		m.Refused = s.Refuse[m.To]
	case (country == "86" || q.SignName != "") && !slices.Contains(s.Signs, q.SignName):
		m.Refused = "FailedOperation.SignatureIncorrectOrUnapproved"
	}
	return m
}

// status tells the sender what became of a message.
func (q *sendSms) status(m desk.Message, d desk.Decision) map[string]any {
	code, words, serial, fee := d.Code, d.Code, "", 0
	switch {
	case d.Answer == desk.Accept || d.Answer == desk.HangUp:
		code, words, serial, fee = "Ok", "send success", m.ProviderID, fees(m.Text)
	case code != "":
	case d.Answer == desk.Throttle:
		code, words = "RequestLimitExceeded", "request limit exceeded"
	case d.Answer == desk.Fail:
		code, words = "ResourceUnavailable", "resource unavailable"
	default:
		code, words = "FailedOperation.PhoneNumberInBlacklist", "phone number in blacklist"
	}
	country := "CN"
	if !strings.HasPrefix(m.To, "+86") {
		country = ""
	}
	return map[string]any{
		"SerialNo": serial, "PhoneNumber": m.To, "Fee": fee, "SessionContext": q.SessionContext,
		"Code": code, "Message": words, "IsoCode": country,
	}
}

// fees is how many messages a text is billed as.
func fees(text string) int {
	n := utf8.RuneCountInString(text)
	if n <= 70 {
		return 1
	}
	return (n + 66) / 67
}

func (p *provider) answer(rw http.ResponseWriter, response map[string]any) {
	response["RequestId"] = p.desk.NewID()
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(map[string]any{"Response": response}) //nolint:errchkjson // an error means that the client is gone
}

func (p *provider) refuse(rw http.ResponseWriter, f *fault) {
	p.answer(rw, map[string]any{"Error": map[string]string{"Code": f.code, "Message": f.message}})
}
