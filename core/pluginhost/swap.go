package pluginhost

import (
	"context"

	"github.com/pigeonry/pigeonry/core"
)

// deliver hands a batch to the generations of the plugin's route.
func (p *plugin) deliver(ctx context.Context, connector core.ConnectorID, batch []core.Delivery, results func([]core.Result)) {
	r, ok := p.awaitRoute(ctx)
	if !ok {
		results(notSent(batch, "plugin "+p.name+" hands its session over to another version"))
		return
	}
	toActive, toBeside := r.split(batch)
	if len(toBeside) == 0 {
		p.deliverThrough(ctx, r, connector, toActive, results)
		return
	}
	results = oneAtATime(results)
	tried := make(chan struct{})
	go func() {
		defer close(tried)
		p.try(ctx, r, connector, toBeside, results)
	}()
	if len(toActive) > 0 {
		p.deliverThrough(ctx, r, connector, toActive, results)
	}
	<-tried
}

// awaitRoute returns the plugin's route, once no session is being handed over. It returns false if ctx ends
// before that.
func (p *plugin) awaitRoute(ctx context.Context) (*route, bool) {
	for {
		r := p.route.Load()
		if !r.held {
			return r, true
		}
		select {
		case <-r.replaced:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// deliverThrough hands a batch to the active generation of a route. One that was retired since the route was
// read leaves the batch to its successor.
func (p *plugin) deliverThrough(ctx context.Context, r *route, connector core.ConnectorID, batch []core.Delivery, results func([]core.Result)) {
	if r.shadow && r.beside != nil {
		results = r.beside.copying(connector, batch, results)
	}
	err := r.active.carry(ctx, connector, batch, results)
	switch {
	case err == nil:
	case p.route.Load() != r && ctx.Err() == nil:
		p.deliver(ctx, connector, batch, results)
	default:
		results(notSent(batch, err.Error()))
	}
}

// try hands a batch to the generation beside the active one. What that surely did not send goes to the active
// one: a new version that fails must not cost a message.
func (p *plugin) try(ctx context.Context, r *route, connector core.ConnectorID, batch []core.Delivery, results func([]core.Result)) {
	byRecord := make(map[core.RecordID]core.Delivery, len(batch))
	for _, d := range batch {
		byRecord[d.Message.ID] = d
	}
	var back []core.Delivery
	blamed := map[core.RecordID]bool{} // it says that the message is at fault
	pass := func(rs []core.Result) {
		kept := make([]core.Result, 0, len(rs))
		for _, result := range rs {
			if result.Outcome == core.OutcomeRejected || result.Outcome == core.OutcomeRetryable {
				back = append(back, byRecord[result.Record])
				blamed[result.Record] = blamesMessage(&result)
				continue
			}
			kept = append(kept, result)
		}
		if len(kept) > 0 {
			results(kept)
		}
	}
	if err := r.beside.carry(ctx, connector, batch, pass); err != nil {
		p.deliverThrough(ctx, r, connector, batch, results) // it is down
		return
	}
	if len(back) == 0 {
		return
	}
	if ctx.Err() != nil {
		results(notSent(back, "no time was left for the old version of plugin "+p.name+" to send what the new one did not"))
		return
	}
	p.deliverThrough(ctx, r, connector, back, func(rs []core.Result) {
		r.beside.meter.disagree(acceptedOf(rs, blamed))
		results(rs)
	})
}

// acceptedOf counts results of certain messages that a provider took.
func acceptedOf(results []core.Result, certain map[core.RecordID]bool) int {
	n := 0
	for i := range results {
		if results[i].Outcome == core.OutcomeAccepted && certain[results[i].Record] {
			n++
		}
	}
	return n
}

// blamesMessage says whether a result says nothing of the version: the message was refused for its own sake.
func blamesMessage(r *core.Result) bool {
	return r.Outcome == core.OutcomeRejected && r.Error != nil && r.Error.Fault == core.FaultMessage
}
