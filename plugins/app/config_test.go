package main

import (
	"slices"
	"strings"
	"testing"

	apnsdouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/apns"
	fcmdouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/fcm"
	webpushdouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/webpush"
)

func TestValidate(t *testing.T) {
	good := map[string]settings{
		"fcm":     {"service_account": fcmdouble.ServiceAccount},
		"apns":    {"private_key": apnsdouble.PrivateKey, "key_id": apnsdouble.KeyID, "team_id": apnsdouble.TeamID, "topic": apnsdouble.Topic},
		"webpush": {"private_key": webpushdouble.PrivateKey, "subject": "mailto:ops@example.com"},
		"huawei":  {"client_id": "1", "client_secret": "secret-of-the-app"},
	}
	withKey := func(field string, value any) settings { return with(good["fcm"], settings{field: value}) }
	for name, tt := range map[string]struct {
		given settings
		path  string // "" if the config is taken
	}{
		"fcm":               {settings{"fcm": good["fcm"]}, ""},
		"apns":              {settings{"apns": good["apns"]}, ""},
		"webpush":           {settings{"webpush": good["webpush"]}, ""},
		"webpush with pair": {settings{"webpush": with(good["webpush"], settings{"public_key": webpushdouble.PublicKey + "=", "hosts": []string{"*.example.com"}})}, ""},
		"huawei":            {settings{"huawei": good["huawei"]}, ""},
		"none":              {settings{}, ""},
		"two":               {settings{"fcm": good["fcm"], "huawei": good["huawei"]}, ""},
		"an authority":      {settings{"fcm": good["fcm"], "tls_ca": "/etc/ca.pem"}, "tls_ca"},

		"no JSON":               {settings{"fcm": withKey("service_account", "service-account.json")}, "fcm.service_account"},
		"another kind":          {settings{"fcm": withKey("service_account", `{"type":"authorized_user"}`)}, "fcm.service_account"},
		"no key":                {settings{"fcm": withKey("service_account", `{"type":"service_account","private_key":"x"}`)}, "fcm.service_account"},
		"no account":            {settings{"fcm": withKey("service_account", strings.Replace(fcmdouble.ServiceAccount, "client_email", "email", 1))}, "fcm.service_account"},
		"no project":            {settings{"fcm": withKey("service_account", strings.Replace(fcmdouble.ServiceAccount, "project_id", "project", 1))}, "fcm.project_id"},
		"an address of tokens":  {settings{"fcm": withKey("token_url", "oauth2.googleapis.com")}, "fcm.token_url"},
		"an address of FCM":     {settings{"fcm": withKey("base_url", "https://fcm.googleapis.com?x=1")}, "fcm.base_url"},
		"a key of APNs":         {settings{"apns": with(good["apns"], settings{"private_key": "AuthKey.p8"})}, "apns.private_key"},
		"a key of another kind": {settings{"apns": with(good["apns"], settings{"private_key": rsaKey(t)})}, "apns.private_key"},
		"a short key id":        {settings{"apns": with(good["apns"], settings{"key_id": "ABC"})}, "apns.key_id"},
		"an address of APNs":    {settings{"apns": with(good["apns"], settings{"base_url": "ftp://api.push.apple.com"})}, "apns.base_url"},
		"a key of VAPID":        {settings{"webpush": with(good["webpush"], settings{"private_key": "%%%%"})}, "webpush.private_key"},
		"a short key of VAPID":  {settings{"webpush": with(good["webpush"], settings{"private_key": "AAAA"})}, "webpush.private_key"},
		"keys of two pairs":     {settings{"webpush": with(good["webpush"], settings{"public_key": "BAAA"})}, "webpush.public_key"},
		"a subject":             {settings{"webpush": with(good["webpush"], settings{"subject": "ops@example.com"})}, "webpush.subject"},
		"a host":                {settings{"webpush": with(good["webpush"], settings{"hosts": []string{"https://example.com"}})}, "webpush.hosts[0]"},
		"a user alone":          {settings{"huawei": with(good["huawei"], settings{"callback_user": "u"})}, "huawei.callback_key"},
		"an address of Huawei":  {settings{"huawei": with(good["huawei"], settings{"base_url": "https://"})}, "huawei.base_url"},
	} {
		t.Run(name, func(t *testing.T) {
			got := diagnose(t, tt.given)
			for _, line := range got {
				if strings.Contains(line, "BEGIN") || strings.HasSuffix(line, "; ") {
					t.Errorf("%q holds a secret, or no remedy", line)
				}
			}
			switch {
			case name == "none" || name == "two":
				if len(got) != 1 || !strings.HasPrefix(got[0], ": has ") {
					t.Errorf("got %q", got)
				}
			case tt.path == "":
				if len(got) != 0 {
					t.Errorf("refused: %q", got)
				}
			case !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, tt.path+": ") }):
				t.Errorf("got %q, want an error of %s", got, tt.path)
			}
		})
	}
}
