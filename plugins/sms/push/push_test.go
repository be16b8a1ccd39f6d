package push_test

import (
	"errors"
	"testing"

	"github.com/pigeonry/pigeonry/plugins/sms/push"
	"github.com/pigeonry/pigeonry/sdk"
)

func TestAuthorized(t *testing.T) {
	for _, tc := range []struct {
		path, query string
		token       sdk.Secret
		want        bool
	}{
		{"", "token=s3cret", "s3cret", true},
		{"/", "a=1&token=s3cret", "s3cret", true},
		{"/s3cret", "", "s3cret", true},
		{"/s3cret/", "", "s3cret", true},
		{"", "token=s3cre", "s3cret", false},
		{"/s3cret", "token=other", "s3cret", false},
		{"", "", "s3cret", false},
		{"", "", "", false},
		{"", "token=", "", false},
		{"/s3cret", "%zz", "s3cret", true},
	} {
		if got := push.Authorized(&sdk.CallbackRequest{Path: tc.path, Query: tc.query}, tc.token); got != tc.want {
			t.Errorf("%q?%q with %q: %v", tc.path, tc.query, tc.token.Reveal(), got)
		}
	}
}

// count reads each object as an inbound message.
func count(object []byte, events *sdk.Events) error {
	if string(object) == `{"bad":1}` {
		return errors.New("as asked")
	}
	events.Inbound = append(events.Inbound, sdk.Inbound{Text: string(object)})
	return nil
}

func TestParse(t *testing.T) {
	for body, want := range map[string]int{`[]`: 0, `[{"a":1},{"b":2}]`: 2, "\n{\"a\":1}": 1, `{}`: 1} {
		if got, err := push.Parse([]byte(body), count); err != nil || len(got.Inbound) != want {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
	for _, body := range []string{``, `{`, `"text"`, `[1`, "[\"\xff\"]", `[{"a":1},{"bad":1}]`} {
		if got, err := push.Parse([]byte(body), count); err == nil || !got.Empty() {
			t.Errorf("%q: %+v, want an error", body, got)
		}
	}
}

func TestHandle(t *testing.T) {
	answers := push.Answers{Taken: "yes", Unauthorized: "who", Unreadable: "what"}
	for _, tc := range []struct {
		query, body string
		status      int
		answer      string
		events      int
	}{
		{"token=s3cret", `[{},{}]`, 200, "yes", 2},
		{"token=other", `[{},{}]`, 401, "who", 0},
		{"token=s3cret", `[{}`, 400, "what", 0},
	} {
		got, events, err := push.Handle(&sdk.CallbackRequest{Query: tc.query, Body: []byte(tc.body)}, "s3cret", answers, count)
		if err != nil || got.Status != tc.status || string(got.Body) != tc.answer || len(events.Inbound) != tc.events {
			t.Errorf("%s with %s: %+v, %+v, %v", tc.body, tc.query, got, events, err)
		}
	}
}

func TestCheckToken(t *testing.T) {
	if err := push.CheckToken("x.callback_token", "abc-DEF_123"); err != nil {
		t.Errorf("a good token: %v", err)
	}
	for _, token := range []sdk.Secret{"a/b", "a b", "a?b", "a%20b"} {
		if err := push.CheckToken("x.callback_token", token); err == nil {
			t.Errorf("%q: no error", token.Reveal())
		}
	}
}
