package api

import (
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/pigeonry/pigeonry/core"
)

// envelope is around the data of every success; the generated …Answer types have the same shape.
type envelope struct {
	Code      int    `json:"code"`
	Message   string `json:"message"`
	Data      any    `json:"data"`
	RequestID string `json:"request_id"`
}

// ok ends a request with data.
func (s *server) ok(c *gin.Context, message string, data any) {
	s.succeed(c, http.StatusOK, message, data)
}

func (s *server) succeed(c *gin.Context, status int, message string, data any) {
	body, err := encode(callOf(c).id, message, data)
	if err != nil {
		s.fail(c, err)
		return
	}
	writeJSON(c, status, body)
}

// encode makes the body of a success.
func encode(requestID, message string, data any) ([]byte, error) {
	return marshal(envelope{Message: message, Data: data, RequestID: requestID})
}

// marshal writes JSON. What a provider or a plugin said may be no UTF-8; it is mended, not refused.
func marshal(v any) ([]byte, error) {
	return json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
}

// fail ends a request with an error.
func (s *server) fail(c *gin.Context, err error) {
	r := refuse(err)
	s.logRefusal(c, r, err)
	s.write(c, r)
	c.Abort()
}

// logRefusal logs what is a fault of the gateway, with its cause. While something is away, most refusals are for debugging alone.
func (s *server) logRefusal(c *gin.Context, r refusal, err error) {
	ctx, level, leftOut := c.Request.Context(), slog.LevelDebug, 0
	switch {
	case ctx.Err() != nil: // the caller left
	case r.status == http.StatusInternalServerError:
		level = slog.LevelError
	case r.status == http.StatusServiceUnavailable:
		var worth bool
		if leftOut, worth = s.outages.worthALine(c.Request.Method + " " + c.FullPath()); worth {
			level = slog.LevelWarn
		}
	}
	s.o.Logger.Log(ctx, level, "api: request refused", "request_id", callOf(c).id,
		"method", c.Request.Method, "route", c.FullPath(), "code", r.code, "not_logged", leftOut, "error", err)
}

func (s *server) write(c *gin.Context, r refusal) {
	if r.retryAfter > 0 {
		c.Header("Retry-After", seconds(r.retryAfter))
	}
	answer := ErrorAnswer{Code: r.code, Message: r.message, RequestId: callOf(c).id, Errors: fieldErrors(r.fields)}
	body, err := marshal(answer)
	if err != nil {
		s.o.Logger.ErrorContext(c.Request.Context(), "api: cannot encode a refusal", "request_id", callOf(c).id, "error", err)
		c.Status(http.StatusInternalServerError)
		return
	}
	writeJSON(c, r.status, body)
}

func fieldErrors(fields []core.FieldError) []FieldError {
	answers := make([]FieldError, len(fields))
	for i, f := range fields {
		answers[i] = FieldError{Field: f.Field, Reason: f.Reason}
	}
	return answers
}

func writeJSON(c *gin.Context, status int, body []byte) {
	h := c.Writer.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.Writer.WriteHeader(status)
	_, _ = c.Writer.Write(body) // the caller may be gone; there is nobody to tell
}

// seconds is how Retry-After is written: whole, and at least one.
func seconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64(math.Ceil(d.Seconds()))), 10)
}
