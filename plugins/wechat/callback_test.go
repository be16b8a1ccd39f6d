package main

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// noon is when the tests of callbacks play.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// receiver is a connector whose clock stands at noon.
func receiver(t testing.TB, edit func(*config)) *connector {
	t.Helper()
	c := settings("https://api.weixin.qq.com")
	if edit != nil {
		edit(&c)
	}
	if err := validate(c); err != nil {
		t.Fatalf("validate: %v", err)
	}
	out, err := open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	out.now = func() time.Time { return noon }
	return out
}

func plaintext(c *config) { c.EncodingAESKey, c.PlaintextCallbacks = "", true }

// pushed is a request as WeChat makes it at a time: in safe mode, or in plaintext mode without a key.
func pushed(t testing.TB, key sdk.Secret, message string, at time.Time) *sdk.CallbackRequest {
	t.Helper()
	timestamp := strconv.FormatInt(at.Unix(), 10)
	query := url.Values{"timestamp": {timestamp}, "nonce": {"n1"}, "signature": {signature(testToken, timestamp, "n1")}}
	if key != "" {
		sealed := seal(t, key, message, testAppID)
		query.Set("encrypt_type", "aes")
		query.Set("msg_signature", signature(testToken, timestamp, "n1", sealed))
		message = "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><Encrypt><![CDATA[" + sealed + "]]></Encrypt></xml>"
	}
	return &sdk.CallbackRequest{Method: http.MethodPost, Path: "/", Query: query.Encode(), Body: []byte(message)}
}

// receive hands a message of WeChat's to a connector, which must take it.
func receive(t *testing.T, message string) sdk.Events {
	t.Helper()
	answer, events, err := receiver(t, nil).HandleCallback(t.Context(), pushed(t, testKey, message, noon))
	if err != nil || answer.Status != http.StatusOK || string(answer.Body) != "success" {
		t.Fatalf("answer %+v, %v", answer, err)
	}
	return events
}

func event(fields string) string {
	return "<xml><ToUserName><![CDATA[gh_1]]></ToUserName>\n<FromUserName><![CDATA[" + testUser + "]]></FromUserName>\n<CreateTime>1772625600</CreateTime>\n" + fields + "</xml>"
}

var at = time.Unix(1772625600, 0)

func TestReceipts(t *testing.T) {
	template := func(status string) string {
		return event("<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[TEMPLATESENDJOBFINISH]]></Event><MsgID>200163840</MsgID><Status><![CDATA[" + status + "]]></Status>")
	}
	unnamed := func(id string) string {
		return event("<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[TEMPLATESENDJOBFINISH]]></Event><MsgID>" + id + "</MsgID><Status><![CDATA[success]]></Status>")
	}
	notice := func(code, status string) string {
		return event(`<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[subscribe_msg_sent_event]]></Event>
			<SubscribeMsgSentEvent><List><TemplateId><![CDATA[T1]]></TemplateId><MsgID>1700827132819554304</MsgID>
			<ErrorCode>` + code + `</ErrorCode><ErrorStatus><![CDATA[` + status + `]]></ErrorStatus></List></SubscribeMsgSentEvent>`)
	}
	for name, tc := range map[string]struct {
		message, id, key string
		status           sdk.ReceiptStatus
		code, provider   string
	}{
		"delivered":           {template("success"), "200163840", "template:200163840:success", sdk.Delivered, "", ""},
		"blocked":             {template("failed:user block"), "200163840", "template:200163840:failed:user block", sdk.Undelivered, "recipient_blocked", "failed:user block"},
		"failed":              {template("failed: system failed"), "200163840", "template:200163840:failed: system failed", sdk.Undelivered, "provider_unavailable", "failed: system failed"},
		"failed unexplained":  {template("failed: x"), "200163840", "template:200163840:failed: x", sdk.Undelivered, "undelivered", "failed: x"},
		"without an id":       {unnamed(""), "", "template:" + testUser + ":1772625600:success", sdk.Delivered, "", ""},
		"with the id 0":       {unnamed("0"), "", "template:" + testUser + ":1772625600:success", sdk.Delivered, "", ""},
		"a notice":            {notice("0", "success"), "1700827132819554304", "subscribe:1700827132819554304:0", sdk.Delivered, "", ""},
		"a refused notice":    {notice("43101", "user refuse"), "1700827132819554304", "subscribe:1700827132819554304:43101", sdk.Undelivered, "unsubscribed", "43101"},
		"an unexplained code": {notice("77777", "?"), "1700827132819554304", "subscribe:1700827132819554304:77777", sdk.Undelivered, "undelivered", "77777"},
	} {
		t.Run(name, func(t *testing.T) {
			events := receive(t, tc.message)
			if len(events.Receipts) != 1 || len(events.Inbound) != 0 {
				t.Fatalf("events %+v", events)
			}
			got := events.Receipts[0]
			if got.ProviderID != tc.id || got.DedupeKey != tc.key || got.Status != tc.status || !got.At.Equal(at) || got.Recipient != testUser {
				t.Errorf("receipt %+v", got)
			}
			if tc.code == "" {
				if got.Err != nil {
					t.Errorf("error %v", got.Err)
				}
				return
			}
			wantOutcome(t, got.Err, sdk.OutcomeRejected, tc.code)
			if e := got.Err.(*sdk.DeliveryError); e.ProviderCode != tc.provider {
				t.Errorf("provider code %q", e.ProviderCode)
			}
		})
	}
}

