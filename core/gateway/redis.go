package gateway

import (
	"cmp"
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
	"github.com/pigeonry/pigeonry/core/dispatch"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/limit"
	locallimit "github.com/pigeonry/pigeonry/core/limit/local"
	redislimit "github.com/pigeonry/pigeonry/core/limit/redis"
	redislock "github.com/pigeonry/pigeonry/core/lock/redis"
	redistrace "github.com/pigeonry/pigeonry/core/trace/redis"
)

// redisTimeout bounds the first connection.
const redisTimeout = 5 * time.Second

// redisBackoff is how long the client waits at most before each of its three repeats: a limiter that is asked knows
// within limit.DefaultTimeout what Redis answers, and not only that its time is over.
const redisBackoff = 16 * time.Millisecond

// openRedis opens what instances share: limits, locks and traces, on one client. When Redis goes later, limits go on
// in each gateway and traces are lost until it is back; nothing is refused for it.
func (e *engines) openRedis(ctx context.Context, s *settings.Settings, logger *slog.Logger) error {
	options, err := redis.ParseURL(s.Coordination.URL.Reveal())
	if err != nil {
		return errors.New("the URL of Redis cannot be read; write redis://user:password@host:6379/0, or rediss:// for TLS")
	}
	options.ContextTimeoutEnabled = true
	options.MaxRetryBackoff = redisBackoff
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	redis.SetLogger(redisLog{logger}) // or the client writes to the standard error by itself
	client := redis.NewClient(options)
	e.closeLater(client.Close)
	prefix := prefixOf(s.Coordination, ":")
	limiter := redislimit.New(client, redislimit.Options{Prefix: prefix, Idle: !s.Roles.Has(settings.RoleWorker), Logger: logger})
	e.closeLater(func() error { limiter.Close(); return nil })
	try, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	if err := limiter.Check(try); err != nil {
		err = adviseRedis(err, options.Username, cmp.Or(prefix, redislimit.DefaultPrefix))
		return fmt.Errorf("Redis at %s, database %d: %w", options.Addr, options.DB, err) //nolint:staticcheck // a name
	}
	failover := limit.NewFailover(limit.FailoverOptions{
		Shared: limiter, Local: locallimit.New(locallimit.Options{}), Instances: limiter.Instances, Divided: ofConnector, Logger: logger,
	})
	locker := redislock.New(client, redislock.Options{Prefix: prefix, Logger: logger})
	traces := redistrace.New(client, redistrace.Options{Prefix: prefix, Retention: s.Retention.Traces, Logger: logger})
	e.limiter, e.locker, e.traces, e.retain = failover, locker, traces, traces.Retain
	e.coordination = func(ctx context.Context) api.DependencyState { return redisState(failover.Check(ctx)) }
	e.closeLater(func() error { locker.Close(); return nil })
	e.closeLater(traces.Close)
	return nil
}

// ofConnector says whether a limit is of what a provider gets, from all workers together. The others are asked for when a
// message is taken in, which an outage must not refuse.
func ofConnector(r limit.Rule) bool { return strings.HasPrefix(r.Resource, dispatch.ResourceConnector) }

// redisLog takes what the client says of its connections. What matters of it the users of the client say themselves.
type redisLog struct{ logger *slog.Logger }

// Printf implements the client's logger.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.logger.DebugContext(ctx, "redis: "+fmt.Sprintf(format, v...))
}

// redisState is the state of Redis for readiness: the gateway does its work without it.
func redisState(err error) api.DependencyState {
	s := api.DependencyState{Name: "coordination", Ready: err == nil, Optional: true}
	if err != nil {
		s.Message = redisTrouble(err) + "; each gateway limits by itself, and traces are not kept"
	}
	return s
}

// redisTrouble tells a Redis that is gone from one that answers. Of its answer anybody may see the code.
func redisTrouble(err error) string {
	code, _, _ := strings.Cut(redisAnswer(err), " ")
	if code == "" {
		return "Redis cannot be reached"
	}
	return "Redis is reached, but refuses: " + code
}

// redisAnswer is what Redis itself says in an error, "" if it did not answer. Where in a script it happened, and the
// arguments of a command that it does not know, which may be a password, are left out.
func redisAnswer(err error) string {
	answer, ok := errors.AsType[redis.Error](err)
	if !ok {
		return ""
	}
	text, _, _ := strings.Cut(answer.Error(), " script: ")
	text, _, _ = strings.Cut(text, ", with args beginning with")
	return text
}

// adviseRedis says what to do about an error of the first connection.
func adviseRedis(err error, user, prefix string) error {
	if answer := redisAnswer(err); answer != "" {
		return adviseAnswer(answer, cmp.Or(user, "default"), prefix)
	}
	_, unknownHost := errors.AsType[*net.DNSError](err)
	_, unreachable := errors.AsType[*net.OpError](err)
	switch {
	case unknownHost:
		return errors.New("the host is not known; check it in the URL")
	case unreachable, errors.Is(err, context.DeadlineExceeded):
		return errors.New("nothing answers there; check host and port in the URL, and whether Redis runs and listens on that address")
	default:
		return err
	}
}

// adviseAnswer says what to do about what Redis answered. Of an error in a script, 7 has no code for a lack of rights, and
// older ones put the code into the midst of the answer.
func adviseAnswer(answer, user, prefix string) error {
	says := func(part string) bool { return strings.Contains(answer, part) }
	switch {
	case says("WRONGPASS"), says("ERR invalid password"):
		return fmt.Errorf("the server refuses the password of user %q; check both in the URL", user)
	case says("NOAUTH"):
		return errors.New("the server wants a password; write it into the URL: redis://:password@host:6379/0")
	case says("ERR AUTH"):
		return errors.New("the server has no password; take it out of the URL")
	case says("ERR DB index"):
		return errors.New("the server has no such database; choose another number at the end of the URL")
	case says("NOPERM"), says("The user executing the script can't"):
		return fmt.Errorf("user %q may not do what limits need: %s; give it with ACL SETUSER what it lacks of `~%s* &%s* +@all -@dangerous`",
			user, answer, prefix, prefix)
	case says("READONLY"):
		return fmt.Errorf("the server is a replica and takes no writes: %s; name its primary in the URL", answer)
	case says("CROSSSLOT"), says("MOVED "), says("CLUSTERDOWN"), says("cluster mode"):
		return fmt.Errorf("the server is a node of a cluster: %s; name a Redis in the URL that is none", answer)
	case says("OOM "):
		return fmt.Errorf("the memory of the server is full: %s; raise its maxmemory", answer)
	default:
		return fmt.Errorf("the server refuses to count limits: %s", answer)
	}
}
