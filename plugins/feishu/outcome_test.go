package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// documented is what each documented code means: the status that an app's interface gives it, the code, and the outcome.
// The pages are named at verdicts.
const documented = `
400 230001 rejected invalid_parameter message
400 230002 rejected permission_denied message
400 230006 rejected permission_denied config
400 230013 rejected permission_denied message
400 230015 rejected invalid_parameter message
400 230017 rejected permission_denied message
400 230018 rejected permission_denied message
400 230019 rejected invalid_recipient message
400 230020 throttled throttled provider 1s
400 230022 rejected content_refused message
400 230025 rejected payload_too_large message
400 230027 rejected permission_denied config
400 230028 rejected content_refused message
400 230029 rejected unregistered message
400 230034 rejected invalid_recipient message
400 230035 rejected recipient_blocked message
400 230036 rejected permission_denied config
400 230038 rejected permission_denied message
400 230049 uncertain duplicate provider
400 230053 rejected unsubscribed message
400 230054 rejected invalid_parameter message
400 230055 rejected invalid_parameter message
400 230075 rejected permission_denied message
400 230099 rejected template_invalid message
400 232009 rejected unregistered message
400 232096 retryable provider_unavailable provider
400 234001 rejected invalid_parameter message
401 234002 rejected auth_failed config
400 234006 rejected payload_too_large message
400 234007 rejected permission_denied config
400 234010 rejected invalid_parameter message
400 234011 rejected invalid_parameter message
400 234039 rejected payload_too_large message
400 234041 rejected permission_denied config
400 234042 retryable provider_unavailable provider
200 9499 rejected invalid_parameter message
200 19001 rejected auth_failed config
200 19002 rejected invalid_parameter message
200 19021 rejected sign_invalid config
200 19022 rejected permission_denied config
200 19024 rejected content_refused message
200 19036 rejected payload_too_large message
200 11232 throttled throttled provider 5s
200 11233 throttled throttled provider 1s
200 11247 throttled throttled provider 1m0s
429 99991400 throttled throttled provider 1s
400 10001 rejected invalid_parameter message
400 10002 rejected permission_denied message
400 10004 rejected invalid_recipient message
400 10009 rejected invalid_recipient message
400 10010 rejected permission_denied message
400 10017 rejected permission_denied message
400 10029 rejected invalid_recipient message
400 10030 rejected permission_denied message
400 10034 rejected permission_denied message
400 10100 rejected invalid_parameter message
400 11100 rejected invalid_recipient message
400 11101 rejected invalid_recipient message
400 11102 rejected invalid_recipient message
400 11105 rejected invalid_recipient message
400 11106 rejected invalid_recipient message
400 11201 rejected permission_denied message
400 11205 rejected permission_denied config
400 11206 rejected permission_denied message
400 11207 rejected permission_denied config
400 11209 rejected permission_denied config
400 11210 rejected permission_denied config
400 11213 rejected invalid_recipient message
400 11215 rejected invalid_recipient message
400 11216 rejected invalid_recipient message
400 11221 rejected permission_denied message
400 11223 rejected permission_denied config
400 11225 rejected permission_denied message
400 11227 rejected invalid_parameter message
400 11230 rejected permission_denied message
400 11231 rejected invalid_recipient message
400 11235 rejected permission_denied message
400 11236 rejected unregistered message
400 11237 rejected unregistered message
400 11240 rejected permission_denied config
400 11242 rejected recipient_blocked message
400 11246 rejected invalid_parameter message
400 11248 rejected content_refused message
400 11249 rejected permission_denied config
400 11310 rejected template_invalid message
400 11312 rejected content_refused message
400 18053 rejected invalid_parameter message
400 18054 rejected content_refused message
400 18121 uncertain duplicate provider
400 99992351 rejected invalid_recipient message
400 99992352 rejected invalid_recipient message
400 99992353 rejected invalid_recipient message
400 99992354 rejected invalid_recipient message
400 99992355 rejected invalid_recipient message
400 99992356 rejected invalid_recipient message
400 99992359 rejected invalid_recipient message
400 99992360 rejected invalid_recipient message
400 99992361 rejected invalid_recipient message
400 99992363 rejected invalid_recipient message
400 99992364 rejected invalid_recipient message
400 99992381 rejected invalid_recipient message
400 99992402 rejected invalid_parameter message
400 4001 rejected auth_failed config
400 10003 rejected auth_failed config
400 10005 rejected auth_failed config
400 10012 rejected auth_failed config
400 10013 rejected auth_failed config
400 10014 rejected auth_failed config
400 10015 rejected auth_failed config
400 20005 rejected auth_failed config
404 99991201 rejected invalid_parameter config
405 99991301 rejected invalid_parameter config
400 99991401 rejected permission_denied config
400 99991543 rejected auth_failed config
400 99991661 rejected auth_failed config
400 99991662 rejected auth_failed config
400 99991663 rejected auth_failed config
400 99991664 rejected auth_failed config
400 99991665 rejected auth_failed config
400 99991668 rejected auth_failed config
400 99991671 rejected auth_failed config
400 99991672 rejected permission_denied config
400 99991673 rejected permission_denied config
400 99991676 rejected permission_denied config
400 99991677 rejected auth_failed config
400 99991679 rejected permission_denied config
400 99991681 rejected auth_failed config
500 1500 uncertain provider_unavailable provider
500 1503 uncertain provider_unavailable provider
500 1551 uncertain provider_unavailable provider
500 1557 uncertain provider_unavailable provider
500 1642 uncertain provider_unavailable provider
500 1663 uncertain provider_unavailable provider
500 1665 uncertain provider_unavailable provider
500 1668 uncertain provider_unavailable provider
500 2200 uncertain provider_unavailable provider
500 4006 uncertain provider_unavailable provider
500 5000 uncertain provider_unavailable provider
500 10101 uncertain provider_unavailable provider
500 10105 uncertain provider_unavailable provider
500 10500 uncertain provider_unavailable provider
`

