// Package store declares the ports of the truth: what accept, relay, dispatch, receipt and the API ask
// of a database. A technology lives in a subfolder and passes storetest.
//
// Rules that hold for every port. Everything of an account is found by its AccountID only: another
// account's row answers as one that does not exist. Methods that take several things are one
// transaction: all or nothing. Time comes from the caller, so that one clock decides; times are kept to
// the millisecond. Absent things are a *core.Error of core.KindNotFound. A failed write has changed
// nothing, unless the error is ErrUnknown: then the commit may have happened.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// ErrUnknown says that a commit was begun and its end was not seen.
var ErrUnknown = errors.New("the end of the commit was not seen")

// ErrKeyTaken says that another request with the same idempotency key was committed first.
var ErrKeyTaken = errors.New("idempotency key is taken")

// Store is all the ports together: what a technology provides and what the composition root hands out,
// a port at a time.
type Store interface {
	Intake
	Outbox
	Dispatch
	Sweep
	Receipts
	Inbox
	Messages
	Templates
	Accounts
	Keys
	Tuning
	PluginVersions
	Rollouts
	RolloutHistory
	SharedValues
	// Now is the time on the database's clock, which all instances share.
	Now(ctx context.Context) (time.Time, error)
	// Check reaches the database and reads, for readiness.
	Check(ctx context.Context) error
	// Close waits for writes under way and ends.
	Close() error
}

// Submission is one accepted request on its way into the store. The messages of a batch have the ids that follow the
// batch's own, without a gap.
type Submission struct {
	Account  core.AccountID
	Batch    *core.Batch // nil: single sends
	Messages []core.Message
	Key      *IdempotencyRecord // nil: the caller gave none
}

// IdempotencyRecord remembers the answer to a request, so that a repeat gets it again.
type IdempotencyRecord struct {
	Account  core.AccountID
	Key      string
	BodyHash [32]byte
	Status   int    // HTTP status of the answer
	Response []byte // body of the answer
	// CreatedAt is when the request came: a key remembered earlier that had expired by then is free.
	CreatedAt time.Time
	ExpiresAt time.Time
}

// Intake takes in what was accepted.
type Intake interface {
	// ReserveIDs sets n ids aside, unique over all instances and growing with time, and returns the
	// first; the others follow it without a gap.
	ReserveIDs(ctx context.Context, n int) (core.RecordID, error)
	// Accept commits submissions together with their outbox envelopes, and returns the envelopes and,
	// for each submission, nil or ErrKeyTaken. A submission whose key is taken is left out; the others
	// are committed. Messages with a NextAttempt are scheduled and in no envelope. Envelopes hold up to
	// core.MaxEnvelope messages of one channel and lane, in the order given. The status of a message
	// follows from NextAttempt; what else belongs to later steps is not looked at.
	Accept(ctx context.Context, submissions []Submission) ([]core.Envelope, []error, error)
	// FindKey returns the answer remembered for a key, or NotFound; an expired one is not found.
	FindKey(ctx context.Context, account core.AccountID, key string, now time.Time) (IdempotencyRecord, error)
	// SaveKey remembers the answer to a request that created something other than messages. It returns
	// ErrKeyTaken if the key is remembered already.
	SaveKey(ctx context.Context, key IdempotencyRecord) error
}

// Outbox is the ledger of envelopes, each from the commit that made it until nothing is left to do with it.
// What a queue loses is published again from here. Generations tell whether the queue still has what it
// was given: an envelope that was published to another generation counts as unpublished.
type Outbox interface {
	// Generation numbers the generations of the queue: the same name has the same number, above 0, for
	// every instance.
	Generation(ctx context.Context, name string) (int64, error)
	// Unpublished returns envelopes committed before a time that the generation is not known to have, with
	// ids above after, in their order. Several instances may get the same ones; the claim absorbs a double.
	Unpublished(ctx context.Context, generation int64, before time.Time, after int64, limit int) ([]core.Envelope, error)
	// Published notes that the generation confirmed envelopes, at now. Those that are settled are passed over.
	Published(ctx context.Context, envelopes []int64, generation int64, now time.Time) error
	// Settled forgets envelopes whose messages have all been taken up: each has an attempt behind it or
	// waits for a time.
	Settled(ctx context.Context, envelopes []int64) error
	// Doubt makes the envelopes of a lane that were published before a time count as unpublished, for a
	// lane that stands empty although they are not settled. It returns how many those are.
	Doubt(ctx context.Context, channel string, lane core.Lane, before time.Time) (int, error)
}

// Claim asks for one message.
type Claim struct {
	Record    core.RecordID
	Attempt   int // the attempt that begins: one more than the message has
	Connector core.ConnectorID
}

