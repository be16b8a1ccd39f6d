package accept

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// Keys are the idempotency keys of requests: those under way in this process and those remembered in
// the store. A request that failed forgets its key, so that it can be mended and sent again.
type Keys struct {
	intake store.Intake
	now    func() time.Time

	mu       sync.Mutex
	inFlight map[flight]struct{}
}

type flight struct {
	account core.AccountID
	key     string
}

// NewKeys returns keys remembered in a store, whose time now tells.
func NewKeys(intake store.Intake, now func() time.Time) *Keys {
	return &Keys{intake: intake, now: now, inFlight: map[flight]struct{}{}}
}

// Begin starts a request with a key. It returns the answer remembered for the same request, or a
// release to call when the request has ended. A request with the same key under way is a KindConflict
// error; a key that was used with another body is KindUnprocessable.
func (k *Keys) Begin(ctx context.Context, account core.AccountID, key string, hash [32]byte) (*store.IdempotencyRecord, func(), error) {
	f := flight{account, key}
	if !k.enter(f) {
		return nil, nil, &core.Error{
			Kind: core.KindConflict, Code: core.CodeKeyInFlight, RetryAfter: time.Second,
			Message: "a request with this Idempotency-Key is being worked on; repeat it in a moment",
		}
	}
	release := func() { k.leave(f) }
	replay, err := k.find(ctx, account, key, hash)
	if err != nil {
		release()
		return nil, nil, err
	}
	return replay, release, nil
}

// Save remembers the answer to a request that created something other than messages.
func (k *Keys) Save(ctx context.Context, r store.IdempotencyRecord) error {
	return k.intake.SaveKey(ctx, r)
}

func (k *Keys) enter(f flight) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, taken := k.inFlight[f]; taken {
		return false
	}
	k.inFlight[f] = struct{}{}
	return true
}

func (k *Keys) leave(f flight) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.inFlight, f)
}

// find returns the remembered answer, nil if there is none.
func (k *Keys) find(ctx context.Context, account core.AccountID, key string, hash [32]byte) (*store.IdempotencyRecord, error) {
	r, err := k.intake.FindKey(ctx, account, key, k.now())
	switch {
	case err == nil && r.BodyHash != hash:
		return nil, &core.Error{
			Kind: core.KindUnprocessable, Code: core.CodeKeyReused,
			Message: "this Idempotency-Key was used with another request; take a new key for a new request",
		}
	case err == nil:
		return &r, nil
	case core.KindOf(err) == core.KindNotFound:
		return nil, nil
	default:
		return nil, unavailable(err)
	}
}

func isKeyTaken(err error) bool { return errors.Is(err, store.ErrKeyTaken) }

func isUnknown(err error) bool { return errors.Is(err, store.ErrUnknown) }

// unavailable makes what the store could not do an error that the caller may repeat.
func unavailable(err error) error {
	var e *core.Error
	if errors.As(err, &e) && e.Kind != core.KindInternal {
		return err
	}
	return &core.Error{
		Kind: core.KindUnavailable, Code: core.CodeUnavailable, RetryAfter: time.Second, Cause: err,
		Message: "the gateway cannot take messages right now; repeat the request with the same Idempotency-Key",
	}
}
