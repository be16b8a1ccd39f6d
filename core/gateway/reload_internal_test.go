package gateway

import (
	"math"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
)

// A revision only grows, although the clock goes back, and one that stands for the same config stays.
func TestRevisions(t *testing.T) {
	future := time.Now().Add(time.Hour).UnixMilli()
	r := reloading{revision: future}
	connector := func(id string, port int64) settings.Connector {
		return settings.Connector{ID: core.ConnectorID("sms/" + id), Plugin: "sms", Config: settings.Config{"port": port, "host": "h"}}
	}
	take := func(connectors ...settings.Connector) (a, b int64) {
		t.Helper()
		configs, revision, err := r.configsLocked(connectors)
		if err != nil {
			t.Fatal(err)
		}
		r.configs, r.revision = configs, revision
		return configs["sms/a"].Revision, configs["sms/b"].Revision
	}
	if a, b := take(connector("a", 1), connector("b", 1)); a != future+1 || b != future+1 {
		t.Errorf("first: %d, %d", a-future, b-future)
	}
	if a, b := take(connector("a", 1), connector("b", 2)); a != future+1 || b != future+2 {
		t.Errorf("b changed: %d, %d", a-future, b-future)
	}
	if a, _ := take(connector("b", 2)); a != 0 {
		t.Errorf("a is gone and has %d", a)
	}
	if a, b := take(connector("a", 1), connector("b", 2)); a != future+4 || b != future+2 {
		t.Errorf("a came back: %d, %d", a-future, b-future)
	}
	broken := connector("a", 1)
	broken.Config["port"] = math.NaN()
	if _, _, err := r.configsLocked([]settings.Connector{broken}); err == nil {
		t.Error("a config that cannot be encoded was taken")
	}
}