// Transition is what becomes of one claimed message. It counts only while the message is sending, or
// uncertain, with the same attempt.
type Transition struct {
	Record      core.RecordID
	Attempt     int
	Status      core.Status // queued (a further attempt), sent, failed, expired, uncertain
	NextAttempt time.Time   // queued: not before this; uncertain: when to look again; zero: never by itself
	Outcome     core.Outcome
	Error       *core.SendError
	ProviderIDs []string
	// ExpectReceipts: remember the provider's ids, so that receipts find the message.
	ExpectReceipts bool
	Segments       int
	Cost           string
	Doubtful       bool // set the mark; it is never taken away
	Budget         int  // attempts allowed from now on; 0 leaves what the message has
	StartedAt      time.Time
	FinishedAt     time.Time
}

// Postponement puts off a queued message that no attempt was begun for.
type Postponement struct {
	Record core.RecordID
	Until  time.Time
}

// Dispatch is what a worker does with the messages of an envelope.
type Dispatch interface {
	// Load returns those of the messages that exist, with their content, in the order of the ids.
	Load(ctx context.Context, records []core.RecordID) ([]core.Message, error)
	// Claim moves messages from queued to sending under a lease and makes the attempt durable, with
	// its connector, before it returns. It says for each claim whether it was won: one that is not
	// queued, waits for a later time, or whose attempt number has moved on is not.
	Claim(ctx context.Context, claims []Claim, now, lease time.Time) ([]bool, error)
	// Record stores the ends of attempts and says for each whether it counted. One that came too late
	// is kept in the message's history as evidence and changes nothing else. A receipt that waited for
	// the attempt or for one of the provider's ids is applied at once, even if the message would be
	// queued for a further attempt; the trace gets it from Applied.
	Record(ctx context.Context, transitions []Transition, now time.Time) ([]bool, []Applied, error)
	// Postpone gives queued messages a time before which they are not tried.
	Postpone(ctx context.Context, postponements []Postponement, now time.Time) error
	// Finish ends queued messages that no attempt will be made for: expired, or failed with an error.
	Finish(ctx context.Context, records []core.RecordID, status core.Status, cause *core.SendError, now time.Time) error
}

// Lapsed is a message whose lease ran out, or whose uncertainty is due for another look.
type Lapsed struct {
	Message     core.Message // without content
	ProviderIDs []string     // of the latest attempt, where known
	StartedAt   time.Time
}

// Woken is what a sweep found due.
type Woken struct {
	Envelopes []core.Envelope // now queued and in the outbox
	Expired   []core.RecordID // expired while they waited
	Lapsed    []Lapsed        // sending past the lease, or uncertain and due; leased anew until the time given
}

// Sweep finds messages that wait for a time. Every instance may run it: a row is handed to one.
type Sweep interface {
	// Wake handles messages that are due at now, up to about limit: scheduled and waiting ones become queued
	// with an outbox envelope, those past expire_at expire, lapsed ones are returned and are nobody
	// else's until lease. It returns nothing when nothing is due.
	Wake(ctx context.Context, now, lease time.Time, limit int) (Woken, error)
	// NextWake returns a time before which nothing is due, or false if nothing waits for a time. Something
	// need not be due then: what waited may have been settled otherwise.
	NextWake(ctx context.Context) (time.Time, bool, error)
	// Oldest returns the creation time of the oldest message that is queued or sending and due, for the
	// age alarm, or false.
	Oldest(ctx context.Context, now time.Time) (time.Time, bool, error)
	// Purge removes up to limit things that outlived their time: idempotency keys, unmatched receipts
	// received before unmatchedBefore, and messages that are done, where the store was told how long to keep
	// them. It returns how many went; 0 can mean that whole days went at once.
	Purge(ctx context.Context, now, unmatchedBefore time.Time, limit int) (int, error)
}

// Applied is a receipt that found its message.
type Applied struct {
	Receipt core.Receipt
	Record  core.RecordID
	TraceID core.TraceID
	Account core.AccountID
	Attempt int
	Before  core.Status
	After   core.Status // the same as Before: the receipt changed nothing
}

// Receipts keeps what providers say later.
type Receipts interface {
	// SaveReceipts stores receipts durably and applies those that find their message: by connector
	// and provider id, or by record and attempt. A repeat of a dedupe key changes nothing and is not
	// returned. A receipt without a match waits for its message until it is purged, and so does one about
	// an attempt that still runs. A message of several parts is delivered when every part is, and
	// undelivered when one is. That an attempt before the latest was not delivered changes nothing.
	SaveReceipts(ctx context.Context, receipts []core.Receipt) ([]Applied, error)
	// SaveInbound stores inbound messages; a repeat of a dedupe key is dropped.
	SaveInbound(ctx context.Context, inbound []core.Inbound) error
}

