package chaos

import (
	"context"
	"syscall"
	"time"
)

// processFaults hit gateways and their plugins.
func (s *stage) processFaults() []Fault {
	var faults []Fault
	for _, g := range s.gateways {
		faults = append(faults,
			Fault{
				Name: g.name + "-kill", Target: g.name, Limit: gatewayLimit, SelfHealing: true,
				Inject: simple(g.kill), Heal: nothing,
			},
			Fault{
				Name: g.name + "-stop", Target: g.name, Limit: gatewayLimit, Hold: s.brief(beyondLease, 7*time.Second),
				Inject: simple(g.halt), Heal: simple(g.resume),
			},
			Fault{
				Name: g.name + "-term", Target: g.name, Limit: drainLimit + gatewayLimit, SelfHealing: true,
				Inject: g.terminate, Heal: nothing,
			})
	}
	g := s.senders()[0]
	return append(faults,
		Fault{
			Name: "plugin-kill", Target: g.name, Limit: gatewayLimit, SelfHealing: true,
			Inject: simple(func() error { return g.signalPlugins(syscall.SIGKILL) }), Heal: nothing,
		},
		s.pluginStop(g))
}

// pluginStop halts the plugins of a gateway for longer than a delivery may take.
func (s *stage) pluginStop(g *gateway) Fault {
	var halted []int
	return Fault{
		Name: "plugin-stop", Target: g.name, Limit: gatewayLimit, Hold: s.brief(20*time.Second, 6*time.Second),
		Inject: func(context.Context) error {
			halted = g.plugins()
			return g.signalPlugins(syscall.SIGSTOP)
		},
		Heal: func(context.Context) error {
			for _, pid := range halted {
				_ = syscall.Kill(pid, syscall.SIGCONT) // the gateway may have ended it meanwhile
			}
			return nil
		},
	}
}
