package gateway_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The statements that operators are promised, to the letter.
const (
	growPool   = `UPDATE thread_pool_configs SET core_pool_size = 50, max_pool_size = 200 WHERE pool_name = 'message_sender';`
	raiseLimit = `UPDATE rate_limit_configs SET max_value = 2000 WHERE resource = 'api:/messages/send' AND limit_type = 'qps';`
)

const onePerSecond = "limit \"api:/messages/send\" {\n  type = \"qps\"\n  max = 1\n}\n"

// exec runs plain SQL beside the gateway, as an operator does.
func (f folder) exec(statements ...string) {
	f.t.Helper()
	db, err := sql.Open("sqlite", fmt.Sprintf("file:%s?_pragma=busy_timeout(5000)", f.path("data", "pigeonry.db")))
	if err != nil {
		f.t.Fatal(err)
	}
	db.SetMaxOpenConns(1) // a pragma holds for its connection
	for _, statement := range statements {
		if _, execErr := db.ExecContext(f.t.Context(), statement); execErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", statement, execErr))
		}
	}
	if err := errors.Join(err, db.Close()); err != nil {
		f.t.Fatal(err)
	}
}

// soon awaits what a change in the database has to bring about within two seconds.
func (r *running) soon(what string, holds func() bool) {
	r.t.Helper()
	changed := time.Now()
	r.await(what, holds)
	if took := time.Since(changed); took > 2*time.Second {
		r.t.Errorf("it took %s: %s", took, what)
	}
}

func (r *running) workers(n int) bool {
	_, metrics := r.call(http.MethodGet, "/metrics", nil)
	return strings.Contains(metrics, fmt.Sprintf("pool_workers{channel=\"echo\",pool=\"message_sender\"} %d\n", n))
}

// flows says whether a burst passes that a limit of one a second does not let pass.
func (r *running) flows() bool {
	for range 3 {
		if r.send("echo/a") != http.StatusOK {
			return false
		}
	}
	return true
}

// An operator's statements are in force within two seconds, and outlive a reload and a restart whose file
// says nothing new. A file that does is the later word.
func TestOperatorsTuneARunningGateway(t *testing.T) {
	f := newFolder(t, "echo")
	text := f.connector("a", "") + onePerSecond
	r := f.run(text)
	if r.flows() || !r.workers(20) {
		t.Fatal("the file is not in force")
	}
	f.exec(growPool)
	r.soon("the pool has 50 workers", func() bool { return r.workers(50) })
	f.exec(raiseLimit)
	r.soon("the limit is 2000", r.flows)
	for _, want := range []string{
		`"gateway: the pool has a new size"`, `was="20 to 100 workers,`, `is="50 to 200 workers,`,
		`"gateway: a limit changed"`, `was="1 a second by account for api:/messages/send (qps)"`, `is="2000 a second by`,
	} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("the log has no %s", want)
		}
	}

	r.reload(text + "drain_timeout = \"9s\"\n")
	if !r.workers(50) || !r.flows() {
		t.Error("a reload that says nothing new took the operator's values back")
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = f.run(text)
	r.await("the pool starts with 50 workers", func() bool { return r.workers(50) })
	if !r.flows() {
		t.Error("a restart took the operator's limit back")
	}

	r.reload(f.connector("a", "") + strings.Replace(onePerSecond, "max = 1", "max = 0.5", 1) + "pool \"message_sender\" {\n  core_size = 7\n}\n")
	if r.flows() {
		t.Error("the new limit of the file is not in force")
	}
	r.await("surplus workers are gone or the pool is bounded anew", func() bool {
		return strings.Contains(r.log.String(), `is="7 to 100 workers,`)
	})
}

// The file need not limit sends for an operator to do so.
func TestOperatorsLimitSends(t *testing.T) {
	f := newFolder(t, "echo")
	r := f.run(f.connector("a", ""))
	f.exec(strings.Replace(raiseLimit, "2000", "0", 1))
	r.soon("nothing passes", func() bool { return r.send("echo/a") == http.StatusTooManyRequests })
}

