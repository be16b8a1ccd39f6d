package tencent

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// The example of https://www.tencentcloud.com/document/api/1021/34193 (Signature v3).
func TestPublishedSignature(t *testing.T) {
	c := Config{SecretID: "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE", SecretKey: "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE"}
	body := []byte(`{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}`)
	headers := "content-type:application/json; charset=utf-8\nhost:cvm.tencentcloudapi.com\n"
	got := c.signature("cvm", "content-type;host", headers, body, time.Unix(1551113065, 0))
	if want := "72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestSignedHeaders(t *testing.T) {
	c := Config{SecretID: "id", SecretKey: "key"}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://sms.tencentcloudapi.com/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	c.sign(req, target{"sms", "2021-01-11", "SendSms", "ap-guangzhou"}, nil, time.Unix(1551113065, 0))
	for name, want := range map[string]string{
		"X-TC-Action": "SendSms", "X-TC-Version": "2021-01-11", "X-TC-Region": "ap-guangzhou", "X-TC-Timestamp": "1551113065",
		"Content-Type": "application/json; charset=utf-8",
	} {
		if got := req.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := req.Header.Get("Authorization"); !strings.HasPrefix(got, "TC3-HMAC-SHA256 Credential=id/2019-02-25/sms/tc3_request, SignedHeaders=content-type;host;x-tc-action, Signature=") {
		t.Errorf("Authorization: %s", got)
	}
}
