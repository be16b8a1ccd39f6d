package catalog_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// signer is a key pair on disk.
type signer struct {
	catalog.Key
	path string // of the secret key
}

// newSigner makes a key pair of minisign without a password.
func newSigner(t *testing.T) signer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "minisign.key")
	key, err := catalog.GenerateKey(path, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer{key, path}
}

// newPEMSigner makes a key pair in PEM.
func newPEMSigner(t *testing.T) (signer, ed25519.PrivateKey) {
	t.Helper()
	public, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkix, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	key, err := catalog.ParseKey(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key.pem")
	write(t, path, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), 0o600)
	return signer{key, path}, secret
}

// sign signs a version of the plugin sms and returns the path of the signature.
func (h *house) sign(version string, by signer) string {
	h.t.Helper()
	path, err := catalog.Sign(h.path(version, catalog.ManifestFile), by.path, "")
	if err != nil {
		h.t.Fatal(err)
	}
	return path
}

// signed opens a catalog that requires signatures by the given keys.
func signed(t *testing.T, keys ...catalog.Key) *house {
	t.Helper()
	return open(t, func(o *catalog.Options) { o.RequireSignature, o.TrustedKeys = true, keys })
}

func TestSigned(t *testing.T) {
	mini := newSigner(t)
	inPEM, secret := newPEMSigner(t)
	for name, sign := range map[string]func(*house){
		"minisign":      func(h *house) { h.sign("1.0.0", mini) },
		"PEM":           func(h *house) { h.sign("1.0.0", inPEM) },
		"both":          func(h *house) { h.sign("1.0.0", mini); h.sign("1.0.0", inPEM) },
		"bad and good":  func(h *house) { h.sign("1.0.0", newSigner(t)); h.sign("1.0.0", inPEM) },
		"by its number": func(h *house) { h.rawSignature(ed25519.Sign(secret, h.manifest())) },
	} {
		t.Run(name, func(t *testing.T) {
			h := signed(t, newSigner(t).Key, mini.Key, inPEM.Key)
			h.put("1.0.0", script("signed"), plain)
			sign(h)
			v := h.only()
			if v.Problem != nil || !v.Signed {
				t.Fatalf("have %+v", v)
			}
			if says := h.run(v); says != "signed" {
				t.Errorf("it says %q", says)
			}
		})
	}
}

func (h *house) manifest() []byte {
	h.t.Helper()
	text, err := os.ReadFile(h.path("1.0.0", catalog.ManifestFile))
	h.must(err)
	return text
}

func (h *house) rawSignature(signature []byte) {
	write(h.t, h.path("1.0.0", catalog.ManifestFile+".sig"), string(signature), 0o644)
}

// These signatures were made with the library that cosign 2.4 signs blobs with (github.com/sigstore/sigstore
// v1.8.12): of the text, and of its SHA-512 (Ed25519ph), which is cosign's default since then.
func TestCosign(t *testing.T) {
	key, err := catalog.ParseKey("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAv5cylsxXIC8Ydaf7X1CcIzvaC0ucbu8Wg5hyC47fQ8c=\n-----END PUBLIC KEY-----")
	if err != nil {
		t.Fatal(err)
	}
	for _, signature := range []string{
		"nP9Rs7kStE21WvQxmFpcJ46lyC+KHbDR3zM188AOqe0aMhydSkyI1Dbkt7V9CoWyT0vmiOBELMB070B7IDgzCw==",
		"Fe6w8w+TNHKGJQalvPhFECmhw1stYNKe0W6fQV4w6UW96Xyna8/e+FVSbHpiFJ12a5/GUlI04JePl01tOKHSCA==",
	} {
		h := signed(t, key)
		h.put("1.0.0", script("x"), plain)
		h.rawSignature([]byte(signature))
		if v := h.only(); v.Problem != nil || !v.Signed {
			t.Errorf("have %+v, %v", v, v.Problem)
		}
		h.put("1.0.0", script("x"), func(m *catalog.Manifest) { m.Plaintext = true })
		if v := h.only(); v.Problem == nil || v.Signed {
			t.Errorf("changed: %+v", v)
		}
	}
}

// The manifest may name the file of its signature.
func TestNamedSignature(t *testing.T) {
	by := newSigner(t)
	h := signed(t, by.Key)
	h.put("1.0.0", script("x"), func(m *catalog.Manifest) { m.Signature = "by-me.minisig" })
	if path := h.sign("1.0.0", by); path != h.path("1.0.0", "by-me.minisig") {
		t.Errorf("the signature is %s", path)
	}
	if v := h.only(); v.Problem != nil || !v.Signed {
		t.Errorf("have %+v", v)
	}
}

