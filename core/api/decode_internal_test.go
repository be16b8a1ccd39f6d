package api

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pigeonry/pigeonry/core"
)

func TestDecodeEndsInTheAbyss(t *testing.T) {
	var body SendRequest
	err := decode([]byte(`{"recipient":`+strings.Repeat("[", 1<<20)), &body)
	e, ok := errors.AsType[*core.Error](err)
	if !ok || e.Kind != core.KindInvalid || len(e.Fields) != 1 || len(e.Fields[0].Field) > 200 {
		t.Errorf("decode: %v; want a short core.KindInvalid error", err)
	}
}

func TestDecodeTakesVariablesAsTheyAreWritten(t *testing.T) {
	var body SendRequest
	err := decode([]byte(`{"variables":{"text":"a \u00e9","empty":"","number":1.50,"large":12345678901234567890,"yes":true,"no":false,"none":null}}`), &body)
	if err != nil {
		t.Fatal(err)
	}
	want := Variables{"text": "a é", "empty": "", "number": "1.50", "large": "12345678901234567890", "yes": "true", "no": "false"}
	if !maps.Equal(body.Variables, want) {
		t.Errorf("variables %v; want %v", body.Variables, want)
	}
}

func TestDecodeTakesNullAsLeftOut(t *testing.T) {
	var body SendRequest
	if err := decode([]byte(`{"recipient":"a","priority":null,"variables":null,"send_at":null,"metadata":null}`), &body); err != nil {
		t.Fatal(err)
	}
	if body.Priority != nil || body.Variables != nil || body.SendAt != nil || body.Metadata != nil {
		t.Errorf("body %+v; want only the recipient", body)
	}
}

// FuzzDecode holds the decoder to what it promises: it takes only what encoding/json takes as one JSON
// object, never lets NUL or bad UTF-8 through, and refuses with one kind of error that names a place.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"recipient":"a","variables":{"a":"b","c":1,"d":true}}`, `{"recipients":["a"]}`, `{"a":1,"a":2}`, `{"send_at":"2026-03-01T09:00:00+08:00"}`,
		`{"attachments":[{"name":"x","data":"aGk="}]}`, `{"variables":{"a":[[[[]]]]}}`, "{\"recipient\":\"\xff\"}", `{"recipient":"\u0000"}`,
		`{"recipient":"\\u0000"}`, `{"priority":1e400}`, `null`, `[]`, ``, `{"recipient":"\ud800"}`, `{"priority":5}{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var body SendRequest
		if err := decode(raw, &body); err != nil {
			e, ok := errors.AsType[*core.Error](err)
			if !ok || e.Kind != core.KindInvalid || e.Message == "" || len(e.Fields) != 1 || len(e.Fields[0].Field) > 200 {
				t.Fatalf("%q: %#v", raw, err)
			}
			return
		}
		var lenient map[string]any
		if err := json.Unmarshal(raw, &lenient); err != nil || lenient == nil {
			t.Fatalf("%q was taken and is no JSON object: %v", raw, err)
		}
		for name, value := range body.Variables {
			if strings.ContainsRune(name+value, 0) || !utf8.ValidString(name+value) {
				t.Fatalf("%q let %q=%q through", raw, name, value)
			}
		}
		if strings.ContainsRune(body.Recipient, 0) || !utf8.ValidString(body.Recipient) {
			t.Fatalf("%q let %q through", raw, body.Recipient)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	tests := []struct {
		about, body string
		field       string // where
		reason      string // a part of what the caller reads
	}{
		{"nothing", "", "", "is empty"},
		{"blanks", " \n", "", "is empty"},
		{"null", " null ", "", "is null"},
		{"no JSON", "recipient=x", "", "is not JSON"},
		{"a list", "[]", "", "is a list; give an object"},
		{"a text", `"x"`, "", "give an object"},
		{"cut off", `{"recipient":"a`, "/recipient", "in the middle"},
		{"unknown field", `{"recipient":"a","priorty":1}`, "/priorty", "unknown field"},
		{"unknown field inside", `{"attachments":[{"nam":"x"}]}`, "/attachments/0/nam", "unknown field"},
		{"another case", `{"Recipient":"a"}`, "/Recipient", "unknown field"},
		{"a field twice", `{"recipient":"a","recipient":"b"}`, "/recipient", "given twice"},
		{"a variable twice", `{"variables":{"a":"1","a":"2"}}`, "/variables/a", "given twice"},
		{"metadata twice", `{"metadata":{"a":"1","a":"2"}}`, "/metadata/a", "given twice"},
		{"a number for a text", `{"recipient":13800138000}`, "/recipient", "is a number; give a text in quotes"},
		{"a text for a number", `{"priority":"5"}`, "/priority", "give a whole number without quotes"},
		{"a fraction", `{"priority":5.5}`, "/priority", "not a whole number"},
		{"too large a number", `{"template_id":9223372036854775808}`, "/template_id", "not a whole number that fits"},
		{"no time", `{"send_at":"tomorrow"}`, "/send_at", "give a time with offset"},
		{"a time without offset", `{"send_at":"2026-03-01T09:00:00"}`, "/send_at", "give a time with offset"},
		{"no base64", `{"attachments":[{"name":"x","data":"?"}]}`, "/attachments/0/data", "give base64"},
		{"an object for a list", `{"attachments":{}}`, "/attachments", "is an object; give a list"},
		{"a number in metadata", `{"metadata":{"a":1}}`, "/metadata/a", "is a number; give a text"},
		{"a list in variables", `{"variables":{"a":[1]}}`, "/variables/a", "is a list or an object"},
		{"an object in variables", `{"variables":{"a/b":{}}}`, "/variables/a~1b", "is a list or an object"},
		{"variables that are a list", `{"variables":[]}`, "/variables", "is not an object"},
		{"deep nesting", `{"variables":{"a":` + deep + `}}`, "/variables/a", "is a list or an object"},

		{"trailing data", `{"recipient":"a"} {}`, "", "is not JSON"},
		{"bad UTF-8", "{\"recipient\":\"\xff\"}", "/recipient", "UTF-8"},
		{"half a surrogate pair", `{"recipient":"\ud800"}`, "/recipient", "is not JSON"},
		{"NUL as an escape", `{"variables":{"a":"x\u0000"}}`, "/variables/a", "NUL"},
		{"NUL in a name", `{"variables":{"\u0000":"x"}}`, "/variables/\x00", "NUL"},
		{"NUL as it is", "{\"recipient\":\"\x00\"}", "/recipient", "is not JSON"},
		{"NaN", `{"priority":NaN}`, "/priority", "is not JSON"},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			var body SendRequest
			err := decode([]byte(test.body), &body)
			e, ok := errors.AsType[*core.Error](err)
			if !ok {
				t.Fatalf("decode: %v; want a *core.Error", err)
			}
			if e.Kind != core.KindInvalid || e.Code != core.CodeMalformed {
				t.Errorf("kind %d, code %d; want %d, %d", e.Kind, e.Code, core.KindInvalid, core.CodeMalformed)
			}
			if len(e.Fields) != 1 || e.Fields[0].Field != test.field || !strings.Contains(e.Fields[0].Reason, test.reason) {
				t.Errorf("fields: %+v; want %q with %q", e.Fields, test.field, test.reason)
			}
		})
	}
}
