package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// RabbitMQ is an engine that can also be told to run short of memory.
type RabbitMQ struct {
	*Engine
	rabbit *rabbit
}

// rabbit runs RabbitMQ as a node of its own, with a port mapper (epmd) of its own: the one that Erlang
// starts by itself outlives the node and serves every other node of the machine.
type rabbit struct {
	*place
	url        string
	scripts    string
	epmd       string
	epmdPort   int
	distPort   int
	schedulers string
}

// NewRabbitMQ prepares a RabbitMQ.
func NewRabbitMQ(o Options) (*RabbitMQ, error) {
	server, err := locate("rabbitmq-server", "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin", "rabbitmq-server")
	if err != nil {
		return nil, err
	}
	epmd, err := locate("epmd", "/usr/lib/erlang/erts-*/bin", "erlang-base")
	if err != nil {
		return nil, err
	}
	port, err := ports{24000, 6000}.choose(3)
	if err != nil {
		return nil, err
	}
	p, err := newPlace(Rabbit, "rabbitmq", port[0], o)
	if err != nil {
		return nil, err
	}
	e := &Engine{place: p, url: "amqp://guest:guest@" + p.address() + "/", orderly: syscall.SIGTERM}
	r := &rabbit{place: &e.place, url: e.url, scripts: filepath.Dir(server), epmd: epmd, distPort: port[1], epmdPort: port[2]}
	if !o.Durable {
		r.schedulers = " +S 1:1" // tests need no second core for it
	}
	e.technology = r
	return &RabbitMQ{Engine: e, rabbit: r}, nil
}

// configuration keeps a small disk from raising an alarm, which would block publishers without a word.
const configuration = `disk_free_limit.absolute = 100MB
log.console.level = info
`

func (r *rabbit) prepare(context.Context, *journal) error {
	if err := r.makeData(); err != nil {
		return err
	}
	for name, text := range map[string]string{"rabbitmq.conf": configuration, "enabled_plugins": "[].\n"} {
		path := filepath.Join(r.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
		if err := r.own(path); err != nil {
			return err
		}
	}
	return nil
}

func (r *rabbit) programs() []program {
	return []program{
		{r.erlang(r.epmd, "-port", strconv.Itoa(r.epmdPort), "-address", "127.0.0.1"), r.mapperReady},
		{r.erlang(filepath.Join(r.scripts, "rabbitmq-server")), r.ready},
	}
}

// erlang is a command with the environment that the server and its tools share.
func (r *rabbit) erlang(path string, args ...string) *exec.Cmd {
	c := r.command(path, args...)
	in := func(name string) string { return filepath.Join(r.dir, name) }
	c.Env = append(c.Env,
		"LC_ALL=C.UTF-8",
		"ERL_EPMD_PORT="+strconv.Itoa(r.epmdPort), "ERL_EPMD_ADDRESS=127.0.0.1", "ERL_CRASH_DUMP_SECONDS=0",
		"RABBITMQ_NODENAME="+r.node(), "RABBITMQ_DIST_PORT="+strconv.Itoa(r.distPort),
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_NODE_PORT="+strconv.Itoa(r.port),
		"RABBITMQ_MNESIA_BASE="+r.data(), "RABBITMQ_LOG_BASE="+r.dir, "RABBITMQ_LOGS=-", "RABBITMQ_PID_FILE="+in("pid"),
		"RABBITMQ_CONFIG_FILE="+in("rabbitmq.conf"), "RABBITMQ_ADVANCED_CONFIG_FILE="+in("none.config"),
		"RABBITMQ_CONF_ENV_FILE="+in("none"), "RABBITMQ_ENABLED_PLUGINS_FILE="+in("enabled_plugins"),
		// "Input" has the script become the server, so that signals reach it and no shell stands between.
		"RABBITMQ_ALLOW_INPUT=1",
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-noinput -kernel inet_dist_use_interface {127,0,0,1}"+r.schedulers,
	)
	return c
}

func (r *rabbit) node() string { return fmt.Sprintf("pigeonry-%d@localhost", r.port) }

func (r *rabbit) mapperReady(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(r.epmdPort))
	if err != nil {
		return err
	}
	return conn.Close()
}

func (r *rabbit) ready(ctx context.Context) error {
	config := amqp.Config{Dial: func(network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return conn, conn.SetDeadline(time.Now().Add(2 * time.Second)) // the client lifts it after the handshake
	}}
	conn, err := amqp.DialConfig(r.url, config)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Control runs rabbitmqctl on the node and returns what it prints.
func (r *RabbitMQ) Control(ctx context.Context, args ...string) (string, error) {
	if r.PID() == 0 { // the tool would start a port mapper and leave it behind
		return "", errors.New("rabbitmqctl needs a running " + r.name)
	}
	args = append([]string{"--quiet", "--node", r.rabbit.node()}, args...)
	var out strings.Builder
	if err := run(ctx, r.rabbit.erlang(filepath.Join(r.rabbit.scripts, "rabbitmqctl"), args...), &out); err != nil {
		return "", fmt.Errorf("%w: %s", err, out.String())
	}
	return out.String(), nil
}

// SetMemoryWatermark sets the share of the machine's memory above which the node blocks those who
// publish: 0 raises the alarm at once, 0.4 is what a node starts with.
func (r *RabbitMQ) SetMemoryWatermark(ctx context.Context, share float64) error {
	_, err := r.Control(ctx, "set_vm_memory_high_watermark", strconv.FormatFloat(share, 'f', -1, 64))
	return err
}
