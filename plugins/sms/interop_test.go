package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	tchttp "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/http"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	twilioclient "github.com/twilio/twilio-go/client"
	twilioapi "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	"github.com/pigeonry/pigeonry/plugins/sms/aliyun"
	"github.com/pigeonry/pigeonry/sdk"
)

// The providers' own client libraries, in Go and from npm, against the doubles that the connectors are tested with: so that
// double and plugin are not merely agreeing with each other.

// peerJSON runs a script of testdata and reads what it prints.
func peerJSON(t *testing.T, into any, script string, args ...string) {
	t.Helper()
	output, err := nodePeer(t, script, args...).Output()
	if err == nil {
		err = json.Unmarshal(output, into)
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, output)
	}
}

func host(base string) string { return strings.TrimPrefix(base, "http://") }

func TestInteropAliyunNode(t *testing.T) {
	d := newDesk()
	p := newAliyunDouble(d)
	base := serveProvider(t, p)
	var seen struct {
		Error                  string
		Single, Batch, Refused struct{ Code, BizID string }
		Details                struct {
			Code              string
			SmsSendDetailDTOs struct {
				SmsSendDetailDTO []struct {
					OutID, Content, TemplateCode string
					SendStatus                   int
				}
			}
		}
	}
	peerJSON(t, &seen, "aliyun.js", host(base), "sandbox-secret")
	if seen.Error != "" || seen.Single.Code != "OK" || seen.Single.BizID == "" || seen.Batch.Code != "OK" || seen.Refused.Code != "isv.SMS_TEMPLATE_ILLEGAL" {
		t.Errorf("the client saw %+v", seen)
	}
	if got := seen.Details.SmsSendDetailDTOs.SmsSendDetailDTO; len(got) != 1 || got[0].OutID != "mine-1" || got[0].Content != "Your code is 12 3*~'+." {
		t.Errorf("the client saw %+v", seen.Details)
	}
	taken := d.entries()
	if len(taken) != 3 || taken[0].To != "+8613800138000" || taken[1].Text != "你好" || taken[2].To != "+85251234567" || taken[2].Text != "Hello & goodbye" {
		t.Errorf("the double took %+v", taken)
	}
	peerJSON(t, &seen, "aliyun.js", host(base), "another-secret")
	if !strings.Contains(seen.Error, "SignatureDoesNotMatch") {
		t.Errorf("with a wrong secret the client saw %q", seen.Error)
	}
}

