package storetest

import (
	"strings"

	"github.com/pigeonry/pigeonry/core/store"
)

// sender is the pool that the file of the tests declares.
var sender = store.PoolConfig{
	Name: "message_sender", CoreSize: 20, MaxSize: 100, ScaleUpThreshold: 0.8, ScaleDownThreshold: 0.2, QueueSize: 1000,
}

// qps is a limit of sending that the file declares.
func qps(maximum float64) store.LimitConfig {
	return store.LimitConfig{Resource: "api:/messages/send", Type: "qps", Dimension: "account", Max: maximum}
}

// window is a limit of sending that the file declares, in a window of so many seconds.
func window(maximum, seconds float64) store.LimitConfig {
	return store.LimitConfig{
		Resource: "api:/messages/send", Type: "sliding_window", Dimension: "recipient", Max: maximum, WindowSeconds: seconds,
	}
}

// exec runs plain SQL beside the store, as an operator does. Technologies that cannot skip the test.
func (f *fixture) exec(statement string) {
	f.Helper()
	f.check(statement, f.tryExec(statement))
}

func (f *fixture) tryExec(statement string) error {
	f.Helper()
	if f.factory.Exec == nil {
		f.Skip("the factory has no Exec")
	}
	return f.factory.Exec(f.T, f.Store, statement)
}

// declare tells the store what the file says, and returns what the tables say then, without ids and the
// store's own notes.
func (f *fixture) declare(pool store.PoolConfig, limits ...store.LimitConfig) store.Tuned {
	f.Helper()
	declared, err := f.Declare(f.ctx, store.Tuned{Pools: []store.PoolConfig{pool}, Limits: limits})
	f.check("Declare", err)
	return plain(declared)
}

func (f *fixture) tuned() store.Tuned {
	f.Helper()
	t, err := f.Tuned(f.ctx)
	f.check("Tuned", err)
	return plain(t)
}

func plain(t store.Tuned) store.Tuned {
	for i := range t.Pools {
		t.Pools[i].File = ""
	}
	for i := range t.Limits {
		t.Limits[i].ID, t.Limits[i].File = 0, ""
	}
	return t
}

// wantPool reports another content of the table of pools than one pool.
func (f *fixture) wantPool(t store.Tuned, want store.PoolConfig) {
	f.Helper()
	if len(t.Pools) != 1 || t.Pools[0] != want {
		f.Errorf("pools %+v, want %+v", t.Pools, want)
	}
}

// wantLimits reports other limits, in any order.
func (f *fixture) wantLimits(t store.Tuned, want ...store.LimitConfig) {
	f.Helper()
	left := map[store.LimitConfig]bool{}
	for _, l := range want {
		left[l] = true
	}
	for _, l := range t.Limits {
		delete(left, l)
	}
	if len(left) > 0 || len(t.Limits) != len(want) {
		f.Errorf("limits %+v, want %+v", t.Limits, want)
	}
}

// The statements that operators are promised, to the letter.
const (
	growPool   = `UPDATE thread_pool_configs SET core_pool_size = 50, max_pool_size = 200 WHERE pool_name = 'message_sender';`
	raiseLimit = `UPDATE rate_limit_configs SET max_value = 2000 WHERE resource = 'api:/messages/send' AND limit_type = 'qps';`
)

