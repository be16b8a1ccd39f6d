package account_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/account"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
	"github.com/pigeonry/pigeonry/core/store/sqlite/sqlitetest"
)

// ports is store.Keys under a name that its method of the same name does not take.
type ports = interface{ store.Keys }

// countingKeys counts the questions that reach the store, and fails them while err is set.
type countingKeys struct {
	ports
	asked atomic.Int64
	err   error
}

func (k *countingKeys) KeyByHash(ctx context.Context, hash [32]byte) (core.Key, core.Account, error) {
	k.asked.Add(1)
	if k.err != nil {
		return core.Key{}, core.Account{}, k.err
	}
	return k.ports.KeyByHash(ctx, hash)
}

// open returns a service on the embedded store, and the store's keys.
func open(t testing.TB) (*account.Service, *countingKeys, *sqlite.Store) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: sqlitetest.Database(t), Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	keys := &countingKeys{ports: s}
	return account.New(account.Options{Accounts: s, Keys: keys, DefaultRegion: "CN"}), keys, s
}

const bootstrapKey = "0123456789 abcdef 0123456789 abcdef"

func bootstrap(t testing.TB, s *account.Service) core.Account {
	t.Helper()
	a, err := s.Bootstrap(t.Context(), bootstrapKey)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestNewKeyHasItsForm(t *testing.T) {
	form := regexp.MustCompile(`^(pgn_live_[a-z2-7]{8})_[a-z2-7]{26}([0-9a-f]{8})$`)
	seen := map[string]bool{}
	for range 1000 {
		plain, key := account.NewKey()
		match := form.FindStringSubmatch(plain)
		if len(match) != 3 || match[1] != key.Hint {
			t.Fatalf("key %q, hint %q", plain, key.Hint)
		}
		if sum := fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(plain[:len(plain)-8]))); sum != match[2] {
			t.Fatalf("key %q ends in %s; its checksum is %s", plain, match[2], sum)
		}
		if key.Hash != account.Hash(plain) || seen[plain] {
			t.Fatalf("key %q: wrong hash, or a repeat", plain)
		}
		seen[plain] = true
	}
}

func TestCreateListRevoke(t *testing.T) {
	s, _, _ := open(t)
	mine := bootstrap(t, s)
	plain, key, err := s.Create(t.Context(), mine.ID, "web shop", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	opened, used, err := s.Authenticate(t.Context(), plain)
	if err != nil || opened.ID != mine.ID || opened.DefaultRegion != "CN" || used.ID != key.ID || used.Name != "web shop" {
		t.Fatalf("Authenticate: %+v, %+v, %v", opened, used, err)
	}
	keys, err := s.List(t.Context(), mine.ID)
	if err != nil || len(keys) != 2 || keys[0].Name != "bootstrap" || keys[1].ID != key.ID {
		t.Fatalf("List: %+v, %v", keys, err)
	}
	if err := s.Revoke(t.Context(), mine.ID+1, key.ID); core.KindOf(err) != core.KindNotFound {
		t.Errorf("Revoke of another account's key: %v", err)
	}
	if _, _, err := s.Authenticate(t.Context(), plain); err != nil {
		t.Errorf("after another account's Revoke: %v", err)
	}
	if err := s.Revoke(t.Context(), mine.ID, key.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Authenticate(t.Context(), plain); core.KindOf(err) != core.KindUnauthorized {
		t.Errorf("Authenticate with a revoked key: %v", err)
	}
}

func TestCreateRefuses(t *testing.T) {
	s, _, _ := open(t)
	mine := bootstrap(t, s)
	for about, test := range map[string]struct {
		name    string
		expires time.Time
	}{
		"long name":      {strings.Repeat("n", 101), time.Time{}},
		"line break":     {"a\nb", time.Time{}},
		"expired before": {"n", time.Now().Add(-time.Second)},
	} {
		if _, _, err := s.Create(t.Context(), mine.ID, test.name, test.expires); core.KindOf(err) != core.KindUnprocessable {
			t.Errorf("%s: %v", about, err)
		}
	}
	if keys, _ := s.List(t.Context(), mine.ID); len(keys) != 1 {
		t.Errorf("%d keys; want the bootstrap key alone", len(keys))
	}
}

func TestAuthenticateTellsAGuesserNothing(t *testing.T) {
	s, _, store := open(t)
	mine := bootstrap(t, s)
	expired, key := account.NewKey()
	key.Account, key.CreatedAt, key.ExpiresAt = mine.ID, time.Now(), time.Now().Add(-time.Minute)
	if _, err := store.AddKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	valid, _, err := s.Create(t.Context(), mine.ID, "", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	unknown, _ := account.NewKey()
	var first error
	for _, plain := range []string{"", "x", unknown, expired, valid[:len(valid)-1], valid + "0", strings.ToUpper(valid), strings.Repeat("x", 1<<20)} {
		_, _, err := s.Authenticate(t.Context(), plain)
		if core.KindOf(err) != core.KindUnauthorized {
			t.Errorf("%.40q: %v", plain, err)
			continue
		}
		if first == nil {
			first = err
		}
		if err.Error() != first.Error() {
			t.Errorf("%.40q: %v; others get %v", plain, err, first)
		}
	}
}

func TestAuthenticateAsksTheStoreSeldom(t *testing.T) {
	s, keys, _ := open(t)
	mine := bootstrap(t, s)
	unknown, _ := account.NewKey()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if a, _, err := s.Authenticate(t.Context(), bootstrapKey); err != nil || a.ID != mine.ID {
					t.Errorf("Authenticate: %v", err)
				}
				if _, _, err := s.Authenticate(t.Context(), unknown); err == nil {
					t.Error("an unknown key opens an account")
				}
			}
		})
	}
	wg.Wait()
	if n := keys.asked.Load(); n > 32 {
		t.Errorf("the store was asked %d times for 3200 requests", n)
	}
}

