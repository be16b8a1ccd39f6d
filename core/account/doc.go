// Package account makes and checks the API keys of accounts. A key is shown once, when it is made; only
// its SHA-256 hash is kept, which is enough for a secret of 128 random bits.
package account
