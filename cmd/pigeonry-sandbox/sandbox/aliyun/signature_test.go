package aliyun

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk/desktest"
)

// signed makes a request that is signed well, but for what change does to it before, and spoil after.
func signed(t *testing.T, change, spoil func(*http.Request)) *http.Request {
	t.Helper()
	body := []byte("PhoneNumbers=13800138000&SignName=Sandbox&TemplateCode=SMS_SANDBOX&TemplateParam=%7B%22content%22%3A%22x%22%7D")
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://sandbox.example.com/", bytes.NewReader(body))
	sum := sha256.Sum256(body)
	for name, value := range map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "X-Acs-Action": "SendSms", "X-Acs-Version": "2017-05-25",
		"X-Acs-Date": time.Now().UTC().Format("2006-01-02T15:04:05Z"), "X-Acs-Signature-Nonce": t.Name(), "X-Acs-Content-Sha256": hex.EncodeToString(sum[:]),
	} {
		r.Header.Set(name, value)
	}
	change(r)
	const names = "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"
	r.Header.Set("Authorization", algorithm+" Credential=sandbox,SignedHeaders="+names+",Signature="+sign(r, names, "sandbox-secret"))
	spoil(r)
	return r
}

func TestRequestsAreVerified(t *testing.T) {
	nothing := func(*http.Request) {}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, tc := range []struct {
		name          string
		change, spoil func(*http.Request)
		code          string
		status        int
	}{
		{"parameters in the body", nothing, nothing, "OK", 200},
		{"no signature", nothing, header("Authorization", "none"), "IncompleteSignature", 400},
		{"too few headers", nothing, header("Authorization", algorithm+" Credential=sandbox,SignedHeaders=host,Signature=x"), "IncompleteSignature", 400},
		{"another key", nothing, header("Authorization", algorithm+" Credential=x,SignedHeaders=host,Signature=x"), "InvalidAccessKeyId.NotFound", 404},
		{"an old date", header("X-Acs-Date", "2020-01-01T00:00:00Z"), nothing, "InvalidTimeStamp.Expired", 400},
		{"no date", header("X-Acs-Date", "today"), nothing, "InvalidTimeStamp.Format", 400},
		{"another action", nothing, header("X-Acs-Action", "QuerySendDetails"), "SignatureDoesNotMatch", 400},
		{"another body", nothing, header("X-Acs-Content-Sha256", "00"), "SignatureDoesNotMatch", 400},
		{"an unknown action", header("X-Acs-Action", "Delete"), nothing, "InvalidAction.NotFound", 404},
		{"an unknown version", header("X-Acs-Version", "2020-01-01"), nothing, "InvalidVersion", 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := New(&desktest.Desk{}).(desk.Rooted)
			for _, want := range []string{tc.code, "SignatureNonceUsed"} {
				r := signed(t, tc.change, tc.spoil)
				if !p.Owns(r) {
					t.Fatal("the request is not known")
				}
				rw := httptest.NewRecorder()
				p.ServeHTTP(rw, r)
				var got struct{ Code string }
				if err := json.Unmarshal(rw.Body.Bytes(), &got); err != nil || got.Code != want || want == tc.code && rw.Code != tc.status {
					t.Errorf("%d %s, want %s", rw.Code, rw.Body, want)
				}
				if tc.code != "OK" {
					return
				}
			}
		})
	}
}

func TestNoncesAreForgotten(t *testing.T) {
	n, now := nonces{}, time.Now()
	if !n.use("a", now) || n.use("a", now.Add(window-time.Second)) || !n.use("a", now.Add(window+time.Second)) {
		t.Error("a nonce is good once in a quarter of an hour")
	}
	for i := range 100_001 {
		n.use(fmt.Sprint(i), now)
	}
	if n.use("last", now.Add(3*window)); len(n) > 2 {
		t.Errorf("%d nonces are kept", len(n))
	}
}
