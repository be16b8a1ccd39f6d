package main

import (
	"maps"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// Without a word in the config every status means what it means to the SDK.
func TestStatusesAreTheSDKs(t *testing.T) {
	p := provide(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.Header().Set("Location", "/elsewhere")
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		says(status, "why")(w, r)
	})
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	conn := connect(t, settings{"url": p.URL + "/?status={{.text}}"})
	for status := 200; status < 600; status++ {
		text := strconv.Itoa(status)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+"/?status="+text, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		_, want := sdk.DoHTTP(req)
		_, got := conn.Send(t.Context(), message(func(m *sdk.Message) { m.Plain = text }))
		if told(got) != told(want) || got != nil && got.Error() != want.Error() {
			t.Errorf("%d: got %q, %v; the SDK says %q, %v", status, told(got), got, told(want), want)
		}
	}
}

// An answer becomes an outcome.
func TestAnswer(t *testing.T) {
	errcode := settings{
		"id": "data.ids", "code": "errcode", "message": "errmsg", "retry_after": "wait",
		"results": []settings{
			{"codes": []string{"0"}, "outcome": "accepted"},
			{"codes": []string{"40001", "auth.*"}, "outcome": "rejected", "code": "auth_failed", "fault": "config"},
			{"codes": []string{"45009"}, "outcome": "throttled", "retry_after": "60s"},
			{"codes": []string{"-1"}, "outcome": "retryable", "fault": "provider"},
			{"codes": []string{"5*"}, "outcome": "uncertain", "code": "odd"},
		},
	}
	silent := with(errcode, settings{"results": []settings{
		{"codes": []string{""}, "outcome": "accepted"}, {"codes": []string{"*"}, "outcome": "rejected", "code": "refused"},
	}})
	for name, c := range map[string]struct {
		status       settings
		answer       settings
		code         int
		body         string
		header       http.Header
		want         string
		ids          string
		says         string
		maxAnswer    int
		answerLength int
	}{
		"accepted":                     {answer: errcode, code: 200, body: `{"errcode":0,"data":{"ids":[12345678901234567890,"b",null]}}`, want: "accepted", ids: "12345678901234567890 b"},
		"accepted without an id":       {answer: errcode, code: 200, body: `{"errcode":"0"}`, want: "accepted"},
		"refused with 200":             {answer: errcode, code: 200, body: `{"errcode":40001,"errmsg":"invalid\n credential"}`, want: "rejected auth_failed 40001 config", says: "provider answered 200 OK: 40001 invalid credential"},
		"by the beginning of the code": {answer: errcode, code: 200, body: `{"errcode":"auth.no.key"}`, want: "rejected auth_failed auth.no.key config"},
		"throttled":                    {answer: errcode, code: 200, body: `{"errcode":45009}`, want: "throttled throttled 45009 provider 1m0s"},
		"throttled for longer":         {answer: errcode, code: 200, body: `{"errcode":45009,"wait":90.5}`, want: "throttled throttled 45009 provider 1m30.5s"},
		"throttled by the header":      {answer: errcode, code: 200, body: `{"errcode":45009}`, header: http.Header{"Retry-After": {"120"}}, want: "throttled throttled 45009 provider 2m0s"},
		"retryable":                    {answer: errcode, code: 200, body: `{"errcode":-1}`, want: "retryable unavailable -1 provider"},
		"uncertain":                    {answer: errcode, code: 200, body: `{"errcode":500}`, want: "uncertain odd 500 provider"},
		"an unknown code":              {answer: errcode, code: 200, body: `{"errcode":99}`, want: "rejected provider_error 99 provider"},
		"no code":                      {answer: errcode, code: 200, body: `{}`, want: "uncertain unreadable_answer 200 provider", says: "provider answered 200 OK: {}"},
		"an empty answer":              {answer: errcode, code: 200, want: "uncertain unreadable_answer 200 provider"},
		"a page":                       {answer: errcode, code: 200, body: `<html>`, want: "uncertain unreadable_answer 200 provider", says: "the answer cannot be read: it is no JSON at byte 0"},
		"two values":                   {answer: errcode, code: 200, body: `{"errcode":0} {}`, want: "uncertain unreadable_answer 200 provider"},
		"the code decides over 400":    {answer: errcode, code: 400, body: `{"errcode":45009}`, want: "throttled throttled 45009 provider 1m0s"},
		"the code decides over 500":    {answer: errcode, code: 500, body: `{"errcode":0}`, want: "accepted"},
		"400 with an unknown code":     {answer: errcode, code: 400, body: `{"errcode":98,"errmsg":"no"}`, want: "rejected http_status 98 message", says: "400 Bad Request: 98 no"},
		"500 with a page":              {answer: errcode, code: 500, body: `<html>`, want: "uncertain http_status 500 provider"},
		"an answer too long":           {answer: errcode, code: 200, body: `{"errcode":0,"x":"` + strings.Repeat("x", 2000) + `"}`, maxAnswer: 1024, want: "uncertain unreadable_answer 200 provider", says: "longer than max_answer_bytes"},
		"an answer nobody reads":       {code: 200, body: strings.Repeat("x", 2000), maxAnswer: 1024, want: "accepted"},
		"silence is consent":           {answer: silent, code: 204, want: "accepted"},
		"any code is none":             {answer: silent, code: 202, body: `{"errcode":7}`, want: "rejected refused 7 message"},
		"a boolean":                    {answer: settings{"code": "ok", "results": []settings{{"codes": []string{"true"}, "outcome": "accepted"}}}, code: 200, body: `{"ok":true}`, want: "accepted"},
		"an id alone":                  {answer: settings{"id": "[0].id"}, code: 200, body: `[{"id":"x"}]`, want: "accepted", ids: "x"},
		"an id alone, a page":          {answer: settings{"id": "[0].id"}, code: 200, body: `oops`, want: "uncertain unreadable_answer 200 provider"},
		"a form":                       {answer: settings{"format": "form", "id": "id"}, code: 200, body: "id=a%20b&x=1&x=2", want: "accepted", ids: "a b"},
		"a bad form":                   {answer: settings{"format": "form", "id": "id"}, code: 200, body: "id=%zz", want: "uncertain unreadable_answer 200 provider"},
		"a text": {answer: settings{"format": "text", "pattern": `^(?P<code>-?\d+),(?P<id>\w*)`, "id": "id", "code": "code", "results": []settings{
			{"codes": []string{"0"}, "outcome": "accepted"},
		}}, code: 200, body: "0,abc", want: "accepted", ids: "abc"},
		"a text that does not fit": {answer: settings{"format": "text", "pattern": `^(?P<id>\d+)`, "id": "id"}, code: 200, body: "oops", want: "uncertain unreadable_answer 200 provider", says: "the pattern does not fit it"},
		"statuses of one's own":    {status: settings{"accepted": []string{"404", "409"}, "retryable": []string{"500-503"}}, code: 404, want: "accepted"},
		"a range of one's own":     {status: settings{"accepted": []string{"404"}, "retryable": []string{"500-503"}}, code: 502, want: "retryable unavailable 502 provider"},
		"a class of one's own":     {status: settings{"uncertain": []string{"2xx"}, "throttled": []string{"403"}}, code: 200, want: "uncertain http_status 200 provider"},
		"throttled by 403":         {status: settings{"throttled": []string{"403"}}, code: 403, header: http.Header{"Retry-After": {"9999999999"}}, want: "throttled throttled 403 provider 168h0m0s"},
		"rejected by 503":          {status: settings{"rejected": []string{"503"}}, code: 503, want: "rejected http_status 503 message"},
		"retry at a date":          {code: 429, header: http.Header{"Retry-After": {"Mon, 02 Jan 2006 15:04:05 GMT"}}, want: "throttled throttled 429 provider"},
		"a long refusal":           {code: 400, body: strings.Repeat("短", 400), want: "rejected http_status 400 message", says: "短…"},
	} {
		t.Run(name, func(t *testing.T) {
			p := provide(t, func(w http.ResponseWriter, _ *http.Request) {
				maps.Copy(w.Header(), c.header)
				says(c.code, c.body)(w, nil)
			})
			config := settings{"url": p.URL}
			if c.answer != nil {
				config["answer"] = c.answer
			}
			if c.status != nil {
				config["status"] = c.status
			}
			if c.maxAnswer > 0 {
				config["max_answer_bytes"] = c.maxAnswer
			}
			r, err := connect(t, config).Send(t.Context(), message())
			if told(err) != c.want || strings.Join(r.ProviderIDs, " ") != c.ids {
				t.Errorf("got %q with ids %q, want %q with %q (%v)", told(err), r.ProviderIDs, c.want, c.ids, err)
			}
			if c.says != "" && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %q, want %q in it", err, c.says)
			}
		})
	}
}