// A row that an operator inserts is a limit, and one that is deleted is none.
func TestOperatorsAddLimits(t *testing.T) {
	f := newFolder(t, "echo")
	r := f.run(f.connector("a", "") + f.connector("b", ""))
	f.exec(`INSERT INTO rate_limit_configs (resource, limit_type, dimension, max_value, window_seconds)
		VALUES ('channel:echo', 'sliding_window', 'recipient', 0, 3600)`)
	r.soon("a limit of nothing refuses", func() bool { return r.send("echo/a") == http.StatusTooManyRequests })
	r.reload(f.connector("a", "") + f.connector("b", ""))
	if status := r.send("echo/a"); status != http.StatusTooManyRequests {
		t.Errorf("after a reload: %d", status)
	}
	f.exec(`DELETE FROM rate_limit_configs`)
	r.soon("without it messages pass", func() bool { return r.send("echo/a") == http.StatusOK })

	f.exec(`INSERT INTO rate_limit_configs (resource, limit_type, dimension, max_value) VALUES ('connector:echo/a', 'qps', 'connector', 0)`)
	r.await("the limit of the connector is in force", func() bool { return strings.Contains(r.log.String(), "0 a second by connector for connector:echo/a") })
	_, answer := r.call(http.MethodPost, "/api/messages/send", map[string]any{
		"channel": "echo", "recipient": "ann", "content": "Hello", "connector": "echo/a",
	})
	r.sent("echo/b")
	f.exec(`UPDATE rate_limit_configs SET max_value = 100`)
	r.soon("what waited is sent", func() bool {
		_, list := r.call(http.MethodGet, "/api/messages?status=queued", nil)
		return !strings.Contains(list, `"record_id"`)
	})
	if !strings.Contains(answer, `"code":0`) {
		t.Errorf("answer %s", answer)
	}
}

// Rows that no constraint kept out break nothing: what was in force stays, and the log says how to mend them.
func TestRowsThatMakeNoSense(t *testing.T) {
	f := newFolder(t, "echo")
	text := f.connector("a", "") + onePerSecond
	r := f.run(text)
	f.exec(`PRAGMA ignore_check_constraints = ON`,
		`UPDATE thread_pool_configs SET core_pool_size = 300`,
		`UPDATE rate_limit_configs SET max_value = -1`,
		`INSERT INTO thread_pool_configs (pool_name, core_pool_size, max_pool_size) VALUES ('sender', 1, 2)`,
		`INSERT INTO rate_limit_configs (resource, limit_type, dimension, max_value) VALUES ('api:/messages/send', 'qpm', 'tenant', 5)`,
		`INSERT INTO rate_limit_configs (resource, limit_type, dimension, max_value) VALUES ('api:/messages/send', 'sliding_window', 'ip', 5)`,
		`INSERT INTO rate_limit_configs (resource, limit_type, dimension, max_value) VALUES ('fax', 'qps', 'ip', 5)`)
	for _, want := range []string{
		`table=thread_pool_configs row="pool message_sender" problem="core_pool_size is above max_pool_size" remedy="raise max_pool_size or lower core_pool_size: ` +
			`UPDATE thread_pool_configs SET core_pool_size = … WHERE pool_name = 'message_sender';"`,
		`table=thread_pool_configs row="pool sender" problem="there is no such pool"`,
		`row="1: api:/messages/send, qps by account" problem="max_value is out of bounds" remedy="use a number between 0 and 1000000000: UPDATE rate_limit_configs SET max_value = … WHERE id = 1;"`,
		`row="2: api:/messages/send, qpm by tenant" problem="limit_type is not one of`,
		`problem="dimension is not one of`,
		`row="3: api:/messages/send, sliding_window by ip" problem="a sliding_window has no window" remedy="give it one: UPDATE rate_limit_configs SET window_seconds = … WHERE id = 3;"`,
		`row="4: fax, qps by ip" problem="resource is not one of`,
	} {
		r.await(want, func() bool { return strings.Contains(r.log.String(), want) })
	}
	if r.flows() || !r.workers(20) {
		t.Error("what was in force did not stay")
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = f.run(text)
	r.await("the pool has the size of the file", func() bool { return r.workers(20) })
	if r.flows() {
		t.Error("after a restart the limit of the file is not in force")
	}
}

// A reload whose values cannot be stored fails whole: neither its connectors nor its limits are in force.
func TestReloadThatCannotBeStored(t *testing.T) {
	f := newFolder(t, "echo")
	r := f.run(f.connector("a", `color = "red"`) + onePerSecond)
	f.exec(`CREATE TRIGGER full BEFORE INSERT ON rate_limit_configs BEGIN SELECT RAISE(ABORT, 'no room'); END`)
	next := f.connector("a", `color = "green"`) + strings.Replace(onePerSecond, "max = 1", "max = 500", 1) + "pool \"message_sender\" {\n  core_size = 7\n}\n"
	err := r.Reload(t.Context(), r.load(next))
	if err == nil || !strings.Contains(err.Error(), "store the pools and limits") {
		t.Errorf("answered %v", err)
	}
	<-time.After(1500 * time.Millisecond) // the tables are read once more
	if r.flows() || !r.workers(20) || r.journal("a") != "red" {
		t.Errorf("something of it is in force; a was opened %s", r.journal("a"))
	}
	f.exec(`DROP TRIGGER full`)
	r.reload(next)
	if !r.flows() || r.journal("a") != "red green" {
		t.Errorf("mended it is not in force; a was opened %s", r.journal("a"))
	}
}
