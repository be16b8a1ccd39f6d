package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// prepared makes an engine that is killed when the test ends.
func prepared[E interface {
	Name() string
	LogFile() string
	Kill()
}](t *testing.T, prepare func(engine.Options) (E, error), durable bool) E {
	t.Helper()
	e, err := prepare(engine.Options{Dir: filepath.Join(t.TempDir(), "engine"), Durable: durable})
	if errors.Is(err, engine.ErrMissing) && os.Getenv("CI") != "true" {
		t.Skip("left out:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Kill()
		if log, _ := os.ReadFile(e.LogFile()); t.Failed() {
			t.Logf("the log of %s ends with:\n%s", e.Name(), log[max(0, len(log)-3000):])
		}
	})
	return e
}

// lifecycle is what every engine has to go through. Write and read use a fresh client each.
type lifecycle struct {
	*engine.Engine
	write, read func(context.Context) error
}

func (l lifecycle) test(t *testing.T) {
	t.Helper()
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	began := time.Now()
	must("start", l.Start(t.Context()))
	t.Logf("%s serves after %s", l.Name(), time.Since(began).Round(time.Millisecond))
	if err := l.Start(t.Context()); err == nil {
		t.Error("it could be started twice")
	}
	must("write", l.write(t.Context()))

	url, family := l.URL(), l.family(t)
	l.Kill()
	gone(t, family)
	if l.PID() != 0 || l.read(t.Context()) == nil {
		t.Error("something serves after the kill")
	}
	began = time.Now()
	must("start after a kill", l.Start(t.Context()))
	t.Logf("after a kill it serves in %s", time.Since(began).Round(time.Millisecond))
	if l.URL() != url {
		t.Errorf("it moved from %s to %s", url, l.URL())
	}
	must("read what was written before the kill", l.read(t.Context()))

	must("pause", l.Pause())
	brief, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := l.read(brief); err == nil {
		t.Error("it answers while it is frozen")
	}
	must("resume", l.Resume())
	must("read after the freeze", l.read(t.Context()))

	family = l.family(t)
	must("pause before the stop", l.Pause())
	began = time.Now()
	must("stop", l.Stop())
	t.Logf("stopped in %s", time.Since(began).Round(time.Millisecond))
	gone(t, family)
	must("stop again", l.Stop())
	must("wipe", l.Wipe())
}

// family are all processes of this test program's engines, the one of this engine among them.
func (l lifecycle) family(t *testing.T) []int {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		return nil // nothing to find them by
	}
	family := engine.Descendants(os.Getpid())
	if !slices.Contains(family, l.PID()) {
		t.Fatalf("%d is not among %v", l.PID(), family)
	}
	return family
}

// gone checks that none of the processes runs any more.
func gone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		if running(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
}

func running(pid int) bool {
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	return len(status) > 0 && !strings.Contains(string(status), "State:\tZ")
}

func TestPostgres(t *testing.T) {
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprintf("durable=%t", durable), func(t *testing.T) {
			e := prepared(t, engine.NewPostgres, durable)
			do := func(ctx context.Context, sql string) error {
				conn, err := pgx.Connect(ctx, e.URL())
				if err != nil {
					return err
				}
				defer conn.Close(context.WithoutCancel(ctx))
				_, err = conn.Exec(ctx, sql)
				return err
			}
			lifecycle{
				e,
				func(ctx context.Context) error {
					return do(ctx, "CREATE TABLE pigeons (id bigint); INSERT INTO pigeons VALUES (1)")
				},
				func(ctx context.Context) error { return do(ctx, "SELECT 1 / count(*) FROM pigeons") },
			}.test(t)
		})
	}
}

func TestRedis(t *testing.T) {
	e := prepared(t, engine.NewRedis, false)
	with := func(ctx context.Context, do func(*goredis.Client) error) error {
		options, err := goredis.ParseURL(e.URL())
		if err != nil {
			return err
		}
		options.MaxRetries = -1
		options.ContextTimeoutEnabled = true
		c := goredis.NewClient(options)
		defer c.Close()
		return do(c)
	}
	lifecycle{
		e,
		func(ctx context.Context) error {
			return with(ctx, func(c *goredis.Client) error { return c.Set(ctx, "pigeon", "grey", 0).Err() })
		},
		func(ctx context.Context) error {
			return with(ctx, func(c *goredis.Client) error { return c.Get(ctx, "pigeon").Err() })
		},
	}.test(t)
}

// onChannel does something on a fresh connection to a RabbitMQ, which is cut when the context ends.
func onChannel(ctx context.Context, url string, do func(*amqp.Connection, *amqp.Channel) error) error {
	timeout := 10 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	conn, err := amqp.DialConfig(url, amqp.Config{Dial: amqp.DefaultDial(timeout)})
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.CloseDeadline(time.Now()) })
	defer stop()
	channel, err := conn.Channel()
	if err != nil {
		return err
	}
	return do(conn, channel)
}

func publish(ctx context.Context, channel *amqp.Channel) error {
	if err := channel.Confirm(false); err != nil {
		return err
	}
	confirm, err := channel.PublishWithDeferredConfirm("", "pigeons", false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("grey")})
	if err != nil {
		return err
	}
	_, err = confirm.WaitContext(ctx)
	return err
}

