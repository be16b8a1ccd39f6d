package postgres

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

const accountColumns = "a.id, a.name, a.default_region, a.created_at"

func readAccount(r *row) core.Account {
	return core.Account{ID: core.AccountID(r.int()), Name: r.text(), DefaultRegion: r.text(), CreatedAt: r.time()}
}

// EnsureAccount implements store.Accounts.
func (s *Store) EnsureAccount(ctx context.Context, a core.Account) (core.Account, error) {
	_, err := exec(ctx, s.pool, "INSERT INTO accounts (name, default_region, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
		a.Name, a.DefaultRegion, at(a.CreatedAt))
	if err != nil {
		return core.Account{}, explain("create an account", err)
	}
	return s.AccountByName(ctx, a.Name)
}

// AccountByName implements store.Accounts.
func (s *Store) AccountByName(ctx context.Context, name string) (core.Account, error) {
	var a core.Account
	found, err := first(ctx, s.pool, func(r *row) { a = readAccount(r) },
		"SELECT "+accountColumns+" FROM accounts a WHERE name = $1", name)
	return a, notFoundUnless(found, "account", explain("find an account", err))
}

// Account implements store.Accounts.
func (s *Store) Account(ctx context.Context, id core.AccountID) (core.Account, error) {
	var a core.Account
	found, err := first(ctx, s.pool, func(r *row) { a = readAccount(r) },
		"SELECT "+accountColumns+" FROM accounts a WHERE id = $1", int64(id))
	return a, notFoundUnless(found, "account", explain("read an account", err))
}

const keyColumns = "k.id, k.account_id, k.name, k.hint, k.hash, k.created_at, k.revoked_at, k.expires_at"

func readKey(r *row) core.Key {
	k := core.Key{ID: r.int(), Account: core.AccountID(r.int()), Name: r.text(), Hint: r.text()}
	copy(k.Hash[:], r.blob())
	k.CreatedAt, k.RevokedAt, k.ExpiresAt = r.time(), r.time(), r.time()
	return k
}

// AddKey implements store.Keys.
func (s *Store) AddKey(ctx context.Context, k core.Key) (core.Key, error) {
	_, err := exec(ctx, s.pool, `INSERT INTO api_keys (account_id, name, hint, hash, created_at, expires_at)
		SELECT id, $2, $3, $4, $5, $6 FROM accounts WHERE id = $1 ON CONFLICT (hash) DO NOTHING`,
		int64(k.Account), k.Name, k.Hint, k.Hash[:], at(k.CreatedAt), at(k.ExpiresAt))
	if err != nil {
		return core.Key{}, explain("store a key", err)
	}
	found, err := first(ctx, s.pool, func(r *row) { k = readKey(r) },
		"SELECT "+keyColumns+" FROM api_keys k WHERE hash = $1", k.Hash[:])
	return k, notFoundUnless(found, "account", explain("store a key", err))
}

// Keys implements store.Keys.
func (s *Store) Keys(ctx context.Context, account core.AccountID) ([]core.Key, error) {
	var keys []core.Key
	err := each(ctx, s.pool, func(r *row) error {
		keys = append(keys, readKey(r))
		return nil
	}, "SELECT "+keyColumns+" FROM api_keys k WHERE account_id = $1 ORDER BY id", int64(account))
	return keys, explain("list keys", err)
}

// KeyByHash implements store.Keys.
func (s *Store) KeyByHash(ctx context.Context, hash [32]byte) (core.Key, core.Account, error) {
	var k core.Key
	var a core.Account
	found, err := first(ctx, s.pool, func(r *row) { k, a = readKey(r), readAccount(r) },
		"SELECT "+keyColumns+", "+accountColumns+" FROM api_keys k JOIN accounts a ON a.id = k.account_id WHERE k.hash = $1", hash[:])
	return k, a, notFoundUnless(found, "key", explain("find a key", err))
}

// RevokeKey implements store.Keys.
func (s *Store) RevokeKey(ctx context.Context, account core.AccountID, id int64, now time.Time) error {
	n, err := exec(ctx, s.pool, "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2 AND account_id = $3",
		at(now), id, int64(account))
	return notFoundUnless(n > 0, "key", explain("revoke a key", err))
}
