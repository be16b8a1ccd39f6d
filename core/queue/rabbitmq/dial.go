package rabbitmq

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// dialTimeout bounds a connection from the first packet to the end of the handshake.
	dialTimeout = 10 * time.Second
	// writeTimeout bounds one write to the socket. The library would wait for a peer that is gone as long
	// as TCP does, with locks held that its heartbeat needs to give the connection up.
	writeTimeout = 20 * time.Second
)

// place is where the broker is, from its URL. The password stays inside.
type place struct {
	url  string
	uri  amqp.URI
	name string // host:port, all that errors and logs may say
}

// locate reads the URL. No error of the parser is passed on, as it may quote the password.
func locate(url string) (place, error) {
	scheme, _, _ := strings.Cut(url, "://")
	if s := strings.ToLower(scheme); s != "amqp" && s != "amqps" {
		return place{}, errors.New("the RabbitMQ URL begins with neither amqp:// nor amqps://; " + urlAdvice)
	}
	uri, err := amqp.ParseURI(url)
	if err != nil {
		return place{}, errors.New("the RabbitMQ URL cannot be read; " + urlAdvice)
	}
	return place{url: url, uri: uri, name: net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port))}, nil
}

const urlAdvice = "write it as amqp://user:password@host:5672/vhost, with reserved characters of user, password and vhost " +
	"percent-encoded (/ is %2F, @ is %40)"

// dial connects and logs in. The role tells the connections of a gateway apart in the broker's lists.
func dial(ctx context.Context, p place, role string) (*amqp.Connection, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var raw net.Conn
	properties := amqp.NewConnectionProperties()
	properties["connection_name"] = "pigeonry " + role
	conn, err := amqp.DialConfig(p.url, amqp.Config{
		Properties: properties,
		Dial: func(network, address string) (c net.Conn, err error) {
			raw, err = connect(ctx, network, address)
			return raw, err
		},
	})
	if err == nil {
		if err := tooOld(conn); err != nil {
			return nil, errors.Join(fmt.Errorf("connect to RabbitMQ at %s: %w", p.name, err), conn.Close())
		}
		return conn, nil
	}
	if raw != nil {
		raw.Close() // the library leaves it open after some errors
	}
	return nil, explain(p, cmp.Or(ctx.Err(), err))
}

// oldestMajor and oldestMinor are the first version of RabbitMQ that the tests run on.
const oldestMajor, oldestMinor = 3, 10

// tooOld reports a broker that says it is older. One that says nothing of the kind may try.
func tooOld(conn *amqp.Connection) error {
	version, _ := conn.Properties["version"].(string)
	var major, minor int
	n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor)
	if n == 2 && (major < oldestMajor || major == oldestMajor && minor < oldestMinor) {
		return fmt.Errorf("the broker is version %s; use RabbitMQ %d.%d or newer", version, oldestMajor, oldestMinor)
	}
	return nil
}

// connect opens the socket. Until the handshake is over, the end of ctx is the end of the socket.
func connect(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s := &socket{Conn: c}
	s.shaking = context.AfterFunc(ctx, func() { c.Close() })
	return s, nil
}

// socket is a connection whose writes take at most writeTimeout.
type socket struct {
	net.Conn

	shaking func() bool // ends the watch over the handshake
	bounded atomic.Bool // the library has set a deadline itself
}

// SetDeadline is called by the library without a deadline once the handshake is over, and with one for its farewell.
func (s *socket) SetDeadline(t time.Time) error {
	s.shaking()
	s.bounded.Store(!t.IsZero())
	return s.Conn.SetDeadline(t)
}

// Write writes, or gives up after writeTimeout.
func (s *socket) Write(b []byte) (int, error) {
	if !s.bounded.Load() {
		if err := s.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return 0, err
		}
	}
	return s.Conn.Write(b)
}

// code returns the broker's reply code, 0 if err is not an answer of the broker's.
func code(err error) int {
	if e, ok := errors.AsType[*amqp.Error](err); ok {
		return e.Code
	}
	return 0
}

// refused says whether the broker refused what it was asked for and keeps the connection.
func refused(err error) bool {
	e, ok := errors.AsType[*amqp.Error](err)
	return ok && e.Server && e.Recover
}

// explain says what was attempted, and how to mend what it failed at.
func explain(p place, err error) error {
	attempt := "connect to RabbitMQ at " + p.name
	vhost, user := p.uri.Vhost, p.uri.Username
	switch c := code(err); {
	case errors.Is(err, amqp.ErrVhost):
		return fmt.Errorf("%s: the broker broke off when asked for vhost %q: %w", attempt, vhost, err)
	case c == amqp.AccessRefused:
		return fmt.Errorf("%s as user %q: the broker refused user or password; check both in the URL, and note that guest "+
			"may log in from the broker's own machine only: %w", attempt, user, err)
	case c == amqp.NotAllowed && strings.Contains(err.Error(), "not found"):
		return fmt.Errorf("%s: there is no vhost %q; create it (rabbitmqctl add_vhost) or name another in the URL's path "+
			"(vhost / is %%2F): %w", attempt, vhost, err)
	case c == amqp.NotAllowed:
		return fmt.Errorf("%s: the broker does not let user %q into vhost %q; grant it access (rabbitmqctl set_permissions) "+
			"or raise its limit of connections: %w", attempt, user, vhost, err)
	case isTLS(err):
		return fmt.Errorf("%s with TLS: %w; is this the broker's TLS port (5671), and is its certificate's issuer known here "+
			"(cacertfile=… in the URL's query names one)", attempt, err)
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		return fmt.Errorf("%s: no answer in time; check host, port and firewall: %w", attempt, err)
	}
	return fmt.Errorf("%s: %w; check that the broker runs and that host and port in the URL are right", attempt, err)
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func isTLS(err error) bool {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	return record || certificate || authority
}