func TestRabbitMQ(t *testing.T) {
	e := prepared(t, engine.NewRabbitMQ, false)
	write := func(ctx context.Context) error {
		return onChannel(ctx, e.URL(), func(_ *amqp.Connection, c *amqp.Channel) error {
			if _, err := c.QueueDeclare("pigeons", true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}); err != nil {
				return err
			}
			if err := publish(ctx, c); err != nil {
				return err
			}
			// RabbitMQ saves the names of its quorum queues twice a second. Killed before that, it never
			// finds the queue again: it has no leader from then on.
			time.Sleep(1500 * time.Millisecond)
			return nil
		})
	}
	read := func(ctx context.Context) error {
		return onChannel(ctx, e.URL(), func(_ *amqp.Connection, c *amqp.Channel) error {
			_, found, err := c.Get("pigeons", false) // not acknowledged: it stays
			if err == nil && !found {
				err = errors.New("the message is gone")
			}
			return err
		})
	}
	if _, err := e.Control(t.Context(), "status"); err == nil {
		t.Error("rabbitmqctl ran without a node")
	}
	lifecycle{e.Engine, write, read}.test(t)

	// Wiped, it starts with nothing; without memory, it blocks those who publish.
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := read(t.Context()); err == nil {
		t.Error("the message outlived the wipe")
	}
	blocked := make(chan amqp.Blocking, 8)
	err := onChannel(t.Context(), e.URL(), func(conn *amqp.Connection, c *amqp.Channel) error {
		conn.NotifyBlocked(blocked)
		if err := e.SetMemoryWatermark(t.Context(), 0); err != nil {
			return err
		}
		brief, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := publish(brief, c); err == nil {
			return errors.New("a message was confirmed in spite of the alarm")
		}
		if b := <-blocked; !b.Active {
			return fmt.Errorf("not blocked: %+v", b)
		}
		if err := e.SetMemoryWatermark(t.Context(), 0.4); err != nil {
			return err
		}
		if b := <-blocked; b.Active {
			return fmt.Errorf("still blocked: %+v", b)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := e.Stop(); err != nil {
		t.Error(err)
	}
}

func TestFailedStartShowsTheLog(t *testing.T) {
	e := prepared(t, engine.NewRedis, false)
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := e.Stop(); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(filepath.Dir(e.LogFile()), "data", "appendonlydir", "appendonly.aof.manifest")
	if err := os.WriteFile(broken, []byte("no manifest\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := e.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "it ended: exit status") || !strings.Contains(err.Error(), "AOF") {
		t.Errorf("got %v", err)
	}
	if e.PID() != 0 {
		t.Error("something runs")
	}
}

// A starter that is killed cannot stop anything; the kernel does.
func TestOrphansEnd(t *testing.T) {
	if dir := os.Getenv("PIGEONRY_ORPHANED_REDIS"); dir != "" {
		e, err := engine.NewRedis(engine.Options{Dir: dir})
		if err == nil {
			err = e.Start(t.Context())
		}
		fmt.Println(e.PID(), err)
		select {} // until it is killed
	}
	if runtime.GOOS != "linux" {
		t.Skip("left out: only Linux ends orphans")
	}
	prepared(t, engine.NewRedis, false) // or skip
	starter := exec.Command(os.Args[0], "-test.run", "^TestOrphansEnd$")
	starter.Env = append(os.Environ(), "PIGEONRY_ORPHANED_REDIS="+filepath.Join(t.TempDir(), "redis"))
	out, err := starter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	var message string
	_, scanned := fmt.Fscan(out, &pid, &message)
	starter.Process.Kill()
	starter.Wait()
	if scanned != nil || message != "<nil>" {
		t.Fatalf("%d %s %v", pid, message, scanned)
	}
	for ends := time.Now().Add(5 * time.Second); time.Now().Before(ends) && running(pid); {
		time.Sleep(10 * time.Millisecond)
	}
	gone(t, []int{pid})
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	e := prepared(t, engine.NewPostgres, false)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := e.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if family := engine.Descendants(os.Getpid()); len(family) > 0 {
		t.Errorf("left behind: %v", family)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Errorf("after a start that was given up: %v", err)
	}
}

func TestMissingProgramsNameTheirPackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := engine.New(engine.Redis, engine.Options{Dir: t.TempDir()})
	if !errors.Is(err, engine.ErrMissing) || !strings.Contains(err.Error(), "apt-get install redis-server") {
		t.Errorf("got %v", err)
	}
	if _, err := engine.New("mongodb", engine.Options{}); err == nil || !strings.Contains(err.Error(), "is no engine") {
		t.Errorf("got %v", err)
	}
}

func TestVariables(t *testing.T) {
	test, gateway := engine.VariablesOf(engine.Postgres)
	if test != "PIGEONRY_TEST_POSTGRES_URL" || gateway != "PIGEONRY_POSTGRES_URL" {
		t.Errorf("got %s, %s", test, gateway)
	}
}
