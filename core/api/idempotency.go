package api

import (
	"crypto/sha256"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/pigeonry/pigeonry/core/store"
)

const (
	idempotencyHeader = "Idempotency-Key"
	replayHeader      = "Idempotency-Replay"
	maxIdempotencyKey = 255
)

// idempotencyKey returns the caller's Idempotency-Key, "" if there is none. The generated code has
// made sure that there is at most one.
func idempotencyKey(c *gin.Context) (string, error) {
	values, given := c.Request.Header[idempotencyHeader]
	if !given {
		return "", nil
	}
	key := values[0]
	if key == "" || len(key) > maxIdempotencyKey {
		return "", malformed(idempotencyHeader, fmt.Sprintf("has %d characters; give 1 to %d", len(key), maxIdempotencyKey))
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return "", malformed(idempotencyHeader, "has a character that is not printable ASCII; leave it out")
		}
	}
	return key, nil
}

// bodyHash tells requests apart: SHA-256 of method, path and body. The body is hashed as decompressed,
// so that a repeat may compress it or not.
func bodyHash(r *http.Request, raw []byte) [32]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%s %s\n", r.Method, r.URL.Path)
	h.Write(raw)
	return [32]byte(h.Sum(nil))
}

// replay gives the answer to an earlier request again.
func replay(c *gin.Context, r *store.IdempotencyRecord) {
	c.Header(replayHeader, "true")
	writeJSON(c, r.Status, r.Response)
}
