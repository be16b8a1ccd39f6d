package feishu

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// answer is the form of what Feishu answers.
type answer struct {
	Code    int    `json:"code"`
	Message string `json:"msg"`
	Data    any    `json:"data,omitempty"`
}

func write(rw http.ResponseWriter, status int, body any) {
	text, err := compact(body)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "application/json; charset=utf-8")
	rw.WriteHeader(status)
	_, _ = rw.Write(text) // the client may be gone
}

// compact is JSON as JavaScript's JSON.stringify writes it, by which the vendor's SDK computes the signature of a callback.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func refuse(rw http.ResponseWriter, status, code int, message string) {
	write(rw, status, answer{Code: code, Message: message})
}

// texts are the messages of the codes that a fault may ask for; what is not here has a text without meaning.
var texts = map[int]string{
	9499: "Bad Request", 11232: "create message service trigger rate limit", 19001: "param invalid: incoming webhook access token invalid",
	19021: "sign match fail or timestamp is not within one hour from current time", 19022: "Ip Not Allowed", 19024: "Key Words Not Found",
	230002: "The bot can not be outside the group.", 230006: "Bot ability is not activated.", 230013: "Bot has NO availability to this user.",
	230020: "This operation triggers the frequency limit.", 230022: "The content of the message contains sensitive information.",
	230025: "The length of the message content reaches its limit.", 230027: "Lack of necessary permissions.", 230029: "User has resigned.",
	230034: "The receive_id is invalid.", 230035: "Send Message Permission deny.", 230049: "The message is being sent.",
	230053: "The user has stopped the bot from sending messages.", 230099: "Failed to create card content.",
	99991400: "request trigger frequency limit", 99991663: "Invalid access token for authorization. Please make a request with token attached.",
	99991672: "Access denied. One of the following scopes is required: [im:message]",
}

// statusOf is the HTTP status that a code comes with from the interface of apps.
func statusOf(code int) int {
	switch code {
	case 99991400:
		return http.StatusTooManyRequests
	case 1500, 5000, 10101, 10105, 10500:
		return http.StatusInternalServerError
	default:
		return http.StatusBadRequest
	}
}

// decline answers a message that was not taken, for an app. It reports whether it did.
func decline(rw http.ResponseWriter, d desk.Decision) bool {
	switch d.Answer {
	case desk.Accept:
		return false
	case desk.HangUp:
		desk.HangUpNow()
	case desk.Fail:
		if d.Code == "" { // the gateway before Feishu's servers
			http.Error(rw, "upstream connect error or disconnect/reset before headers", http.StatusServiceUnavailable)
			return true
		}
	}
	code := codeOf(d, map[desk.Answer]int{desk.Refuse: 230013, desk.Throttle: 99991400})
	if code == 99991400 {
		limited(rw, 50, 1)
		return true
	}
	refuse(rw, statusOf(code), code, texts[code])
	return true
}

// codeOf is the code that a decision asks for, or else the usual one.
func codeOf(d desk.Decision, usual map[desk.Answer]int) int {
	if code, err := strconv.Atoi(d.Code); err == nil {
		return code
	}
	return usual[d.Answer]
}

// limited answers that the rate is passed. reset is in how many seconds there is room again.
func limited(rw http.ResponseWriter, limit, reset int) {
	rw.Header().Set("X-Ogw-Ratelimit-Limit", strconv.Itoa(limit))
	rw.Header().Set("X-Ogw-Ratelimit-Reset", strconv.Itoa(reset))
	refuse(rw, http.StatusTooManyRequests, 99991400, texts[99991400])
}
