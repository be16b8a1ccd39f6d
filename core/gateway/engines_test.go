package gateway_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core/enginetest"
	"github.com/pigeonry/pigeonry/core/gateway"
)

// What one gateway takes in another one sends, and a third wakes what was scheduled; the operator's statements reach
// each of them.
func TestRolesShareTheWork(t *testing.T) {
	p := enginetest.NewProduction(t)
	gateways := map[string]*running{}
	for _, role := range []string{"api", "worker", "scheduler"} {
		f := newFolder(t, "echo")
		gateways[role] = f.run(fmt.Sprintf("roles = %q\n", role) + p.HCL() + f.connector("main", ""))
	}
	for range 20 {
		gateways["api"].sent("echo/main")
	}
	if status, _ := gateways["worker"].call(http.MethodGet, "/api/messages", nil); status != http.StatusNotFound {
		t.Errorf("a worker serves the API: %d", status)
	}
	for statement, reported := range map[string]string{growPool: `is="50 to 200 workers,`, raiseLimit: `is="2000 a second by account`} {
		enginetest.SQL(t, p.Database.String(), statement)
		for role, g := range gateways {
			g.soon(role+" tells "+reported, func() bool { return strings.Contains(g.log.String(), reported) })
		}
	}
	enginetest.SQL(t, p.Database.String(), "SELECT error_message, COUNT(*) FROM message_records "+
		"WHERE status = 'failed' AND created_at > NOW() - INTERVAL '1 hour' GROUP BY error_message;")
}

// Messages wait in the store for a worker that comes later.
func TestMessagesWaitForAWorker(t *testing.T) {
	p := enginetest.NewProduction(t)
	intake := newFolder(t, "echo")
	api := intake.run("roles = \"api\"\n" + p.HCL() + intake.connector("main", ""))
	if status := api.send("echo/main"); status != http.StatusOK {
		t.Fatalf("send: %d", status)
	}
	late := newFolder(t, "echo")
	late.run("roles = \"worker,scheduler\"\n" + p.HCL() + late.connector("main", ""))
	api.await("the message is sent", func() bool {
		_, answer := api.call(http.MethodGet, "/api/messages", nil)
		return strings.Contains(answer, `"status":"sent"`)
	})
}

// What is wrong with an engine is found at the start, with what, where and how to mend it, and without the password.
func TestUnusableEnginesAreRefused(t *testing.T) {
	p := enginetest.NewProduction(t)
	changed := func(u *url.URL, change func(*url.URL)) string {
		c := *u
		change(&c)
		return c.String()
	}
	closed := func(u *url.URL) { u.Host = "127.0.0.1:1" }
	const secret = "not-the-password"
	wrong := func(u *url.URL) { u.User = url.UserPassword("nobody", secret) }
	sound := p.HCL()
	for _, c := range []struct {
		name, was, is string
		want          []string
	}{
		{"no PostgreSQL there", p.Database.String(), changed(p.Database, closed), []string{"open the store", "127.0.0.1:1", "nothing answers there"}},
		{"no such database", p.Database.Path, "/nowhere", []string{"open the store", "nowhere", "createdb"}},
		{"a user that PostgreSQL refuses", p.Database.String(), changed(p.Database, wrong), []string{"open the store", `"nobody"`, "check user and password"}},
		{"no RabbitMQ there", p.Broker.String(), changed(p.Broker, closed), []string{"open the queue", "127.0.0.1:1"}},
		{"a user that RabbitMQ refuses", p.Broker.String(), changed(p.Broker, wrong), []string{"open the queue", "nobody"}},
		{"no Redis there", p.Redis.String(), changed(p.Redis, closed), []string{"open the coordination", "127.0.0.1:1", "nothing answers there"}},
		{"a password that Redis refuses", p.Redis.String(), changed(p.Redis, wrong), []string{"open the coordination", "password"}},
		{"a database that Redis does not have", p.Redis.String(), changed(p.Redis, func(u *url.URL) { u.Path = "/4711" }), []string{"open the coordination", "choose another number"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(sound, c.was) {
				t.Fatalf("%q is not in the settings", c.was)
			}
			_, err := gateway.New(t.Context(), newFolder(t).load(strings.Replace(sound, c.was, c.is, 1)), slog.New(slog.DiscardHandler))
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q shows the password", err)
			}
		})
	}
}

// A newer version's database is not touched, and queues of another type are not used.
func TestForeignEnginesAreRefused(t *testing.T) {
	p := enginetest.NewProduction(t)
	if err := newFolder(t).run(p.HCL()).stop(); err != nil {
		t.Fatal(err)
	}
	refused := func(text string, wants ...string) {
		t.Helper()
		_, err := gateway.New(t.Context(), newFolder(t).load(text), slog.New(slog.DiscardHandler))
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v does not say %q", err, want)
			}
		}
	}
	refused(strings.Replace(p.HCL(), "classic", "quorum", 1), "open the queue", "classic", "type")
	enginetest.SQL(t, p.Database.String(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (4711, true)")
	refused(p.HCL(), "open the store", "schema 4711", "newer version")
}
