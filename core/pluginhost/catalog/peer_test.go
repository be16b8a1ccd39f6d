package catalog_test

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// The tests of this file sign and verify with programs that this project did not write. Where one is missing its
// test is left out by name; with CI=true that is a failure.

func needPeer(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: install the package %s", program, program)
	}
	t.Skipf("left out: interoperation with %s, which is not installed", program)
}

// call runs a program in a folder with a text on its standard input.
func call(t *testing.T, dir, input string, args ...string) {
	t.Helper()
	command := exec.Command(args[0], args[1:]...)
	command.Dir, command.Stdin = dir, strings.NewReader(input)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// fails runs a program that must end with an error.
func fails(t *testing.T, dir string, args ...string) {
	t.Helper()
	command := exec.Command(args[0], args[1:]...)
	command.Dir = dir
	if out, err := command.CombinedOutput(); err == nil {
		t.Errorf("%q succeeds: %s", args, out)
	}
}

func readKey(t *testing.T, path string) catalog.Key {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key, err := catalog.ParseKey(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// What minisign signs with its own keys is trusted, in its present and in its former format.
func TestMinisignSigns(t *testing.T) {
	needPeer(t, "minisign")
	keys := t.TempDir()
	call(t, keys, "", "minisign", "-G", "-W", "-p", "key.pub", "-s", "key")
	h := signed(t, readKey(t, filepath.Join(keys, "key.pub")))
	h.put("1.0.0", script("x"), plain)
	h.put("1.1.0", script("y"), plain)
	call(t, h.path("1.0.0"), "", "minisign", "-S", "-s", filepath.Join(keys, "key"), "-m", "plugin.hcl", "-t", "a comment of ours")
	call(t, h.path("1.1.0"), "", "minisign", "-S", "-l", "-s", filepath.Join(keys, "key"), "-m", "plugin.hcl")
	for _, v := range h.scan() {
		if v.Problem != nil || !v.Signed {
			t.Errorf("%s: %+v, %v", v.Version, v, v.Problem)
		}
	}
	h.edit(h.path("1.0.0", "plugin.hcl"), func(s string) string { return s + "\n" })
	if v := h.scan()[0]; v.Problem == nil || v.Problem.What != "wrong signature" {
		t.Errorf("changed: %+v", v)
	}
}

// What is signed here, with keys of minisign or made here, is what minisign verifies.
func TestMinisignVerifies(t *testing.T) {
	needPeer(t, "minisign")
	keys := t.TempDir()
	call(t, keys, "", "minisign", "-G", "-W", "-p", "theirs.pub", "-s", "theirs")
	if _, err := catalog.GenerateKey(filepath.Join(keys, "ours"), ""); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"theirs", "ours"} {
		h := open(t, nil)
		h.put("1.0.0", script("x"), plain)
		h.sign("1.0.0", signer{path: filepath.Join(keys, key)})
		verify := []string{"minisign", "-V", "-H", "-p", filepath.Join(keys, key+".pub"), "-m", "plugin.hcl"}
		call(t, h.path("1.0.0"), "", verify...)
		h.edit(h.path("1.0.0", "plugin.hcl"), func(s string) string { return s + "\n" })
		fails(t, h.path("1.0.0"), verify...)
	}
	// A secret key made here is one of minisign's too.
	h := signed(t, readKey(t, filepath.Join(keys, "ours.pub")))
	h.put("1.0.0", script("x"), plain)
	call(t, h.path("1.0.0"), "", "minisign", "-S", "-W", "-s", filepath.Join(keys, "ours"), "-m", "plugin.hcl")
	if v := h.only(); v.Problem != nil || !v.Signed {
		t.Errorf("have %+v, %v", v, v.Problem)
	}
}

// A secret key that minisign has encrypted signs here. minisign takes less memory for that where it is not given
// more, which keeps the test quick.
func TestMinisignPassword(t *testing.T) {
	needPeer(t, "minisign")
	keys := t.TempDir()
	call(t, keys, "secret\nsecret\n", "sh", "-c", "ulimit -v 100000 || :; minisign -G -p key.pub -s key")
	h := signed(t, readKey(t, filepath.Join(keys, "key.pub")))
	h.put("1.0.0", script("x"), plain)
	manifest, key := h.path("1.0.0", catalog.ManifestFile), filepath.Join(keys, "key")
	if _, err := catalog.Sign(manifest, key, "guess"); err == nil || !strings.Contains(err.Error(), "decryption failed") {
		t.Errorf("a wrong password gives %v", err)
	}
	if _, err := catalog.Sign(manifest, key, "secret"); err != nil {
		t.Fatal(err)
	}
	if v := h.only(); v.Problem != nil || !v.Signed {
		t.Errorf("have %+v, %v", v, v.Problem)
	}
}

// minisign opens a secret key that was encrypted here. That takes it and us a gigabyte each, and far more under the
// race detector.
func TestMinisignOpensOurKey(t *testing.T) {
	needPeer(t, "minisign")
	if raceDetector || testing.Short() {
		t.Skip("takes a gigabyte of memory")
	}
	keys := t.TempDir()
	key, err := catalog.GenerateKey(filepath.Join(keys, "key"), "secret")
	if err != nil {
		t.Fatal(err)
	}
	h := signed(t, key)
	h.put("1.0.0", script("x"), plain)
	call(t, h.path("1.0.0"), "secret\n", "minisign", "-S", "-s", filepath.Join(keys, "key"), "-m", "plugin.hcl")
	if v := h.only(); v.Problem != nil || !v.Signed {
		t.Errorf("have %+v, %v", v, v.Problem)
	}
}

// What openssl signs is trusted, as it comes and in base64, as cosign writes it; and openssl verifies what is signed
// here.
func TestOpenSSL(t *testing.T) {
	needPeer(t, "openssl")
	keys := t.TempDir()
	call(t, keys, "", "openssl", "genpkey", "-algorithm", "ed25519", "-out", "key.pem")
	call(t, keys, "", "openssl", "pkey", "-in", "key.pem", "-pubout", "-out", "key.pub")
	secret, public := filepath.Join(keys, "key.pem"), filepath.Join(keys, "key.pub")
	h := signed(t, readKey(t, public))
	for version, shell := range map[string]string{
		"1.0.0": "openssl pkeyutl -sign -rawin -inkey $0 -in plugin.hcl -out plugin.hcl.sig",
		"1.1.0": "openssl pkeyutl -sign -rawin -inkey $0 -in plugin.hcl | openssl base64 -A >plugin.hcl.sig",
		"1.2.0": "openssl pkeyutl -sign -rawin -inkey $0 -in plugin.hcl | openssl base64 >plugin.hcl.sig", // in two lines
	} {
		h.put(version, script(version), plain)
		call(t, h.path(version), "", "sh", "-e", "-c", shell, secret)
	}
	for _, v := range h.scan() {
		if v.Problem != nil || !v.Signed {
			t.Errorf("%s: %+v, %v", v.Version, v, v.Problem)
		}
	}
	ours := h.sign("1.0.0", signer{path: secret})
	text, err := os.ReadFile(ours)
	h.must(err)
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	h.must(err)
	write(t, ours, string(raw), 0o644)
	verify := []string{"openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", public, "-in", "plugin.hcl", "-sigfile", "plugin.hcl.sig"}
	call(t, h.path("1.0.0"), "", verify...)
	h.edit(h.path("1.0.0", "plugin.hcl"), func(s string) string { return s + "\n" })
	fails(t, h.path("1.0.0"), verify...)
}
