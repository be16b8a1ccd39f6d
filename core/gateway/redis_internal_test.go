package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/pigeonry/pigeonry/core/enginetest"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/limit"
)

const redisPassword = "a-password-of-the-tests"

// testRedis is the Redis of the tests, as its administrator sees it.
type testRedis struct {
	*redis.Client
	t   *testing.T
	url *url.URL
}

func newTestRedis(t *testing.T) testRedis {
	t.Helper()
	u := enginetest.URL(t, enginetest.Redis)
	return testRedis{administrator(t, u.String()), t, u}
}

func administrator(t *testing.T, at string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(at)
	if err != nil {
		t.Fatal(err)
	}
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// grant gives a user rights beside those that it has.
func (r testRedis) grant(user, rights string) {
	r.t.Helper()
	arguments := []any{"ACL", "SETUSER", user}
	for right := range strings.FieldsSeq(rights) {
		arguments = append(arguments, right)
	}
	if err := r.Do(r.t.Context(), arguments...).Err(); err != nil {
		r.t.Fatal(err)
	}
}

// user makes a user with rights, and returns its name and URL.
func (r testRedis) user(rights string) (name, at string) {
	r.t.Helper()
	name = "test-" + strings.ToLower(rand.Text()[:12])
	r.grant(name, "on >"+redisPassword+" "+rights)
	r.t.Cleanup(func() { r.Do(context.WithoutCancel(r.t.Context()), "ACL", "DELUSER", name) })
	u := *r.url
	u.User = url.UserPassword(name, redisPassword)
	return name, u.String()
}

// openTestRedis opens what a gateway of some roles has of Redis.
func openTestRedis(t *testing.T, at, prefix string, roles settings.Roles) (*engines, error) {
	t.Helper()
	e := &engines{}
	t.Cleanup(func() { _ = e.close() })
	return e, e.openRedis(t.Context(), &settings.Settings{
		Roles: roles, Coordination: settings.Technology{Kind: "redis", URL: settings.Secret(at), Prefix: prefix},
		Retention: settings.Retention{Traces: time.Hour},
	}, slog.New(slog.DiscardHandler))
}

// says fails unless an error says all that is wanted, and no password.
func says(t *testing.T, err error, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), redisPassword) {
		t.Errorf("%v shows the password", err)
	}
}

// A user that may not do what limits need is refused at the start, and what the error advises is enough.
func TestRedisRefusesAUser(t *testing.T) {
	r := newTestRedis(t)
	for _, c := range []struct{ name, rights, answer string }{
		{"no scripts", "~test-* &test-* +@all -@scripting", "NOPERM"},
		{"no writes", "~test-* &test-* +@all -@write", "The user executing the script can't run this command"},
		{"no keys", "~other:* &test-* +@all", "NOPERM"},
		{"nothing", "", "NOPERM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			user, at := r.user(c.rights)
			_, err := openTestRedis(t, at, user, "api")
			says(t, err, c.answer, r.url.Host, fmt.Sprintf("user %q", user), "ACL SETUSER")
			if err == nil {
				t.FailNow()
			}
			_, advice, _ := strings.Cut(err.Error(), "`")
			advice, _, _ = strings.Cut(advice, "`")
			r.grant(user, advice)
			if _, err := openTestRedis(t, at, user, "api"); err != nil {
				t.Errorf("with %q: %v", advice, err)
			}
		})
	}
}

// privateRedis starts a Redis of the test's own on a socket and returns its URL.
func privateRedis(t *testing.T, arguments ...string) string {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "redis") //nolint:usetesting // a short path: that of a socket may have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	arguments = append([]string{"--port", "0", "--unixsocket", socket, "--dir", dir, "--save", ""}, arguments...)
	server := exec.CommandContext(context.WithoutCancel(t.Context()), program, arguments...)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	at := "unix://" + socket
	client, tick := administrator(t, at), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(10 * time.Second); client.Ping(t.Context()).Err() != nil; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the private Redis does not answer")
		}
	}
	return at
}

func TestARedisThatTakesNoWritesIsRefused(t *testing.T) {
	for _, c := range []struct {
		name      string
		arguments []string
		want      []string
	}{
		{"a replica", []string{"--replicaof", "127.0.0.1 1"}, []string{"READONLY", "a replica", "primary"}},
		{"one that is full", []string{"--maxmemory", "1"}, []string{"OOM", "raise its maxmemory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := openTestRedis(t, privateRedis(t, c.arguments...), "", "api")
			says(t, err, c.want...)
		})
	}
}

