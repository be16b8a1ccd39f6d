package aliyun

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// The examples of https://help.aliyun.com/zh/sdk/product-overview/v3-request-structure-and-signature (with fixed values) and
// https://help.aliyun.com/zh/model-studio/roa-style-request-body-signature-mechanism.
func TestPublishedSignatures(t *testing.T) {
	for _, tc := range []struct{ date, nonce, signature string }{
		{"2023-10-26T10:22:32Z", "3156853299f313e23d1673dc12e1703d", "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"},
		{"2023-10-26T09:01:01Z", "d410180a5abf7fe235dd9b74aca91fc0", "e521358f7776c97df52e6b2891a8bc73026794a071b50c3323388c4e0df64804"},
	} {
		at, err := time.Parse(time.RFC3339, tc.date)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://ecs.cn-shanghai.aliyuncs.com/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.RawQuery = encode(map[string]string{
			"RegionId": "cn-shanghai", "ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd",
		})
		Config{AccessKeyID: "YourAccessKeyId", AccessKeySecret: "YourAccessKeySecret"}.sign(req, "", target{"RunInstances", "2014-05-26"}, at, tc.nonce)
		want := "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;" +
			"x-acs-signature-nonce;x-acs-version,Signature=" + tc.signature
		if got := req.Header.Get("Authorization"); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
}

func TestEncode(t *testing.T) {
	got := encode(map[string]string{"b": "a b*c~d+e/f", "A": "签名", "a": ""})
	if want := "A=%E7%AD%BE%E5%90%8D&a=&b=a%20b%2Ac~d%2Be%2Ff"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if a, b := newNonce(), newNonce(); a == b || strings.ContainsAny(a, " ,") {
		t.Errorf("nonces %q, %q", a, b)
	}
}
