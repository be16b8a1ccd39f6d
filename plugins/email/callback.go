package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"net/http"
	"net/url"
	"strings"

	"github.com/pigeonry/pigeonry/plugins/email/report"
	"github.com/pigeonry/pigeonry/sdk"
)

var _ sdk.CallbackHandler = (*connector)(nil)

// Paths below the connector's callback URL.
const (
	pathUnsubscribe = "/unsubscribe"
	pathBounce      = "/bounce"
)

// HandleCallback implements sdk.CallbackHandler: a user who unsubscribes, and reports that somebody's mail server hands
// on by HTTP.
func (c *connector) HandleCallback(ctx context.Context, r *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events, error) {
	path := strings.TrimSuffix(r.Path, "/")
	switch {
	case path == pathUnsubscribe || strings.HasPrefix(path, pathUnsubscribe+"/"):
		answer, events := c.unsubscribe(r)
		if answer.Status >= http.StatusBadRequest {
			sdk.Logger(ctx).WarnContext(ctx, "a request to unsubscribe was refused", "status", answer.Status, "remote", r.RemoteAddr)
		}
		return answer, events, nil
	case path == pathBounce:
		answer, events := c.bounceCallback(ctx, r)
		return answer, events, nil
	default:
		return plainAnswer(http.StatusNotFound, "there is /unsubscribe and /bounce"), sdk.Events{}, nil
	}
}

// bounceCallback takes a report as the raw mail. What is no report of a mail of ours is taken, too: a repeat would bring
// the same.
func (c *connector) bounceCallback(ctx context.Context, r *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events) {
	switch {
	case len(c.bounceToken) == 0:
		return plainAnswer(http.StatusNotFound, "this connector has no bounce_token"), sdk.Events{}
	case r.Method != http.MethodPost:
		answer := plainAnswer(http.StatusMethodNotAllowed, "POST the mail as it is")
		answer.Header.Set("Allow", http.MethodPost)
		return answer, sdk.Events{}
	case !hmac.Equal([]byte(bearer(r)), c.bounceToken):
		sdk.Logger(ctx).WarnContext(ctx, "a bounce was refused: the token is missing or wrong", "remote", r.RemoteAddr)
		return plainAnswer(http.StatusUnauthorized, "the token is missing or wrong"), sdk.Events{}
	}
	events, why := c.read(r.Body)
	if events.Empty() {
		sdk.Logger(ctx).InfoContext(ctx, "a mail came to the bounce webhook that changes nothing", "reason", why)
		return plainAnswer(http.StatusOK, "ignored: "+why), events
	}
	return plainAnswer(http.StatusOK, "stored"), events
}

// bearer is the token of a request: in the header Authorization, or the parameter token of the query.
func bearer(r *sdk.CallbackRequest) string {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return token
	}
	query, err := url.ParseQuery(r.Query)
	if err != nil {
		return ""
	}
	return query.Get("token")
}

// read reads a mail as a report. Without events it says why there are none.
func (c *connector) read(raw []byte) (events sdk.Events, why string) {
	if bytes.HasPrefix(raw, []byte("From ")) { // the first line of an mbox, as some programs hand it on
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
	}
	r, err := report.Parse(raw)
	if err != nil {
		return events, err.Error()
	}
	events = c.identity.events(r)
	if events.Empty() {
		return events, "it is about no mail of this connector, or says nothing new"
	}
	return events, ""
}
