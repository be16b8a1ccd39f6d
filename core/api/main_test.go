package api_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain looks for goroutines left behind, and holds the whole run against the contract: after all
// tests every documented code and every success must have been seen. A run of some tests only is not
// held against it.
func TestMain(m *testing.M) {
	flag.Parse()
	status := m.Run()
	if status != 0 || set("test.fuzz") {
		os.Exit(status)
	}
	if !set("test.run") && !set("test.skip") && !set("test.list") {
		for _, missing := range theContract.unseen() {
			fmt.Fprintln(os.Stderr, "the contract documents what no test has seen:", missing)
			status = 1
		}
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func set(name string) bool { return flag.Lookup(name).Value.String() != "" }