// InboundFilter narrows a list of inbound messages. Zero fields do not filter.
type InboundFilter struct {
	Connectors []core.ConnectorID // nil: all
	Channel    string
	From       string
	// Before continues a list: only ids below it. Lists run from the newest to the oldest.
	Before int64
	Limit  int
}

// WaitingReceipt is a receipt that has found no message so far.
type WaitingReceipt struct {
	ID int64
	core.Receipt
}

// Inbox reads what came from providers.
type Inbox interface {
	// InboundMessages lists what users sent to us.
	InboundMessages(ctx context.Context, f InboundFilter) ([]core.Inbound, error)
	// WaitingReceipts lists the receipts that wait for their message, newest first, with ids below before unless that is 0.
	WaitingReceipts(ctx context.Context, before int64, limit int) ([]WaitingReceipt, error)
}

// Filter narrows a list of messages. Zero fields do not filter.
type Filter struct {
	Channel       string
	Status        core.Status
	Recipient     string
	Template      core.TemplateID
	Batch         core.BatchID
	CreatedFrom   time.Time // inclusive
	CreatedBefore time.Time // exclusive
	// Before continues a list: only ids below it. Lists run from the newest to the oldest.
	Before core.RecordID
	Limit  int
}

// Messages reads and steers messages for their account.
type Messages interface {
	// Message returns one message with its attempts, oldest first.
	Message(ctx context.Context, account core.AccountID, id core.RecordID) (core.Message, []core.Attempt, error)
	// List returns messages without content, newest first.
	List(ctx context.Context, account core.AccountID, f Filter) ([]core.Message, error)
	// Batch returns a batch and how many of its messages are in each status.
	Batch(ctx context.Context, account core.AccountID, id core.BatchID) (core.Batch, map[core.Status]int, error)
	// Cancel cancels a message that is still scheduled or queued, or with a batch id all of a batch
	// that are. It returns how many it canceled; canceling nothing of what exists is not an error, and
	// does not mark the batch.
	Cancel(ctx context.Context, account core.AccountID, what Target, now time.Time) (int, error)
	// Retry gives a message that failed, expired, was undelivered or is uncertain a new round of budget
	// attempts and returns its envelope. Any other status is a KindConflict error. An uncertain one becomes
	// doubtful; an ExpireAt that has passed is dropped.
	Retry(ctx context.Context, account core.AccountID, id core.RecordID, budget int, now time.Time) (core.Envelope, error)
}

// Target names one message or all of a batch.
type Target struct {
	Record core.RecordID
	Batch  core.BatchID
}

// TemplateFilter narrows a list of templates. Zero fields do not filter.
type TemplateFilter struct {
	Channel string
	Status  core.TemplateStatus
	Before  core.TemplateID
	Limit   int
}

// Templates keeps templates. A name is unique in its account: a taken one is a KindConflict error.
type Templates interface {
	CreateTemplate(ctx context.Context, t core.Template) (core.Template, error)
	Template(ctx context.Context, account core.AccountID, id core.TemplateID) (core.Template, error)
	ListTemplates(ctx context.Context, account core.AccountID, f TemplateFilter) ([]core.Template, error)
	// UpdateTemplate replaces a template and raises its revision.
	UpdateTemplate(ctx context.Context, t core.Template) (core.Template, error)
	// DeleteTemplate removes a template; messages made from it keep their text.
	DeleteTemplate(ctx context.Context, account core.AccountID, id core.TemplateID) error
}

// Accounts keeps accounts.
type Accounts interface {
	// EnsureAccount returns the account with the name and creates it if absent.
	EnsureAccount(ctx context.Context, a core.Account) (core.Account, error)
	// AccountByName returns the account with the name.
	AccountByName(ctx context.Context, name string) (core.Account, error)
	// Account returns one account.
	Account(ctx context.Context, id core.AccountID) (core.Account, error)
}

// Keys keeps the API keys of accounts.
type Keys interface {
	// AddKey stores a key; a hash that is there already is left as it is and its row returned.
	AddKey(ctx context.Context, k core.Key) (core.Key, error)
	// Keys lists the keys of an account, oldest first.
	Keys(ctx context.Context, account core.AccountID) ([]core.Key, error)
	// KeyByHash returns the key with the hash, revoked or not, and its account.
	KeyByHash(ctx context.Context, hash [32]byte) (core.Key, core.Account, error)
	// RevokeKey ends a key at now; a key revoked before keeps its time.
	RevokeKey(ctx context.Context, account core.AccountID, id int64, now time.Time) error
}
