package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/engine"
)

// network has the lines from each gateway to each engine.
type network struct {
	server *toxiproxy.ApiServer
	lines  []*line
}

func newNetwork() *network {
	toxics.Register(halfOpen, new(halfOpenToxic))
	return &network{server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())}
}

// line is the connection of a gateway to an engine, which can be cut, slowed down and made deaf.
type line struct {
	engine  string
	proxy   *toxiproxy.Proxy
	orphans int // times that its connections were orphaned
}

// connect lays a line and returns the URL at its near end.
func (n *network) connect(e *engine.Engine) (string, error) {
	u, err := url.Parse(e.URL())
	if err != nil {
		return "", err
	}
	near, err := freeAddress(linePorts, nil)
	if err != nil {
		return "", err
	}
	proxy := toxiproxy.NewProxy(n.server, fmt.Sprint(e.Name(), len(n.lines)), near, u.Host)
	if err := proxy.Start(); err != nil {
		return "", err
	}
	n.lines = append(n.lines, &line{engine: e.Name(), proxy: proxy})
	u.Host = near
	return u.String(), nil
}

// to are the lines of all gateways to an engine.
func (n *network) to(name string) []*line {
	var lines []*line
	for _, l := range n.lines {
		if l.engine == name {
			lines = append(lines, l)
		}
	}
	return lines
}

func (n *network) close() {
	for _, l := range n.lines {
		l.proxy.Stop()
	}
}

// cut ends all connections of the line and refuses new ones until mend.
func (l *line) cut() error {
	l.proxy.Stop()
	return nil
}

// reset ends all connections of the line. New ones are taken at once.
func (l *line) reset() error {
	l.proxy.Stop()
	return l.proxy.Start()
}

func (l *line) mend() error { return l.proxy.Start() }

// delay has everything take so many milliseconds more, each way.
func (l *line) delay(ms int) error {
	attributes := fmt.Sprintf(`{"latency": %d, "jitter": %d}`, ms, ms/4)
	return errors.Join(l.add("latency", "upstream", attributes), l.add("latency", "downstream", attributes))
}

// deafen leaves connections open and lets nothing through: the other end is gone and nobody has said so.
func (l *line) deafen() error {
	return errors.Join(l.add("timeout", "upstream", `{"timeout": 0}`), l.add("timeout", "downstream", `{"timeout": 0}`))
}

// orphan leaves the connections that there are open and lets nothing through on them, as a firewall does that has
// forgotten them. New ones are as good as ever.
func (l *line) orphan() error {
	attributes := fmt.Sprintf(`{"until": %d}`, time.Now().Add(orphaning).UnixMilli())
	l.orphans++
	name := fmt.Sprint(halfOpen, l.orphans)
	err := errors.Join(l.addNamed(name, halfOpen, "upstream", attributes), l.addNamed(name, halfOpen, "downstream", attributes))
	time.Sleep(orphaning)
	return err
}

const (
	halfOpen = "half_open"
	// orphaning is how long it may take until all connections that there are know that they are deaf.
	orphaning = 200 * time.Millisecond
)

// halfOpenToxic swallows what comes on connections that it was put on before a time. Those that are made later pass.
type halfOpenToxic struct {
	Until int64 `json:"until"` // milliseconds since 1970
}

// NewState implements toxics.StatefulToxic: whether the connection is deaf.
func (*halfOpenToxic) NewState() any { return new(bool) }

// Pipe implements toxics.Toxic.
func (h *halfOpenToxic) Pipe(stub *toxics.ToxicStub) {
	deaf, _ := stub.State.(*bool)
	if *deaf = time.Now().UnixMilli() <= h.Until; *deaf {
		new(toxics.TimeoutToxic).Pipe(stub)
		return
	}
	new(toxics.NoopToxic).Pipe(stub)
}

// Cleanup implements toxics.CleanupToxic: what was swallowed is missing, so the connection cannot go on.
func (*halfOpenToxic) Cleanup(stub *toxics.ToxicStub) {
	if deaf, _ := stub.State.(*bool); *deaf {
		stub.Close()
	}
}

func (l *line) add(kind, stream, attributes string) error {
	return l.addNamed(kind, kind, stream, attributes)
}

func (l *line) addNamed(name, kind, stream, attributes string) error {
	_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(
		fmt.Sprintf(`{"name": "%s-%s", "type": %q, "stream": %q, "attributes": %s}`, name, stream, kind, stream, attributes)))
	return err
}

// heal takes everything off the line.
func (l *line) heal(ctx context.Context) error {
	l.proxy.Toxics.ResetToxics(ctx)
	return nil
}

// Ports of lines and of gateways, which are free while what listens there is down. They lie below those that the
// system gives to outgoing connections: a client that dials such a port could otherwise be given the very same and be
// connected to itself.
const (
	linePorts    = 30000
	gatewayPorts = 31350
	portRange    = 1350
)

// freeAddress finds an address whose port lies in the range that begins at first, and which is not taken.
func freeAddress(first int, taken []string) (string, error) {
	for range 200 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.N(portRange)))
		if slices.Contains(taken, address) {
			continue
		}
		if listener, err := net.Listen("tcp", address); err == nil {
			return address, listener.Close()
		}
	}
	return "", fmt.Errorf("no port is free from %d to %d", first, first+portRange-1)
}