func TestSeveralReceiptsInOnePush(t *testing.T) {
	entry := "<List><TemplateId>T</TemplateId><MsgID>%d</MsgID><ErrorCode>0</ErrorCode><ErrorStatus>success</ErrorStatus></List>"
	events := receive(t, event("<MsgType>event</MsgType><Event>subscribe_msg_sent_event</Event><SubscribeMsgSentEvent>"+
		fmt.Sprintf(entry, 1)+fmt.Sprintf(entry, 2)+fmt.Sprintf(entry, 3)+"</SubscribeMsgSentEvent>"))
	if len(events.Receipts) != 3 || events.Receipts[2].ProviderID != "3" {
		t.Errorf("receipts %+v", events.Receipts)
	}
}

// The messages are those of WeChat's documentation:
// https://developers.weixin.qq.com/doc/service/guide/product/message/Receiving_standard_messages.html and
// https://developers.weixin.qq.com/doc/service/guide/product/message/Receiving_event_pushes.html
func TestInbound(t *testing.T) {
	inbound := func(kind, text, id, key string, attributes map[string]string) sdk.Inbound {
		return sdk.Inbound{
			DedupeKey: key, ProviderID: id, From: testUser, To: "gh_1", Text: text, At: at, Kind: kind, Attributes: attributes,
		}
	}
	withPicture := func(in sdk.Inbound, url string) sdk.Inbound {
		in.Attachments = []sdk.InboundAttachment{{URL: url}}
		return in
	}
	seen := func(name, key string) string { return "event:" + testUser + ":1772625600:" + name + ":" + key }
	for name, tc := range map[string]struct {
		fields string
		want   sdk.Inbound
	}{
		"text": {
			"<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[this <is> & a test]]></Content><MsgId>1234567890123456</MsgId><MsgDataId>xxxx</MsgDataId><Idx>1</Idx>",
			inbound("", "this <is> & a test", "1234567890123456", "message:1234567890123456", map[string]string{"msg_data_id": "xxxx", "idx": "1"}),
		},
		"an answer to a menu": {
			"<MsgType>text</MsgType><Content>满意</Content><MsgId>1</MsgId><bizmsgmenuid>101</bizmsgmenuid>",
			inbound("", "满意", "1", "message:1", map[string]string{"bizmsgmenuid": "101"}),
		},
		"image": {
			"<MsgType><![CDATA[image]]></MsgType><PicUrl><![CDATA[https://mmbiz.qpic.cn/1]]></PicUrl><MediaId><![CDATA[m1]]></MediaId><MsgId>2</MsgId>",
			withPicture(inbound("image", "", "2", "message:2", map[string]string{"pic_url": "https://mmbiz.qpic.cn/1", "media_id": "m1"}), "https://mmbiz.qpic.cn/1"),
		},
		"voice": {
			"<MsgType>voice</MsgType><MediaId>m2</MediaId><Format>amr</Format><Recognition><![CDATA[腾讯微信团队]]></Recognition><MsgId>3</MsgId>",
			inbound("voice", "腾讯微信团队", "3", "message:3", map[string]string{"media_id": "m2", "format": "amr", "recognition": "腾讯微信团队"}),
		},
		"video": {
			"<MsgType>video</MsgType><MediaId>m3</MediaId><ThumbMediaId>m4</ThumbMediaId><MsgId>4</MsgId>",
			inbound("video", "", "4", "message:4", map[string]string{"media_id": "m3", "thumb_media_id": "m4"}),
		},
		"location": {
			"<MsgType>location</MsgType><Location_X>23.134521</Location_X><Location_Y>113.358803</Location_Y><Scale>20</Scale><Label><![CDATA[位置信息]]></Label><MsgId>5</MsgId>",
			inbound("location", "位置信息", "5", "message:5", map[string]string{"location_x": "23.134521", "location_y": "113.358803", "scale": "20", "label": "位置信息"}),
		},
		"link": {
			"<MsgType>link</MsgType><Title>公众平台官网链接</Title><Description>d</Description><Url>https://example.com</Url><MsgId>6</MsgId>",
			inbound("link", "公众平台官网链接\nhttps://example.com", "6", "message:6", map[string]string{"title": "公众平台官网链接", "description": "d", "url": "https://example.com"}),
		},
		"subscribe": {
			"<MsgType>event</MsgType><Event><![CDATA[subscribe]]></Event><EventKey><![CDATA[qrscene_123123]]></EventKey><Ticket><![CDATA[TICKET]]></Ticket>",
			inbound("event", "", "", seen("subscribe", "qrscene_123123"), map[string]string{"event": "subscribe", "event_key": "qrscene_123123", "ticket": "TICKET"}),
		},
		"unsubscribe": {
			"<MsgType>event</MsgType><Event>unsubscribe</Event>",
			inbound("event", "", "", seen("unsubscribe", ""), map[string]string{"event": "unsubscribe"}),
		},
		"LOCATION": {
			"<MsgType>event</MsgType><Event>LOCATION</Event><Latitude>23.137466</Latitude><Longitude>113.352425</Longitude><Precision>119.385040</Precision>",
			inbound("event", "", "", seen("LOCATION", ""), map[string]string{"event": "LOCATION", "latitude": "23.137466", "longitude": "113.352425", "precision": "119.385040"}),
		},
		"CLICK": {
			"<MsgType>event</MsgType><Event>CLICK</Event><EventKey>EVENTKEY</EventKey>",
			inbound("event", "", "", seen("CLICK", "EVENTKEY"), map[string]string{"event": "CLICK", "event_key": "EVENTKEY"}),
		},
		"VIEW": {
			"<MsgType>event</MsgType><Event>VIEW</Event><EventKey><![CDATA[https://example.com/?a=1&b=2]]></EventKey>",
			inbound("event", "", "", seen("VIEW", "https://example.com/?a=1&b=2"), map[string]string{"event": "VIEW", "event_key": "https://example.com/?a=1&b=2"}),
		},
		"scancode_push": {
			"<MsgType>event</MsgType><Event>scancode_push</Event><EventKey>6</EventKey><ScanCodeInfo><ScanType>qrcode</ScanType><ScanResult>1</ScanResult></ScanCodeInfo>",
			inbound("event", "", "", seen("scancode_push", "6"), map[string]string{
				"event": "scancode_push", "event_key": "6", "scan_code_info.scan_type": "qrcode", "scan_code_info.scan_result": "1",
			}),
		},
		"a choice of notices": {
			"<MsgType>event</MsgType><Event>subscribe_msg_popup_event</Event><SubscribeMsgPopupEvent><List><TemplateId>T1</TemplateId><SubscribeStatusString>accept</SubscribeStatusString></List><List><TemplateId>T2</TemplateId></List></SubscribeMsgPopupEvent>",
			inbound("event", "", "", seen("subscribe_msg_popup_event", ""), map[string]string{
				"event": "subscribe_msg_popup_event", "subscribe_msg_popup_event.list.template_id": "T1",
				"subscribe_msg_popup_event.list.subscribe_status_string": "accept", "subscribe_msg_popup_event.list_2.template_id": "T2",
			}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			events := receive(t, event(tc.fields))
			if len(events.Inbound) != 1 || len(events.Receipts) != 0 {
				t.Fatalf("events %+v", events)
			}
			if got := events.Inbound[0]; !reflect.DeepEqual(got, tc.want) {
				t.Errorf("inbound\n%+v, want\n%+v", got, tc.want)
			}
		})
	}
}

