package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/accept"
	"github.com/pigeonry/pigeonry/core/limit"
)

// begin names the request and writes the access log.
func (s *server) begin(c *gin.Context) {
	current := &call{id: requestID(c.GetHeader(requestIDHeader))}
	c.Set(callKey, current)
	h := c.Writer.Header()
	h.Set(requestIDHeader, current.id)
	h.Set("X-Content-Type-Options", "nosniff")
	ctx := c.Request.Context()
	if !s.o.Logger.Enabled(ctx, slog.LevelDebug) {
		c.Next()
		return
	}
	start := time.Now()
	c.Next()
	s.o.Logger.DebugContext(ctx, "api: request", "request_id", current.id, "method", c.Request.Method,
		"route", c.FullPath(), "status", c.Writer.Status(), "duration", time.Since(start), "account", current.account.ID)
}

// guard turns a panic into an answer, so that one request costs only itself.
func (s *server) guard(c *gin.Context) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v) // net/http's own way to end a connection
		}
		s.o.Logger.ErrorContext(c.Request.Context(), "api: a handler panicked", "request_id", callOf(c).id,
			"route", c.FullPath(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		if !c.Writer.Written() {
			s.write(c, refuse(&core.Error{Kind: core.KindInternal}))
		}
		c.Abort()
	}()
	c.Next()
}

// authenticate lets those with a key in force pass.
func (s *server) authenticate(c *gin.Context) {
	account, key, err := s.o.Authenticator.Authenticate(c.Request.Context(), bearer(c.GetHeader("Authorization")))
	if err != nil {
		if core.KindOf(err) == core.KindUnauthorized {
			c.Header("WWW-Authenticate", "Bearer")
		}
		s.fail(c, err)
		return
	}
	current := callOf(c)
	current.account, current.key, current.keyName = account, key.ID, key.Name
	c.Header("Cache-Control", "no-store")
}

// operate lets only operators pass to what is below one plugin: which version runs concerns all accounts, and a
// rollout may name some of them.
func (s *server) operate(c *gin.Context) {
	if !strings.HasPrefix(c.FullPath(), "/api/plugins/") {
		return
	}
	if err := s.operator(c, "change plugins"); err != nil {
		s.fail(c, err)
	}
}

// operator is an error unless the caller is an operator.
func (s *server) operator(c *gin.Context, what string) error {
	name := callOf(c).account.Name
	if slices.Contains(s.o.Operators(), name) {
		return nil
	}
	return &core.Error{
		Kind: core.KindForbidden, Code: core.CodeForbidden,
		Message: fmt.Sprintf("the account %q may not %s; use a key of an operator, or add the account to operators in the gateway's settings", name, what),
	}
}

// bearer returns the token of an Authorization header (RFC 6750 section 2.1), "" if there is none. The
// name of the scheme has no case.
func bearer(header string) string {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// limit keeps the limits of the route that count by what is known before the body is read. A limiter that cannot decide lets the request
// pass: what protects the gateway must not be what stops it.
func (s *server) limit(c *gin.Context) {
	resource := resourceOf(c.FullPath())
	rules := s.rules(resource)
	if len(rules) == 0 {
		return
	}
	requests := make([]limit.Request, len(rules))
	for i, rule := range rules {
		requests[i] = limit.Request{Rule: rule, Key: limitKey(c, rule.By), N: 1}
	}
	decision, err := s.o.Limiter.Allow(c.Request.Context(), requests...)
	if err != nil {
		level := slog.LevelDebug
		leftOut, worth := s.outages.worthALine("limiter of " + resource)
		if worth {
			level = slog.LevelWarn
		}
		s.o.Logger.Log(c.Request.Context(), level, "api: cannot ask the limiter; the request passes",
			"request_id", callOf(c).id, "resource", resource, "not_logged", leftOut, "error", err)
		return
	}
	defer decision.Release()
	if !decision.Allowed {
		s.fail(c, &core.Error{
			Kind: core.KindLimited, Code: core.CodeRateLimited, RetryAfter: decision.RetryAfter,
			Message: fmt.Sprintf("over the limit of %s; try again after the time in Retry-After", rules[decision.Refused]),
		})
		return
	}
	c.Next() // concurrent places are given back when the handler is done
}

// rules returns the limits that are kept here. The rates of sending are accept's to keep.
func (s *server) rules(resource string) []limit.Rule {
	sending := resource == accept.ResourceSend || resource == accept.ResourceSendBatch
	var kept []limit.Rule
	for _, rule := range s.o.Rules(resource) {
		if !sending || rule.Type == limit.Concurrent {
			kept = append(kept, rule)
		}
	}
	return kept
}

// limitKey is what a limit counts the request under.
func limitKey(c *gin.Context, by limit.Dimension) string {
	switch by {
	case limit.ByKey:
		return string(by) + ":" + strconv.FormatInt(callOf(c).key, 10)
	case limit.ByIP:
		return string(by) + ":" + c.ClientIP()
	case limit.Global:
		return string(by)
	default:
		return string(limit.ByAccount) + ":" + strconv.FormatInt(int64(accountOf(c)), 10)
	}
}

// resourceOf names the route as limits do: "/api/messages/:record_id" is "api:/messages/{record_id}".
func resourceOf(route string) string {
	steps := strings.Split(strings.TrimPrefix(route, "/api"), "/")
	for i, step := range steps {
		if name, ok := strings.CutPrefix(step, ":"); ok {
			steps[i] = "{" + name + "}"
		}
	}
	return "api:" + strings.Join(steps, "/")
}

// badParameter answers for a parameter that the generated code could not read. The error's text may hold
// the value, so only the name goes on.
func (s *server) badParameter(c *gin.Context, err error, _ int) {
	name := "parameter"
	for _, prefix := range []string{"Invalid format for parameter ", "Expected one value for "} {
		if rest, ok := strings.CutPrefix(err.Error(), prefix); ok {
			name = strings.FieldsFunc(rest, func(r rune) bool { return r == ':' || r == ',' })[0]
		}
	}
	s.fail(c, malformed(name, "cannot be read; /docs says what it has to look like"))
}

// noRoute answers for a path that does not exist.
func (s *server) noRoute(c *gin.Context) {
	s.fail(c, &core.Error{
		Kind: core.KindNotFound, Code: core.CodeRouteNotFound, Message: "there is no such path; /docs lists those there are",
	})
}

// noMethod answers for a method that the path does not know; the router has set Allow.
func (s *server) noMethod(c *gin.Context) {
	s.fail(c, &core.Error{
		Kind: core.KindInvalid, Code: core.CodeMethodNotAllowed,
		Message: "the path does not know this method; the header Allow lists those it knows",
	})
}
