package fetch

import (
	"context"
	"fmt"
	"syscall"

	"github.com/pigeonry/pigeonry/sdk"
)

// refusePrivate refuses a connection to an address that is not of the public Internet.
func refusePrivate(ctx context.Context, network, address string, conn syscall.RawConn) error {
	if err := sdk.PublicOnly(ctx, network, address, conn); err != nil {
		return &Error{Kind: Refused, Err: fmt.Errorf("%w; see allow_private_urls", err)}
	}
	return nil
}