func TestAttributesAreBounded(t *testing.T) {
	var fields strings.Builder
	fields.WriteString("<MsgType>event</MsgType><Long>" + strings.Repeat("长", 2000) + "</Long>")
	for i := range 200 {
		fmt.Fprintf(&fields, "<F%d>1</F%d>", i, i)
	}
	in := receive(t, event(fields.String())).Inbound[0]
	if len(in.Attributes) != maxAttributes || len(in.Attributes["long"]) > maxAttributeBytes || !strings.HasSuffix(in.Attributes["long"], "长") {
		t.Errorf("%d attributes, one of %d bytes", len(in.Attributes), len(in.Attributes["long"]))
	}
}

func TestEcho(t *testing.T) {
	// https://developers.weixin.qq.com/miniprogram/dev/framework/server-ability/message-push.html
	published := "signature=f464b24fc39322e44b38aa78f5edd27bd1441696&echostr=4375120948345356249&timestamp=1714036504&nonce=1514711492"
	for name, tc := range map[string]struct {
		query  string
		now    int64
		status int
		body   string
	}{
		"as published":        {published, 1714036504, 200, "4375120948345356249"},
		"a replay":            {published, 1714036504 + 601, 401, ""},
		"before its time":     {published, 1714036504 - 601, 401, ""},
		"another nonce":       {strings.Replace(published, "1514711492", "1514711493", 1), 1714036504, 401, ""},
		"no echostr":          {strings.Replace(published, "echostr=4375120948345356249&", "", 1), 1714036504, 400, ""},
		"nothing":             {"", 1714036504, 401, ""},
		"a query that is bad": {"%zz", 1714036504, 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := receiver(t, func(c *config) { c.Token = "AAAAA" })
			c.now = func() time.Time { return time.Unix(tc.now, 0) }
			answer, events, err := c.HandleCallback(t.Context(), &sdk.CallbackRequest{Method: http.MethodGet, Path: "/", Query: tc.query})
			if err != nil || answer.Status != tc.status || string(answer.Body) != tc.body || !events.Empty() {
				t.Errorf("answer %d %q, events %+v, %v", answer.Status, answer.Body, events, err)
			}
			if answer.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("header %v lets a browser run what a stranger wrote", answer.Header)
			}
		})
	}
}

