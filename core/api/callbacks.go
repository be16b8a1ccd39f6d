package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/receipt"
)

// callbackTimeout bounds a plugin's handling of a callback. It is below the server's write timeout, so
// that the provider gets an answer.
const callbackTimeout = 20 * time.Second

// callback hands a provider's request, just as it came, to the connector's plugin, and the plugin's
// answer back.
func (s *server) callback(c *gin.Context) {
	body, err := plainBody(c, maxCallback)
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), callbackTimeout)
	defer cancel()
	connector := core.ConnectorID(c.Param("channel") + "/" + c.Param("name"))
	answer, err := s.o.Callbacks.Handle(ctx, connector, receipt.CallbackRequest{
		Method: c.Request.Method, Path: cmp.Or(c.Param("path"), "/"), Query: c.Request.URL.RawQuery, Header: c.Request.Header,
		Body: body, RemoteAddr: c.Request.RemoteAddr, URL: s.publicURL(c.Request),
	})
	if err != nil {
		s.fail(c, absent(err, core.CodeConnectorNotFound, "connector"))
		return
	}
	s.answerCallback(c, answer)
}

// publicURL is the URL that the provider called, as far as it can be known behind a proxy.
func (s *server) publicURL(r *http.Request) string {
	base := s.o.PublicURL
	if base == "" {
		base = "http://" + r.Host
	}
	return strings.TrimSuffix(base, "/") + r.URL.RequestURI()
}

// answerCallback writes what the plugin answers. A provider's parameter may stand in it, so a browser is
// kept from taking it for a page of the gateway.
func (s *server) answerCallback(c *gin.Context, answer receipt.CallbackResponse) {
	h := c.Writer.Header()
	for name, values := range answer.Header {
		if !slices.Contains(ownHeaders, http.CanonicalHeaderKey(name)) {
			h[http.CanonicalHeaderKey(name)] = values
		}
	}
	h.Set("Content-Security-Policy", callbackPolicy(answer.Header))
	status := answer.Status
	switch {
	case status == 0:
		status = http.StatusOK
	case status < http.StatusOK || status > 599:
		s.o.Logger.ErrorContext(c.Request.Context(), "api: a plugin answered a callback with an impossible status",
			"request_id", callOf(c).id, "status", status)
		status = http.StatusInternalServerError
	}
	c.Writer.WriteHeader(status)
	_, _ = c.Writer.Write(answer.Body) // the provider may be gone; there is nobody to tell
	c.Writer.WriteHeaderNow()
}

// callbackPolicy shuts a plugin's page off. What a plugin may ask for by the policy form-action 'self' is a form that goes
// back to where it came from, such as the button of a user who unsubscribes: scripts, styles and other sources stay out.
func callbackPolicy(header http.Header) string {
	if header.Get("Content-Security-Policy") == "form-action 'self'" {
		return "sandbox allow-forms; default-src 'none'; form-action 'self'"
	}
	return "sandbox; default-src 'none'"
}

// ownHeaders are about the connection or about us, and no plugin's to set.
var ownHeaders = []string{
	"Connection", "Content-Length", "Content-Security-Policy", "Keep-Alive", "Proxy-Authenticate", "Set-Cookie",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "X-Content-Type-Options", "X-Request-Id",
}