// slowKeys takes a second to find any key.
type slowKeys struct {
	ports
	asked atomic.Int64
}

func (k *slowKeys) KeyByHash(ctx context.Context, hash [32]byte) (core.Key, core.Account, error) {
	k.asked.Add(1)
	select {
	case <-time.After(time.Second):
		return core.Key{Hash: hash}, core.Account{ID: 1}, nil
	case <-ctx.Done():
		return core.Key{}, core.Account{}, ctx.Err()
	}
}

func TestAuthenticateAsksOnceForAllThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := &slowKeys{}
		s := account.New(account.Options{Keys: keys})
		gone, leave := context.WithCancel(t.Context())
		go func() {
			if _, _, err := s.Authenticate(gone, bootstrapKey); core.KindOf(err) != core.KindUnavailable || !errors.Is(err, context.Canceled) {
				t.Errorf("who asked first and left: %v", err)
			}
		}()
		synctest.Wait()
		for range 64 {
			go func() {
				if a, _, err := s.Authenticate(t.Context(), bootstrapKey); err != nil || a.ID != 1 {
					t.Errorf("who stayed: account %d, %v", a.ID, err)
				}
			}()
		}
		synctest.Wait()
		leave()
		<-time.After(time.Second)
		synctest.Wait()
		if n := keys.asked.Load(); n != 1 {
			t.Errorf("the store was asked %d times, want once", n)
		}
	})
}

func TestAuthenticateWithoutAStore(t *testing.T) {
	s, keys, _ := open(t)
	bootstrap(t, s)
	keys.err = errors.New("disk I/O error")
	_, _, err := s.Authenticate(t.Context(), bootstrapKey)
	e, ok := errors.AsType[*core.Error](err)
	if !ok || e.Kind != core.KindUnavailable || strings.Contains(e.Message, "disk") || strings.Contains(err.Error(), bootstrapKey) {
		t.Fatalf("Authenticate: %v; want core.KindUnavailable that shows neither cause nor key", err)
	}
	keys.err = nil
	if _, _, err := s.Authenticate(t.Context(), bootstrapKey); err != nil {
		t.Errorf("the failure was remembered: %v", err)
	}
}

func TestBootstrapTakesAnyLongKey(t *testing.T) {
	s, _, store := open(t)
	for _, plain := range []string{strings.Repeat("k", 32), "pgn_live_of_our_own_making_0000000000", "schlüssel-schlüssel-schlüssel-abc", strings.Repeat("x", 512)} {
		first, err := s.Bootstrap(t.Context(), plain)
		if err != nil {
			t.Fatalf("%.40q: %v", plain, err)
		}
		again, err := s.Bootstrap(t.Context(), plain)
		if err != nil || again.ID != first.ID || again.Name != "default" {
			t.Errorf("%.40q again: %+v, %v", plain, again, err)
		}
		if a, _, err := s.Authenticate(t.Context(), plain); err != nil || a.ID != first.ID {
			t.Errorf("Authenticate with %.40q: %v", plain, err)
		}
		keys, err := store.Keys(t.Context(), first.ID)
		if err != nil {
			t.Fatal(err)
		}
		if hint := keys[len(keys)-1].Hint; len([]rune(hint)) > 5 || !strings.HasPrefix(plain, strings.TrimSuffix(hint, "…")) {
			t.Errorf("hint %q of %.40q", hint, plain)
		}
	}
}

func TestBootstrapRefuses(t *testing.T) {
	s, _, store := open(t)
	for about, plain := range map[string]string{
		"short": strings.Repeat("k", 31), "long": strings.Repeat("k", 513),
		"line break": strings.Repeat("k", 32) + "\n", "tab": strings.Repeat("k", 16) + "\t" + strings.Repeat("k", 16), "blank": strings.Repeat("k", 32) + " ",
	} {
		_, err := s.Bootstrap(t.Context(), plain)
		if core.KindOf(err) != core.KindUnprocessable || strings.Contains(err.Error(), "kkkk") {
			t.Errorf("%s: %v; want core.KindUnprocessable without the key", about, err)
		}
	}
	other, err := store.EnsureAccount(t.Context(), core.Account{Name: "other", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	taken, _, err := s.Create(t.Context(), other.ID, "", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bootstrap(t.Context(), taken); core.KindOf(err) != core.KindConflict {
		t.Errorf("a key of another account: %v", err)
	}
}

func TestBootstrapDoesNotReviveARevokedKey(t *testing.T) {
	s, _, _ := open(t)
	mine := bootstrap(t, s)
	keys, err := s.List(t.Context(), mine.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(t.Context(), mine.ID, keys[0].ID); err != nil {
		t.Fatal(err)
	}
	bootstrap(t, s)
	if _, _, err := s.Authenticate(t.Context(), bootstrapKey); core.KindOf(err) != core.KindUnauthorized {
		t.Errorf("Authenticate: %v", err)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	s, _, _ := open(b)
	bootstrap(b, s)
	for b.Loop() {
		if _, _, err := s.Authenticate(b.Context(), bootstrapKey); err != nil {
			b.Fatal(err)
		}
	}
}
