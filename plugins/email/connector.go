package main

import (
	"context"
	"errors"
	"time"

	"github.com/pigeonry/pigeonry/plugins/email/fetch"
	"github.com/pigeonry/pigeonry/sdk"
)

// connector is one configured use of the plugin: one server, one sender.
type connector struct {
	identity    identity
	pool        *pool
	fetcher     *fetch.Fetcher
	maxMail     int64
	mailbox     *mailboxConfig // nil: none
	bounceToken []byte         // empty: nobody may post bounces
	now         func() time.Time
}

var (
	_ sdk.Checker  = (*connector)(nil)
	_ sdk.Receiver = (*connector)(nil)
)

// open makes a connector ready that has its callbacks at a URL; empty: none is known. It does not connect yet: a server that is down must not keep the
// gateway from starting.
func open(c config, callbackURL string) (*connector, error) {
	id, err := newIdentity(c)
	if err != nil {
		return nil, err
	}
	if err := id.unsubscriber.at(callbackURL); err != nil {
		return nil, err
	}
	return &connector{
		identity: id, pool: newPool(&c), maxMail: c.MaxMailBytes, mailbox: c.Mailbox, now: time.Now,
		bounceToken: []byte(c.BounceToken.Reveal()),
		fetcher: fetch.New(fetch.Options{
			AllowPrivate: c.AllowPrivateURLs, Timeout: c.AttachmentTimeout, MaxBytes: c.MaxAttachmentBytes,
		}),
	}, nil
}

// Send implements sdk.Sender. The provider id is the Message-ID, the same for every attempt.
func (c *connector) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	l, err := c.letter(ctx, m)
	if err != nil {
		return sdk.Receipt{}, err
	}
	answer, err := c.submit(ctx, l, false)
	if stale(err) {
		answer, err = c.submit(ctx, l, true)
	}
	if err != nil {
		return sdk.Receipt{}, outcome(err)
	}
	sdk.Logger(ctx).DebugContext(ctx, "mail taken", "message_id", l.messageID, "answer", answer)
	return sdk.Accepted(l.messageID), nil
}

// letter makes the mail of a message, with what its attachments' URLs give.
func (c *connector) letter(ctx context.Context, m *sdk.Message) (*letter, error) {
	files, err := c.files(ctx, m.Attachments)
	if err != nil {
		return nil, err
	}
	whole := *m // messages are read-only
	whole.Attachments = files
	return compose(&c.identity, &whole, c.now())
}

// staleError is a failure of a connection that had been used before.
type staleError struct{ *failure }

// stale tells whether a mail may go over a fresh connection within the same attempt: the one that
// lay idle had been closed, and the mail was surely not sent.
func stale(err error) bool {
	_, ok := errors.AsType[*staleError](err)
	return ok
}

// submit sends a mail over one connection.
func (c *connector) submit(ctx context.Context, l *letter, fresh bool) (string, error) {
	s, reused, err := c.pool.get(ctx, fresh)
	if err != nil {
		return "", err
	}
	answer, err := s.send(ctx, l)
	f, failed := errors.AsType[*failure](err)
	switch {
	case !failed: // taken, or unfit for this server before a word was said
		c.pool.put(s, true)
		return answer, err
	case f.broken():
		c.pool.put(s, false)
		if reused && f.stage != stageAnswer && ctx.Err() == nil {
			return "", &staleError{f}
		}
	default:
		c.pool.put(s, s.reset(ctx))
	}
	return "", err
}

// Check implements sdk.Checker: it connects and logs in, as a mail would, and opens the mailbox of bounces, if there is
// one.
func (c *connector) Check(ctx context.Context) error {
	s, _, err := c.pool.get(ctx, true)
	if err != nil {
		return outcome(err)
	}
	c.pool.put(s, s.alive(ctx))
	if c.mailbox == nil {
		return nil
	}
	r, err := openMailbox(ctx, c.mailbox)
	if err != nil {
		return sdk.Retryable(err, sdk.Code(codeMailboxFailed), sdk.Blame(sdk.FaultConfig))
	}
	r.close()
	return nil
}

// Close implements io.Closer.
func (c *connector) Close() error { //nolint:unparam // io.Closer has an error
	c.pool.close()
	c.fetcher.Close()
	return nil
}
