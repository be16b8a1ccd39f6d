package sdk

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// fetchTimeout bounds one renewal of a token, the questions to the gateway included.
	fetchTimeout = 30 * time.Second
	// renewAhead is how long before its end a token is renewed, if it lives long enough; a shorter one is renewed in
	// the last fifth of its life.
	renewAhead = 10 * time.Minute
	// askAgain is the pause while another gateway fetches the first token.
	askAgain = 200 * time.Millisecond
	// lookAgain is the pause while another gateway renews a token that is still good.
	lookAgain = 5 * time.Second
)

// Token is a credential that a provider gives out for a while, such as an OAuth access token.
type Token struct {
	Value   string
	Expires time.Time // as the provider says
}

// TokenSource returns a token that all gateways, connectors and versions of a plugin share, so that none of them makes another one's
// invalid and the provider is asked only once. Its methods may be called from any goroutine.
type TokenSource struct {
	name   string
	seal   cipher.AEAD
	fetch  func(ctx context.Context) (Token, error)
	shares *sharing
	run    func(parent context.Context) context.Context // makes the ctx of fetch
	hide   func(value string)                           // keeps a value out of the logs

	renewing chan struct{} // held by who renews; a channel obeys ctx

	mu      sync.Mutex
	token   sharedToken
	lookAt  time.Time // the token is good, and to be looked at again from then on
	refused string    // the provider does not take this value any more
}

// sharedToken is a token with the revision it is kept by.
type sharedToken struct {
	Token
	revision int64
	fetched  time.Time
}

// SharedToken returns the source of a token. Call it in Open, with its ctx. Sources of the same name and secret share the token:
// name says what it is and for whom, such as "access_token/<app id>", and secret is what it is fetched with. It never leaves the
// process unsealed. fetch asks the provider for a new one; its error is that of Get, so make it an outcome: nothing has been
// sent yet. Outside a gateway, as in tests, the token is kept in the process.
func SharedToken(ctx context.Context, name string, secret Secret, fetch func(ctx context.Context) (Token, error)) *TokenSource {
	seal, mark := sealer(name, secret)
	t := &TokenSource{
		name: name + "#" + mark, seal: seal, fetch: fetch, shares: newSharing(), renewing: make(chan struct{}, 1),
		run: func(parent context.Context) context.Context { return parent }, hide: func(string) {},
	}
	if c := callFrom(ctx); c != nil {
		t.shares = &c.server.shares
		t.run = func(parent context.Context) context.Context { return c.server.context(parent, c.connector, c.health) }
		t.hide = c.server.redact.addPassing
	}
	return t
}

// sealer returns what values of a name are sealed with, and a mark by which those sealed with another secret are told apart.
func sealer(name string, secret Secret) (cipher.AEAD, string) {
	key, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, "pigeonry shared token "+name, 32+6)
	if err != nil {
		panic("sdk: derive the key of a shared token: " + err.Error()) // the length is fixed and short
	}
	block, err := aes.NewCipher(key[:32])
	if err != nil {
		panic("sdk: cipher of a shared token: " + err.Error()) // the length of the key is right
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("sdk: cipher of a shared token: " + err.Error()) // AES has the block size that GCM wants
	}
	return seal, hex.EncodeToString(key[32:])
}

