package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/api"
)

func TestTemplateLifeCycle(t *testing.T) {
	h := newHarness(t)
	a := h.want(h.do("POST", "/api/messages/templates", `{
		"name": "order", "channel": "email", "subject": "Order {{no}}", "content": "Hi {{name}}", "html": "<p>{{name}} {{shop}}</p>"
	}`), 201, 0)
	created := data[api.Template](t, a)
	path := fmt.Sprintf("/api/messages/templates/%d", created.Id)
	if a.Header.Get("Location") != path {
		t.Errorf("Location %q; want %q", a.Header.Get("Location"), path)
	}
	if created.Status != "active" || created.Revision != 1 || fmt.Sprint(created.Variables) != "[no name shop]" {
		t.Errorf("created %+v", created)
	}
	if got := data[api.Template](t, h.want(h.do("GET", path, ""), 200, 0)); fmt.Sprint(got) != fmt.Sprint(created) {
		t.Errorf("got %+v; want %+v", got, created)
	}
	replaced := data[api.Template](t, h.want(h.do("PUT", path, `{"name":"order","channel":"email","content":"Bye","variables":["unused"],"status":"disabled"}`), 200, 0))
	if replaced.Revision != 2 || replaced.Subject != "" || replaced.Html != "" || replaced.Status != "disabled" || fmt.Sprint(replaced.Variables) != "[unused]" {
		t.Errorf("replaced %+v", replaced)
	}
	if gone := data[api.DeletedResult](t, h.want(h.do("DELETE", path, ""), 200, 0)); gone.Id != created.Id {
		t.Errorf("deleted %+v", gone)
	}
	for _, method := range []string{"GET", "DELETE"} {
		h.want(h.do(method, path, ""), 404, core.CodeTemplateNotFound)
	}
}

func TestTemplateNameIsTaken(t *testing.T) {
	h := newHarness(t)
	body := `{"name":"a","channel":"sms","content":"x"}`
	h.createTemplate(body)
	b := h.createTemplate(strings.Replace(body, `"a"`, `"b"`, 1))
	h.want(h.do("POST", "/api/messages/templates", body), 409, core.CodeTemplateNameTaken)
	h.want(h.do("PUT", fmt.Sprintf("/api/messages/templates/%d", b.Id), body), 409, core.CodeTemplateNameTaken)
}

func TestTemplateRefuses(t *testing.T) {
	h := newHarness(t)
	tests := []struct{ about, body, field, reason string }{
		{"no name", `{"channel":"sms","content":"x"}`, "/name", "missing"},
		{"blank name", `{"name":" ","channel":"sms","content":"x"}`, "/name", "missing"},
		{"long name", `{"name":"` + strings.Repeat("é", 101) + `","channel":"sms","content":"x"}`, "/name", "100"},
		{"line break", `{"name":"a\nb","channel":"sms","content":"x"}`, "/name", "line breaks"},
		{"no channel", `{"name":"a","content":"x"}`, "/channel", "missing"},
		{"no channel's name", `{"name":"a","channel":"SMS!","content":"x"}`, "/channel", "small letter"},
		{"no text", `{"name":"a","channel":"sms"}`, "/content", "missing"},
		{"status", `{"name":"a","channel":"sms","content":"x","status":"on"}`, "/status", "active or disabled"},
		{"syntax", `{"name":"a","channel":"sms","content":"hi\n{{a"}`, "/content", "line 2, column 1"},
		{"syntax of the subject", `{"name":"a","channel":"email","content":"x","subject":"{{#if}}"}`, "/subject", "no logic"},
		{"syntax of the HTML", `{"name":"a","channel":"email","html":"{{}}"}`, "/html", "no name"},
		{"undeclared", `{"name":"a","channel":"sms","content":"{{a}} {{b}}","variables":["a"]}`, "/content", "{{b}}"},
		{"nothing declared", `{"name":"a","channel":"sms","content":"{{a}}","variables":[]}`, "/content", "{{a}}"},
		{"no variable's name", `{"name":"a","channel":"sms","content":"x","variables":["a b"]}`, "/variables/0", "is no name"},
		{"declared twice", `{"name":"a","channel":"sms","content":"{{a}}","variables":["a","a"]}`, "/variables/1", "twice"},
		{"too many", `{"name":"a","channel":"sms","content":"x","variables":["a"` + strings.Repeat(`,"a"`, 100) + `]}`, "/variables", "at most 100"},
		{"too long", `{"name":"a","channel":"sms","content":"` + strings.Repeat("x", 100<<10+1) + `"}`, "/content", "102400"},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			a := h.want(h.do("POST", "/api/messages/templates", test.body), 422, core.CodeInvalidField)
			if !strings.Contains(a.field(test.field), test.reason) {
				t.Errorf("errors %v; want %s with %q", a.Errors, test.field, test.reason)
			}
		})
	}
	a := h.want(h.do("POST", "/api/messages/templates", `{"status":"on"}`), 422, core.CodeInvalidField)
	if len(a.Errors) != 4 {
		t.Errorf("errors %v; want all four at once", a.Errors)
	}
}