// When Redis turns them away, the API keeps its limits in full, and a worker its share among the workers.
func TestRedisRefusesLater(t *testing.T) {
	r := newTestRedis(t)
	user, at := r.user("~* &* +@all")
	gateways := map[settings.Roles]*engines{}
	workers := 0
	for _, roles := range []settings.Roles{"api", "worker", "scheduler", "worker,scheduler"} {
		e, err := openTestRedis(t, at, user, roles)
		if err != nil {
			t.Fatal(err)
		}
		gateways[roles] = e
		if roles.Has(settings.RoleWorker) { // the last one hears of the one before it with its first sign of life
			workers++
			await(t, "the sign of life", func() bool { return r.ZCard(t.Context(), user+":instances").Val() == int64(workers) })
		}
	}
	r.grant(user, "-@all")
	for _, e := range gateways {
		s := e.coordination(t.Context())
		if want := "Redis is reached, but refuses: NOPERM; each gateway"; s.Ready || !strings.HasPrefix(s.Message, want) {
			t.Errorf("%+v, want %q", s, want)
		}
	}
	for _, c := range []struct {
		roles    settings.Roles
		resource string
		want     int
	}{
		{"api", "api:/messages/send", 12},
		{"api", "channel:sms", 12},
		{"worker,scheduler", "connector:sms/main", 6},
	} {
		if got := passed(t, gateways[c.roles].limiter, c.resource, 12); got != c.want {
			t.Errorf("%d of %s passed, want %d", got, c.resource, c.want)
		}
	}
	r.grant(user, "+@all")
	for _, e := range gateways {
		await(t, "the end of the outage", func() bool { return e.coordination(t.Context()).Ready })
	}
}

// passed is how much of a limit passes.
func passed(t *testing.T, l limit.Limiter, resource string, most float64) int {
	t.Helper()
	rule := limit.Rule{Resource: resource, Type: limit.SlidingWindow, Max: most, Window: time.Hour}
	for n := 0; ; n++ {
		d, err := l.Allow(t.Context(), limit.Request{Rule: rule, Key: "k", N: 1})
		if err != nil {
			t.Fatal(err)
		}
		if !d.Allowed {
			return n
		}
	}
}

// await polls until something holds that sends no signal.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(10 * time.Second); !holds(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not happen: " + what)
		}
	}
}

// answer is an error that Redis answered.
type answer string

// Error implements error.
func (a answer) Error() string { return string(a) }

// RedisError implements redis.Error.
func (answer) RedisError() {}

func TestAdviceOnRedis(t *testing.T) {
	unreachable := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for _, c := range []struct {
		err           error
		advice, state string
	}{
		{answer("NOAUTH Authentication required."), "wants a password", "refuses: NOAUTH"},
		{answer("ERR AUTH <password> called without any password configured"), "take it out of the URL", "refuses: ERR"},
		{answer("CROSSSLOT Keys in request don't hash to the same slot"), "a node of a cluster: CROSSSLOT", "refuses: CROSSSLOT"},
		{answer("MOVED 866 10.0.0.7:6379"), "a node of a cluster", "refuses: MOVED"},
		{answer("ERR SELECT is not allowed in cluster mode"), "a node of a cluster", "refuses: ERR"},
		{answer("ERR Error running script (call to f_1): @user_script:9: -READONLY You can't write against a read only replica."), "name its primary", "refuses: ERR"},
		{answer("NOPERM this user has no permissions. script: 12ab, on @user_script:9."), "no permissions.; give it with ACL SETUSER what it lacks of `~p:* &p:* ", "refuses: NOPERM"},
		{answer("MISCONF Redis is configured to save RDB snapshots"), "refuses to count limits: MISCONF Redis", "refuses: MISCONF"},
		{answer("ERR unknown command 'HELLO', with args beginning with: '" + redisPassword + "'"), "unknown command 'HELLO'", "refuses: ERR"},
		{unreachable, "nothing answers there", "cannot be reached"},
		{context.DeadlineExceeded, "nothing answers there", "cannot be reached"},
		{&net.DNSError{}, "the host is not known", "cannot be reached"},
		{errors.New("odd"), "odd", "cannot be reached"},
	} {
		err := fmt.Errorf("ask Redis for limits: %w", c.err)
		says(t, adviseRedis(err, "", "p:"), c.advice)
		says(t, errors.New(redisState(err).Message), c.state)
	}
	if s := redisState(nil); !s.Ready || s.Message != "" {
		t.Errorf("%+v, want it to be ready", s)
	}
}
