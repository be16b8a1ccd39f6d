package account

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/singleflight"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

const (
	// cacheFor is how long an answer is taken from memory: a key revoked elsewhere, by the command line
	// or another gateway, opens nothing after that.
	cacheFor = 2 * time.Second
	// cacheSize bounds the keys remembered, good and bad each.
	cacheSize = 4096
	// lookTimeout bounds a question to the store, which is asked for all requests with a key and so ends with none.
	lookTimeout = 10 * time.Second
	// minBootstrap is the fewest characters of a key that the operator chose.
	minBootstrap = 32
	// maxKey bounds a key in bytes, so that hashing a hostile header stays cheap.
	maxKey = 512
	// maxName bounds the name of a key in characters.
	maxName = 100
	// defaultName is the account that Bootstrap creates.
	defaultName = "default"
)

// Options are what a Service needs. The stores are required.
type Options struct {
	Accounts store.Accounts
	Keys     store.Keys
	// DefaultRegion is given to an account that Bootstrap creates: ISO 3166-1 alpha-2, "" for none.
	DefaultRegion string
	// Now is the time that goes into the store; default time.Now.
	Now func() time.Time
}

// Service makes, lists, revokes and checks keys. It is safe for concurrent use and needs no closing.
type Service struct {
	o     Options
	good  *cache[holder]
	bad   *cache[struct{}] // apart from good, so that a flood of wrong keys displaces no right one
	looks singleflight.Group
}

// holder is a key and whose it is.
type holder struct {
	account core.Account
	key     core.Key
}

// New returns a service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{o: o, good: newCache[holder](cacheSize, cacheFor), bad: newCache[struct{}](cacheSize, cacheFor)}
}

// Authenticate returns the account that a key opens. Whatever is wrong with the key, mistyped, unknown,
// revoked or expired, the error is the same core.KindUnauthorized, so that it tells a guesser nothing. A
// revocation in this process counts at once, one made elsewhere within two seconds.
func (s *Service) Authenticate(ctx context.Context, plain string) (core.Account, core.Key, error) {
	if plain == "" || len(plain) > maxKey {
		return core.Account{}, core.Key{}, unauthorized()
	}
	hash, now := Hash(plain), s.o.Now()
	h, ok := s.good.get(hash, now)
	if !ok {
		if _, known := s.bad.get(hash, now); known {
			return core.Account{}, core.Key{}, unauthorized()
		}
		var err error
		if h, err = s.look(ctx, hash, now); err != nil {
			return core.Account{}, core.Key{}, err
		}
	}
	if !h.key.InForce(now) { // a key may expire while it is remembered
		return core.Account{}, core.Key{}, unauthorized()
	}
	return h.account, h.key, nil
}

// look asks the store once for all requests with a key that come meanwhile: when a busy key is forgotten, they come
// together. Who comes after a revocation does not share an answer from before it.
func (s *Service) look(ctx context.Context, hash [32]byte, now time.Time) (holder, error) {
	epoch := s.good.current()
	flight := string(binary.BigEndian.AppendUint64(hash[:], epoch))
	looked := s.looks.DoChan(flight, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
		defer cancel()
		return s.ask(ctx, hash, now, epoch)
	})
	select {
	case l := <-looked:
		h, _ := l.Val.(holder)
		return h, l.Err
	case <-ctx.Done():
		return holder{}, unchecked(hash, ctx.Err())
	}
}

// ask asks the store and remembers what it said.
func (s *Service) ask(ctx context.Context, hash [32]byte, now time.Time, epoch uint64) (holder, error) {
	key, account, err := s.o.Keys.KeyByHash(ctx, hash)
	switch {
	case err != nil && core.KindOf(err) == core.KindNotFound:
		s.bad.put(hash, struct{}{}, now, s.bad.current())
		return holder{}, unauthorized()
	case err != nil:
		return holder{}, unchecked(hash, err)
	case subtle.ConstantTimeCompare(key.Hash[:], hash[:]) != 1:
		return holder{}, unauthorized() // the store compared by something else than the bytes
	}
	h := holder{account, key}
	s.good.put(hash, h, now, epoch)
	return h, nil
}

