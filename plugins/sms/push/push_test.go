package push_test

import (
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

func TestElements(t *testing.T) {
	for body, want := range map[string]int{`[]`: 0, `[{"a":1},{"b":2}]`: 2, "\n{\"a\":1}": 1, `{}`: 1} {
		if got, err := push.Elements([]byte(body)); err != nil || len(got) != want {
			t.Errorf("%s: %d elements, %v", body, len(got), err)
		}
	}
	for _, body := range []string{``, `{`, `"text"`, `[1`, "[\"\xff\"]"} {
		if got, err := push.Elements([]byte(body)); err == nil {
			t.Errorf("%q: %d elements, want an error", body, len(got))
		}
	}
}
