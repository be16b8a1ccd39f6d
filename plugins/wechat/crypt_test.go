package main

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// The vectors that WeChat publishes.

// Of https://developers.weixin.qq.com/doc/service/guide/dev/push/encryption.html and, the first one, of
// https://developers.weixin.qq.com/miniprogram/dev/framework/server-ability/message-push.html
func TestPublishedSignatures(t *testing.T) {
	for want, parts := range map[string][]string{
		"f464b24fc39322e44b38aa78f5edd27bd1441696": {"AAAAA", "1714036504", "1514711492"},
		"899cf89e464efb63f54ddac96b0a0a235f53aa78": {"AAAAA", "1714037059", "486452656"},
		"6c5c811b55cc85e0e1b54100749188c20beb3f5d": {"AAAAA", "1714112445", "415670741"},
		"046e02f8204d34f8ba5fa3b1db94908f3df2e9b3": {"AAAAA", "1714112445", "415670741", publishedSealed},
		"1b9339964ed2e271e7c7b6ff2b0ef902fc94dea1": {
			"AAAAA", "1713424427", "415670741",
			"ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ==",
		},
	} {
		if got := signature(parts...); got != want {
			t.Errorf("signature of %q is %s, want %s", parts, got, want)
		}
		if !signed(want, parts...) || signed(want[1:], parts...) || signed("", parts...) {
			t.Errorf("signed does not tell the signature of %q", parts)
		}
	}
}

const (
	publishedKey    = sdk.Secret("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	publishedAppID  = "wxba5fad812f8e6fb9"
	publishedSealed = "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+/Q5c/ohsOzQHi8khUOb05JCpj0JB4RvQMkUyus8TPxLKJGQqcvZqzDpVzazhZv6JsXUnnR8XGT740XgXZUXQ7vJVnAG+tE8NUd4yFyjPy7GgiaviNrlCTj+l5kdfMuFUPpRSrfMZuMcp3Fn2Pede2IuQrKEYwKSqFIZoNqJ4M8EajAsjLY2km32IIjdf8YL/P50F7mStwntrA2cPDrM1kb6mOcfBgRtWygb3VIYnSeOBrebufAlr7F9mFUPAJGj04="
	publishedText   = `{"ToUserName":"gh_97417a04a28d","FromUserName":"o9AgO5Kd5ggOC-bXrbNODIiE3bGY","CreateTime":1714112445,"MsgType":"event","Event":"debug_demo","debug_str":"hello world"}`
)

func TestPublishedCiphertexts(t *testing.T) {
	for name, tc := range map[string]struct {
		key                   sdk.Secret
		appID, sealed, opened string
	}{
		// https://developers.weixin.qq.com/doc/service/guide/dev/push/encryption.html
		"a push":  {publishedKey, publishedAppID, publishedSealed, publishedText},
		"a reply": {publishedKey, publishedAppID, "ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ==", `{"demo_resp":"good luck"}`},
		// WeChat's sample code in Java, https://wximg.gtimg.com/shake_tv/mpwiki/cryptoDemo.zip, WXBizMsgCryptTest.testAesEncrypt
		"the sample in Java": {testKey, "wxb11529c136998cb6", "jn1L23DB+6ELqJ+6bruv21Y6MD7KeIfP82D6gU39rmkgczbWwt5+3bnyg5K55bgVtVzd832WzZGMhkP72vVOfg==", "我是中文abcd123"},
		// The same, testVerifyUrl.
		"an echostr": {"jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C", "wx5823bf96d3bd56c7", "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ==", "1616140317555161061"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := decodeKey(tc.key)
			if err != nil {
				t.Fatal(err)
			}
			got, err := unseal(key, tc.sealed, tc.appID)
			if err != nil || string(got) != tc.opened {
				t.Errorf("opened %q, %v, want %q", got, err, tc.opened)
			}
			if _, err := unseal(key, tc.sealed, testAppID); err == nil {
				t.Error("a message for another account was opened")
			}
		})
	}
}

