package core

import "time"

// Account is a tenant.
type Account struct {
	ID            AccountID
	Name          string
	DefaultRegion string // ISO 3166-1 alpha-2: how a bare phone number is read
	CreatedAt     time.Time
}

// Key is an API key as it is kept: the secret itself is shown once and never stored.
type Key struct {
	ID        int64
	Account   AccountID
	Name      string
	Hint      string   // the first characters of the key, to tell keys apart
	Hash      [32]byte // SHA-256 of the key
	CreatedAt time.Time
	RevokedAt time.Time // zero: in force
	ExpiresAt time.Time // zero: never
}

// InForce says whether the key opens anything at t.
func (k Key) InForce(t time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || t.Before(k.ExpiresAt))
}
