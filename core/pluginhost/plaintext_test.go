package pluginhost_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost"
	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// declarePlaintext gives a version a manifest which says that it cannot do mutual TLS.
func declarePlaintext(t *testing.T, dir, plugin, version string) {
	t.Helper()
	folder := filepath.Join(dir, plugin, version)
	program, err := os.ReadFile(filepath.Join(folder, plugin))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(program)
	m := catalog.Manifest{Name: plugin, Version: version, SHA256: hex.EncodeToString(sum[:]), Plaintext: true}
	if err := os.WriteFile(filepath.Join(folder, catalog.ManifestFile), m.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A plugin may do without mutual TLS only where its manifest says so and the operator allows it by name.
func TestPlaintextNeedsThePluginAndTheOperator(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "good", "1.0.0")
	declarePlaintext(t, dir, "good", "1.0.0")

	refused := runIn(t, dir, nil)
	wantText(t, "error", refused.failed("good"), "no mutual TLS", "plaintext = true in its plugin.hcl", `plugins { plaintext = ["good"] }`)

	allowed := runIn(t, dir, func(o *pluginhost.Options) { o.Plaintext = []string{"good"} })
	allowed.connect("good")
	if got := allowed.deliver("good", batch("accept"))[1]; got.Outcome != core.OutcomeAccepted {
		t.Errorf("in plaintext: %s", describeResult(got))
	}
}
