// Command silenceper drives the Go library github.com/silenceper/wechat/v2, which this project did not write, against the
// sandbox. It is a module of its own, so that nobody else has to have what that library needs.
//
//	silenceper send <base url> <account as JSON>   sends, and prints one JSON object
//	silenceper serve <account as JSON>             takes pushes until its standard input ends; prints the port, then a line a push
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/silenceper/wechat/v2"
	"github.com/silenceper/wechat/v2/cache"
	"github.com/silenceper/wechat/v2/credential"
	"github.com/silenceper/wechat/v2/officialaccount"
	"github.com/silenceper/wechat/v2/officialaccount/config"
	"github.com/silenceper/wechat/v2/officialaccount/message"
	"github.com/silenceper/wechat/v2/util"
)

type account struct {
	AppID          string `json:"app_id"`
	AppSecret      string `json:"app_secret"`
	Token          string `json:"token"`
	EncodingAESKey string `json:"encoding_aes_key"`
}

func main() {
	if len(os.Args) < 3 {
		fail(fmt.Errorf("usage: silenceper send|serve …"))
	}
	var a account
	if err := json.Unmarshal([]byte(os.Args[len(os.Args)-1]), &a); err != nil {
		fail(err)
	}
	memory := cache.NewMemory()
	oa := wechat.NewWechat().GetOfficialAccount(&config.Config{
		AppID: a.AppID, AppSecret: a.AppSecret, Token: a.Token, EncodingAESKey: a.EncodingAESKey, Cache: memory,
	})
	oa.SetAccessTokenHandle(credential.NewStableAccessToken(a.AppID, a.AppSecret, "test", memory))
	if os.Args[1] == "send" {
		base := os.Args[2]
		util.SetURIModifier(func(uri string) string { return strings.Replace(uri, "https://api.weixin.qq.com", base, 1) })
		print(send(oa))
		return
	}
	serve(oa)
}

func print(v any) {
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// text is what an error says.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func send(oa *officialaccount.OfficialAccount) map[string]any {
	out := map[string]any{}
	template := oa.GetTemplate()
	m := &message.TemplateMessage{
		ToUser: "ann", TemplateID: "T1", URL: "https://example.com/?a=1&b=2", ClientMsgID: "go-1",
		Data: map[string]*message.TemplateDataItem{"thing1": {Value: "黄先生"}, "amount2": {Value: "39.80元"}},
	}
	id, err := template.Send(m)
	out["template"], out["template_error"] = fmt.Sprint(id), text(err)
	again, err := template.Send(m)
	out["again"], out["again_error"] = fmt.Sprint(again), text(err)
	list, err := template.List()
	out["templates"], out["templates_error"] = len(list), text(err)
	m.ToUser, m.ClientMsgID = "zoe", ""
	_, err = template.Send(m)
	out["stranger_error"] = text(err)
	out["notice_error"] = text(oa.GetSubscribe().Send(&message.SubscribeMessage{
		ToUser: "ann", TemplateID: "T1", Data: map[string]*message.SubscribeDataItem{"thing1": {Value: "黄先生"}, "amount2": {Value: "39.80元"}},
	}))
	manager := oa.GetCustomerMessageManager()
	out["text_error"] = text(manager.Send(message.NewCustomerTextMessage("ann", "你好")))
	out["image_error"] = text(manager.Send(message.NewCustomerImgMessage("ann", "MEDIA")))
	return out
}

func serve(oa *officialaccount.OfficialAccount) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	print(map[string]any{"port": listener.Addr().(*net.TCPAddr).Port})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fail(http.Serve(listener, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		server := oa.GetServer(r, rw)
		server.SetMessageHandler(func(m *message.MixMessage) *message.Reply {
			print(map[string]any{"by": "silenceper", "message": map[string]any{
				"FromUserName": m.FromUserName, "ToUserName": m.ToUserName, "MsgType": m.MsgType, "Content": m.Content, "Event": m.Event,
				"MsgID": fmt.Sprint(m.TemplateMsgID), "Status": m.Status,
			}})
			return nil
		})
		if err := server.Serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = server.Send()
	})))
}
