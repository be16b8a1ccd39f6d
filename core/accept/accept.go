// Package accept takes messages in: it honours the idempotency key of a request, validates it, renders the
// content for each recipient, keeps the limits and joins the group commit. When Send returns without
// an error, what it accepted is durable.
package accept

import (
	"context"
	"log/slog"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/limit"
	"github.com/pigeonry/pigeonry/core/store"
)

// MaxRecipients is the largest number of recipients of one batch.
const MaxRecipients = 10_000

// Resources that limits are kept for. Of the first two each request is one event, and where the limit counts
// by recipient, each message; of a channel each message that is accepted for it.
const (
	ResourceSend      = "api:/messages/send"
	ResourceSendBatch = "api:/messages/send-batch"
	ResourceChannel   = "channel:" // and its name
)

// Request is one send or one batch.
type Request struct {
	Account    core.Account
	Caller     Caller
	Key        *Key // nil: the caller gave no Idempotency-Key
	Draft      Draft
	Recipients []Recipient // one for a single send
	Batch      bool
}

// Caller is where a request comes from, for limits that count by it.
type Caller struct {
	APIKey int64  // id of the API key
	IP     string // address
}

// Key is the caller's Idempotency-Key.
type Key struct {
	Value    string
	BodyHash [32]byte
	// Answer gives the answer to remember: its HTTP status and body. It is called before the commit.
	Answer func(Accepted) (status int, body []byte)
}

// Draft is what all recipients of a request share. Either Template or Channel and Content is set.
type Draft struct {
	Template    core.TemplateID
	Channel     string
	Subject     string
	Content     string
	HTML        string
	Attachments []core.Attachment
	Attributes  map[string]string
	// ProviderTemplates are for providers that send no text of ours, by connector or core.AnyConnector.
	ProviderTemplates map[core.ConnectorID]core.ProviderTemplate
	Priority          *int
	DelayMS           *int64
	SendAt            *time.Time
	ExpireAt          *time.Time
	Connector         core.ConnectorID
	Metadata          map[string]string
}

// Recipient is one address and the variables for it.
type Recipient struct {
	Address   string
	Variables map[string]string
}

// Accepted says what was taken in.
type Accepted struct {
	Record   core.RecordID // of a single send
	TraceID  core.TraceID  // of a single send
	Batch    core.BatchID  // of a batch
	Accepted int           // messages
	Rejected []Rejection   // recipients of a batch that were left out
	// Replay is set when the request repeats an earlier one: the answer to that. All else is empty.
	Replay *store.IdempotencyRecord
}

// Rejection is one recipient of a batch that was left out.
type Rejection struct {
	Index     int
	Recipient string
	Reason    string
}

// Channels knows which channels and connectors are configured.
type Channels interface {
	// Serves says whether any connector is configured for the channel.
	Serves(channel string) bool
	// Has says whether the connector is configured, and is for the account of that name.
	Has(connector core.ConnectorID, account string) bool
}

// Templates finds templates.
type Templates interface {
	Template(ctx context.Context, account core.AccountID, id core.TemplateID) (core.Template, error)
}

// Options are what a Service needs. All are required except those with a default.
type Options struct {
	Intake    store.Intake
	Templates Templates
	Channels  Channels
	Limiter   limit.Limiter
	// Rules returns the limits of a resource in force now.
	Rules func(resource string) []limit.Rule
	// Publish hands on the envelopes of a commit. It must not block for long.
	Publish func([]core.Envelope)
	Logger  *slog.Logger
	// Now is the time that goes into the store; default time.Now.
	Now func() time.Time
	// Budget is how many attempts a message has; default core.DefaultBudget.
	Budget int
	// Groups is how many group commits run at a time; default 1. More serve a store that takes several at once: the
	// others are for large requests.
	Groups int
	// Pace is the time from the beginning of one group commit to that of the next while requests come close upon each
	// other; default 0. It serves a store where a commit costs much besides its messages.
	Pace time.Duration
	// KeyTTL is how long an idempotency key is remembered; default 24 h.
	KeyTTL time.Duration
	// MaxSegments bounds the parts of an SMS; default 10.
	MaxSegments int
}

// Service accepts messages. Close it after the last Send.
type Service struct {
	o         Options
	keys      *Keys
	committer *committer
}

// New starts a service.
func New(o Options) *Service {
	if o.Budget == 0 {
		o.Budget = core.DefaultBudget
	}
	if o.KeyTTL == 0 {
		o.KeyTTL = 24 * time.Hour
	}
	if o.MaxSegments == 0 {
		o.MaxSegments = 10
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{o: o, keys: NewKeys(o.Intake, o.Now), committer: startCommitter(o.Intake, max(o.Groups, 1), o.Pace, o.Publish)}
}

// Keys returns the idempotency keys in use, for requests that create something other than messages.
func (s *Service) Keys() *Keys { return s.keys }

// Close waits for commits under way and ends. A later Send is refused as unavailable.
func (s *Service) Close() { s.committer.close() }

// Send accepts a single message or a batch. Errors are *core.Error; fields are JSON pointers into the
// body of the API. In a batch a recipient that is bad or over a limit is left out and named in Rejected; what
// is wrong with the draft, or over a limit of the request, refuses all of it. A repeat that gets its first
// answer again counts towards no limit. After an error nothing was accepted, except that one of
// core.KindUnavailable may leave the end of a commit open: a repeat with the same key finds out.
func (s *Service) Send(ctx context.Context, r Request) (Accepted, error) {
	if r.Key == nil {
		return s.accept(ctx, r)
	}
	replay, release, err := s.keys.Begin(ctx, r.Account.ID, r.Key.Value, r.Key.BodyHash)
	if err != nil {
		return Accepted{}, err
	}
	defer release()
	if replay != nil {
		return Accepted{Replay: replay}, nil
	}
	return s.accept(ctx, r)
}

func (s *Service) accept(ctx context.Context, r Request) (Accepted, error) {
	now := s.o.Now()
	plan, err := s.plan(ctx, r, now)
	if err != nil {
		return Accepted{}, err
	}
	lot, err := plan.messages(r)
	if err != nil {
		return Accepted{}, err
	}
	if err := s.allow(ctx, r, plan.channel, &lot); err != nil {
		return Accepted{}, err
	}
	p := &pending{request: r, messages: lot.messages, rejected: lot.rejected, now: now, keyTTL: s.o.KeyTTL}
	err = s.committer.commit(ctx, p)
	if r.Key != nil && (isKeyTaken(err) || isUnknown(err)) {
		// Another instance committed the same key first, or our own commit went through unseen.
		replay, findErr := s.keys.find(ctx, r.Account.ID, r.Key.Value, r.Key.BodyHash)
		if findErr != nil || replay != nil {
			return Accepted{Replay: replay}, findErr
		}
	}
	if err != nil {
		return Accepted{}, unavailable(err)
	}
	return p.accepted, nil
}
