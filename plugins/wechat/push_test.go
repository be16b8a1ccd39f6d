package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestParsePush(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		want []pushField
	}{
		"a declaration and white space": {"\n <?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xml>\n<A> 1 </A>\n</xml>\n", []pushField{{"A", "1"}}},
		"the five entities":             {"<xml><A>&lt;&gt;&amp;&quot;&apos;&#65;</A></xml>", []pushField{{"A", `<>&"'A`}}},
		"comments and attributes":       {`<xml><!-- c --><A x="1">b</A></xml>`, []pushField{{"A", "b"}}},
		"an empty element":              {"<xml><A/><B></B></xml>", []pushField{{"A", ""}, {"B", ""}}},
		"siblings of one name":          {"<xml><A><B>1</B></A><A><B>2</B><B>3</B></A></xml>", []pushField{{"A.B", "1"}, {"A_2.B", "2"}, {"A_2.B_2", "3"}}},
		"nothing in it":                 {"<xml></xml>", nil},
		"JSON":                          {`{"B":1.50,"A":"x","C":null,"D":[{"E":true},{"E":false}],"F":[]}`, []pushField{{"A", "x"}, {"B", "1.50"}, {"C", ""}, {"D.E", "true"}, {"D_2.E", "false"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := parsePush([]byte(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(p.fields, tc.want) {
				t.Errorf("fields %q, want %q", p.fields, tc.want)
			}
			if p.get("Z") != "" {
				t.Error("a field that is not there has a value")
			}
		})
	}
}

func TestParsePushRefuses(t *testing.T) {
	deep := strings.Repeat("<a>", 30) + strings.Repeat("</a>", 30)
	for name, body := range map[string]string{
		"nothing":                  "",
		"text":                     "hello",
		"another root":             "<html></html>",
		"two roots":                "<xml></xml><xml></xml>",
		"text behind":              "<xml></xml>hello",
		"an element that stays":    "<xml><A></xml>",
		"an end without beginning": "<xml></A></xml>",
		"an unknown entity":        "<xml><A>&nbsp;</A></xml>",
		"a document type":          "<!DOCTYPE xml><xml></xml>",
		"an entity of its own":     `<!DOCTYPE xml [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><A>&a;</A></xml>`,
		"another instruction":      "<?php x?><xml></xml>",
		"another encoding":         `<?xml version="1.0" encoding="GBK"?><xml></xml>`,
		"bytes that are no UTF-8":  "<xml><A>\xff</A></xml>",
		"too deep":                 "<xml>" + deep + "</xml>",
		"too many fields":          "<xml>" + strings.Repeat("<A/>", maxPushFields+1) + "</xml>",
		"too long":                 "<xml><A>" + strings.Repeat("a", maxPushBytes) + "</A></xml>",
		"half an object":           `{"A":`,
		"two objects":              `{"A":1}{"B":1}`,
		"an array":                 `[1]`,
		"an object too deep":       strings.Repeat(`{"A":`, 30) + "1" + strings.Repeat("}", 30),
		"an object too wide":       `{"A":[` + strings.Repeat("1,", maxPushFields) + `1]}`,
	} {
		if p, err := parsePush([]byte(body)); err == nil {
			t.Errorf("%s: read as %q", name, p.fields)
		}
	}
}

func TestAttributeNames(t *testing.T) {
	for path, want := range map[string]string{
		"MsgID": "msg_id", "PicUrl": "pic_url", "Location_X": "location_x", "debug_str": "debug_str", "EventKey": "event_key",
		"ScanCodeInfo.ScanType": "scan_code_info.scan_type", "List_2.MsgID": "list_2.msg_id", "URLLink": "url_link", "中Ab": "中ab", "": "",
	} {
		if got := attributeName(path); got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
}

func FuzzParsePush(f *testing.F) {
	f.Add([]byte(`<xml><ToUserName><![CDATA[gh]]></ToUserName><MsgType>event</MsgType><Event>TEMPLATESENDJOBFINISH</Event><MsgID>1</MsgID></xml>`))
	f.Add([]byte(`<xml><SubscribeMsgSentEvent><List><MsgID>1</MsgID></List></SubscribeMsgSentEvent><MsgType>event</MsgType><Event>subscribe_msg_sent_event</Event></xml>`))
	f.Add([]byte(`{"MsgType":"text","Content":"x","L":[{"A":1}]}`))
	f.Add([]byte(`<!DOCTYPE x [<!ENTITY a "b">]><xml>&a;</xml>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := parsePush(body)
		if err != nil {
			return
		}
		size := 0
		for _, field := range p.fields {
			size += len(field.value)
		}
		if len(p.fields) > maxPushFields || size > 4*len(body) {
			t.Errorf("%d fields with %d bytes out of %d", len(p.fields), size, len(body))
		}
		events := p.events()
		if events.Empty() && p.get("Event") != "subscribe_msg_sent_event" {
			t.Error("a push that can be read says nothing")
		}
		for _, in := range events.Inbound {
			if in.DedupeKey == "" || len(in.Attributes) > maxAttributes {
				t.Errorf("inbound %+v", in)
			}
		}
	})
}
