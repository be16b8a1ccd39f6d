package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

// kitAccessToken is what the provider of the kit gives out.
const kitAccessToken = "access-token-of-the-kit"

// suite describes the plugin to the conformance kit, with a WeChat that plays along: the OpenID says what happens.
func suite(t *testing.T) channeltest.Suite {
	t.Helper()
	var sent atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc(pathStableToken, says(`{"access_token":"`+kitAccessToken+`","expires_in":7200}`))
	mux.HandleFunc(pathAddresses, says(`{"ip_list":["127.0.0.1"]}`))
	mux.HandleFunc(pathCustom, func(rw http.ResponseWriter, r *http.Request) {
		var m struct {
			ToUser string `json:"touser"`
		}
		_ = json.NewDecoder(r.Body).Decode(&m)
		switch m.ToUser {
		case "refused":
			says(fmt.Sprintf(`{"errcode":40003,"errmsg":%q}`, "invalid openid "+testSecret+" "+r.URL.RawQuery))(rw, r)
			return
		case "slow":
			<-time.After(1500 * time.Millisecond) // also when nobody waits for the answer any more
		}
		sent.Add(1)
		says(`{"errcode":0,"errmsg":"ok"}`)(rw, r)
	})
	p := httptest.NewServer(mux)
	t.Cleanup(p.Close)
	good := func(name string, value any) map[string]any {
		all := map[string]any{
			"app_id": testAppID, "app_secret": testSecret, "token": testToken, "encoding_aes_key": testKey, "base_url": p.URL,
		}
		if name != "" {
			all[name] = value
		}
		return all
	}
	return channeltest.Suite{
		Config: good("", nil),
		BadConfigs: []channeltest.BadConfig{
			{Name: "the AppID of an enterprise", Config: good("app_id", "ww0123456789abcdef"), Path: "app_id"},
			{Name: "half a key", Config: good("encoding_aes_key", "abc"), Path: "encoding_aes_key"},
			{Name: "an unknown kind", Config: good("template_type", "fax"), Path: "template_type"},
			{Name: "in clear", Config: good("base_url", "http://example.com"), Path: "base_url"},
		},
		Recipient: testUser,
		Slow:      channeltest.To("slow"),
		Fails:     channeltest.To("refused"),
		Sent:      func() int { return int(sent.Load()) },
		Secrets:   []string{kitAccessToken},
	}
}

func TestConformanceInProcess(t *testing.T) {
	s := suite(t)
	s.Plugin = channeltest.InProcess(plugin())
	channeltest.Run(t, s)
}

func TestConformanceOfTheBinary(t *testing.T) {
	s := suite(t)
	s.Binary = filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", s.Binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	channeltest.Run(t, s)
}
