package sdk

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// clerk gives out tokens that live for an hour, unless it is to refuse.
type clerk struct {
	given   int
	refuses error
}

func (c *clerk) fetch(context.Context) (Token, error) {
	if c.refuses != nil {
		return Token{}, c.refuses
	}
	c.given++
	return Token{Value: fmt.Sprintf("token-%d", c.given), Expires: time.Now().Add(time.Hour)}, nil
}

// beside is a further source of the same token, as another connector of the process has.
func (t *TokenSource) beside(ctx context.Context, c *clerk) *TokenSource {
	other := SharedToken(ctx, "access_token", "app-secret", c.fetch)
	other.shares = t.shares
	return other
}

func wantValue(t *testing.T, s *TokenSource, want string) {
	t.Helper()
	if got, err := s.Get(t.Context()); err != nil || got != want {
		t.Errorf("at %s: got %q, %v; want %q", time.Now().Format(time.TimeOnly), got, err, want)
	}
}

func TestATokenIsRenewedAheadOfItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clerk{}
		s := SharedToken(t.Context(), "access_token", "app-secret", c.fetch)
		wantValue(t, s, "token-1")
		<-time.After(time.Hour - renewAhead - time.Second)
		wantValue(t, s, "token-1")
		<-time.After(2 * time.Second)
		wantValue(t, s, "token-2")
		wantValue(t, s.beside(t.Context(), c), "token-2")
	})
}

// A token that cannot be renewed is used until its end, by all who share it, and is renewed once that is possible again.
func TestATokenThatCannotBeRenewedIsUsedUntilItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clerk{}
		s := SharedToken(t.Context(), "access_token", "app-secret", c.fetch)
		wantValue(t, s, "token-1")
		c.refuses = errors.New("the provider is down")
		<-time.After(time.Hour - time.Minute)
		wantValue(t, s, "token-1")
		wantValue(t, s.beside(t.Context(), c), "token-1")
		<-time.After(time.Minute)
		if got, err := s.Get(t.Context()); !errors.Is(err, c.refuses) {
			t.Errorf("after its end: got %q, %v", got, err)
		}
		c.refuses = nil
		wantValue(t, s, "token-2")
	})
}