// What the provider bills becomes part of the receipt; what is no number does no harm.
func TestBill(t *testing.T) {
	sms := settings{"id": "sid", "segments": "num_segments", "cost": "price", "currency": "price_unit"}
	fixed := with(sms, settings{"currency": "CNY"})
	for name, c := range map[string]struct {
		answer settings
		body   string
		want   sdk.Receipt
	}{
		"all of it":           {sms, `{"sid":"a","num_segments":"3","price":"-0.0225","price_unit":"usd"}`, sdk.Receipt{ProviderIDs: []string{"a"}, Segments: 3, Cost: sdk.Cost{Amount: "0.0225", Currency: "USD"}}},
		"numbers":             {fixed, `{"sid":"a","num_segments":2,"price":0.045}`, sdk.Receipt{ProviderIDs: []string{"a"}, Segments: 2, Cost: sdk.Cost{Amount: "0.045", Currency: "CNY"}}},
		"not known yet":       {sms, `{"sid":"a","num_segments":1,"price":null,"price_unit":"USD"}`, sdk.Receipt{ProviderIDs: []string{"a"}, Segments: 1}},
		"nonsense":            {sms, `{"sid":"a","num_segments":-1,"price":"free","price_unit":"USD"}`, sdk.Receipt{ProviderIDs: []string{"a"}}},
		"no currency":         {sms, `{"sid":"a","price":"1"}`, sdk.Receipt{ProviderIDs: []string{"a"}}},
		"without an id":       {settings{"segments": "n"}, `{"n":4}`, sdk.Receipt{Segments: 4}},
		"of an empty answer":  {settings{"segments": "n"}, ``, sdk.Receipt{}},
		"of a page":           {settings{"format": "text", "pattern": `(?P<n>\d+) parts`, "segments": "n"}, `sent 2 parts`, sdk.Receipt{Segments: 2}},
		"more than there are": {settings{"segments": "n"}, `{"n":99999999999}`, sdk.Receipt{}},
	} {
		p := provide(t, says(http.StatusOK, c.body))
		r, err := connect(t, settings{"url": p.URL, "answer": c.answer}).Send(t.Context(), message())
		if err != nil || !reflect.DeepEqual(r, c.want) {
			t.Errorf("%s: got %+v, %v; want %+v", name, r, err, c.want)
		}
	}
}

// Seconds that are none do no harm.
func TestSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "x": 0, "-1": 0, "NaN": 0, "0.5": 500 * time.Millisecond, "Inf": maxWait, "1e300": maxWait, "3": 3 * time.Second,
	} {
		if got := seconds(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