var tuningTests = []test{
	{"new tables are empty", func(f *fixture) {
		t := f.tuned()
		equal(f, "rows", len(t.Pools)+len(t.Limits), 0)
	}},
	{"what the file says is kept as it was given", func(f *fixture) {
		t := f.declare(sender, qps(0.5), window(3, 90.25))
		f.wantPool(t, sender)
		f.wantLimits(t, qps(0.5), window(3, 90.25))
		f.wantLimits(f.tuned(), qps(0.5), window(3, 90.25))
	}},
	{"rows have ids that stay", func(f *fixture) {
		file := store.Tuned{Limits: []store.LimitConfig{qps(1), window(1, 60)}}
		first, err := f.Declare(f.ctx, file)
		f.check("Declare", err)
		file.Limits[0].Max = 2
		second, err := f.Declare(f.ctx, file)
		f.check("Declare", err)
		for i := range first.Limits {
			if id := first.Limits[i].ID; id == 0 || second.Limits[i].ID != id {
				f.Errorf("id %d became %d", id, second.Limits[i].ID)
			}
		}
	}},
	{"an operator's change stays while the file says the same", func(f *fixture) {
		f.declare(sender, qps(1000))
		f.exec(growPool)
		f.exec(raiseLimit)
		grown := sender
		grown.CoreSize, grown.MaxSize = 50, 200
		for _, t := range []store.Tuned{f.tuned(), f.declare(sender, qps(1000))} {
			f.wantPool(t, grown)
			f.wantLimits(t, qps(2000))
		}
	}},
	{"a file that says something new is the later word", func(f *fixture) {
		f.declare(sender, qps(1000))
		f.exec(growPool)
		f.exec(raiseLimit)
		changed := sender
		changed.MaxSize = 120
		t := f.declare(changed, qps(1500))
		f.wantPool(t, changed)
		f.wantLimits(t, qps(1500))
		f.exec(raiseLimit)
		f.wantLimits(f.declare(changed, qps(1500)), qps(2000))
	}},
	{"a row whose block left the file goes, although it was changed", func(f *fixture) {
		f.declare(sender, qps(1000), window(1, 60))
		f.exec(raiseLimit)
		f.wantLimits(f.declare(sender, window(1, 60)), window(1, 60))
		t, err := f.Declare(f.ctx, store.Tuned{})
		f.check("Declare", err)
		equal(f, "rows", len(t.Pools)+len(t.Limits), 0)
	}},
	{"a row that an operator inserted stays", func(f *fixture) {
		f.exec(`INSERT INTO rate_limit_configs (resource, limit_type, max_value) VALUES ('channel:sms', 'qps', 7)`)
		f.exec(`INSERT INTO thread_pool_configs (pool_name, core_pool_size, max_pool_size) VALUES ('message_sender', 2, 3)`)
		byHand := store.LimitConfig{Resource: "channel:sms", Type: "qps", Dimension: "account", Max: 7}
		t := f.tuned()
		f.wantLimits(t, byHand)
		small := sender
		small.CoreSize, small.MaxSize = 2, 3
		f.wantPool(t, small)
		t, err := f.Declare(f.ctx, store.Tuned{Limits: []store.LimitConfig{qps(1)}})
		f.check("Declare", err)
		t = plain(t)
		f.wantPool(t, small)
		f.wantLimits(t, byHand, qps(1))
	}},
	{"an inserted row that the file comes to name is the file's", func(f *fixture) {
		f.exec(`INSERT INTO rate_limit_configs (resource, limit_type, max_value) VALUES ('api:/messages/send', 'qps', 7)`)
		f.exec(`INSERT INTO thread_pool_configs (pool_name, core_pool_size, max_pool_size) VALUES ('message_sender', 2, 3)`)
		t := f.declare(sender, qps(1000))
		f.wantPool(t, sender)
		f.wantLimits(t, qps(1000))
	}},
	{"an inserted row stays where the file's declaration yields", func(f *fixture) {
		f.exec(`INSERT INTO rate_limit_configs (resource, limit_type, max_value) VALUES ('api:/messages/send', 'qps', 7)`)
		yields := qps(1000)
		yields.Yields = true
		f.wantLimits(f.declare(sender, yields), qps(7))
		f.wantLimits(f.declare(sender, yields), qps(7))
		f.exec(`DELETE FROM rate_limit_configs`)
		f.wantLimits(f.declare(sender, yields), qps(1000))
	}},
	{"a row that an operator deleted comes back when the file is read again", func(f *fixture) {
		f.declare(sender, qps(1000))
		f.exec(`DELETE FROM rate_limit_configs`)
		f.wantLimits(f.tuned())
		f.wantLimits(f.declare(sender, qps(1000)), qps(1000))
	}},
	{"a row keeps its block under another window", func(f *fixture) {
		f.declare(sender, window(1, 60))
		f.exec(`UPDATE rate_limit_configs SET window_seconds = 120 WHERE limit_type = 'sliding_window'`)
		f.wantLimits(f.declare(sender, window(1, 60)), window(1, 120))
		f.wantLimits(f.declare(sender, window(2, 60)), window(2, 60))
	}},
	{"a block takes the place that a row was moved to", func(f *fixture) {
		f.declare(sender, window(1, 60))
		f.exec(`UPDATE rate_limit_configs SET window_seconds = 120 WHERE limit_type = 'sliding_window'`)
		f.wantLimits(f.declare(sender, window(1, 60), window(5, 120)), window(1, 60), window(5, 120))
	}},
	{"one limit of a kind", func(f *fixture) {
		f.declare(sender, qps(1), window(1, 60))
		for _, values := range []string{"'qps', 'account', 2, 1", "'sliding_window', 'recipient', 2, 60"} {
			err := f.tryExec(`INSERT INTO rate_limit_configs (resource, limit_type, dimension, max_value, window_seconds)
				VALUES ('api:/messages/send', ` + values + `)`)
			equal(f, "a second is refused", err != nil, true)
		}
		f.exec(`INSERT INTO rate_limit_configs (resource, limit_type, dimension, max_value, window_seconds)
			VALUES ('api:/messages/send', 'sliding_window', 'recipient', 9, 3600)`)
	}},
	{"a statement that makes no sense is refused by the name of what it has to heed", func(f *fixture) {
		f.declare(sender, qps(1000), window(1, 60))
		const pool, limits = "UPDATE thread_pool_configs SET ", "UPDATE rate_limit_configs SET "
		for statement, constraint := range map[string]string{
			pool + "core_pool_size = 0":                                         "core_pool_size_is_1_or_more",
			pool + "core_pool_size = 101":                                       "max_pool_size_is_core_pool_size_to_10000",
			pool + "max_pool_size = 100000":                                     "max_pool_size_is_core_pool_size_to_10000",
			pool + "scale_up_threshold = 80":                                    "scale_up_threshold_is_above_0_up_to_1",
			pool + "scale_down_threshold = 0.8":                                 "scale_down_threshold_is_above_0_and_below_scale_up_threshold",
			pool + "queue_size = 0":                                             "queue_size_is_1_to_1000000",
			limits + "max_value = -1":                                           "max_value_is_0_to_1000000000",
			limits + "limit_type = 'qpm'":                                       "limit_type_is_qps_concurrent_or_sliding_window",
			limits + "dimension = 'tenant'":                                     "dimension_is_account_key_ip_channel_recipient_connector_global",
			limits + "dimension = 'connector'":                                  "dimension_is_connector_where_the_resource_is_one",
			limits + "resource = '/messages/send'":                              "resource_is_api_channel_or_connector",
			limits + "window_seconds = -1 WHERE limit_type = 'qps'":             "window_seconds_is_up_to_2678400",
			limits + "window_seconds = 0 WHERE limit_type = 'sliding_window'":   "window_seconds_of_a_sliding_window_is_0_001_or_more",
			limits + "resource = 'connector:sms/main' WHERE limit_type = 'qps'": "dimension_is_connector_where_the_resource_is_one",
		} {
			if err := f.tryExec(statement); err == nil || !strings.Contains(err.Error(), constraint) {
				f.Errorf("%s: %v, want %s", statement, err, constraint)
			}
		}
		f.wantPool(f.tuned(), sender)
		f.wantLimits(f.tuned(), qps(1000), window(1, 60))
	}},
	{"many instances with the same file are as one", func(f *fixture) {
		file := store.Tuned{Pools: []store.PoolConfig{sender}, Limits: []store.LimitConfig{qps(5), window(1, 60)}}
		f.race(func(_ int, s store.Store) {
			for range 5 {
				if _, err := s.Declare(f.ctx, file); err != nil {
					f.Error(err)
				}
			}
		})
		f.wantPool(f.tuned(), sender)
		f.wantLimits(f.tuned(), qps(5), window(1, 60))
	}},
}
