package gateway_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pigeonry/pigeonry/core/gateway"
)

// server is the URL of a server of the tests.
func server(t *testing.T, variable string) *url.URL {
	t.Helper()
	given := os.Getenv(variable)
	if given == "" {
		missing := variable + " names no server; `make test` starts one"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	u, err := url.Parse(given)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// production is a set of engines of a test's own: a database, and names on a broker and a Redis that nobody else has.
type production struct {
	database, broker, redis *url.URL
	prefix                  string
}

func newProduction(t *testing.T) production {
	t.Helper()
	p := production{
		database: server(t, "PIGEONRY_TEST_POSTGRES_URL"), broker: server(t, "PIGEONRY_TEST_RABBITMQ_URL"),
		redis: server(t, "PIGEONRY_TEST_REDIS_URL"), prefix: "test-" + strings.ToLower(rand.Text()[:12]),
	}
	at := p.database.String()
	name := strings.ReplaceAll("pigeonry_"+p.prefix, "-", "_")
	execute(t, at, "CREATE DATABASE "+name)
	t.Cleanup(func() { execute(t, at, "DROP DATABASE "+name+" WITH (FORCE)") })
	p.database.Path = "/" + name
	return p
}

// execute runs a statement as an operator would, beside the gateways.
func execute(t *testing.T, at, statement string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// text is the engines in the words of the configuration file.
func (p production) text() string {
	return fmt.Sprintf("store \"postgres\" { url = %q }\nqueue \"rabbitmq\" {\n  url = %q\n  prefix = %q\n  type = \"classic\"\n}\n"+
		"coordination \"redis\" {\n  url = %q\n  prefix = %q\n}\n", p.database, p.broker, p.prefix, p.redis, p.prefix)
}

// What one gateway takes in another one sends, and a third wakes what was scheduled; the operator's statements reach
// each of them.
func TestRolesShareTheWork(t *testing.T) {
	p := newProduction(t)
	gateways := map[string]*running{}
	for _, role := range []string{"api", "worker", "scheduler"} {
		f := newFolder(t, "echo")
		gateways[role] = f.run(fmt.Sprintf("roles = %q\n", role) + p.text() + f.connector("main", ""))
	}
	for range 20 {
		gateways["api"].sent("echo/main")
	}
	if status, _ := gateways["worker"].call(http.MethodGet, "/api/messages", nil); status != http.StatusNotFound {
		t.Errorf("a worker serves the API: %d", status)
	}
	for statement, reported := range map[string]string{growPool: `is="50 to 200 workers,`, raiseLimit: `is="2000 a second by account`} {
		execute(t, p.database.String(), statement)
		for role, g := range gateways {
			g.soon(role+" tells "+reported, func() bool { return strings.Contains(g.log.String(), reported) })
		}
	}
	execute(t, p.database.String(), "SELECT error_message, COUNT(*) FROM message_records "+
		"WHERE status = 'failed' AND created_at > NOW() - INTERVAL '1 hour' GROUP BY error_message;")
}

// Messages wait in the store for a worker that comes later.
func TestMessagesWaitForAWorker(t *testing.T) {
	p := newProduction(t)
	intake := newFolder(t, "echo")
	api := intake.run("roles = \"api\"\n" + p.text() + intake.connector("main", ""))
	if status := api.send("echo/main"); status != http.StatusOK {
		t.Fatalf("send: %d", status)
	}
	late := newFolder(t, "echo")
	late.run("roles = \"worker,scheduler\"\n" + p.text() + late.connector("main", ""))
	api.await("the message is sent", func() bool {
		_, answer := api.call(http.MethodGet, "/api/messages", nil)
		return strings.Contains(answer, `"status":"sent"`)
	})
}

// What is wrong with an engine is found at the start, with what, where and how to mend it, and without the password.
func TestUnusableEnginesAreRefused(t *testing.T) {
	p := newProduction(t)
	changed := func(u *url.URL, change func(*url.URL)) string {
		c := *u
		change(&c)
		return c.String()
	}
	closed := func(u *url.URL) { u.Host = "127.0.0.1:1" }
	const secret = "not-the-password"
	wrong := func(u *url.URL) { u.User = url.UserPassword("nobody", secret) }
	sound := p.text()
	for _, c := range []struct {
		name, was, is string
		want          []string
	}{
		{"no PostgreSQL there", p.database.String(), changed(p.database, closed), []string{"open the store", "127.0.0.1:1", "nothing answers there"}},
		{"no such database", p.database.Path, "/nowhere", []string{"open the store", "nowhere", "createdb"}},
		{"a user that PostgreSQL refuses", p.database.String(), changed(p.database, wrong), []string{"open the store", `"nobody"`, "check user and password"}},
		{"no RabbitMQ there", p.broker.String(), changed(p.broker, closed), []string{"open the queue", "127.0.0.1:1"}},
		{"a user that RabbitMQ refuses", p.broker.String(), changed(p.broker, wrong), []string{"open the queue", "nobody"}},
		{"no Redis there", p.redis.String(), changed(p.redis, closed), []string{"open the coordination", "127.0.0.1:1", "nothing answers there"}},
		{"a password that Redis refuses", p.redis.String(), changed(p.redis, wrong), []string{"open the coordination", "password"}},
		{"a database that Redis does not have", p.redis.String(), changed(p.redis, func(u *url.URL) { u.Path = "/4711" }), []string{"open the coordination", "choose another number"}},
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
	p := newProduction(t)
	if err := newFolder(t).run(p.text()).stop(); err != nil {
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
	refused(strings.Replace(p.text(), "classic", "quorum", 1), "open the queue", "classic", "type")
	execute(t, p.database.String(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (4711, true)")
	refused(p.text(), "open the store", "schema 4711", "newer version")
}
