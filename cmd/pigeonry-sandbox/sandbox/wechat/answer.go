package wechat

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// Error codes that the provider answers of its own accord:
// https://developers.weixin.qq.com/doc/oplatform/developers/errCode/errCode.html
const (
	errSystem      = -1
	errToken       = 40001
	errGrantType   = 40002
	errOpenID      = 40003
	errMediaType   = 40004
	errMediaID     = 40007
	errMessageType = 40008
	errAppID       = 40013
	errParameter   = 40035
	errTemplate    = 40037
	errEscaped     = 40033
	errSecret      = 40125
	errNoToken     = 41001
	errNoAppID     = 41002
	errNoSecret    = 41004
	errNoMedia     = 41005
	errNoMediaID   = 41006
	errNoOpenID    = 41009
	errNeedGet     = 43001
	errNeedPost    = 43002
	errStranger    = 43004
	errRefused     = 43101
	errEmpty       = 44002
	errNoNews      = 44003
	errNoContent   = 44004
	errTooLarge    = 45002
	errDailyQuota  = 45009
	errMinute      = 45011
	errWindow      = 45015
	errReplies     = 45047
	errClientID    = 45067
	errFormat      = 47001
	errArgument    = 47003
)

// messages are WeChat's words for its codes.
var messages = map[int]string{
	errSystem: "system error", errToken: "invalid credential, access_token is invalid or not latest, could get access_token by getStableAccessToken",
	errGrantType: "invalid grant_type", errOpenID: "invalid openid", errMediaType: "invalid media type", errMediaID: "invalid media_id",
	errMessageType: "invalid message type", errAppID: "invalid appid", errParameter: "invalid parameter", errTemplate: "invalid template_id",
	errEscaped: "invalid charset. please check your request, if include \\uxxxx will create fail!", errSecret: "invalid appsecret",
	errNoToken: "access_token missing", errNoAppID: "appid missing", errNoSecret: "appsecret missing", errNoMedia: "media data missing",
	errNoMediaID: "media_id missing", errNoOpenID: "openid missing", errNeedGet: "require GET method", errNeedPost: "require POST method",
	errStranger: "require subscribe", errRefused: "user refuse to accept the msg", errEmpty: "empty post data", errNoNews: "empty news data",
	errNoContent: "empty content", errTooLarge: "content size out of limit", errDailyQuota: "reach max api daily quota limit",
	errMinute: "api minute-quota reach limit, must slower, retry next minute",
	errWindow: "response out of time limit or subscription is canceled", errReplies: "out of response count limit",
	errClientID: "clientmsgid size out of limit", errFormat: "data format error", errArgument: "argument invalid!",
	40014: "invalid access_token", 40036: "invalid template_id size", 40164: "invalid ip, not in whitelist", 40241: "The message is duplicate in 60 seconds",
	40249: "this template msg has been blocked for illegal content", 42001: "access_token expired", 43019: "require remove blacklist",
	43116: "This template_id is banned", 43117: "Sending messages to this openid too frequently,please try later",
	45168: "sensitive words", 48001: "api unauthorized", 48002: "user block receive message", 48004: "api forbidden for irregularities, view detail on mp.weixin.qq.com",
	50002: "user limited", 50005: "user is unsubscribed", 61452: "invalid kf_account", 87014: "risky content",
}

// reply answers with JSON, always with status 200 as WeChat does, and without a line feed at the end: there are clients that
// stumble over one.
func reply(rw http.ResponseWriter, body map[string]any) {
	rw.Header().Set("Content-Type", "application/json; encoding=utf-8")
	text, _ := json.Marshal(body) //nolint:errchkjson // strings and numbers
	_, _ = rw.Write(text)         // the client may be gone
}

// fail answers with an error code. The rid is by what WeChat's support finds a request.
func fail(rw http.ResponseWriter, code int) {
	text, known := messages[code]
	if !known {
		text = "sandbox error"
	}
	reply(rw, map[string]any{"errcode": code, "errmsg": text + " rid: 5a9db0c5-00000000-00000000"})
}

// refuse answers a message that was not taken.
func refuse(rw http.ResponseWriter, d desk.Decision) {
	code, err := strconv.Atoi(d.Code)
	switch {
	case err == nil && d.Code != "":
	case d.Answer == desk.Throttle:
		code = errMinute
	case d.Answer == desk.Refuse:
		code = errOpenID
	default:
		code = errSystem
	}
	fail(rw, code)
}

// maxBody is what a request may have: the largest media, and what is around it.
const maxBody = 11 << 20

func readAll(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	return body, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// addresses answers which addresses WeChat has.
func (p *Provider) addresses(rw http.ResponseWriter, _ *http.Request) {
	reply(rw, map[string]any{"ip_list": []string{"127.0.0.1"}})
}

// listTemplates answers which templates the account has.
func (p *Provider) listTemplates(rw http.ResponseWriter, _ *http.Request) {
	templates := p.current().Templates
	list := make([]map[string]string, 0, len(templates))
	for _, id := range sortedKeys(templates) {
		var content strings.Builder
		for _, parameter := range templates[id] {
			fmt.Fprintf(&content, "%s: {{%s.DATA}}\n", parameter, parameter)
		}
		list = append(list, map[string]string{
			"template_id": id, "title": id, "primary_industry": "", "deputy_industry": "", "content": content.String(), "example": "",
		})
	}
	reply(rw, map[string]any{"template_list": list})
}