func unchecked(hash [32]byte, err error) error {
	return &core.Error{
		Kind: core.KindUnavailable, Code: core.CodeUnavailable, RetryAfter: time.Second,
		Message: "the API key could not be checked; repeat the request in a moment",
		Cause:   fmt.Errorf("find key %s: %w", fingerprint(hash), err),
	}
}

func unauthorized() error {
	return &core.Error{
		Kind: core.KindUnauthorized, Code: core.CodeUnauthorized,
		Message: "no valid API key; send the header \"Authorization: Bearer <key>\" with a key that is in force",
	}
}

// Create makes a key for an account and returns it: the only time that it can be seen. An expiry of
// zero means never. A name that is too long or an expiry in the past is a core.KindUnprocessable error.
func (s *Service) Create(ctx context.Context, account core.AccountID, name string, expires time.Time) (string, core.Key, error) {
	now := s.o.Now()
	switch {
	case utf8.RuneCountInString(name) > maxName || strings.ContainsFunc(name, unicode.IsControl):
		return "", core.Key{}, core.Invalid("name", "give at most %d characters without line breaks", maxName)
	case !expires.IsZero() && !expires.After(now):
		return "", core.Key{}, core.Invalid("expires", "%s is in the past; the key would open nothing", expires.Format(time.RFC3339))
	}
	plain, key := NewKey()
	key.Account, key.Name, key.CreatedAt, key.ExpiresAt = account, name, now, expires
	key, err := s.o.Keys.AddKey(ctx, key)
	if err != nil {
		return "", core.Key{}, fmt.Errorf("store the new key: %w", err)
	}
	return plain, key, nil
}

// List returns the keys of an account, revoked ones too, oldest first.
func (s *Service) List(ctx context.Context, account core.AccountID) ([]core.Key, error) {
	keys, err := s.o.Keys.Keys(ctx, account)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return keys, nil
}

// Revoke ends a key of an account for good. A key that is absent or another account's is a
// core.KindNotFound error.
func (s *Service) Revoke(ctx context.Context, account core.AccountID, id int64) error {
	if err := s.o.Keys.RevokeKey(ctx, account, id, s.o.Now()); err != nil {
		return fmt.Errorf("revoke key %d: %w", id, err)
	}
	s.good.clear() // the hash is not known here, and revoking is rare
	return nil
}

// Bootstrap makes a key that the operator chose open the account "default", which is created if absent.
// Any key of at least 32 characters that fits into a header is taken as it is; repeating the call
// changes nothing. A key that was revoked stays revoked, and one of another account is a
// core.KindConflict error.
func (s *Service) Bootstrap(ctx context.Context, plain string) (core.Account, error) {
	if err := checkBootstrap(plain); err != nil {
		return core.Account{}, err
	}
	now := s.o.Now()
	account, err := s.o.Accounts.EnsureAccount(ctx, core.Account{
		Name: defaultName, DefaultRegion: s.o.DefaultRegion, CreatedAt: now,
	})
	if err != nil {
		return core.Account{}, fmt.Errorf("create account %q: %w", defaultName, err)
	}
	key, err := s.o.Keys.AddKey(ctx, core.Key{
		Account: account.ID, Name: "bootstrap", Hint: hintOf(plain), Hash: Hash(plain), CreatedAt: now,
	})
	if err != nil {
		return core.Account{}, fmt.Errorf("store the bootstrap key: %w", err)
	}
	if key.Account != account.ID {
		return core.Account{}, core.Errorf(core.KindConflict, "the bootstrap key opens another account already; choose another key")
	}
	return account, nil
}

func checkBootstrap(plain string) error {
	switch n := utf8.RuneCountInString(plain); {
	case n < minBootstrap:
		return core.Invalid("bootstrap key", "has %d characters; at least %d are needed", n, minBootstrap)
	case len(plain) > maxKey:
		return core.Invalid("bootstrap key", "has %d bytes; at most %d fit", len(plain), maxKey)
	case strings.ContainsFunc(plain, unicode.IsControl) || strings.TrimSpace(plain) != plain:
		return core.Invalid("bootstrap key", "has a control character, or a space at its ends, and cannot be sent in a header")
	}
	return nil
}
