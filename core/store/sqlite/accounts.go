package sqlite

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

func readAccount(r *row) core.Account {
	return core.Account{ID: core.AccountID(r.int()), Name: r.text(), DefaultRegion: r.text(), CreatedAt: r.time()}
}

// EnsureAccount implements store.Accounts.
func (s *Store) EnsureAccount(ctx context.Context, a core.Account) (core.Account, error) {
	err := s.write(ctx, "create an account", 1, func(c conn) error {
		_, err := c.prepare("INSERT INTO accounts (name, default_region, created_at) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING").
			text(a.Name).text(a.DefaultRegion).time(a.CreatedAt).run()
		if err != nil {
			return err
		}
		_, err = c.prepare("SELECT id, name, default_region, created_at FROM accounts WHERE name = ?").text(a.Name).
			first(func(r *row) { a = readAccount(r) })
		return err
	})
	return a, err
}

// AccountByName implements store.Accounts.
func (s *Store) AccountByName(ctx context.Context, name string) (core.Account, error) {
	var a core.Account
	found := false
	err := s.read(ctx, "find an account", func(c conn) (err error) {
		found, err = c.prepare("SELECT id, name, default_region, created_at FROM accounts WHERE name = ?").text(name).
			first(func(r *row) { a = readAccount(r) })
		return err
	})
	return a, notFoundUnless(found, "account", err)
}

// Account implements store.Accounts.
func (s *Store) Account(ctx context.Context, id core.AccountID) (core.Account, error) {
	var a core.Account
	found := false
	err := s.read(ctx, "read an account", func(c conn) (err error) {
		found, err = c.prepare("SELECT id, name, default_region, created_at FROM accounts WHERE id = ?").int(int64(id)).
			first(func(r *row) { a = readAccount(r) })
		return err
	})
	return a, notFoundUnless(found, "account", err)
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
	found := false
	err := s.write(ctx, "store a key", 1, func(c conn) (err error) {
		found, err = c.prepare("SELECT 1 FROM accounts WHERE id = ?").int(int64(k.Account)).first(func(*row) {})
		if err != nil || !found {
			return err
		}
		_, err = c.prepare(`INSERT INTO api_keys (account_id, name, hint, hash, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (hash) DO NOTHING`).int(int64(k.Account)).text(k.Name).text(k.Hint).blob(k.Hash[:]).
			time(k.CreatedAt).time(k.ExpiresAt).run()
		if err != nil {
			return err
		}
		_, err = c.prepare("SELECT " + keyColumns + " FROM api_keys k WHERE hash = ?").blob(k.Hash[:]).
			first(func(r *row) { k = readKey(r) })
		return err
	})
	return k, notFoundUnless(found, "account", err)
}

// Keys implements store.Keys.
func (s *Store) Keys(ctx context.Context, account core.AccountID) ([]core.Key, error) {
	var keys []core.Key
	err := s.read(ctx, "list keys", func(c conn) error {
		return c.prepare("SELECT " + keyColumns + " FROM api_keys k WHERE account_id = ? ORDER BY id").int(int64(account)).
			each(func(r *row) error {
				keys = append(keys, readKey(r))
				return nil
			})
	})
	return keys, err
}

// KeyByHash implements store.Keys.
func (s *Store) KeyByHash(ctx context.Context, hash [32]byte) (core.Key, core.Account, error) {
	var k core.Key
	var a core.Account
	found := false
	err := s.read(ctx, "find a key", func(c conn) (err error) {
		found, err = c.prepare("SELECT " + keyColumns + ", a.id, a.name, a.default_region, a.created_at FROM api_keys k " +
			"JOIN accounts a ON a.id = k.account_id WHERE k.hash = ?").blob(hash[:]).
			first(func(r *row) { k, a = readKey(r), readAccount(r) })
		return err
	})
	return k, a, notFoundUnless(found, "key", err)
}

// RevokeKey implements store.Keys.
func (s *Store) RevokeKey(ctx context.Context, account core.AccountID, id int64, now time.Time) error {
	changed := 0
	err := s.write(ctx, "revoke a key", 1, func(c conn) (err error) {
		changed, err = c.prepare("UPDATE api_keys SET revoked_at = IFNULL(revoked_at, ?) WHERE id = ? AND account_id = ?").
			time(now).int(id).int(int64(account)).run()
		return err
	})
	return notFoundUnless(changed > 0, "key", err)
}
