package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/pigeonry/pigeonry/sdk"
)

// keyring makes keys and plays the name server that receivers ask for them.
type keyring struct {
	config []dkimConfig
	txt    map[string]string
}

// madeKeyring is made once: an RSA key takes its time.
var madeKeyring struct {
	sync.Once
	keyring
}

// newKeyring is shared by all tests, which must not change it.
func newKeyring(tb testing.TB) *keyring {
	tb.Helper()
	madeKeyring.Do(func() { madeKeyring.fill(tb) })
	return &madeKeyring.keyring
}

func (k *keyring) fill(tb testing.TB) {
	tb.Helper()
	k.txt = map[string]string{}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		tb.Fatal(err)
	}
	k.add(tb, "rsa2026", rsaKey, "v=DKIM1; k=rsa; p="+base64.StdEncoding.EncodeToString(public))
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	k.add(tb, "ed2026", edKey, "v=DKIM1; k=ed25519; p="+base64.StdEncoding.EncodeToString(edPublic))
}

func (k *keyring) add(tb testing.TB, selector string, key crypto.Signer, record string) {
	tb.Helper()
	k.config = append(k.config, dkimConfig{Selector: selector, Key: sdk.Secret(keyPEM(tb, key))})
	k.txt[selector+"._domainkey.example.com"] = record
}