func TestTemplateList(t *testing.T) {
	h := newHarness(t)
	for i, channel := range []string{"sms", "email", "sms", "sms"} {
		h.createTemplate(fmt.Sprintf(`{"name":"t%d","channel":%q,"content":"x","status":%q}`, i, channel, []string{"active", "disabled"}[i/3]))
	}
	for query, want := range map[string]string{
		"": "[t3 t2 t1 t0]", "channel=sms": "[t3 t2 t0]", "status=disabled": "[t3]", "channel=sms&status=active": "[t2 t0]", "limit=2": "[t3 t2]",
	} {
		list := data[api.TemplateList](t, h.want(h.do("GET", "/api/messages/templates?"+query, ""), 200, 0))
		names := []string{}
		for _, item := range list.Items {
			names = append(names, item.Name)
		}
		if fmt.Sprint(names) != want || (list.NextCursor != nil) != (query == "limit=2") {
			t.Errorf("%s: %v, cursor %v; want %s", query, names, list.NextCursor, want)
		}
		if list.NextCursor != nil {
			rest := data[api.TemplateList](t, h.do("GET", "/api/messages/templates?limit=2&cursor="+*list.NextCursor, ""))
			if len(rest.Items) != 2 || rest.Items[0].Name != "t1" || rest.NextCursor != nil {
				t.Errorf("next page %+v", rest)
			}
		}
	}
}

func TestTemplatePreview(t *testing.T) {
	h := newHarness(t)
	mail := h.createTemplate(`{"name":"m","channel":"email","subject":"{{a}}","content":"{{a}} {{b}}","html":"<b>{{a}}</b>","status":"disabled"}`)
	path := func(id int64) string { return fmt.Sprintf("/api/messages/templates/%d/preview", id) }
	p := data[api.Preview](t, h.want(h.do("POST", path(mail.Id), `{"variables":{"a":"<x>\r\nBcc: y","b":2}}`), 200, 0))
	if p.Subject != "<x> Bcc: y" || p.Content != "<x>\r\nBcc: y 2" || p.Html != "<b>&lt;x&gt;\r\nBcc: y</b>" || p.Segments.Segments != 0 {
		t.Errorf("preview %+v", p)
	}
	a := h.want(h.do("POST", path(mail.Id), `{}`), 422, core.CodeInvalidField)
	if len(a.Errors) != 2 || a.field("/variables/a") == "" || a.field("/variables/b") == "" {
		t.Errorf("errors %v; want a and b once each", a.Errors)
	}
	h.want(h.do("POST", path(mail.Id), `{"variables":{"a":"`+strings.Repeat("x", 100<<10)+`","b":""}}`), 422, core.CodeInvalidField)

	sms := h.createTemplate(`{"name":"s","channel":"sms","content":"{{text}}"}`)
	for text, want := range map[string]api.Segments{
		"hi":                     {Encoding: "GSM-7", Units: 2, Segments: 1},
		strings.Repeat("x", 161): {Encoding: "GSM-7", Units: 161, Segments: 2},
		"您好":                     {Encoding: "UCS-2", Units: 2, Segments: 1},
	} {
		p := data[api.Preview](t, h.want(h.do("POST", path(sms.Id), fmt.Sprintf(`{"variables":{"text":%q}}`, text)), 200, 0))
		if p.Segments != want {
			t.Errorf("%.10q: %+v; want %+v", text, p.Segments, want)
		}
	}
}

func TestTemplateOfAProvider(t *testing.T) {
	h := newHarness(t)
	created := h.createTemplate(`{"name":"code","channel":"sms","provider_templates":{"sms/main":{"id":"SMS_1","parameters":{"code":"{{code}}"}}}}`)
	if fmt.Sprint(created.Variables) != "[code]" || created.ProviderTemplates["sms/main"].Parameters["code"] != "{{code}}" {
		t.Errorf("created %+v", created)
	}
	path := fmt.Sprintf("/api/messages/templates/%d", created.Id)
	if got := data[api.Template](t, h.do("GET", path, "")); got.ProviderTemplates["sms/main"].Id != "SMS_1" {
		t.Errorf("read %+v", got)
	}
	p := data[api.Preview](t, h.want(h.do("POST", path+"/preview", `{"variables":{"code":"8462"}}`), 200, 0))
	if p.ProviderTemplates["sms/main"].Parameters["code"] != "8462" {
		t.Errorf("preview %+v", p)
	}
	h.want(h.do("POST", path+"/preview", `{"variables":{}}`), 422, 1001)
	replaced := data[api.Template](t, h.want(h.do("PUT", path, `{"name":"code","channel":"sms","content":"x"}`), 200, 0))
	if len(replaced.ProviderTemplates) != 0 {
		t.Errorf("replaced %+v", replaced)
	}
	for about, body := range map[string]string{
		"another channel's connector": `{"name":"a","channel":"sms","provider_templates":{"email/main":{"id":"x"}}}`,
		"no id":                       `{"name":"a","channel":"sms","provider_templates":{"*":{"id":""}}}`,
		"a variable that is not declared": `{"name":"a","channel":"sms","variables":["b"],
			"provider_templates":{"*":{"id":"x","parameters":{"c":"{{code}}"}}}}`,
	} {
		t.Run(about, func(t *testing.T) { h.want(h.do("POST", "/api/messages/templates", body), 422, 1001) })
	}
}
