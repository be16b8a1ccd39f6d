package aliyun

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// maxHistory is how many messages are kept for QuerySendDetails.
const maxHistory = 100_000

// record is a message that was taken.
type record struct {
	phone, bizID, outID, template, content string
	sent, received                         time.Time
	status                                 int // 1: no receipt yet, 2: failed, 3: delivered
	errCode                                string
}

// history keeps the last messages.
type history struct {
	byPhone map[string][]*record
	order   []string // phones, oldest first
}

func newHistory() history { return history{byPhone: map[string][]*record{}} }

func (h *history) add(r *record) {
	h.byPhone[r.phone] = append(h.byPhone[r.phone], r)
	h.order = append(h.order, r.phone)
	if len(h.order) > maxHistory {
		oldest := h.order[0]
		h.order = h.order[1:]
		if h.byPhone[oldest] = h.byPhone[oldest][1:]; len(h.byPhone[oldest]) == 0 {
			delete(h.byPhone, oldest)
		}
	}
}

// query answers QuerySendDetails.
func (p *provider) query(rw http.ResponseWriter, form url.Values) {
	phone, ok := normal(form.Get("PhoneNumber"))
	size, err1 := strconv.Atoi(form.Get("PageSize"))
	page, err2 := strconv.Atoi(form.Get("CurrentPage"))
	day, err3 := time.ParseInLocation("20060102", form.Get("SendDate"), zone)
	switch {
	case !ok:
		p.refuse(rw, refusal("isv.MOBILE_NUMBER_ILLEGAL"))
		return
	case err1 != nil || err2 != nil || err3 != nil || size < 1 || size > 50 || page < 1:
		p.refuse(rw, &fault{"isv.INVALID_PARAMETERS", "参数异常"})
		return
	}
	all := p.details(phone, form.Get("BizId"), day)
	total := len(all)
	all = all[min(total, (page-1)*size):min(total, page*size)]
	write(rw, http.StatusOK, map[string]any{
		"Code": "OK", "Message": "OK", "RequestId": p.desk.NewID(), "TotalCount": fmt.Sprint(total),
		"SmsSendDetailDTOs": map[string]any{"SmsSendDetailDTO": all},
	})
}

// details are the messages to a number on a day, newest first.
func (p *provider) details(phone, bizID string, day time.Time) []map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []map[string]any{}
	records := p.sent.byPhone[phone]
	for _, r := range slices.Backward(records) {
		if bizID != "" && bizID != r.bizID || r.sent.In(zone).Format(time.DateOnly) != day.Format(time.DateOnly) {
			continue
		}
		detail := map[string]any{
			"PhoneNum": r.phone, "OutId": r.outID, "TemplateCode": r.template, "Content": r.content,
			"SendDate": r.sent.In(zone).Format(timeLayout), "SendStatus": r.status, "ErrCode": r.errCode,
		}
		if !r.received.IsZero() {
			detail["ReceiveDate"] = r.received.In(zone).Format(timeLayout)
		}
		out = append(out, detail)
	}
	return out
}
