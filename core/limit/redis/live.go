package redis

import (
	"context"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Instances is how many limiters on the same Redis and prefix are alive and not idle, as far as it was last
// heard; at least 1, also before Redis was reached for the first time.
func (l *Limiter) Instances() int { return int(l.instances.Load()) }

// live says again and again that this instance is alive, unless it is idle, and hears how many are.
func (l *Limiter) live(closing <-chan struct{}) {
	ticker := time.NewTicker(l.pause)
	defer ticker.Stop()
	for {
		l.pulse()
		select {
		case <-ticker.C:
		case <-closing:
			return
		}
	}
}

// pulse is one sign of life. A Redis that is gone is somebody else's to report: whoever asks for limits.
func (l *Limiter) pulse() {
	ctx, cancel := context.WithTimeout(context.Background(), backgroundPatience)
	defer cancel()
	name := l.name
	if l.idle {
		name = ""
	}
	n, err := l.beat.Run(ctx, l.client, []string{l.instancesKey()}, name, 3*l.pause.Microseconds()).Int64()
	if err != nil {
		return
	}
	n = max(n, 1)
	if before := l.instances.Swap(n); before != n {
		l.logger.Info("limits: the number of gateways that share Redis has changed", "before", before, "now", n)
	}
	l.settle(ctx)
}

func (l *Limiter) instancesKey() string { return l.prefix + "instances" }

// leave takes this instance out of the count. Without Redis it lapses.
func (l *Limiter) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), backgroundPatience)
	defer cancel()
	l.settle(ctx)
	_ = l.client.ZRem(ctx, l.instancesKey(), l.name).Err()
}

// release gives places back, now or with the next sign of life.
func (l *Limiter) release(held []places) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.remove(ctx, held); err != nil {
		l.owed.add(held)
	}
}

// remove frees places. Those that have lapsed are gone already.
func (l *Limiter) remove(ctx context.Context, held []places) error {
	if len(held) == 1 {
		return l.client.ZRem(ctx, held[0].key, held[0].members...).Err()
	}
	_, err := l.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, h := range held {
			p.ZRem(ctx, h.key, h.members...)
		}
		return nil
	})
	return err
}

// settle gives back what is owed. Otherwise a short fault would leave places taken for a whole lease.
func (l *Limiter) settle(ctx context.Context) {
	held := l.owed.take()
	if len(held) == 0 {
		return
	}
	if err := l.remove(ctx, held); err != nil {
		l.owed.add(held)
	}
}

// maxDebts bounds what is remembered. Beyond it places lapse with their lease.
const maxDebts = 10_000

// debts are places that Redis may hold for nobody.
type debts struct {
	mu   sync.Mutex
	held []places
}

func (d *debts) add(held []places) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = append(d.held, held[:min(len(held), maxDebts-len(d.held))]...)
}

func (d *debts) take() []places {
	d.mu.Lock()
	defer d.mu.Unlock()
	held := d.held
	d.held = nil
	return held
}
