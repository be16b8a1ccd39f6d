package tencent

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk/desktest"
)

const send = `{"PhoneNumberSet":["+8613800138000"],"SmsSdkAppId":"1400000000","TemplateId":"1000","SignName":"Sandbox","TemplateParamSet":["x"]}`

// request makes a request that is signed well, at a time.
func request(t *testing.T, action, version, body string, at time.Time) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://sms.example.com:8025/", bytes.NewReader([]byte(body)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Tc-Action", action)
	r.Header.Set("X-Tc-Version", version)
	r.Header.Set("X-Tc-Timestamp", strconv.FormatInt(at.Unix(), 10))
	scope := at.UTC().Format(time.DateOnly) + "/sms/tc3_request"
	r.Header.Set("Authorization", algorithm+" Credential=sandbox/"+scope+", SignedHeaders=content-type;host, Signature="+
		sign(r, r.Host, []byte(body), "content-type;host", scope, "sandbox-secret"))
	return r
}

func TestRequestsAreVerified(t *testing.T) {
	now := time.Now()
	header := func(r *http.Request, name, value string) *http.Request {
		r.Header.Set(name, value)
		return r
	}
	for name, tc := range map[string]struct {
		r    *http.Request
		code string
	}{
		"good":            {request(t, "SendSms", "2021-01-11", send, now), ""},
		"old":             {request(t, "SendSms", "2021-01-11", send, now.Add(-10*time.Minute)), "AuthFailure.SignatureExpire"},
		"no signature":    {header(request(t, "SendSms", "2021-01-11", send, now), "Authorization", "none"), "AuthFailure.InvalidAuthorization"},
		"no time":         {header(request(t, "SendSms", "2021-01-11", send, now), "X-Tc-Timestamp", "now"), "AuthFailure.SignatureExpire"},
		"another content": {header(request(t, "SendSms", "2021-01-11", send, now), "Content-Type", "text/plain"), "AuthFailure.SignatureFailure"},
		"no JSON":         {request(t, "SendSms", "2021-01-11", "{", now), "InvalidParameter"},
		"no numbers":      {request(t, "SendSms", "2021-01-11", "{}", now), "MissingParameter.EmptyPhoneNumberSet"},
		"another action":  {request(t, "Delete", "2021-01-11", send, now), "InvalidAction"},
		"another version": {request(t, "SendSms", "2019-07-11", send, now), "NoSuchVersion"},
		"pull, no JSON":   {request(t, "PullSmsSendStatusByPhoneNumber", "2021-01-11", "{", now), "InvalidParameter"},
		"pull, no app":    {request(t, "PullSmsSendStatusByPhoneNumber", "2021-01-11", "{}", now), "UnauthorizedOperation.SmsSdkAppIdVerifyFail"},
	} {
		p := New(&desktest.Desk{}).(desk.Rooted)
		if !p.Owns(tc.r) {
			t.Fatal("the request is not known")
		}
		rw := httptest.NewRecorder()
		p.ServeHTTP(rw, tc.r)
		var got struct {
			Response struct {
				RequestID string `json:"RequestId"`
				Error     struct{ Code string }
			}
		}
		if err := json.Unmarshal(rw.Body.Bytes(), &got); err != nil || rw.Code != 200 || got.Response.RequestID == "" || got.Response.Error.Code != tc.code {
			t.Errorf("%s: %d %s, want %q", name, rw.Code, rw.Body, tc.code)
		}
	}
}

func TestNumbers(t *testing.T) {
	for number, want := range map[string]string{
		"+8613800138000": "86 13800138000", "13800138000": "86 13800138000", "008613800138000": "86 13800138000", "+12025550123": "1 2025550123",
		"+4917612345678": "49 17612345678",
	} {
		if country, mobile, ok := split(number); !ok || country+" "+mobile != want {
			t.Errorf("%s: %s %s, %v, want %s", number, country, mobile, ok, want)
		}
	}
	for _, number := range []string{"", "+86123", "+49x", "+861380013800"} {
		if _, _, ok := split(number); ok {
			t.Errorf("%q passes", number)
		}
	}
}
