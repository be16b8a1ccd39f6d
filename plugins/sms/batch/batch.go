// Package batch sends messages to a provider that takes several in one request, those that go together in one group.
package batch

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

// maxRequests is how many requests one batch of the gateway makes at a time.
const maxRequests = 16

// Report gives the result of the message with an index, from any goroutine.
type Report = func(i int, r sdk.Receipt, err error)

// Item is a message in the words of a provider.
type Item interface {
	// Index is its place in the batch of the gateway.
	Index() int
}

// Provider is how messages go to a provider. Its functions are called from several goroutines.
type Provider[T Item] struct {
	// Compose turns a message into an item. An error has an outcome: nothing was sent.
	Compose func(index int, m *sdk.Message) (T, error)
	// Groups cuts items into what fits one request.
	Groups func(items []T) [][]T
	// Request sends one request, and reports its items unless it returns an error, which has an outcome and holds for all.
	Request func(ctx context.Context, group []T, report Report) error
}

// Send reports each message once. Where the provider refuses a request whole for the sake of one message, nothing was sent,
// and the halves are tried apart.
func Send[T Item](ctx context.Context, p Provider[T], ms []*sdk.Message, report Report) {
	var items []T
	for i, m := range ms {
		it, err := p.Compose(i, m)
		if err != nil {
			report(i, sdk.Receipt{}, err)
			continue
		}
		items = append(items, it)
	}
	var requests errgroup.Group
	requests.SetLimit(maxRequests)
	for _, group := range p.Groups(items) {
		requests.Go(func() error {
			send(ctx, p, group, report)
			return nil
		})
	}
	_ = requests.Wait() // each message has its own result
}

func send[T Item](ctx context.Context, p Provider[T], group []T, report Report) {
	err := ctx.Err()
	if err != nil {
		err = sdk.Retryable(fmt.Errorf("not begun: %w", err), sdk.Code(sdk.CodeNotStarted))
	} else {
		err = p.Request(ctx, group, report)
	}
	switch {
	case err == nil:
	case len(group) > 1 && verdict.ConcernsOne(err):
		half := len(group) / 2
		send(ctx, p, group[:half], report)
		send(ctx, p, group[half:], report)
	default:
		for _, it := range group {
			report(it.Index(), sdk.Receipt{}, err)
		}
	}
}

// One sends one message through a BatchSender.
func One(ctx context.Context, s sdk.BatchSender, m *sdk.Message) (receipt sdk.Receipt, err error) {
	s.SendBatch(ctx, []*sdk.Message{m}, func(_ int, r sdk.Receipt, e error) { receipt, err = r, e })
	return receipt, err
}
