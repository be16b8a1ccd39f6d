package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/accept"
	"github.com/pigeonry/pigeonry/core/store"
)

const (
	// maxAccountNames bounds the names that are remembered.
	maxAccountNames = 10_000
	// accountTimeout bounds the look for a name.
	accountTimeout = time.Second
)

// facts tells routing about messages. An account keeps its name, so that each is looked for once.
type facts struct {
	accounts store.Accounts

	mu    sync.Mutex
	names map[core.AccountID]string
}

// Country implements dispatch.Facts.
func (*facts) Country(recipient string) string { return accept.Country(recipient) }

// AccountName implements dispatch.Facts.
func (f *facts) AccountName(id core.AccountID) (string, bool) {
	f.mu.Lock()
	name, known := f.names[id]
	f.mu.Unlock()
	if known {
		return name, true
	}
	ctx, cancel := context.WithTimeout(context.Background(), accountTimeout)
	defer cancel()
	a, err := f.accounts.Account(ctx, id)
	if err != nil {
		return "", false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names == nil || len(f.names) >= maxAccountNames {
		f.names = map[core.AccountID]string{}
	}
	f.names[id] = a.Name
	return a.Name, true
}