func TestDocumentedCodes(t *testing.T) {
	tested := map[int]bool{}
	for row := range strings.SplitSeq(strings.TrimSpace(documented), "\n") {
		fields := strings.Fields(row)
		status, _ := strconv.Atoi(fields[0])
		code, err := strconv.Atoi(fields[1])
		if err != nil || len(fields) < 5 {
			t.Fatalf("bad row %q", row)
		}
		tested[code] = true
		want := strings.Join(append([]string{fields[2], fields[3], fields[1]}, fields[4:]...), " ")
		if got := readTold(status, fmt.Sprintf(`{"code":%d,"msg":"some text"}`, code)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for code := range verdicts {
		if !tested[code] {
			t.Errorf("%d has no row here", code)
		}
	}
	for code := range staleTokens {
		if n, err := strconv.Atoi(code); err != nil || verdicts[n].code != "auth_failed" {
			t.Errorf("%s refuses a token, and is no auth_failed", code)
		}
	}
}

// readTold is what an answer means, in short.
func readTold(status int, body string, headers ...string) string {
	w := httptest.NewRecorder()
	says(status, body, headers...)(w, nil)
	_, err := readAnswer(w.Result(), []byte(body))
	return told(err)
}

// What the table does not say.
func TestAnswers(t *testing.T) {
	const ok = `{"code":0,"msg":"success"}`
	for _, c := range []struct {
		status  int
		body    string
		want    string
		headers []string
	}{
		{200, ok, "accepted", nil},
		{200, `{"StatusCode":0,"StatusMessage":"success"}`, "accepted", nil},
		{200, `{"StatusCode":19024,"StatusMessage":"Key Words Not Found"}`, "rejected content_refused 19024 message", nil},
		{200, `{"code":9499,"msg":"Too Many Requests"}`, "throttled throttled 9499 provider 1s", nil},
		{400, `{"code":230001,"msg":"…, ext=invalid receive_id."}`, "rejected invalid_recipient 230001 message", nil},
		{429, `{"code":99991400,"msg":"slow"}`, "throttled throttled 99991400 provider 52s", []string{"x-ogw-ratelimit-reset", "52"}},
		{400, `{"code":99991400,"msg":"slow"}`, "throttled throttled 99991400 provider 7s", []string{"Retry-After", "7"}},
		{429, `{"code":99991400,"msg":"slow"}`, "throttled throttled 99991400 provider 100ms", []string{"x-ogw-ratelimit-reset", "0"}},
		{429, `{"code":99991400,"msg":"slow"}`, "throttled throttled 99991400 provider 1h0m0s", []string{"x-ogw-ratelimit-reset", "999999"}},
		{429, `{"code":99991400,"msg":"slow"}`, "throttled throttled 99991400 provider 1s", []string{"x-ogw-ratelimit-reset", "soon"}},
		{429, `<html>`, "throttled throttled 429 provider 3s", []string{"x-ogw-ratelimit-reset", "3"}},
		{429, `{"code":777,"msg":"new"}`, "throttled throttled 777 provider 1s", nil},
		{400, `{"code":777,"msg":"new"}`, "rejected rejected_by_provider 777 message", nil},
		{200, `{"code":777,"msg":"new"}`, "rejected rejected_by_provider 777 message", nil},
		{500, `{"code":777,"msg":"new"}`, "uncertain provider_unavailable 777 provider", nil},
		{502, `<html>`, "uncertain http_status 502 provider", nil},
		{503, `<html>`, "retryable unavailable 503 provider", nil},
		{403, `<html>`, "rejected auth_failed 403 config", nil},
		{302, ``, "rejected http_status 302 config", nil},
		{500, ok, "uncertain http_status 500 provider", nil},
		{200, ``, "uncertain unreadable_answer  provider", nil},
		{200, `{}`, "uncertain unreadable_answer  provider", nil},
		{200, `{"code":"0"}`, "uncertain unreadable_answer  provider", nil},
		{200, `{"code":0,"msg":`, "uncertain unreadable_answer  provider", nil},
	} {
		if got := readTold(c.status, c.body, c.headers...); got != c.want {
			t.Errorf("%d %s %v: got %s, want %s", c.status, c.body, c.headers, got, c.want)
		}
	}
	w := httptest.NewRecorder()
	w.Header().Set("X-Tt-Logid", "2026LOG")
	if err := refusal(w.Result(), 230002, strings.Repeat("x", 1000)); !strings.HasPrefix(err.Error(), "Feishu answered 230002: xxx") ||
		!strings.HasSuffix(err.Error(), "x (log id 2026LOG)") || len(err.Error()) > 400 {
		t.Errorf("%v", err)
	}
}

// What never reached Feishu is retryable; what may have, is uncertain. What comes before the message is not sent, ever.
func TestNetwork(t *testing.T) {
	hangUp := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}
	cutShort := func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err == nil {
			writeShort(rw, conn)
		}
	}
	for name, c := range map[string]struct {
		path string
		then http.HandlerFunc
		want string
	}{
		"the answer is lost":              {messagesPath, hangUp, "uncertain uncertain  provider"},
		"the answer is cut short":         {messagesPath, cutShort, "uncertain uncertain  provider"},
		"the answer is something else":    {messagesPath, says(200, "<html>"), "uncertain unreadable_answer  provider"},
		"the token is lost":               {tokenPath, hangUp, "retryable uncertain  provider"},
		"the token is cut short":          {tokenPath, cutShort, "retryable uncertain  provider"},
		"the token is no token":           {tokenPath, says(200, `{"code":0}`), "retryable unreadable_answer  provider"},
		"the token is none of Feishu's":   {tokenPath, says(200, `<html>`), "retryable unreadable_answer  provider"},
		"the token is not given":          {tokenPath, says(200, `{"code":10014,"msg":"app secret invalid"}`), "rejected auth_failed 10014 config"},
		"the token is asked for too fast": {tokenPath, says(429, `{"code":99991400}`), "throttled throttled 99991400 provider 1s"},
		"Feishu is broken":                {messagesPath, says(500, `{"code":10500,"msg":"internal server error"}`), "uncertain provider_unavailable 10500 provider"},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, map[string]http.HandlerFunc{c.path: c.then})
			if _, err := connect(t, appSettings(f.URL)).Send(t.Context(), message("ou_1")); told(err) != c.want {
				t.Errorf("got %s (%v), want %s", told(err), err, c.want)
			}
		})
	}
	f := serve(t, nil)
	c := connect(t, hookSettings(f.URL))
	f.Close()
	if _, err := c.Send(t.Context(), message("ops")); told(err) != "retryable connect_failed  provider" {
		t.Errorf("nobody there: %s", told(err))
	}
}

func writeShort(rw *bufio.ReadWriter, conn net.Conn) {
	_, _ = rw.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"code\":0,")
	_ = rw.Flush()
	_ = conn.Close()
}

// A request that is not answered in time may have been read.
func TestTimeout(t *testing.T) {
	for _, path := range []string{messagesPath, opsPath} {
		release := make(chan struct{})
		f := serve(t, map[string]http.HandlerFunc{path: func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}})
		given, to := appSettings(f.URL), "ou_1"
		if path == opsPath {
			given, to = hookSettings(f.URL), "ops"
		}
		_, err := connect(t, with(given, settings{"timeout": "100ms"})).Send(context.WithoutCancel(t.Context()), message(to))
		close(release)
		if told(err) != "uncertain timeout  provider" {
			t.Errorf("%s: %s (%v)", path, told(err), err)
		}
	}
	if maxPause < time.Minute {
		t.Error("pauses are cut short")
	}
}
