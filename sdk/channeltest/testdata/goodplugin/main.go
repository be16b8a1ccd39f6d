// Command goodplugin is the plugin on which the kit proves itself: the recipient says what happens.
package main

import (
	"context"
	"errors"
	"fmt"
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

type channel struct{ config }

func (c *channel) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	switch m.Recipient {
	case "slow":
		select {
		case <-time.After(1500 * time.Millisecond):
		case <-ctx.Done():
			return sdk.Receipt{}, ctx.Err()
		}
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
	return sdk.Accepted("p-" + m.AttemptID), nil
}

func (c *channel) Check(context.Context) error {
	return errors.Join(nil)
}

func main() {
	sdk.Serve(sdk.Plugin[config]{
		Name: "good", Version: "1.0.0", Prototype: (*channel)(nil),
		Open: func(_ context.Context, c config) (sdk.Sender, error) { return &channel{c}, nil },
	})
}
