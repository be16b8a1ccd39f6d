package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/pigeonry/pigeonry/core/api"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/limit"
	locallimit "github.com/pigeonry/pigeonry/core/limit/local"
	redislimit "github.com/pigeonry/pigeonry/core/limit/redis"
	redislock "github.com/pigeonry/pigeonry/core/lock/redis"
	redistrace "github.com/pigeonry/pigeonry/core/trace/redis"
)

// redisTimeout bounds the first connection.
const redisTimeout = 5 * time.Second

// openRedis opens what instances share: limits, locks and traces, on one client. When Redis goes later, limits go on
// in each gateway and traces are lost until it is back; nothing is refused for it.
func (e *engines) openRedis(ctx context.Context, s *settings.Settings, logger *slog.Logger) error {
	options, err := redis.ParseURL(s.Coordination.URL.Reveal())
	if err != nil {
		return errors.New("the URL of Redis cannot be read; write redis://user:password@host:6379/0, or rediss:// for TLS")
	}
	options.ContextTimeoutEnabled = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	redis.SetLogger(redisLog{logger}) // or the client writes to the standard error by itself
	client := redis.NewClient(options)
	e.closeLater(client.Close)
	ping, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	if err := client.Ping(ping).Err(); err != nil {
		return fmt.Errorf("Redis at %s, database %d: %w", options.Addr, options.DB, adviseRedis(err, options.Username)) //nolint:staticcheck // a name
	}
	prefix := prefixOf(s.Coordination, ":")
	limiter := redislimit.New(client, redislimit.Options{Prefix: prefix, Logger: logger})
	failover := limit.NewFailover(limit.FailoverOptions{
		Shared: limiter, Local: locallimit.New(locallimit.Options{}), Instances: limiter.Instances, Logger: logger,
	})
	locker := redislock.New(client, redislock.Options{Prefix: prefix, Logger: logger})
	traces := redistrace.New(client, redistrace.Options{Prefix: prefix, Retention: s.Retention.Traces, Logger: logger})
	e.limiter, e.locker, e.traces = failover, locker, traces
	e.coordination = func(ctx context.Context) api.DependencyState {
		return redisState(failover.Degraded(), limiter.Check(ctx))
	}
	e.closeLater(func() error { limiter.Close(); return nil })
	e.closeLater(func() error { locker.Close(); return nil })
	e.closeLater(traces.Close)
	return nil
}

// redisLog takes what the client says of its connections. What matters of it the users of the client say themselves.
type redisLog struct{ logger *slog.Logger }

// Printf implements the client's logger.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.logger.DebugContext(ctx, "redis: "+fmt.Sprintf(format, v...))
}

// redisState is the state of Redis for readiness: the gateway does its work without it.
func redisState(degraded bool, err error) api.DependencyState {
	s := api.DependencyState{Name: "coordination", Ready: err == nil && !degraded, Optional: true}
	if !s.Ready {
		s.Message = "Redis cannot be reached: each gateway limits by itself, and traces are not kept"
	}
	return s
}

// adviseRedis says what to do about an error of the first connection.
func adviseRedis(err error, user string) error {
	_, unknownHost := errors.AsType[*net.DNSError](err)
	_, unreachable := errors.AsType[*net.OpError](err)
	text := err.Error()
	switch {
	case strings.HasPrefix(text, "WRONGPASS"), strings.HasPrefix(text, "ERR invalid password"):
		return fmt.Errorf("the server refuses the password of user %q; check both in the URL", user)
	case strings.HasPrefix(text, "NOAUTH"):
		return errors.New("the server wants a password; write it into the URL: redis://:password@host:6379/0")
	case strings.HasPrefix(text, "ERR DB index"):
		return errors.New("the server has no such database; choose another number at the end of the URL")
	case strings.HasPrefix(text, "ERR AUTH"):
		return errors.New("the server has no password; take it out of the URL")
	case unknownHost:
		return errors.New("the host is not known; check it in the URL")
	case unreachable, errors.Is(err, context.DeadlineExceeded):
		return errors.New("nothing answers there; check host and port in the URL, and whether Redis runs and listens on that address")
	default:
		return err
	}
}
