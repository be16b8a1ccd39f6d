// Command my-plugin is a channel of Pigeonry: it posts each message as JSON to an HTTP provider.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/pigeonry/pigeonry/sdk"
)

// version is semantic, without a leading v. VERSION=… ./build.sh builds another one.
var version = "0.1.0"

// config is what a connector says in gateway.hcl. The tags describe it to the gateway, and check it.
type config struct {
	URL   string     `cfg:"url,required,format=uri" doc:"Where to post the message"`
	Token sdk.Secret `cfg:"token,required" doc:"Bearer token of the provider"`
}

// channel is one connector.
type channel struct{ config }

// message is what the provider wants.
type message struct {
	ID   string `json:"id"`
	To   string `json:"to"`
	Text string `json:"text"`
}

// Send hands one message to the provider. The gateway repeats only what was surely not sent: DoHTTPFunc tells that
// from the provider's answer, and sdk.Permanent, sdk.Retryable, sdk.Throttled and sdk.Uncertain say it by hand.
func (c *channel) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	body, err := json.Marshal(message{ID: m.ID, To: m.Recipient, Text: m.Text()})
	if err != nil {
		return sdk.Receipt{}, sdk.Permanent(err, sdk.Blame(sdk.FaultPlugin))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil {
		return sdk.Receipt{}, sdk.Permanent(err, sdk.Blame(sdk.FaultConfig))
	}
	req.Header.Set("Authorization", "Bearer "+c.Token.Reveal())
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", m.IdempotencyKey) // the same for every attempt of one message
	return sdk.DoHTTPFunc(req, accepted)
}

// accepted reads the provider's own id of a message that it took.
func accepted(_ *http.Response, body []byte) (sdk.Receipt, error) {
	var answer struct {
		ID string `json:"id"`
	}
	var receipt sdk.Receipt
	if json.Unmarshal(body, &answer) == nil && answer.ID != "" {
		receipt = sdk.Accepted(answer.ID)
	}
	return receipt, nil
}

func open(_ context.Context, c config) (sdk.Sender, error) { return &channel{c}, nil }

func plugin() sdk.Plugin[config] {
	return sdk.Plugin[config]{Name: "my-plugin", Version: version, Channels: []string{"my-channel"}, Open: open}
}

func main() { sdk.Serve(plugin()) }
