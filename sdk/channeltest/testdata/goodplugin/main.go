// Command goodplugin is the plugin on which the kit proves itself: the recipient says what happens. The file in
// LEDGER grows by a line with each message that reaches the provider.
package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

type config struct {
	Host  string     `cfg:"host,required,format=hostport"`
	Mode  string     `cfg:"mode,enum=plain|loud,default=plain"`
	Token sdk.Secret `cfg:"token,required"`
	TLS   struct {
		Key sdk.Secret `cfg:"key"`
	} `cfg:"tls"`
}

type channel struct {
	config
	session *sdk.TokenSource
}

// login is what a provider gives for the token of the config.
func login(context.Context) (sdk.Token, error) {
	return sdk.Token{Value: "session-of-an-hour", Expires: time.Now().Add(time.Hour)}, nil
}

func (c *channel) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	if _, err := c.session.Get(ctx); err != nil {
		return sdk.Receipt{}, err
	}
	switch m.Recipient {
	case "slow":
		reach(m)
		select {
		case <-time.After(1500 * time.Millisecond):
		case <-ctx.Done():
			return sdk.Receipt{}, ctx.Err()
		}
		return sdk.Accepted("p-" + m.AttemptID), nil
	case "panic":
		panic("with the token " + c.Token.Reveal())
	case "fail":
		sdk.Logger(ctx).Warn("refused", "token", c.Token, "raw", c.Token.Reveal())
		return sdk.Receipt{}, sdk.Permanent(fmt.Errorf("401 for %s", c.Token.Reveal()), sdk.Code("auth_failed"))
	case "noisy":
		line := strings.Repeat("x", 70<<10)
		fmt.Println(line)
		fmt.Fprintln(os.Stderr, line)
		fmt.Println("the token is", c.Token.Reveal())
	}
	reach(m)
	return sdk.Accepted("p-" + m.AttemptID), nil
}

// reach notes that a message has reached the provider.
func reach(m *sdk.Message) {
	path := os.Getenv("LEDGER")
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	if _, err := fmt.Fprintln(file, m.AttemptID); err != nil {
		panic(err)
	}
}

// HandleCallback takes receipts from whoever has the token.
func (c *channel) HandleCallback(_ context.Context, r *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events, error) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("X-Token")), []byte(c.Token.Reveal())) == 0 {
		return &sdk.CallbackResponse{Status: http.StatusUnauthorized}, sdk.Events{}, nil
	}
	return nil, sdk.Events{Receipts: []sdk.DeliveryReceipt{{ProviderID: string(r.Body), Status: sdk.Delivered}}}, nil
}

// Query knows what became of no attempt.
func (c *channel) Query(context.Context, []sdk.Attempt) ([]sdk.QueryResult, error) { return nil, nil }

// Receive brings nothing.
func (c *channel) Receive(ctx context.Context, _ sdk.Emit) error {
	<-ctx.Done()
	return nil
}

func (c *channel) Check(context.Context) error {
	return errors.Join(nil)
}

func main() {
	sdk.Serve(sdk.Plugin[config]{
		Name: "good", Version: "1.0.0", Prototype: (*channel)(nil),
		Open: func(ctx context.Context, c config) (sdk.Sender, error) {
			return &channel{c, sdk.SharedToken(ctx, "session", c.Token, login)}, nil
		},
	})
}
