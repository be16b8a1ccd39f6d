// Package desktest is a desk for tests of a provider by itself.
package desktest

import (
	"context"
	"strconv"
	"sync"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// Desk keeps what is taken and what is called back, and decides as it is told. Its fields may be read and set while no request is
// under way.
type Desk struct {
	Taken     []desk.Message
	Decision  desk.Decision // of every message that the provider itself does not refuse
	Callbacks []desk.Callback

	mu  sync.Mutex
	ids int
}

var _ desk.Desk = (*Desk)(nil)

// Take implements desk.Desk. What is taken is delivered at once.
func (d *Desk) Take(_ context.Context, _ desk.Provider, m desk.Message, callback func(desk.Receipt) desk.Callback) (desk.Decision, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Taken = append(d.Taken, m)
	if m.Refused != "" {
		return desk.Decision{Answer: desk.Refuse, Code: m.Refused}, nil
	}
	if callback != nil {
		d.Callbacks = append(d.Callbacks, callback(desk.Receipt{Status: desk.Delivered, ProviderID: m.ProviderID}))
	}
	return d.Decision, nil
}

// Send implements desk.Desk.
func (d *Desk) Send(c desk.Callback) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Callbacks = append(d.Callbacks, c)
}

// NewID implements desk.Desk.
func (d *Desk) NewID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ids++
	return strconv.Itoa(d.ids)
}
