package main

import (
	"context"
	"strings"

	"github.com/pigeonry/pigeonry/sdk"
)

// connector sends the messages of one connector: with custom bots or with an app, one of which is nil.
type connector struct {
	webhook *webhook
	app     *app
}

func open(ctx context.Context, c config) *connector {
	base := strings.TrimRight(c.BaseURL, "/")
	if c.App != nil {
		return &connector{app: newApp(ctx, base, c)}
	}
	return &connector{webhook: newWebhook(base, c)}
}

// Send hands one message to Feishu.
func (c *connector) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	if c.app != nil {
		return c.app.send(ctx, m)
	}
	return c.webhook.send(ctx, m)
}

// Check tries the credentials, without sending.
func (c *connector) Check(ctx context.Context) error {
	if c.app != nil {
		return c.app.check(ctx)
	}
	return c.webhook.check(ctx)
}

// Query tells what became of attempts. Feishu has no search by our key, but an app's repeat of a message is dropped: see
// app.query. About custom bots nothing can be known.
func (c *connector) Query(ctx context.Context, attempts []sdk.Attempt) ([]sdk.QueryResult, error) {
	if c.app == nil {
		return nil, nil
	}
	return c.app.query(ctx, attempts)
}

// HandleCallback takes the events of an app.
func (c *connector) HandleCallback(ctx context.Context, r *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events, error) {
	if c.app == nil {
		return refuse(ctx, 404, "custom bots have no events", r)
	}
	return c.app.callbacks.handle(ctx, r)
}