func keyPEM(tb testing.TB, key any) string {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// verify holds a mail to go-msgauth's verifier and returns what is wrong with each signature.
func (k *keyring) verify(tb testing.TB, raw []byte) []*dkim.Verification {
	tb.Helper()
	got, err := dkim.VerifyWithOptions(bytes.NewReader(raw), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		return []string{k.txt[name]}, nil
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

// listMail is a mail of a list, with everything in it.
func listMail(tb testing.TB, k *keyring) (*identity, *sdk.Message) {
	tb.Helper()
	c := valid()
	c.DKIM, c.ListID, c.FeedbackID = k.config, "Shop <news.example.com>", "spring:shop:news:1"
	c.Unsubscribe = &unsubscribeConfig{
		URL: "https://m.example.com/callbacks/email/main/unsubscribe?token={token}", Secret: "a secret of the test",
		Mailto: "unsubscribe@example.com", Always: true,
	}
	id, err := newIdentity(c)
	if err != nil {
		tb.Fatal(err)
	}
	return &id, rich("ann@example.com")
}

func TestSignatures(t *testing.T) {
	k := newKeyring(t)
	id, m := listMail(t, k)
	l, err := compose(id, m, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	checkLines(t, l.raw)
	got := k.verify(t, l.raw)
	if len(got) != 2 {
		t.Fatalf("%d signatures, want 2", len(got))
	}
	for _, v := range got {
		if v.Err != nil || v.Domain != "example.com" {
			t.Errorf("signature of %s: %v", v.Domain, v.Err)
		}
		for _, name := range []string{
			"From", "To", "Subject", "Date", "Message-Id", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "Feedback-Id",
			"Content-Type", "Mime-Version",
		} {
			if !slices.Contains(v.HeaderKeys, name) {
				t.Errorf("%s is not signed", name)
			}
		}
	}
}

// TestSignaturesBreak changes a signed mail in ways that a receiver must notice.
func TestSignaturesBreak(t *testing.T) {
	k := newKeyring(t)
	id, m := listMail(t, k)
	l, err := compose(id, m, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, replacement string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, replacement, 1) }
	}
	tests := map[string]func(string) string{
		"another sender":            replace("From: ", "From: Eve <eve@example.com>\r\nX-From: "),
		"a second sender":           replace("From: ", "From: Eve <eve@example.com>\r\nFrom: "),
		"a second subject":          func(s string) string { return "Subject: You have won\r\n" + s },
		"an answer elsewhere":       func(s string) string { return "Reply-To: eve@example.com\r\n" + s },
		"no way to unsubscribe":     replace("List-Unsubscribe: ", "X-Unsubscribe: "),
		"another way to click":      replace("List-Unsubscribe-Post: List-", "List-Unsubscribe-Post: Other-"),
		"another body":              replace("PGh0bWw+", ""),
		"one line more in the body": func(s string) string { return s + "more\r\n" },
	}
	for name, change := range tests {
		changed := change(string(l.raw))
		if changed == string(l.raw) {
			continue // this mail has nothing to change there
		}
		for _, v := range k.verify(t, []byte(changed)) {
			if v.Err == nil {
				t.Errorf("%s is not noticed", name)
			}
		}
	}
	// What a server on the way may do to a mail: fold anew, write names in another case, add its own headers.
	relaxed := "Received: from here by there\r\n" + strings.Replace(string(l.raw), "Subject: ", "SUBJECT:  ", 1)
	for _, v := range k.verify(t, []byte(relaxed)) {
		if v.Err != nil {
			t.Errorf("a mail that was relayed: %v", v.Err)
		}
	}
}

// TestSignsWhatGoesOut looks at mails of every kind, many at a time, as the server got them.
func TestSignsWhatGoesOut(t *testing.T) {
	k := newKeyring(t)
	server := startSink(t, sinkOptions{})
	c := connect(t, server.port, func(c *config) { c.DKIM = k.config })
	bodies := []string{"hi", "", "\n\n\n", " trailing  \n\t\n", ".\n..\n", "您的订单已发货", strings.Repeat("long ", 500), "a\r\nb\rc\n"}
	var mails sync.WaitGroup
	for _, body := range bodies {
		mails.Go(func() {
			m := message(body)
			m.Attributes = map[string]string{"header.X-Note": "spring 春", "header.References": "<a@b> <c@d>"}
			if _, err := c.Send(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
	}
	mails.Wait()
	for _, taken := range server.all() {
		for _, v := range k.verify(t, taken.raw) {
			if v.Err != nil {
				t.Errorf("%v in\n%s", v.Err, taken.raw)
			}
		}
	}
}

func TestKeysThatAreNone(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sound := newKeyring(t).config[0]
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(weak)}))
	tests := []struct {
		name string
		edit func(*dkimConfig)
		path string
	}{
		{"sound", func(*dkimConfig) {}, ""},
		{"PKCS #1", func(c *dkimConfig) { c.Key = sdk.Secret(pkcs1) }, ""},
		{"domain beyond ASCII", func(c *dkimConfig) { c.Domain = "bücher.example" }, ""},
		{"selector of two steps", func(c *dkimConfig) { c.Selector = "2026.mail" }, ""},
		{"a path", func(c *dkimConfig) { c.Key = "/etc/dkim.pem" }, "dkim[0].key"},
		{"no key", func(c *dkimConfig) { c.Key = "-----BEGIN PRIVATE KEY-----\naGFsbG8=\n-----END PRIVATE KEY-----\n" }, "dkim[0].key"},
		{"another kind of key", func(c *dkimConfig) { c.Key = sdk.Secret(keyPEM(t, curve)) }, "dkim[0].key"},
		{"selector", func(c *dkimConfig) { c.Selector = "a b" }, "dkim[0].selector"},
		{"selector that adds a tag", func(c *dkimConfig) { c.Selector = "a;l=0" }, "dkim[0].selector"},
		{"domain", func(c *dkimConfig) { c.Domain = "exa mple" }, "dkim[0].domain"},
		{"address as domain", func(c *dkimConfig) { c.Domain = "[192.0.2.1]" }, "dkim[0].domain"},
	}
	for _, test := range tests {
		c, one := valid(), sound
		test.edit(&one)
		c.DKIM = []dkimConfig{one}
		err := validate(c)
		wrong, _ := errors.AsType[*sdk.ConfigError](err)
		switch {
		case test.path == "" && err != nil:
			t.Errorf("%s is refused: %v", test.name, err)
		case test.path != "" && (wrong == nil || wrong.Path != test.path || wrong.Detail == ""):
			t.Errorf("%s gives %v, want an error of %s", test.name, err, test.path)
		case err != nil && strings.Contains(err.Error(), "aGFsbG8"):
			t.Errorf("%s: the error quotes the key: %v", test.name, err)
		}
	}
}

// TestDkimpyVerifies holds the signatures to an implementation of others.
func TestDkimpyVerifies(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import dkim, nacl").Run(); err != nil {
		leaveOut(t, "dkimpy", "the Debian packages python3-dkim and python3-nacl are not installed")
	}
	k := newKeyring(t)
	records, err := json.Marshal(k.txt)
	if err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, t.TempDir(), "keys.json", records)
	id, whole := listMail(t, k)
	plain := message("您好\n.\n \n\n")
	for name, m := range map[string]*sdk.Message{"a whole mail": whole, "a plain mail": plain} {
		l, err := compose(id, m, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for change, raw := range map[string][]byte{"as it is": l.raw, "changed": bytes.Replace(l.raw, []byte("Subject: "), []byte("Subject: Re: "), 1)} {
			command := exec.Command(python, "testdata/dkim_verify.py", file)
			command.Stdin = bytes.NewReader(raw)
			out, err := command.Output()
			if err != nil {
				t.Fatalf("dkimpy: %v", err)
			}
			var got []struct {
				Valid          bool
				Why, Algorithm string
				Headers        []string
			}
			if err := json.Unmarshal(out, &got); err != nil || len(got) != 2 {
				t.Fatalf("%s: %s, %v", name, out, err)
			}
			for i, algorithm := range []string{"rsa-sha256", "ed25519-sha256"} {
				if got[i].Valid != (change == "as it is") || got[i].Algorithm != algorithm {
					t.Errorf("%s, %s: %+v", name, change, got[i])
				}
				if change == "as it is" && !slices.Contains(got[i].Headers, "list-unsubscribe-post") {
					t.Errorf("%s: signed are %q", name, got[i].Headers)
				}
			}
		}
	}
}

func BenchmarkSign(b *testing.B) {
	k := newKeyring(b)
	for i, name := range []string{"RSA-2048", "Ed25519"} {
		b.Run(name, func(b *testing.B) {
			server := startSink(b, sinkOptions{})
			c := connect(b, server.port, func(c *config) {
				c.MaxConnections, c.MessagesPerConnection, c.DKIM = 16, 1_000_000, k.config[i:i+1]
			})
			m := message("Your order 123 is on its way.")
			m.HTML = "<p>Your order <b>123</b> is on its way.</p>"
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := c.Send(b.Context(), m); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
		})
	}
}