func TestInteropAliyunGo(t *testing.T) {
	d := newDesk()
	base := serveProvider(t, newAliyunDouble(d))
	call := func(secret string) (map[string]any, error) {
		c, err := client.NewClient(&openapiutil.Config{
			AccessKeyId: new("sandbox"), AccessKeySecret: new(secret), Endpoint: new(host(base)), Protocol: new("HTTP"),
		})
		if err != nil {
			t.Fatal(err)
		}
		return c.CallApi(&openapiutil.Params{
			Action: new("SendSms"), Version: new("2017-05-25"), Protocol: new("HTTP"), Pathname: new("/"),
			Method: new("POST"), AuthType: new("AK"), Style: new("RPC"), ReqBodyType: new("formData"), BodyType: new("json"),
		}, &openapiutil.OpenApiRequest{Query: map[string]*string{
			"PhoneNumbers": new("13800138000"), "SignName": new("阿里云"), "TemplateCode": new("SMS_SANDBOX"),
			"TemplateParam": new(`{"content":"Grüße * ~ + &"}`), "OutId": new("mine"),
		}}, &dara.RuntimeOptions{})
	}
	answer, err := call("sandbox-secret")
	if err != nil {
		t.Fatalf("the client's call: %v", err)
	}
	if body, _ := answer["body"].(map[string]any); body["Code"] != "OK" || body["BizId"] == "" {
		t.Errorf("the client saw %v", answer)
	}
	if taken := d.entries(); len(taken) != 1 || taken[0].Text != "Grüße * ~ + &" {
		t.Errorf("the double took %+v", taken)
	}
	if _, err := call("another-secret"); err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
		t.Errorf("with a wrong secret: %v", err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// What the connector signs, with its arrays in the body, the vendor's library signs the same.
func TestInteropAliyunSignature(t *testing.T) {
	d := newDesk()
	p := newAliyunDouble(d)
	var mu sync.Mutex
	var requests []*http.Request
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read a request: %v", err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		mu.Lock()
		requests, bodies = append(requests, r), append(bodies, string(body))
		mu.Unlock()
		p.(desk.Rooted).ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	var ms []*sdk.Message
	for i := range 47 { // a full batch, and one alone
		m := message(strings.Repeat("您的验证码 & *~+", 10))
		m.AttemptID, m.Recipient = fmt.Sprintf("%d.1", i), fmt.Sprintf("+86138%08d", i)
		ms = append(ms, m)
	}
	for i, r := range sendAll(t, aliyun.Open(aliyunConfig(server.URL)), ms) {
		if r.err != nil {
			t.Errorf("message %d: %v", i, r.err)
		}
	}
	if len(requests) != 2 || len(d.entries()) != len(ms) {
		t.Fatalf("%d messages in %d requests", len(d.entries()), len(requests))
	}
	algorithm := "ACS3-HMAC-SHA256"
	for i, r := range requests {
		if len(r.URL.RawQuery) > 2048 || r.Header.Get("X-Acs-Action") == "SendBatchSms" && len(bodies[i]) < 10_000 {
			t.Errorf("%d octets in the URL, %d in the body", len(r.URL.RawQuery), len(bodies[i]))
		}
		sum := sha256.Sum256([]byte(bodies[i]))
		query, headers := map[string]*string{}, map[string]*string{"host": &r.Host}
		for name, values := range r.URL.Query() {
			query[name] = &values[0]
		}
		for name, values := range r.Header {
			if name = strings.ToLower(name); name == "content-type" || strings.HasPrefix(name, "x-acs-") {
				headers[name] = &values[0]
			}
		}
		theirs := openapiutil.GetAuthorization(&dara.Request{Method: &r.Method, Pathname: &r.URL.Path, Query: query, Headers: headers},
			&algorithm, new(hex.EncodeToString(sum[:])), new("sandbox"), new("sandbox-secret"))
		if ours := r.Header.Get("Authorization"); ours != *theirs {
			t.Errorf("signed\n%s\nthe vendor's library has\n%s", ours, *theirs)
		}
	}
}

func TestInteropTencentNode(t *testing.T) {
	d := newDesk()
	p := newTencentDouble(d)
	setProvider(t, p, map[string]any{"refuse": map[string]string{"+8613800000002": "FailedOperation.PhoneNumberInBlacklist"}})
	base := serveProvider(t, p)
	var seen struct {
		Error string
		Sent  struct {
			SendStatusSet []struct {
				SerialNo, PhoneNumber, SessionContext, Code string
				Fee                                         int
			}
		}
		Pulled struct{ PullSmsSendStatusSet []any }
	}
	peerJSON(t, &seen, "tencent.js", host(base), "sandbox-secret")
	got := seen.Sent.SendStatusSet
	if seen.Error != "" || len(got) != 2 || got[0].Code != "Ok" || got[0].SerialNo == "" || got[0].SessionContext != "mine-1" || got[0].Fee != 1 ||
		got[1].Code != "FailedOperation.PhoneNumberInBlacklist" || seen.Pulled.PullSmsSendStatusSet == nil {
		t.Errorf("the client saw %+v", seen)
	}
	if taken := d.entries(); len(taken) != 1 || taken[0].Text != "Your code is 4370, valid for 5 minutes." {
		t.Errorf("the double took %+v", taken)
	}
	peerJSON(t, &seen, "tencent.js", host(base), "another-secret")
	if seen.Error != "AuthFailure.SignatureFailure" {
		t.Errorf("with a wrong secret the client saw %q", seen.Error)
	}
}

func TestInteropTencentGo(t *testing.T) {
	d := newDesk()
	base := serveProvider(t, newTencentDouble(d))
	settings := profile.NewClientProfile()
	settings.HttpProfile.Endpoint, settings.HttpProfile.Scheme = host(base), "HTTP"
	send := func(secret string) (string, error) {
		c := common.NewCommonClient(common.NewCredential("sandbox", secret), "ap-guangzhou", settings)
		request := tchttp.NewCommonRequest("sms", "2021-01-11", "SendSms")
		if err := request.SetActionParameters(map[string]any{
			"PhoneNumberSet": []string{"+8613800138000"}, "SmsSdkAppId": "1400000000", "TemplateId": "1000", "SignName": "腾讯云",
			"TemplateParamSet": []string{"你好 & so"},
		}); err != nil {
			t.Fatal(err)
		}
		response := tchttp.NewCommonResponse()
		err := c.Send(request, response)
		return string(response.GetBody()), err
	}
	body, err := send("sandbox-secret")
	if err != nil || !strings.Contains(body, `"Code":"Ok"`) {
		t.Errorf("the client saw %s, %v", body, err)
	}
	if taken := d.entries(); len(taken) != 1 || taken[0].Text != "你好 & so" {
		t.Errorf("the double took %+v", taken)
	}
	if _, err := send("another-secret"); err == nil || !strings.Contains(err.Error(), "AuthFailure.SignatureFailure") {
		t.Errorf("with a wrong secret: %v", err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestInteropTwilioNode(t *testing.T) {
	d := newDesk()
	p := newTwilioDouble(d)
	base := serveProvider(t, p)
	var seen struct {
		Error   int
		Sent    struct{ SID, Status, Segments, Body string }
		Content struct{ Status, Body string }
		Fetched string
		Listed  int
		Refused struct{ Status, Code int }
	}
	peerJSON(t, &seen, "twilio.js", base, "sandboxsecret")
	if seen.Error != 0 || seen.Sent.Status != "queued" || seen.Sent.Segments != "1" || seen.Content.Status != "accepted" || seen.Content.Body != "four" ||
		seen.Fetched != "Grüße + mehr" || seen.Listed != 2 || seen.Refused.Code != 21610 || seen.Refused.Status != 400 {
		t.Errorf("the client saw %+v", seen)
	}
	if taken := d.entries(); len(taken) != 2 || taken[0].ProviderID != seen.Sent.SID || taken[0].Text != "Grüße + mehr" {
		t.Errorf("the double took %+v", taken)
	}
	peerJSON(t, &seen, "twilio.js", base, "anothersecret")
	if seen.Error != 20003 {
		t.Errorf("with a wrong token the client saw %d", seen.Error)
	}
}

// rewritten sends what goes to Twilio to a double.
type rewritten struct{ base *url.URL }

// RoundTrip implements http.RoundTripper.
func (r rewritten) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host, req.Host = r.base.Scheme, r.base.Host, ""
	return http.DefaultTransport.RoundTrip(req)
}

func TestInteropTwilioGo(t *testing.T) {
	d := newDesk()
	base, err := url.Parse(serveProvider(t, newTwilioDouble(d)))
	if err != nil {
		t.Fatal(err)
	}
	api := func(token string) *twilioapi.ApiService {
		c := &twilioclient.Client{
			Credentials: twilioclient.NewCredentials(sid("AC"), token),
			HTTPClient:  &http.Client{Transport: rewritten{base}}, // its timeout would outlive answers that the library does not close
		}
		c.SetAccountSid(sid("AC"))
		return twilioapi.NewApiServiceWithClient(c)
	}
	params := (&twilioapi.CreateMessageParams{}).SetTo("+4917612345678").SetFrom("+15005550006").SetBody("Grüße & mehr").SetValidityPeriod(60)
	sent, err := api("sandboxsecret").CreateMessage(params)
	if err != nil || sent.Sid == nil || *sent.Status != "queued" || *sent.NumSegments != "1" {
		t.Fatalf("the client saw %+v, %v", sent, err)
	}
	fetched, err := api("sandboxsecret").FetchMessage(*sent.Sid, &twilioapi.FetchMessageParams{})
	if err != nil || *fetched.Body != "Grüße & mehr" {
		t.Errorf("the client fetched %+v, %v", fetched, err)
	}
	if _, err := api("anothersecret").CreateMessage(params); err == nil || !strings.Contains(err.Error(), "20003") {
		t.Errorf("with a wrong token: %v", err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// The double's signatures are taken by Twilio's validators, in Go and JavaScript, and theirs by the connector.
func TestInteropTwilioSignatures(t *testing.T) {
	d, p, c := newTwilio(t)
	r, err := c.Send(t.Context(), german("Hello"))
	if err != nil {
		t.Fatal(err)
	}
	callbacks := []desk.Callback{
		d.receipt(t, r.ProviderID(), desk.Undelivered),
		d.event(t, p, `{"type":"message","from":"+4917612345678","to":"+15005550006","text":"Grüße & \"mehr\" +1"}`),
	}
	var requests []*sdk.CallbackRequest
	var signed []map[string]string
	for _, callback := range callbacks {
		req := callbackRequest(t, callback, callbackBase)
		requests = append(requests, req)
		signed = append(signed, map[string]string{"url": req.URL, "form": string(req.Body), "signature": req.Header.Get("X-Twilio-Signature")})
	}
	raw, err := json.Marshal(signed)
	if err != nil {
		t.Fatal(err)
	}
	var judged []struct {
		Valid  bool
		Theirs string
	}
	peerJSON(t, &judged, "twilio.js", "signatures", "sandboxsecret", string(raw))
	validator := twilioclient.NewRequestValidator("sandboxsecret")
	for i, req := range requests {
		form, err := url.ParseQuery(string(req.Body))
		if err != nil {
			t.Fatal(err)
		}
		single := map[string]string{}
		for name := range form {
			single[name] = form.Get(name)
		}
		if !validator.Validate(req.URL, single, signed[i]["signature"]) {
			t.Errorf("request %d: twilio-go refuses the double's signature", i)
		}
		if !judged[i].Valid {
			t.Errorf("request %d: npm's twilio refuses the double's signature", i)
		}
		theirs := *req
		theirs.Header = http.Header{"X-Twilio-Signature": {judged[i].Theirs}}
		if answer, events, err := c.HandleCallback(t.Context(), &theirs); err != nil || answer.Status == 401 || events.Empty() {
			t.Errorf("request %d: the signature of npm's twilio is refused", i)
		}
	}
}
