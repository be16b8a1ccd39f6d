package aliyun

import (
	"encoding/json"
	"net/http"
	"strings"
)

// fault is an answer other than OK.
type fault struct {
	code, message string
}

// texts of the codes that the double itself gives; others have their code for a text.
func text(code string) string {
	switch code {
	case "SignatureDoesNotMatch":
		return "Specified signature is not matched with our calculation."
	case "InvalidAccessKeyId.NotFound":
		return "Specified access key is not found."
	case "InvalidTimeStamp.Expired":
		return "Specified time stamp or date value is expired."
	case "SignatureNonceUsed":
		return "Specified signature nonce was used already."
	case "Throttling.User":
		return "Request was denied due to user flow control."
	case "ServiceUnavailable":
		return "The request has failed due to a temporary failure of the server."
	case "InvalidAction.NotFound":
		return "Specified api is not found, please check your url and method."
	case "isv.MOBILE_NUMBER_ILLEGAL":
		return "非法手机号"
	case "isv.SMS_SIGNATURE_ILLEGAL":
		return "短信签名不合法"
	case "isv.SMS_TEMPLATE_ILLEGAL":
		return "短信模版不合法"
	case "isv.TEMPLATE_MISSING_PARAMETERS":
		return "模版缺少变量"
	case "isv.INVALID_JSON_PARAM":
		return "JSON参数不合法,只接受字符串值"
	case "isv.MOBILE_COUNT_OVER_LIMIT":
		return "手机号码数量超过限制"
	default:
		return code
	}
}

// status is what a code comes with: the product answers 200 to everything, the gateway before it does not.
func status(code string) int {
	name, _, _ := strings.Cut(code, ".")
	switch name {
	case "OK", "isv", "isp", "FILTER":
		return http.StatusOK
	case "InvalidAccessKeyId", "InvalidAction":
		return http.StatusNotFound
	case "Forbidden", "NoPermission":
		return http.StatusForbidden
	case "ServiceUnavailable":
		return http.StatusServiceUnavailable
	case "InternalError":
		return http.StatusInternalServerError
	default:
		return http.StatusBadRequest
	}
}

func (p *provider) refuse(rw http.ResponseWriter, f *fault) {
	body := map[string]any{"Code": f.code, "Message": f.message, "RequestId": p.desk.NewID()}
	if status(f.code) != http.StatusOK {
		body["HostId"] = "dysmsapi.aliyuncs.com"
		body["Recommend"] = "https://api.aliyun.com/troubleshoot"
	}
	write(rw, status(f.code), body)
}

func write(rw http.ResponseWriter, status int, body any) {
	rw.Header().Set("Content-Type", "application/json;charset=utf-8")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(body) //nolint:errchkjson // an error means that the client is gone
}