// Every row is a version that is refused where signatures are required.
func TestRefusedSignatures(t *testing.T) {
	trusted, stranger := newSigner(t), newSigner(t)
	trustedPEM, _ := newPEMSigner(t)
	strangerPEM, _ := newPEMSigner(t)
	expected := "expected a signature by the trusted key " + trusted.String() + " or " + trustedPEM.String() + ", found "
	minisig := catalog.ManifestFile + ".minisig"
	for _, test := range []struct {
		name string
		lay  func(*house)
		want string // what the problem begins with
		// falsified: it is refused where signatures are not required, too.
		falsified bool
	}{
		{
			"no manifest", func(h *house) { h.put("1.0.0", script("x"), nil) },
			"unsigned plugin: " + expected + "a folder without plugin.hcl; sign the version, or do not require signatures", false,
		},
		{
			"unsigned", func(h *house) { h.put("1.0.0", script("x"), plain) },
			"unsigned plugin: " + expected + "none beside plugin.hcl; sign the version, or do not require signatures", false,
		},
		{
			"signature missing under its name", func(h *house) {
				h.put("1.0.0", script("x"), func(m *catalog.Manifest) { m.Signature = "absent.sig" })
			},
			"unsigned plugin: " + expected + "none beside plugin.hcl", false,
		},
		{
			"stranger", func(h *house) { h.put("1.0.0", script("x"), plain); h.sign("1.0.0", stranger) },
			"untrusted signature: " + expected + "one by " + stranger.String() + " in plugin.hcl.minisig; ", false,
		},
		{
			"stranger in PEM", func(h *house) { h.put("1.0.0", script("x"), plain); h.sign("1.0.0", strangerPEM) },
			"untrusted signature: " + expected + "one by none of them in plugin.hcl.sig; ", false,
		},
		{
			"no signature at all", func(h *house) {
				h.put("1.0.0", script("x"), plain)
				write(h.t, h.path("1.0.0", minisig), "trust me\n", 0o644)
			},
			"untrusted signature: " + expected + "no signature of minisign, nor an Ed25519 signature in base64, in plugin.hcl.minisig", false,
		},
		{
			"half a signature", func(h *house) {
				h.put("1.0.0", script("x"), plain)
				h.edit(h.sign("1.0.0", trusted), func(s string) string { return s[:100] })
			},
			"untrusted signature: " + expected + "an unreadable signature of minisign", false,
		},
		{
			"changed manifest", func(h *house) {
				h.put("1.0.0", script("x"), plain)
				h.sign("1.0.0", trusted)
				h.edit(h.path("1.0.0", catalog.ManifestFile), func(s string) string { return s + "# changed\n" })
			},
			"wrong signature: " + expected + "one by " + trusted.String() + ", which does not fit plugin.hcl; ", true,
		},
		{
			"changed trusted comment", func(h *house) {
				h.put("1.0.0", script("x"), plain)
				h.edit(h.sign("1.0.0", trusted), func(s string) string { return strings.Replace(s, "file:plugin.hcl", "file:plugin.hc1", 1) })
			},
			"wrong signature: ", true,
		},
		{
			"signature of another version", func(h *house) {
				h.put("0.9.0", script("x"), plain)
				h.put("1.0.0", script("x"), plain)
				h.must(os.Rename(h.sign("0.9.0", trusted), h.path("1.0.0", minisig)))
				h.must(os.RemoveAll(h.path("0.9.0")))
			},
			"wrong signature: ", true,
		},
		{
			"old version under a new number", func(h *house) {
				h.put("0.9.0", script("x"), plain)
				h.sign("0.9.0", trusted)
				h.must(os.Rename(h.path("0.9.0"), h.path("1.0.0")))
			},
			"manifest of another version: ", true,
		},
		{
			"changed executable", func(h *house) {
				h.put("1.0.0", script("x"), plain)
				h.sign("1.0.0", trusted)
				write(h.t, h.path("1.0.0", "sms"), script("y"), 0o755)
			},
			"wrong checksum: ", true,
		},
		{
			"stranger's signature in the name of a trusted key", func(h *house) {
				h.put("1.0.0", script("x"), plain)
				h.edit(h.sign("1.0.0", stranger), func(s string) string { return h.forged(s, "1.0.0", trusted) })
			},
			"wrong signature: " + expected + "one by " + trusted.String(), true,
		},
		{
			"signature elsewhere", func(h *house) {
				h.put("1.0.0", script("x"), plain)
				outside := filepath.Join(h.t.TempDir(), "signature")
				h.must(os.Rename(h.sign("1.0.0", trusted), outside))
				h.link(outside, "1.0.0", minisig)
			},
			"not a file: ", true,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := signed(t, trusted.Key, trustedPEM.Key)
			test.lay(h)
			v := h.only()
			if v.Problem == nil || !strings.HasPrefix(v.Problem.Error(), test.want) {
				t.Errorf("want a problem %s…\nhave %+v, %v", test.want, v, v.Problem)
			}
			free := reopen(t, h.dir, h.store, func(o *catalog.Options) { o.TrustedKeys = []catalog.Key{trusted.Key, trustedPEM.Key} })
			v = free.only()
			if (v.Problem != nil) != test.falsified {
				t.Errorf("without the requirement: %+v, %v", v, v.Problem)
			}
		})
	}
}

