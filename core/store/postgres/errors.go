package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// retryAfter is what callers are told to wait when the database cannot serve.
const retryAfter = 2 * time.Second

// SQLSTATE codes that are looked for, see https://www.postgresql.org/docs/current/errcodes-appendix.html.
const (
	codeUniqueViolation = "23505"
	codeCheckViolation  = "23514"
	codeSerialization   = "40001"
	codeDeadlock        = "40P01"
	codeDiskFull        = "53100"
	codeTooManyClients  = "53300"
	codeLockTimeout     = "55P03"
	codeUndefinedTable  = "42P01"
	codeReadOnly        = "25006"
	codeQueryCanceled   = "57014"
)

// explain turns an error of PostgreSQL into one that callers understand: what was attempted is told, the query
// never. Errors of the core pass as they are.
func explain(what string, err error) error {
	var known *core.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, store.ErrKeyTaken) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	reason := reasonOf(err)
	if reason == "" {
		return fmt.Errorf("%s: %w", what, err)
	}
	return &core.Error{Kind: core.KindUnavailable, Message: what + ": " + reason, RetryAfter: retryAfter, Cause: err}
}

// reasonOf says in words why the database cannot serve, "" if that is not what the error is about.
func reasonOf(err error) string {
	server, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		switch {
		case errors.Is(err, puddle.ErrClosedPool):
			return "the store is closed"
		case isNetwork(err):
			return "the database cannot be reached"
		}
		return ""
	}
	switch {
	case server.Code == codeDiskFull:
		return "the disk of the database is full"
	case server.Code == codeTooManyClients:
		return "the database has no connection left; raise max_connections or lower pool_max_conns"
	case server.Code == codeReadOnly:
		return "the database takes no writes; is it a standby?"
	case server.Code == codeQueryCanceled:
		return "the database took too long; ask for less, for instance for a shorter time"
	case server.Code == codeLockTimeout:
		return "the database is busy with a long lock"
	case strings.HasPrefix(server.Code, "08"), strings.HasPrefix(server.Code, "57P"), strings.HasPrefix(server.Code, "53"):
		return "the database cannot serve now"
	case server.Code == codeDeadlock || server.Code == codeSerialization:
		return "the database is too busy"
	default:
		return ""
	}
}

// isNetwork says whether an error came from the connection rather than the server.
func isNetwork(err error) bool {
	_, dial := errors.AsType[*pgconn.ConnectError](err)
	_, network := errors.AsType[net.Error](err)
	return dial || network || pgconn.SafeToRetry(err) || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "unexpected EOF")
}

// isCode says whether the server answered with a code.
func isCode(err error, codes ...string) bool {
	server, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.Contains(codes, server.Code)
}

// worthRepeating says that the transaction surely changed nothing and may succeed at once: it lost against another, or
// named the tables of a day that has been dropped.
func (s *Store) worthRepeating(err error) bool {
	if isCode(err, codeUndefinedTable) {
		s.days.forget()
		return true
	}
	return isCode(err, codeSerialization, codeDeadlock)
}

// unknown marks an error of a commit whose end was not seen. A server that answered, and a connection that broke
// before anything was sent, leave no doubt.
func unknown(what string, err error) error {
	_, answered := errors.AsType[*pgconn.PgError](err)
	if err == nil || answered || pgconn.SafeToRetry(err) || errors.Is(err, pgx.ErrTxCommitRollback) {
		return explain(what, err)
	}
	return &core.Error{
		Kind: core.KindUnavailable, Message: what + ": it is not known whether it was stored",
		RetryAfter: retryAfter, Cause: fmt.Errorf("%w: %w", store.ErrUnknown, err),
	}
}

// notFoundUnless returns err, or NotFound if there is none and nothing was found.
func notFoundUnless(found bool, what string, err error) error {
	if err == nil && !found {
		return core.NotFound(what)
	}
	return err
}
