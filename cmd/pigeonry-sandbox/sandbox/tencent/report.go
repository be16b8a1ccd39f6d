package tencent

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// maxReports is how many receipts are kept for PullSmsSendStatusByPhoneNumber.
const maxReports = 100_000

// report is the receipt of a message.
type report struct {
	number, serial, session string
	at                      time.Time
	status, words, code     string
}

// reports keeps the last receipts.
type reports struct {
	byNumber map[string][]*report
	order    []string // numbers, oldest first
}

func newReports() reports { return reports{byNumber: map[string][]*report{}} }

func (rs *reports) add(r *report) {
	rs.byNumber[r.number] = append(rs.byNumber[r.number], r)
	rs.order = append(rs.order, r.number)
	if len(rs.order) > maxReports {
		oldest := rs.order[0]
		rs.order = rs.order[1:]
		if rs.byNumber[oldest] = rs.byNumber[oldest][1:]; len(rs.byNumber[oldest]) == 0 {
			delete(rs.byNumber, oldest)
		}
	}
}

// report makes the receipt of a message. Progress is none of the provider's words.
func (p *provider) report(sent *report) func(desk.Receipt) desk.Callback {
	return func(r desk.Receipt) desk.Callback {
		if r.Status == desk.Progress {
			return desk.Callback{}
		}
		done := &report{
			number: sent.number, serial: r.ProviderID, session: sent.session, at: r.At,
			status: "SUCCESS", code: "DELIVRD", words: "用户短信送达成功",
		}
		if r.Status == desk.Undelivered {
			done.status, done.code, done.words = "FAIL", "UNDELIV", "用户短信接收失败"
		}
		if r.ProviderID == sent.serial {
			p.mu.Lock()
			p.reports.add(done)
			p.mu.Unlock()
		}
		address := p.current().ReportURL
		if address == "" {
			return desk.Callback{}
		}
		country, mobile, _ := split(sent.number)
		return callback(address, []any{map[string]any{
			"user_receive_time": r.At.In(zone).Format(time.DateTime), "nationcode": country, "mobile": mobile,
			"report_status": done.status, "errmsg": done.code, "description": done.words, "sid": done.serial,
			"ext": done.session, // the provider sends it to whoever has asked for it
		}})
	}
}

// pull answers PullSmsSendStatusByPhoneNumber.
func (p *provider) pull(rw http.ResponseWriter, body []byte) {
	var q struct {
		BeginTime, EndTime int64
		Offset, Limit      int
		PhoneNumber        string
		SmsSdkAppID        string `json:"SmsSdkAppId"`
	}
	if json.Unmarshal(body, &q) != nil {
		p.refuse(rw, &fault{"InvalidParameter", "The body is not JSON."})
		return
	}
	country, mobile, ok := split(q.PhoneNumber)
	switch s := p.current(); {
	case q.SmsSdkAppID != s.AppID:
		p.refuse(rw, &fault{"UnauthorizedOperation.SmsSdkAppIdVerifyFail", "SmsSdkAppId verify fail"})
	case !ok:
		p.refuse(rw, &fault{"InvalidParameterValue.IncorrectPhoneNumber", "incorrect phone number"})
	case q.Limit < 1 || q.Limit > 100:
		p.refuse(rw, &fault{"InvalidParameterValue.LimitVerifyFail", "limit verify fail"})
	case q.BeginTime <= 0 || q.EndTime != 0 && q.EndTime < q.BeginTime:
		p.refuse(rw, &fault{"InvalidParameterValue.BeginTimeVerifyFail", "begin time verify fail"})
	default:
		p.answer(rw, map[string]any{"PullSmsSendStatusSet": p.pulled(country, mobile, q.BeginTime, q.EndTime, q.Limit)})
	}
}

func (p *provider) pulled(country, mobile string, begin, end int64, limit int) []map[string]any {
	number := "+" + country + mobile
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []map[string]any{}
	for _, r := range p.reports.byNumber[number] {
		if at := r.at.Unix(); at < begin || end != 0 && at > end || len(out) == limit {
			continue
		}
		out = append(out, map[string]any{
			"UserReceiveTime": r.at.Unix(), "CountryCode": country, "SubscriberNumber": mobile, "PhoneNumber": number,
			"SerialNo": r.serial, "ReportStatus": r.status, "Description": r.code, "SessionContext": r.session,
		})
	}
	return out
}