// The pushes of WeChat's sample code in Python and C++ (cryptoDemo.zip: Sample.py, Sample.cpp), whole: the first in
// compatible mode, the second in safe mode.
func TestPublishedPushes(t *testing.T) {
	const sealedInCpp = "mfBCs65c67CeJw22u4VT2TD73q5H06+ocrAIxswCaeZ/d/Lw0msSZFHY0teqgSYiI1zR2gD2DKrB3TIrmX/liNSDrGqS8jSI/WPeKB5VPr7Ezr7gomZAyGCwJSgT1TRFWPfONGJMxuj2nk4faTuspAuVIFQ6SHwZuJBZC7mcJp7Cgr9cUhATQWDbOPaE7ukZBTV2YqyzH+UI2AK+J1S47cE79k1RX8t0hcTz/O0hlK8DGXKnvYv88qKQcI7z4iaajqHfRVZKBNyOODabs+It+ZfM3dWTeFcPgDbGtIEnpt/EDtuuA/zMvtkaKdHdswPnVZQ+xdwbYr3ldGvfT8HlEYEgkgKaThxTFobVlwzu2ZkXCjicbP3xdr15Iq48ObgzPpqYuZ3IEoyggZDKClquk0u0orMck4GTF/XyE8yGzc4="
	for name, tc := range map[string]struct {
		query, body, from, to string
		at                    int64
	}{
		"Sample.py": {
			"timestamp=1409735669&nonce=1320562132&encrypt_type=aes&msg_signature=5d197aaffba7e9b25a30732f161a50dee96bd5fa",
			`<xml><ToUserName><![CDATA[gh_10f6c3c3ac5a]]></ToUserName><FromUserName><![CDATA[oyORnuP8q7ou2gfYjqLzSIWZf0rs]]></FromUserName><CreateTime>1409735668</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[abcdteT]]></Content><MsgId>6054768590064713728</MsgId><Encrypt><![CDATA[hyzAe4OzmOMbd6TvGdIOO6uBmdJoD0Fk53REIHvxYtJlE2B655HuD0m8KUePWB3+LrPXo87wzQ1QLvbeUgmBM4x6F8PGHQHFVAFmOD2LdJF9FrXpbUAh0B5GIItb52sn896wVsMSHGuPE328HnRGBcrS7C41IzDWyWNlZkyyXwon8T332jisa+h6tEDYsVticbSnyU8dKOIbgU6ux5VTjg3yt+WGzjlpKn6NPhRjpA912xMezR4kw6KWwMrCVKSVCZciVGCgavjIQ6X8tCOp3yZbGpy0VxpAe+77TszTfRd5RJSVO/HTnifJpXgCSUdUue1v6h0EIBYYI1BD1DlD+C0CR8e6OewpusjZ4uBl9FyJvnhvQl+q5rv1ixrcpCumEPo5MJSgM9ehVsNPfUM669WuMyVWQLCzpu9GhglF2PE=]]></Encrypt></xml>`,
			"oyORnuP8q7ou2gfYjqLzSIWZf0rs", "gh_10f6c3c3ac5a", 1409735669,
		},
		"Sample.cpp": {
			"timestamp=1410349438&nonce=298025754&encrypt_type=aes&msg_signature=003fee52ecc56afb46c00b5c7721be87860ce785",
			"<xml><ToUserName><![CDATA[gh_10f6c3c3ac5a]]></ToUserName><Encrypt><![CDATA[" + sealedInCpp + "]]></Encrypt></xml>",
			"", "gh_10f6c3c3ac5a", 1410349438,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := settings("https://api.weixin.qq.com")
			c.AppID, c.Token = "wx2c2769f8efd9abc2", "spamtest"
			connector := openAt(t, c)
			connector.now = func() time.Time { return time.Unix(tc.at, 0).Add(time.Minute) }
			answer, events, err := connector.HandleCallback(t.Context(), &sdk.CallbackRequest{
				Method: http.MethodPost, Path: "/", Query: tc.query, Body: []byte(tc.body),
			})
			if err != nil || answer.Status != http.StatusOK || string(answer.Body) != "success" {
				t.Fatalf("answer %+v, %v", answer, err)
			}
			if len(events.Inbound) != 1 || events.Inbound[0].To != tc.to || events.Inbound[0].From == "" ||
				(tc.from != "" && events.Inbound[0].From != tc.from) {
				t.Errorf("events %+v", events)
			}
		})
	}
}

