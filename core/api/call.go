package api

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"

	"github.com/gin-gonic/gin"

	"github.com/pigeonry/pigeonry/core"
)

const (
	callKey         = "call"
	requestIDHeader = "X-Request-Id"
	maxRequestID    = 128
)

// call is what is known of one request beside the request itself.
type call struct {
	id      string       // request id
	account core.Account // set behind authenticate
	key     int64        // id of the API key; set behind authenticate
	keyName string       // what the key is for; may be empty
}

// callOf returns the call of a request; begin has put it there.
func callOf(c *gin.Context) *call {
	return c.MustGet(callKey).(*call) //nolint:forcetypeassert // begin alone sets it
}

// accountOf returns the id of the account that the request's key opened.
func accountOf(c *gin.Context) core.AccountID { return callOf(c).account.ID }

// actorOf names who makes a request, for people who read later what happened: account and key.
func actorOf(c *gin.Context) string {
	current := callOf(c)
	return current.account.Name + "/" + cmp.Or(current.keyName, fmt.Sprintf("key %d", current.key))
}

// requestID takes the caller's id if it can be written into logs and headers as it is, else makes one.
func requestID(given string) string {
	if saneID(given) {
		return given
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], rand.Uint64())
	return hex.EncodeToString(b[:])
}

func saneID(s string) bool {
	if s == "" || len(s) > maxRequestID {
		return false
	}
	for i := range len(s) {
		if !idCharacter(s[i]) {
			return false
		}
	}
	return true
}

func idCharacter(b byte) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		return true
	}
	switch b {
	case '-', '_', '.', ':', '/', '+', '=', '@':
		return true
	}
	return false
}
