package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/engine"
)

// engineFaults hit PostgreSQL, RabbitMQ and Redis.
func (s *stage) engineFaults() []Fault {
	var faults []Fault
	for _, name := range engine.Names() {
		faults = append(faults, Fault{
			Name: name + "-kill", Target: name, Limit: limitOf(name), Hold: time.Second,
			Inject: func(context.Context) error {
				s.engines[name].Kill()
				return nil
			},
			Heal: func(ctx context.Context) error { return s.engines[name].Start(ctx) },
		})
	}
	return append(faults,
		Fault{
			Name: "rabbitmq-wipe", Target: engine.Rabbit, Limit: brokerLimit,
			Inject: func(context.Context) error {
				s.engines[engine.Rabbit].Kill()
				return s.engines[engine.Rabbit].Wipe()
			},
			Heal: func(ctx context.Context) error { return s.engines[engine.Rabbit].Start(ctx) },
		},
		Fault{
			Name: "rabbitmq-memory", Target: engine.Rabbit, Limit: brokerLimit, Hold: s.brief(30*time.Second, 5*time.Second),
			Inject: func(ctx context.Context) error { return s.rabbit.SetMemoryWatermark(ctx, 0) },
			Heal:   func(ctx context.Context) error { return s.rabbit.SetMemoryWatermark(ctx, 0.4) },
		})
}

// networkFaults hit the lines between gateways and engines.
func (s *stage) networkFaults() []Fault {
	var faults []Fault
	for _, name := range engine.Names() {
		on := func(step func(*line) error) func(context.Context) error {
			return func(context.Context) error {
				var errs []error
				for _, l := range s.network.to(name) {
					errs = append(errs, step(l))
				}
				return errors.Join(errs...)
			}
		}
		heal := func(ctx context.Context) error {
			return on(func(l *line) error { return l.heal(ctx) })(ctx)
		}
		faults = append(faults,
			Fault{
				Name: name + "-cut", Target: name, Limit: limitOf(name), Hold: s.brief(10*time.Second, 3*time.Second),
				Inject: on((*line).cut), Heal: on((*line).mend),
			},
			Fault{
				Name: name + "-delay", Target: name, Limit: limitOf(name), Hold: s.brief(15*time.Second, 5*time.Second),
				Inject: on(func(l *line) error { return l.delay(100) }), Heal: heal,
			},
			Fault{
				Name: name + "-deaf", Target: name, Limit: brokerLimit, Hold: s.brief(40*time.Second, 8*time.Second),
				Inject: on((*line).deafen), Heal: heal,
			},
			Fault{
				Name: name + "-half-open", Target: name, Limit: noticeLimit, SelfHealing: true,
				Inject: on((*line).orphan), Heal: nothing, // nobody ever tells that these connections are dead
			},
			Fault{
				Name: name + "-reset", Target: name, Limit: limitOf(name), SelfHealing: true,
				Inject: on((*line).reset), Heal: nothing,
			})
	}
	return faults
}

// diskFaults fill the disks that data lie on.
func (s *stage) diskFaults() []Fault {
	if s.o.Engines == Embedded {
		return []Fault{s.diskFull(s.gateways[0].name, 64<<10, gatewayLimit, nothing)}
	}
	var faults []Fault
	for _, name := range []string{engine.Postgres, engine.Rabbit} {
		revive := func(ctx context.Context) error {
			if s.engines[name].PID() != 0 {
				return nil
			}
			return s.engines[name].Start(ctx) // it gave up
		}
		faults = append(faults, s.diskFull(name, 256<<10, brokerLimit, revive))
	}
	return faults
}

// diskFull leaves only some bytes free on the disk of something, and revives what gave up on that.
func (s *stage) diskFull(name string, left int64, limit time.Duration, revive func(context.Context) error) Fault {
	f := Fault{
		Name: name + "-full", Target: name, Needs: name, Limit: limit, Hold: s.brief(20*time.Second, 5*time.Second),
		Inject: func(context.Context) error { return s.disks[name].fill(left) },
		Heal: func(ctx context.Context) error {
			if err := s.disks[name].empty(); err != nil {
				return err
			}
			return revive(ctx)
		},
	}
	if !s.root {
		f.Skip = fmt.Sprintf("only root can make a disk for %s", name)
	}
	return f
}