// The same page shows a push in JSON.
func TestPublishedPushInJSON(t *testing.T) {
	c := settings("https://api.weixin.qq.com")
	c.AppID, c.Token, c.EncodingAESKey = publishedAppID, "AAAAA", publishedKey
	connector := openAt(t, c)
	connector.now = func() time.Time { return time.Unix(1714112445, 0) }
	answer, events, err := connector.HandleCallback(t.Context(), &sdk.CallbackRequest{
		Method: http.MethodPost, Path: "/",
		Query: "signature=6c5c811b55cc85e0e1b54100749188c20beb3f5d&timestamp=1714112445&nonce=415670741&openid=o9AgO5Kd5ggOC-bXrbNODIiE3bGY&encrypt_type=aes&msg_signature=046e02f8204d34f8ba5fa3b1db94908f3df2e9b3",
		Body:  []byte(`{"ToUserName": "gh_97417a04a28d", "Encrypt": "` + publishedSealed + `"}`),
	})
	if err != nil || answer.Status != http.StatusOK || len(events.Inbound) != 1 {
		t.Fatalf("answer %+v, events %+v, %v", answer, events, err)
	}
	in := events.Inbound[0]
	if in.Kind != "event" || in.Attributes["event"] != "debug_demo" || in.Attributes["debug_str"] != "hello world" ||
		in.From != "o9AgO5Kd5ggOC-bXrbNODIiE3bGY" || in.At.Unix() != 1714112445 {
		t.Errorf("inbound %+v", in)
	}
}

// seal is the reverse of unseal.
func seal(t testing.TB, encoded sdk.Secret, message, appID string) string {
	t.Helper()
	key, err := decodeKey(encoded)
	if err != nil {
		t.Fatal(err)
	}
	text := binary.BigEndian.AppendUint32([]byte("aaaabbbbccccdddd"), uint32(len(message)))
	text = append(append(text, message...), appID...)
	n := sealBlock - len(text)%sealBlock
	return encrypt(t, key, append(text, strings.Repeat(string(rune(n)), n)...))
}

func encrypt(t testing.TB, key, text []byte) string {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, len(text))
	cipher.NewCBCEncrypter(block, key[:16]).CryptBlocks(out, text)
	return base64.StdEncoding.EncodeToString(out)
}

func TestSealedByTheTestsIsAsPublished(t *testing.T) {
	want := "jn1L23DB+6ELqJ+6bruv21Y6MD7KeIfP82D6gU39rmkgczbWwt5+3bnyg5K55bgVtVzd832WzZGMhkP72vVOfg=="
	if got := seal(t, testKey, "我是中文abcd123", "wxb11529c136998cb6"); got != want {
		t.Errorf("sealed %s, want %s", got, want)
	}
}

func TestDamagedMessagesAreNotOpened(t *testing.T) {
	key, err := decodeKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	block := func(text string, fill byte) string {
		b := []byte(text)
		for len(b)%sealBlock != 0 {
			b = append(b, fill)
		}
		return encrypt(t, key, b)
	}
	for name, sealed := range map[string]string{
		"nothing":             "",
		"no base64":           "!",
		"half a block":        base64.StdEncoding.EncodeToString(make([]byte, 16)),
		"padding of 0":        block("short", 0),
		"padding too long":    block("short", 33),
		"padding that varies": block("short", 5),
		"all padding":         encrypt(t, key, []byte(strings.Repeat("\x20", 32))),
		"a length beyond":     encrypt(t, key, []byte("0123456789abcdef\xff\xff\xff\xffabcdefghijk\x01")),
		"another key":         seal(t, "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C", "hello", testAppID),
		"another account":     seal(t, testKey, "hello", "wxffffffffffffffff"),
		"no account":          seal(t, testKey, "hello", ""),
	} {
		if got, err := unseal(key, sealed, testAppID); err == nil {
			t.Errorf("%s: opened %q", name, got)
		}
	}
	for _, text := range []string{"", "a", strings.Repeat("长", 1000)} {
		if got, err := unseal(key, seal(t, testKey, text, testAppID), testAppID); err != nil || string(got) != text {
			t.Errorf("a message of %d bytes: %v", len(text), err)
		}
	}
}

func FuzzUnseal(f *testing.F) {
	key, _ := decodeKey(testKey)
	f.Add(seal(f, testKey, "<xml></xml>", testAppID))
	f.Add("")
	f.Fuzz(func(t *testing.T, sealed string) {
		if message, err := unseal(key, sealed, testAppID); err == nil && len(message) > len(sealed) {
			t.Errorf("%d bytes came out of %d", len(message), len(sealed))
		}
		// The same bytes as a plaintext, where most of them get past the first check.
		raw := []byte(sealed)
		for len(raw)%sealBlock != 0 || len(raw) == 0 {
			raw = append(raw, 1)
		}
		_, _ = unseal(key, encrypt(t, key, raw), testAppID)
	})
}
