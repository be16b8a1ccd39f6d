package accept

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

const (
	// groupMessages is the size at which a group commit takes no more requests in.
	groupMessages = 1000
	// busyGroup is the size of a group that tells of more to come at once, and fullGroup that of one that need not grow
	// any further to be worth its cost.
	busyGroup = 8
	fullGroup = 32
	// lull is the time without a request after which there is nobody left to wait for.
	lull = 5 * time.Millisecond
	// largeRequest is the size from which requests have writers of their own, so that small ones do not wait for them.
	largeRequest = 100
	// maxWaiting bounds the requests that wait for a commit; beyond it the gateway sheds load.
	maxWaiting = 4096
	// commitTimeout bounds one commit.
	commitTimeout = 30 * time.Second
)

var errClosed = errors.New("accept is closed")

// pending is one request on its way into a group commit.
type pending struct {
	request  Request
	messages []core.Message
	rejected []Rejection
	now      time.Time
	keyTTL   time.Duration

	accepted Accepted
	err      error
	done     chan struct{}
}

// committer is the group commit: goroutines that write whatever requests have come while they wrote the last
// ones. A group costs nearly the same whatever its size, all the way to the provider. So small requests have one writer,
// as two would halve the groups; and while requests come close upon each other, groups begin no closer to each other than
// the pace, which saves more time than it takes. An idle committer writes at once.
type committer struct {
	intake  store.Intake
	pace    time.Duration
	publish func([]core.Envelope)
	small   chan *pending
	large   chan *pending // the same as small where there is one writer
	writers sync.WaitGroup

	mu     sync.RWMutex // held for reading while a request enters
	closed bool
}

// startCommitter starts a committer that writes so many groups at a time.
func startCommitter(intake store.Intake, groups int, pace time.Duration, publish func([]core.Envelope)) *committer {
	c := &committer{intake: intake, pace: pace, publish: publish, small: make(chan *pending, maxWaiting)}
	c.large = c.small
	if groups > 1 {
		c.large = make(chan *pending, maxWaiting)
	}
	c.writers.Go(func() { c.run(c.small) })
	for range groups - 1 {
		c.writers.Go(func() { c.run(c.large) })
	}
	return c
}

func (c *committer) close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.small)
		if c.large != c.small {
			close(c.large)
		}
	}
	c.mu.Unlock()
	c.writers.Wait()
}

// commit waits until the request's group is committed. When ctx ends first the commit may still happen.
func (c *committer) commit(ctx context.Context, p *pending) error {
	p.done = make(chan struct{})
	if err := c.enter(p); err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return errors.Join(store.ErrUnknown, context.Cause(ctx))
	}
}

func (c *committer) enter(p *pending) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return errClosed
	}
	waiting := c.small
	if len(p.messages) >= largeRequest {
		waiting = c.large
	}
	select {
	case waiting <- p:
		return nil
	default:
		return &core.Error{
			Kind: core.KindUnavailable, Code: core.CodeUnavailable, RetryAfter: time.Second,
			Message: "too many requests are waiting to be stored; repeat the request in a moment",
		}
	}
}

func (c *committer) run(waiting <-chan *pending) {
	var earliest time.Time // when the next group may begin
	for p := range waiting {
		group, messages := gather(waiting, p, earliest)
		if messages >= busyGroup {
			earliest = time.Now().Add(c.pace)
		}
		c.write(group)
	}
}

// gather takes in what waits behind the first, and what comes until the given time, unless there is enough or a lull.
func gather(waiting <-chan *pending, first *pending, until time.Time) (group []*pending, messages int) {
	group, messages = []*pending{first}, len(first.messages)
	for messages < groupMessages {
		p := next(waiting, func() time.Duration {
			if messages >= fullGroup {
				return 0
			}
			return min(lull, time.Until(until))
		})
		if p == nil {
			break
		}
		group, messages = append(group, p), messages+len(p.messages)
	}
	return group, messages
}

// next returns what waits, or what comes within the patience, which is asked for where nothing waits; nil: nothing.
func next(waiting <-chan *pending, patience func() time.Duration) *pending {
	select {
	case p := <-waiting: // nil when it is closed
		return p
	default:
	}
	d := patience()
	if d <= 0 {
		return nil
	}
	select {
	case p := <-waiting:
		return p
	case <-time.After(d):
		return nil
	}
}

func (c *committer) write(group []*pending) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	envelopes, errs, err := c.store(ctx, group)
	for i, p := range group {
		p.err = err
		if err == nil {
			p.err = errs[i]
		}
		close(p.done)
	}
	if len(envelopes) > 0 {
		c.publish(envelopes)
	}
}

func (c *committer) store(ctx context.Context, group []*pending) ([]core.Envelope, []error, error) {
	n := 0
	for _, p := range group {
		n += p.ids()
	}
	next, err := c.intake.ReserveIDs(ctx, n)
	if err != nil {
		return nil, nil, err
	}
	submissions := make([]store.Submission, len(group))
	for i, p := range group {
		submissions[i] = p.submission(next)
		next += core.RecordID(p.ids())
	}
	return c.intake.Accept(ctx, submissions)
}

// ids is how many ids the request needs.
func (p *pending) ids() int {
	if p.request.Batch {
		return len(p.messages) + 1
	}
	return len(p.messages)
}

// submission gives the messages their ids, from first on, and prepares the answer.
func (p *pending) submission(first core.RecordID) store.Submission {
	s := store.Submission{Account: p.request.Account.ID, Messages: p.messages}
	p.accepted = Accepted{Accepted: len(p.messages), Rejected: p.rejected}
	if p.request.Batch {
		p.accepted.Batch = core.BatchID(first)
		s.Batch = p.batch()
		first++
	}
	for i := range p.messages {
		m := &p.messages[i]
		m.ID = first + core.RecordID(i)
		m.TraceID = core.NewTraceID(m.ID, rand.Uint64())
		m.Batch = p.accepted.Batch
	}
	if !p.request.Batch {
		p.accepted.Record, p.accepted.TraceID = p.messages[0].ID, p.messages[0].TraceID
	}
	if key := p.request.Key; key != nil {
		status, body := key.Answer(p.accepted)
		s.Key = &store.IdempotencyRecord{
			Account: s.Account, Key: key.Value, BodyHash: key.BodyHash,
			Status: status, Response: body, CreatedAt: p.now, ExpiresAt: p.now.Add(p.keyTTL),
		}
	}
	return s
}

func (p *pending) batch() *core.Batch {
	b := &core.Batch{
		ID: p.accepted.Batch, Account: p.request.Account.ID, Template: p.request.Draft.Template,
		Channel: p.request.Draft.Channel, Accepted: len(p.messages), Rejected: len(p.rejected), CreatedAt: p.now,
	}
	if len(p.messages) > 0 {
		b.Channel = p.messages[0].Channel
	}
	return b
}