func TestRefusedCallbacks(t *testing.T) {
	hello := event("<MsgType>text</MsgType><Content>hello</Content><MsgId>1</MsgId>")
	for name, tc := range map[string]struct {
		config  func(*config)
		request func() *sdk.CallbackRequest
		status  int
	}{
		"an old one":                     {nil, func() *sdk.CallbackRequest { return pushed(t, testKey, hello, noon.Add(-11*time.Minute)) }, 401},
		"one of tomorrow":                {nil, func() *sdk.CallbackRequest { return pushed(t, testKey, hello, noon.Add(11*time.Minute)) }, 401},
		"plaintext where there is a key": {nil, func() *sdk.CallbackRequest { return pushed(t, "", hello, noon) }, 401},
		"encrypted with another key": {nil, func() *sdk.CallbackRequest {
			return pushed(t, "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C", hello, noon)
		}, 401},
		"another body": {nil, func() *sdk.CallbackRequest {
			r := pushed(t, testKey, hello, noon)
			r.Body = pushed(t, testKey, strings.Replace(hello, "hello", "hullo", 1), noon).Body
			return r
		}, 401},
		"the signature of the plaintext mode": {nil, func() *sdk.CallbackRequest {
			r := pushed(t, testKey, hello, noon)
			query, _ := url.ParseQuery(r.Query)
			query.Set("msg_signature", query.Get("signature"))
			r.Query = query.Encode()
			return r
		}, 401},
		"plaintext with a wrong signature": {plaintext, func() *sdk.CallbackRequest {
			r := pushed(t, "", hello, noon)
			r.Query = strings.Replace(r.Query, "nonce=n1", "nonce=n2", 1)
			return r
		}, 401},
		"a time that is none": {plaintext, func() *sdk.CallbackRequest {
			query := url.Values{"timestamp": {"now"}, "nonce": {"n"}, "signature": {signature(testToken, "now", "n")}}
			return &sdk.CallbackRequest{Method: http.MethodPost, Query: query.Encode(), Body: []byte(hello)}
		}, 401},
		"a body that is no XML":    {plaintext, func() *sdk.CallbackRequest { return pushed(t, "", "hello", noon) }, 400},
		"an envelope that is none": {nil, func() *sdk.CallbackRequest { r := pushed(t, testKey, hello, noon); r.Body = []byte("<xml>"); return r }, 400},
		"a document type": {nil, func() *sdk.CallbackRequest {
			return pushed(t, testKey, `<!DOCTYPE xml [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><xml><Content>&b;</Content></xml>`, noon)
		}, 400},
		"no token": {func(c *config) { c.Token, c.EncodingAESKey = "", "" }, func() *sdk.CallbackRequest { return pushed(t, "", hello, noon) }, 404},
		"another method": {nil, func() *sdk.CallbackRequest {
			r := pushed(t, testKey, hello, noon)
			r.Method = http.MethodPut
			return r
		}, 405},
	} {
		t.Run(name, func(t *testing.T) {
			answer, events, err := receiver(t, tc.config).HandleCallback(t.Context(), tc.request())
			if err != nil || answer.Status != tc.status || len(answer.Body) != 0 || !events.Empty() {
				t.Errorf("answer %d %q, events %+v, %v; want %d", answer.Status, answer.Body, events, err, tc.status)
			}
		})
	}
}