// edit changes a file.
func (h *house) edit(path string, change func(string) string) {
	h.t.Helper()
	text, err := os.ReadFile(path)
	h.must(err)
	write(h.t, path, change(string(text)), 0o644)
}

// forged puts the id of a trusted key into the signature of another.
func (h *house) forged(signature, version string, by signer) string {
	h.t.Helper()
	other, err := os.ReadFile(h.sign(version, by))
	h.must(err)
	lines := strings.Split(signature, "\n")
	mine, err := base64.StdEncoding.DecodeString(lines[1])
	h.must(err)
	theirs, err := base64.StdEncoding.DecodeString(strings.Split(string(other), "\n")[1])
	h.must(err)
	copy(mine[:10], theirs[:10])
	lines[1] = base64.StdEncoding.EncodeToString(mine)
	return strings.Join(lines, "\n")
}

// Sign refuses to vouch for what is not so.
func TestSignRefuses(t *testing.T) {
	by := newSigner(t)
	h := open(t, nil)
	h.put("1.0.0", script("x"), func(m *catalog.Manifest) { m.SHA256 = zeros })
	h.put("1.1.0", script("x"), plain)
	encrypted := "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
	for name, test := range map[string]struct{ manifest, key, want string }{
		"wrong checksum":   {h.path("1.0.0", catalog.ManifestFile), by.path, "wrong checksum"},
		"no manifest":      {h.path("1.2.0", catalog.ManifestFile), by.path, "no such file"},
		"no key":           {h.path("1.1.0", catalog.ManifestFile), by.path + "x", "read the secret key"},
		"a public key":     {h.path("1.1.0", catalog.ManifestFile), by.path + ".pub", "invalid private key"},
		"an encrypted key": {h.path("1.1.0", catalog.ManifestFile), h.file("key.pem", encrypted), "no unencrypted private key in PEM"},
		"something else":   {h.path("1.1.0", catalog.ManifestFile), h.file("key.txt", "secret"), "sign with"},
	} {
		if _, err := catalog.Sign(test.manifest, test.key, ""); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: want %q, have %v", name, test.want, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(h.dir, "*", "*", "*sig*")); len(left) != 0 {
		t.Errorf("there are %v", left)
	}
}

// file writes a file outside of the plugins folder and returns its path.
func (h *house) file(name, content string) string {
	path := filepath.Join(h.t.TempDir(), name)
	write(h.t, path, content, 0o600)
	return path
}

func TestParseKey(t *testing.T) {
	const mini = "RWRlXOgl1UZTnXnGgM6EGPB+8JE44Qldwi9huwWzSIrR1TEh/TRJrrUl"
	for _, text := range []string{mini, mini + "\n", "untrusted comment: minisign public key 9D5346D525E85C65\n" + mini + "\n"} {
		if key, err := catalog.ParseKey(text); err != nil || key.String() != "9D5346D525E85C65" {
			t.Errorf("%q is %v, %v", text, key, err)
		}
	}
	inPEM, _ := newPEMSigner(t)
	if id := inPEM.String(); !strings.HasPrefix(id, "SHA256:") || len(id) != len("SHA256:")+16 {
		t.Errorf("the id is %q", id)
	}
	pemOf := func(kind string, content []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}))
	}
	private, err := os.ReadFile(inPEM.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "RWR", mini[:50], strings.Replace(mini, "RW", "RX", 1), string(private), pemOf("PUBLIC KEY", []byte("x")), "-----BEGIN PUBLIC KEY-----", pemOf("CERTIFICATE", nil),
	} {
		if key, err := catalog.ParseKey(text); err == nil {
			t.Errorf("%q is %v", text, key)
		}
	}
}

func TestGenerateKeyReplacesNothing(t *testing.T) {
	by := newSigner(t)
	if _, err := catalog.GenerateKey(by.path, ""); err == nil {
		t.Error("a key was replaced")
	}
	info, err := os.Stat(by.path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the secret key has %v, %v", info.Mode(), err)
	}
}
