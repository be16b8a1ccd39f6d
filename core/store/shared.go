package store

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// SharedKept is for how long a value is kept that has ended, and that nobody renews: its revision must not begin anew while somebody
// who knew it runs.
const SharedKept = 7 * 24 * time.Hour

// SharedValues keeps small values of plugins for all gateways.
type SharedValues interface {
	// LookShared returns a value. Where it has ended, or ends within look.Ahead, and nobody is renewing it, its revision grows and
	// the caller is told to renew it; nobody else is, for look.Lease. A value that has ended is returned too.
	LookShared(ctx context.Context, plugin, name string, look core.SharedLook) (core.SharedValue, error)
	// KeepShared replaces a value of which the revision is still v.Revision. Any other one is left as it is: somebody else has been
	// told to renew it.
	KeepShared(ctx context.Context, plugin, name string, v core.SharedValue) error
	// DropShared ends a value of which the revision is still that, and the renewal of it: the next one who looks is told to renew it.
	DropShared(ctx context.Context, plugin, name string, revision int64) error
}