// Get returns a token that is good now. It renews one that is about to end, and waits for that only where there is none. The
// error is that of fetch, or Retryable if the token could not be had otherwise.
func (t *TokenSource) Get(ctx context.Context) (string, error) {
	value, fresh := t.known(time.Now())
	if fresh {
		return value, nil
	}
	select {
	case t.renewing <- struct{}{}:
	default:
		if value != "" {
			return value, nil // somebody renews it, and it is good until then
		}
		select {
		case t.renewing <- struct{}{}:
		case <-ctx.Done():
			return "", unavailable(t.name, context.Cause(ctx))
		}
	}
	defer func() { <-t.renewing }()
	if value, fresh = t.known(time.Now()); fresh {
		return value, nil // it was renewed meanwhile
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	return t.renew(ctx, value)
}

// known returns the token in this process: "" if it is not good any more, and not fresh if it should be looked at again.
func (t *TokenSource) known(now time.Time) (value string, fresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token.Value == "" || !now.Before(t.token.Expires) {
		return "", false
	}
	return t.token.Value, now.Before(t.lookAt)
}

// renew looks for the token of all, and fetches it if it is told to. A token that is good still is better than an error.
func (t *TokenSource) renew(ctx context.Context, good string) (string, error) {
	for {
		answer, err := t.shares.look(ctx, t.name, t.ahead())
		if err != nil {
			return t.without(good, unavailable(t.name, err))
		}
		if answer.renew {
			return t.fetchNew(ctx, answer, good)
		}
		if value, ok := t.take(answer, time.Now()); ok {
			return value, nil
		}
		if good != "" {
			return t.without(good, nil)
		}
		if time.Now().Before(answer.expires) { // it cannot be opened, or the provider refused it
			t.shares.drop(ctx, t.name, answer.revision)
		}
		if !sleep(ctx, askAgain) {
			return "", unavailable(t.name, context.Cause(ctx))
		}
	}
}

// without goes on with a token that is good still, or returns the error.
func (t *TokenSource) without(good string, err error) (string, error) {
	if good == "" {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lookAt = time.Now().Add(lookAgain)
	return good, nil
}

// fetchNew asks the provider, as the only one who does, and tells all others.
func (t *TokenSource) fetchNew(ctx context.Context, told share, good string) (string, error) {
	token, err := t.fetch(t.run(ctx))
	if err == nil && (token.Value == "" || !time.Now().Before(token.Expires)) {
		err = Retryable(fmt.Errorf("the provider gave a token that is empty or has ended (%s)", token.Expires))
	}
	if err != nil {
		t.giveUp(context.WithoutCancel(ctx), told)
		return t.without(good, err)
	}
	now := time.Now()
	t.shares.keep(context.WithoutCancel(ctx), t.name, share{value: t.sealed(token, now), expires: token.Expires, revision: told.revision})
	t.set(sharedToken{Token: token, revision: told.revision, fetched: now}, now)
	return token.Value, nil
}

// giveUp has somebody else try. What is good still is left to all others.
func (t *TokenSource) giveUp(ctx context.Context, told share) {
	if len(told.value) > 0 && time.Now().Before(told.expires) {
		t.shares.keep(ctx, t.name, told)
		return
	}
	t.shares.drop(ctx, t.name, told.revision)
}

// take makes the token of all that of this process. It is none if it has ended or the provider refused it.
func (t *TokenSource) take(answer share, now time.Time) (string, bool) {
	token, err := t.opened(answer)
	if err != nil || token.Value == "" || !now.Before(token.Expires) {
		return "", false
	}
	t.mu.Lock()
	refused := token.Value == t.refused
	t.mu.Unlock()
	if refused {
		return "", false
	}
	t.set(token, now)
	return token.Value, true
}

func (t *TokenSource) set(token sharedToken, now time.Time) {
	t.hide(token.Value)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token, t.refused = token, ""
	t.lookAt = token.Expires.Add(-aheadOf(token.Expires.Sub(token.fetched)))
	if soon := now.Add(lookAgain); t.lookAt.Before(soon) {
		t.lookAt = soon // another gateway renews it
	}
}

// ahead is how long before its end the token is renewed.
func (t *TokenSource) ahead() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token.Value == "" {
		return 0 // whatever there is, is better than nothing
	}
	return aheadOf(t.token.Expires.Sub(t.token.fetched))
}

func aheadOf(life time.Duration) time.Duration { return min(renewAhead, life/5) }

// Discard says that the provider refused value, before its time was over: the next Get returns another one, fetched once for all.
func (t *TokenSource) Discard(ctx context.Context, value string) {
	t.mu.Lock()
	if t.token.Value != value {
		t.mu.Unlock()
		return // it is another one already
	}
	revision := t.token.revision
	t.token, t.refused = sharedToken{}, value
	t.mu.Unlock()
	t.shares.drop(ctx, t.name, revision)
}

// sealedToken is what is sealed.
type sealedToken struct {
	Value   string    `json:"value"`
	Expires time.Time `json:"expires"`
	Fetched time.Time `json:"fetched"`
}

func (t *TokenSource) sealed(token Token, now time.Time) []byte {
	plain, err := json.Marshal(sealedToken{Value: token.Value, Expires: token.Expires, Fetched: now})
	if err != nil {
		return nil // the year has five digits: the next asker fetches its own
	}
	return t.seal.Seal(nil, nil, plain, []byte(t.name)) //nolint:gosec // no nonce is given: each is drawn at random, see sealer
}

func (t *TokenSource) opened(answer share) (sharedToken, error) {
	if len(answer.value) == 0 {
		return sharedToken{}, nil
	}
	plain, err := t.seal.Open(nil, nil, answer.value, []byte(t.name))
	if err != nil {
		return sharedToken{}, fmt.Errorf("open the shared value %s: %w", t.name, err)
	}
	var s sealedToken
	if err := json.Unmarshal(plain, &s); err != nil {
		return sharedToken{}, fmt.Errorf("read the shared value %s: %w", t.name, err)
	}
	return sharedToken{Token: Token{Value: s.Value, Expires: s.Expires}, revision: answer.revision, fetched: s.Fetched}, nil
}

func unavailable(name string, err error) error {
	if err == nil {
		err = errors.New("there is none")
	}
	return Retryable(fmt.Errorf("get the shared token %s: %w", name, err), Code(CodeNoToken))
}
