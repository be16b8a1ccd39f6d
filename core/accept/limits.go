package accept

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/limit"
)

const (
	// askRecipients is how many recipients of a batch one call to the limiter asks for.
	askRecipients = 500
	// maxOver is how many recipients of a batch are looked for that are over a limit, as each costs a call.
	// When there are more, what has not been asked for is left out too.
	maxOver = 200
)

// quota is what the limits of one request ask for.
type quota struct {
	request Request
	channel string
	lot     *lot
	shared  []limit.Request // for the request as a whole; nil when they have passed
	each    []limit.Rule    // for each recipient
}

// allow asks for all limits of a request, in one call unless a batch has many recipients and a limit that
// counts by recipient. Of a batch, recipients that are over a limit move from the messages of the lot to the
// rejected. Places for requests at a time are held by the API as long as the request lasts, not here.
func (s *Service) allow(ctx context.Context, r Request, channel string, l *lot) error {
	q := quota{request: r, channel: channel, lot: l}
	resource := ResourceSend
	if r.Batch {
		resource = ResourceSendBatch
	}
	q.add(s.o.Rules(resource), 1)
	q.add(s.o.Rules(ResourceChannel+channel), len(l.messages))
	var waiting []int // positions of messages that are still to be asked for
	if len(q.each) > 0 {
		waiting = sequence(len(l.messages))
	}
	over := map[int]string{} // position → why it is left out
	for len(q.shared)+len(waiting) > 0 {
		part := waiting[:min(len(waiting), askRecipients)]
		d, err := s.o.Limiter.Allow(ctx, q.requests(part)...)
		if err != nil && !errors.Is(err, limit.ErrNever) {
			return unavailable(err)
		}
		d.Release()
		if d.Allowed {
			q.shared, waiting = nil, waiting[len(part):]
			continue
		}
		at := d.Refused - len(q.shared)
		if at < 0 || !r.Batch {
			return q.refusal(d, errors.Is(err, limit.ErrNever))
		}
		i, rule := at/len(q.each), q.each[at%len(q.each)]
		over[part[i]] = fmt.Sprintf("/recipient: over the limit of %s; send it again %s", rule, after(d.RetryAfter))
		waiting = slices.Delete(waiting, i, i+1)
		if len(over) == maxOver {
			for _, position := range waiting {
				over[position] = fmt.Sprintf("/recipient: left out, as %d recipients before it are over the limit of %s; send it again", maxOver, rule)
			}
			waiting = nil
		}
	}
	q.lot.leaveOut(over, r.Recipients)
	return nil
}

// add takes up the rules of a resource, of which the request is n events.
func (q *quota) add(rules []limit.Rule, n int) {
	for _, rule := range rules {
		switch {
		case rule.Type == limit.Concurrent || n == 0:
		case rule.By == limit.ByRecipient:
			q.each = append(q.each, rule)
		default:
			q.shared = append(q.shared, limit.Request{Rule: rule, Key: q.key(rule), N: n})
		}
	}
}

// key is what a rule counts the request under.
func (q *quota) key(rule limit.Rule) string {
	by := cmp.Or(rule.By, limit.ByAccount)
	switch by {
	case limit.ByKey:
		return string(by) + ":" + strconv.FormatInt(q.request.Caller.APIKey, 10)
	case limit.ByIP:
		return string(by) + ":" + q.request.Caller.IP
	case limit.ByChannel:
		return string(by) + ":" + q.channel
	case limit.Global:
		return string(by)
	default:
		return string(limit.ByAccount) + ":" + strconv.FormatInt(int64(q.request.Account.ID), 10)
	}
}

// recipientKey is what a rule counts a message under: whom an account writes to is nobody else's affair, so
// accounts do not count together.
func (q *quota) recipientKey(m *core.Message) string {
	return string(limit.ByRecipient) + ":" + strconv.FormatInt(int64(q.request.Account.ID), 10) + ":" + q.channel + ":" + m.Recipient
}

// requests asks for the whole and for the messages at some positions.
func (q *quota) requests(positions []int) []limit.Request {
	all := make([]limit.Request, 0, len(q.shared)+len(positions)*len(q.each))
	all = append(all, q.shared...)
	for _, position := range positions {
		key := q.recipientKey(&q.lot.messages[position])
		for _, rule := range q.each {
			all = append(all, limit.Request{Rule: rule, Key: key, N: 1})
		}
	}
	return all
}

// refusal is the error of a request that is over a limit.
func (q *quota) refusal(d limit.Decision, never bool) error {
	rule, n := q.rule(d.Refused)
	if never {
		return &core.Error{
			Kind: core.KindTooLarge, Code: core.CodeTooLarge,
			Message: fmt.Sprintf("a batch of %d messages never fits into the limit of %s: split it", n, rule),
		}
	}
	return &core.Error{
		Kind: core.KindLimited, Code: core.CodeRateLimited, RetryAfter: max(d.RetryAfter, time.Millisecond),
		Message: fmt.Sprintf("over the limit of %s; try again after the time in Retry-After", rule),
	}
}

// rule is that of the request at a place in a call, and how many events it asked for.
func (q *quota) rule(at int) (limit.Rule, int) {
	if at < len(q.shared) {
		return q.shared[at].Rule, q.shared[at].N
	}
	return q.each[(at-len(q.shared))%len(q.each)], 1
}

// leaveOut moves messages to the rejected.
func (l *lot) leaveOut(over map[int]string, recipients []Recipient) {
	if len(over) == 0 {
		return
	}
	kept := l.messages[:0]
	for position := range l.messages {
		why, out := over[position]
		if !out {
			kept = append(kept, l.messages[position])
			continue
		}
		i := l.indexes[position]
		l.rejected = append(l.rejected, Rejection{Index: i, Recipient: recipients[i].Address, Reason: why})
	}
	l.messages = kept
	slices.SortFunc(l.rejected, func(a, b Rejection) int { return a.Index - b.Index })
}

// after says when to come back.
func after(wait time.Duration) string {
	if wait <= 0 {
		return "when the limit is higher"
	}
	return "after " + max(wait.Round(time.Second), time.Second).String()
}

// sequence is 0 to n-1.
func sequence(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
