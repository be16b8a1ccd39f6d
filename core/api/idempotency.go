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

// create makes something and answers with it: made returns its path, a message and the data. With an Idempotency-Key a
// repeat gets the first answer: the key is remembered right after what was made, so only a crash between the two
// lets a repeat be refused.
func (s *server) create(c *gin.Context, raw []byte, made func() (path, message string, data any, err error)) {
	key, err := idempotencyKey(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	if key == "" {
		s.created(c, nil, made)
		return
	}
	record := &store.IdempotencyRecord{Account: accountOf(c), Key: key, BodyHash: bodyHash(c.Request, raw)}
	earlier, release, err := s.o.Idempotency.Begin(c.Request.Context(), record.Account, key, record.BodyHash)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer release()
	if earlier != nil {
		replay(c, earlier)
		return
	}
	s.created(c, record, made)
}

// created makes something and, where there is a record, keeps the answer in it.
func (s *server) created(c *gin.Context, record *store.IdempotencyRecord, made func() (path, message string, data any, err error)) {
	ctx := c.Request.Context()
	path, message, data, err := made()
	if err != nil {
		s.fail(c, err)
		return
	}
	body, err := encode(callOf(c).id, message, data)
	if err != nil {
		s.fail(c, err)
		return
	}
	if record != nil {
		record.Status, record.Response = http.StatusCreated, body
		record.CreatedAt = s.o.Now()
		record.ExpiresAt = record.CreatedAt.Add(s.o.KeyTTL)
		if err := s.o.Idempotency.Save(ctx, *record); err != nil {
			s.o.Logger.WarnContext(ctx, "api: the answer to an Idempotency-Key is not remembered",
				"request_id", callOf(c).id, "error", err)
		}
	}
	c.Header("Location", path)
	writeJSON(c, http.StatusCreated, body)
}

// replay gives the answer to an earlier request again.
func replay(c *gin.Context, r *store.IdempotencyRecord) {
	c.Header(replayHeader, "true")
	writeJSON(c, r.Status, r.Response)
}
