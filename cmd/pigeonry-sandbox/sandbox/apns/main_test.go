package apns

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryDesk keeps what is taken, and decides as it is told.
type memoryDesk struct {
	mu        sync.Mutex
	taken     []desk.Message
	decision  desk.Decision
	callbacks []desk.Callback
	ids       int
}

func (d *memoryDesk) Take(_ context.Context, _ desk.Provider, m desk.Message, callback func(desk.Receipt) desk.Callback) (desk.Decision, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken = append(d.taken, m)
	if m.Refused != "" {
		return desk.Decision{Answer: desk.Refuse, Code: m.Refused}, nil
	}
	if callback != nil {
		d.callbacks = append(d.callbacks, callback(desk.Receipt{Status: desk.Delivered, ProviderID: m.ProviderID}))
	}
	return d.decision, nil
}

func (d *memoryDesk) Send(c desk.Callback) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.callbacks = append(d.callbacks, c)
}

func (d *memoryDesk) NewID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ids++
	return strconv.Itoa(d.ids)
}
