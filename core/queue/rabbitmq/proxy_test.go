package rabbitmq_test

import (
	"net"
	"strconv"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// proxy stands between a queue and the broker, and fails as networks do.
type proxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu      sync.Mutex
	refuse  bool
	stalled chan struct{} // closed when bytes flow
	conns   map[net.Conn]struct{}
}

func startProxy(tb testing.TB) *proxy {
	tb.Helper()
	uri, err := amqp.ParseURI(brokerURL(tb))
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	flowing := make(chan struct{})
	close(flowing)
	p := &proxy{
		listener: listener, target: net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port)), stalled: flowing, conns: map[net.Conn]struct{}{},
	}
	p.running.Go(p.accept)
	tb.Cleanup(func() {
		listener.Close()
		p.resume()
		p.cut()
		p.running.Wait()
	})
	return p
}

// url is the shared broker's, by way of the proxy.
func (p *proxy) url(tb testing.TB) string {
	tb.Helper()
	return withAddress(brokerURL(tb), p.listener.Addr().String())
}

func (p *proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse := p.refuse
		p.mu.Unlock()
		far, err := net.Dial("tcp", p.target)
		if refuse || err != nil {
			near.Close()
			if far != nil {
				far.Close()
			}
			continue
		}
		p.mu.Lock()
		p.conns[near], p.conns[far] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.running.Go(func() { p.copy(near, far) })
		p.running.Go(func() { p.copy(far, near) })
	}
}

func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		flowing := p.stalled
		p.mu.Unlock()
		<-flowing
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut breaks every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

// unplug breaks every connection and refuses new ones until plugged is called.
func (p *proxy) unplug() (plug func()) {
	p.mu.Lock()
	p.refuse = true
	p.mu.Unlock()
	p.cut()
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.refuse = false
	}
}

// stall keeps connections open and lets no byte through until resume.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = make(chan struct{})
}

func (p *proxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.stalled:
	default:
		close(p.stalled)
	}
}
