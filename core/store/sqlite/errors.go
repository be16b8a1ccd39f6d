package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// retryAfter is what callers are told to wait when the database cannot serve: long enough for a full
// disk or a busy lock to have a chance of being over.
const retryAfter = 2 * time.Second

// errClosed is the answer to everything after Close.
var errClosed = core.Errorf(core.KindUnavailable, "the store is closed")

// explain turns an error of SQLite into one that callers understand: what was attempted is told, the
// query never. Errors of the core pass as they are.
func explain(what string, err error) error {
	var known *core.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, store.ErrKeyTaken) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	reason, kind := reasonOf(err)
	if kind == core.KindInternal && reason == "" {
		return fmt.Errorf("%s: %w", what, err)
	}
	return &core.Error{
		Kind: kind, Message: what + ": " + reason, RetryAfter: retryAfter, Cause: err,
	}
}

// reasonOf says in words what an error of SQLite means, and whose problem it is.
func reasonOf(err error) (string, core.Kind) {
	code := sqlite.ErrCode(err)
	var migrating interface{ Code() int } // an error of the driver that goose uses
	if errors.As(err, &migrating) {
		code = sqlite.ResultCode(migrating.Code())
	}
	switch code.ToPrimary() {
	case sqlite.ResultFull:
		return "the disk is full", core.KindUnavailable
	case sqlite.ResultIOErr:
		return "the disk cannot be read or written", core.KindUnavailable
	case sqlite.ResultBusy, sqlite.ResultLocked:
		return "the database is locked by another process", core.KindUnavailable
	case sqlite.ResultCantOpen:
		return "the database file cannot be opened", core.KindUnavailable
	case sqlite.ResultReadOnly, sqlite.ResultPerm:
		return "the database file or its folder is not writable", core.KindUnavailable
	case sqlite.ResultNoMem:
		return "out of memory", core.KindUnavailable
	case sqlite.ResultNotADB:
		return "the file is not a SQLite database", core.KindInternal
	case sqlite.ResultCorrupt:
		return "the database file is damaged; restore it from a backup", core.KindInternal
	default:
		return "", core.KindInternal
	}
}

// unknown marks an error of a commit whose end was not seen.
func unknown(what string, err error) error {
	return &core.Error{
		Kind: core.KindUnavailable, Message: what + ": it is not known whether it was stored",
		RetryAfter: retryAfter, Cause: fmt.Errorf("%w: %w", store.ErrUnknown, err),
	}
}
