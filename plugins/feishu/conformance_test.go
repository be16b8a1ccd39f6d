package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

// suite describes the plugin to the conformance kit, with a Feishu that plays along: the recipient says what happens.
func suite(t *testing.T) channeltest.Suite {
	t.Helper()
	var sent atomic.Int64
	f := serve(t, map[string]http.HandlerFunc{messagesPath: func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("receive_id_type") {
		case "email": // refused
			says(http.StatusBadRequest, fmt.Sprintf(`{"code":230034,"msg":%q}`, "no thanks, "+testSecret+" "+r.Header.Get("Authorization")))(w, r)
			return
		case "chat_id": // slow
			<-time.After(1500 * time.Millisecond) // also when nobody waits for the answer any more
		}
		says(http.StatusOK, fmt.Sprintf(`{"code":0,"data":{"message_id":"om_%d"}}`, sent.Add(1)))(w, r)
	}})
	app := settings{
		"app_id": testAppID, "app_secret": testSecret, "verification_token": testToken, "encrypt_key": testKey,
		"per_second": 1000, "per_minute": 60000, "recipient_per_second": 1000,
	}
	given := settings{"base_url": f.URL, "app": app}
	return channeltest.Suite{
		Config:    given,
		Recipient: "ou_1",
		BadConfigs: []channeltest.BadConfig{
			{Name: "no host", Config: with(given, settings{"base_url": "open.feishu.cn"}), Path: "base_url"},
			{Name: "no app_id", Config: with(given, settings{"app": with(app, settings{"app_id": ""})}), Path: "app.app_id"},
			{Name: "bots as well", Config: with(given, settings{"webhook": settings{}}), Path: "app"},
		},
		Slow:    channeltest.To("oc_slow"),
		Fails:   channeltest.To("refused@example.com"),
		Sent:    func() int { return int(sent.Load()) },
		Secrets: []string{"t-token-1"},
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

// No credential leaves by an error, whatever the provider quotes.
func TestErrorsHoldNoCredentials(t *testing.T) {
	f := serve(t, map[string]http.HandlerFunc{
		messagesPath: func(w http.ResponseWriter, r *http.Request) {
			text, _ := json.Marshal(r.Header.Get("Authorization") + " " + testSecret)
			says(400, `{"code":230001,"msg":`+string(text)+`}`)(w, r)
		},
		opsPath: says(500, "<html>"+testHook+" "+testSigning),
	})
	_, err := connect(t, appSettings(f.URL)).Send(t.Context(), message("ou_1"))
	if err == nil || strings.Contains(err.Error(), "token-1") || strings.Contains(err.Error(), testSecret) {
		t.Errorf("app: %v", err)
	}
	_, err = connect(t, hookSettings(f.URL)).Send(t.Context(), message("ops"))
	if err == nil || strings.Contains(err.Error(), testHook) || strings.Contains(err.Error(), testSigning) {
		t.Errorf("hook: %v", err)
	}
}
