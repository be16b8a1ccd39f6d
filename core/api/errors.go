package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// standing is what a kind of error means over HTTP: its status, and its code where the error has none.
type standing struct{ status, code int }

// kinds is the one table from errors to answers.
var kinds = map[core.Kind]standing{
	core.KindInternal:      {http.StatusInternalServerError, core.CodeInternal},
	core.KindInvalid:       {http.StatusBadRequest, core.CodeMalformed},
	core.KindUnprocessable: {http.StatusUnprocessableEntity, core.CodeInvalidField},
	core.KindUnauthorized:  {http.StatusUnauthorized, core.CodeUnauthorized},
	core.KindForbidden:     {http.StatusForbidden, core.CodeForbidden},
	core.KindNotFound:      {http.StatusNotFound, core.CodeRouteNotFound},
	core.KindConflict:      {http.StatusConflict, core.CodeNotCancelable},
	core.KindTooLarge:      {http.StatusRequestEntityTooLarge, core.CodeTooLarge},
	core.KindLimited:       {http.StatusTooManyRequests, core.CodeRateLimited},
	core.KindUnavailable:   {http.StatusServiceUnavailable, core.CodeUnavailable},
}

// statuses are those of codes that HTTP tells apart more finely than kinds do.
var statuses = map[int]int{
	core.CodeUnsupportedType:  http.StatusUnsupportedMediaType,
	core.CodeMethodNotAllowed: http.StatusMethodNotAllowed,
}

const (
	internalMessage = "internal error; the gateway's log tells more under the request_id"
	// defaultRetryAfter goes with a refusal that names no time itself.
	defaultRetryAfter = time.Second
)

// refusal is an error as the caller sees it.
type refusal struct {
	status     int
	code       int
	message    string
	fields     []core.FieldError
	retryAfter time.Duration // 0: no header
}

// refuse turns any error into what the caller may see of it. What is not a *core.Error stays inside.
func refuse(err error) refusal {
	e := known(err)
	s := kinds[e.Kind]
	r := refusal{status: s.status, code: s.code, message: e.Message, fields: e.Fields, retryAfter: e.RetryAfter}
	if e.Code != 0 {
		r.code = e.Code
	}
	if status, ok := statuses[r.code]; ok {
		r.status = status
	}
	switch {
	case e.Kind == core.KindInternal:
		return refusal{status: s.status, code: core.CodeInternal, message: internalMessage}
	case r.retryAfter > 0:
	case e.Kind == core.KindLimited, e.Kind == core.KindUnavailable, r.code == core.CodeKeyInFlight:
		r.retryAfter = defaultRetryAfter
	}
	return r
}

// known finds the *core.Error in err, or makes the one that fits. The end of a request's time and an
// unseen end of a commit are no faults of ours: a repeat finds out.
func known(err error) *core.Error {
	if e, ok := errors.AsType[*core.Error](err); ok {
		return e
	}
	if errors.Is(err, store.ErrUnknown) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &core.Error{
			Kind: core.KindUnavailable, Cause: err,
			Message: "the request took too long and its end was not seen; look whether it took effect, or repeat it",
		}
	}
	return &core.Error{Kind: core.KindInternal, Cause: err}
}

// absent gives a not-found error the code of what was looked for; other errors pass.
func absent(err error, code int, what string) error {
	if e, ok := errors.AsType[*core.Error](err); ok && e.Kind == core.KindNotFound {
		return &core.Error{Kind: core.KindNotFound, Code: code, Message: what + " not found", Cause: err}
	}
	return err
}

// conflict gives a conflict error without a code of its own the code of what was tried.
func conflict(err error, code int) error { return coded(err, core.KindConflict, code) }

// coded gives an error of a kind a code, unless it has one.
func coded(err error, kind core.Kind, code int) error {
	if e, ok := errors.AsType[*core.Error](err); ok && e.Kind == kind && e.Code == 0 {
		coded := *e
		coded.Code = code
		return &coded
	}
	return err
}

// placed puts the fields of an error where they stand in the body.
func placed(err error, place func(field string) string) error {
	e, ok := errors.AsType[*core.Error](err)
	if !ok || len(e.Fields) == 0 {
		return err
	}
	moved := *e
	moved.Fields = slices.Clone(e.Fields)
	for i := range moved.Fields {
		moved.Fields[i].Field = place(moved.Fields[i].Field)
	}
	moved.Message = problems(moved.Fields).err().Error()
	return &moved
}

// malformed makes the error for a part of a request that cannot be read.
func malformed(field, reason string) error {
	return &core.Error{
		Kind: core.KindInvalid, Code: core.CodeMalformed, Message: describe(field, reason),
		Fields: []core.FieldError{{Field: field, Reason: reason}},
	}
}

// problems gathers all that is wrong with a request, so that the caller learns of everything at once.
type problems []core.FieldError

func (p *problems) add(field, reason string) {
	*p = append(*p, core.FieldError{Field: field, Reason: reason})
}

// err returns nil if nothing is wrong.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	message := describe(p[0].Field, p[0].Reason)
	if len(p) > 1 {
		message += " (and more, see errors)"
	}
	return &core.Error{Kind: core.KindUnprocessable, Code: core.CodeInvalidField, Message: message, Fields: p}
}

func describe(field, reason string) string {
	if field == "" {
		return reason
	}
	return field + ": " + reason
}

// pointer makes a JSON pointer (RFC 6901) of steps.
func pointer(steps ...string) string {
	var b strings.Builder
	for _, step := range steps {
		b.WriteByte('/')
		b.WriteString(pointerEscapes.Replace(step))
	}
	return b.String()
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")
