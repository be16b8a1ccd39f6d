// Command hello-plugin posts each message to a URL. It is a whole channel.
package main

import (
	"context"
	"net/http"
	"strings"

	"github.com/pigeonry/pigeonry/sdk"
)

type config struct {
	URL   string     `cfg:"url,required,format=uri" doc:"Where to post the text"`
	Token sdk.Secret `cfg:"token,required" doc:"Bearer token of the provider"`
}

type hello struct{ config }

func (h hello) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, strings.NewReader(m.Text()))
	if err != nil {
		return sdk.Receipt{}, sdk.Permanent(err, sdk.Blame(sdk.FaultConfig))
	}
	req.Header.Set("Authorization", "Bearer "+h.Token.Reveal())
	req.Header.Set("Idempotency-Key", m.IdempotencyKey)
	req.Header.Set("To", m.Recipient)
	return sdk.DoHTTP(req)
}

func open(_ context.Context, c config) (sdk.Sender, error) { return hello{c}, nil }

func main() { sdk.Serve(sdk.Plugin[config]{Name: "hello", Version: "0.1.0", Open: open}) }