func TestTakenCallbacks(t *testing.T) {
	hello := event("<MsgType>text</MsgType><Content>hello</Content><MsgId>1</MsgId>")
	const former = sdk.Secret("jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C")
	for name, tc := range map[string]struct {
		config  func(*config)
		request *sdk.CallbackRequest
	}{
		"safe mode":              {nil, pushed(t, testKey, hello, noon)},
		"a little late":          {nil, pushed(t, testKey, hello, noon.Add(-10*time.Minute))},
		"the key before":         {func(c *config) { c.PreviousEncodingAESKey = former }, pushed(t, former, hello, noon)},
		"plaintext mode":         {plaintext, pushed(t, "", hello, noon)},
		"an age nobody looks at": {func(c *config) { c.CallbackTolerance = 0 }, pushed(t, testKey, hello, noon.Add(-time.Hour))},
	} {
		t.Run(name, func(t *testing.T) {
			c := receiver(t, tc.config)
			var keys []string
			for range 2 { // WeChat repeats what was not answered in time
				answer, events, err := c.HandleCallback(t.Context(), tc.request)
				if err != nil || answer.Status != 200 || len(events.Inbound) != 1 || events.Inbound[0].Text != "hello" {
					t.Fatalf("answer %+v, events %+v, %v", answer, events, err)
				}
				keys = append(keys, events.Inbound[0].DedupeKey)
			}
			if keys[0] != keys[1] {
				t.Errorf("a repeat has the keys %q", keys)
			}
		})
	}
}

// In compatible mode the body says everything twice; only what is encrypted counts.
func TestCompatibleModeTrustsWhatIsEncrypted(t *testing.T) {
	r := pushed(t, testKey, event("<MsgType>text</MsgType><Content>hello</Content><MsgId>1</MsgId>"), noon)
	r.Body = []byte(strings.Replace(string(r.Body), "<xml>", "<xml><MsgType>text</MsgType><Content>forged</Content><MsgId>2</MsgId>", 1))
	_, events, err := receiver(t, nil).HandleCallback(t.Context(), r)
	if err != nil || len(events.Inbound) != 1 || events.Inbound[0].Text != "hello" || events.Inbound[0].ProviderID != "1" {
		t.Errorf("events %+v, %v", events, err)
	}
}
