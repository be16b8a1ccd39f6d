-- +goose Up

-- One row per message: what it is and where it stands. The row is rewritten two to four times in a
-- message's life, so what never changes and is wide lives in message_contents. The id is made by the
-- gateway and grows with time: a range of times is a range of ids and needs no index.
CREATE TABLE message_records (
    id                  INTEGER PRIMARY KEY,
    account_id          INTEGER NOT NULL,
    trace_id            TEXT    NOT NULL,
    batch_id            INTEGER,
    template_id         INTEGER,
    channel             TEXT    NOT NULL,
    lane                INTEGER NOT NULL, -- 0 urgent, 1 high, 2 normal, 3 low
    priority            INTEGER NOT NULL, -- 0 to 10
    recipient           TEXT    NOT NULL,
    recipient_given     TEXT,             -- where the caller wrote it otherwise
    recipient_block     INTEGER NOT NULL, -- see message_records_recipient
    pinned_connector    TEXT,             -- the connector that the caller asked for

    status              TEXT    NOT NULL,
    budget              INTEGER NOT NULL, -- attempts allowed
    doubtful            INTEGER NOT NULL DEFAULT 0,

    -- The latest attempt. started_at is NULL when it stands in message_attempts instead.
    attempt             INTEGER NOT NULL DEFAULT 0,
    connector           TEXT,
    outcome             TEXT,
    provider_id         TEXT,             -- of the first part
    provider_ids        TEXT,             -- JSON array, only of a message of several parts
    segments            INTEGER,
    cost                TEXT,
    started_at          INTEGER,
    finished_at         INTEGER,

    error_code          TEXT,
    error_provider_code TEXT,
    error_message       TEXT,
    error_fault         TEXT,

    next_attempt_at     INTEGER,          -- scheduled, queued: not before; NULL: at once
    expire_at           INTEGER,
    lease_until         INTEGER,          -- sending
    wake_at             INTEGER,          -- when the sweep must look at the row; NULL: never
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    sent_at             INTEGER
) STRICT;

-- Schedules, retries, expiry, leases and held messages are all one question: which rows are due? Only
-- rows that wait for a time are in the index.
CREATE INDEX message_records_wake ON message_records (wake_at) WHERE wake_at IS NOT NULL;

-- What is not done yet, oldest first: for the age alarm, for filling a queue that lost its content and
-- for lists of what waits, each of which would else read every message there ever was.
CREATE INDEX message_records_open ON message_records (id) WHERE status IN ('queued', 'sending');

-- Lists of what went wrong or waits, which are short beside all messages. The good statuses are left
-- out, so that the way of a message that succeeds does not touch the index; a list of those finds
-- enough rows near the newest. (OR, as SQLite builds a table for a longer IN list each time it looks
-- whether a row belongs into the index.)
CREATE INDEX message_records_status ON message_records (account_id, status)
    WHERE status = 'scheduled' OR status = 'uncertain' OR status = 'failed' OR status = 'expired'
        OR status = 'canceled' OR status = 'undelivered';

-- The lists of an account: all, and by template. The id, which every index ends with, gives the order
-- and the cursor.
CREATE INDEX message_records_account ON message_records (account_id);
CREATE INDEX message_records_template ON message_records (account_id, template_id)
    WHERE template_id IS NOT NULL;

-- Lists by recipient. Recipients come in no order: in one tree every message would change a page of its
-- own somewhere, which measured more than all other costs of accepting it together. So messages are
-- numbered off in blocks of some thousands in the order of their ids, and within a block the changes
-- fall on few pages. A list looks into the blocks one after the other, newest first.
CREATE INDEX message_records_recipient ON message_records (recipient_block, account_id, recipient);

-- Progress, list and cancel of a batch.
CREATE INDEX message_records_batch ON message_records (batch_id) WHERE batch_id IS NOT NULL;

-- What a message says. Written once.
CREATE TABLE message_contents (
    id                INTEGER PRIMARY KEY, -- of the message
    metadata          TEXT,                -- JSON object; first, as lists read nothing else of the row
    subject           TEXT,
    content           TEXT,
    html              TEXT,
    attributes        TEXT,                -- JSON object
    provider_template TEXT,                -- JSON object
    attachments       TEXT                 -- JSON array
) STRICT;

-- Attempts before the latest, and ends of attempts that came when the message had moved on (late). A
-- message that succeeds at once has no row here. The outcome is part of the key so that evidence told
-- twice is kept once.
CREATE TABLE message_attempts (
    record_id           INTEGER NOT NULL,
    attempt             INTEGER NOT NULL,
    outcome             TEXT    NOT NULL,
    late                INTEGER NOT NULL,
    connector           TEXT,
    provider_ids        TEXT, -- JSON array
    segments            INTEGER,
    cost                TEXT,
    error_code          TEXT,
    error_provider_code TEXT,
    error_message       TEXT,
    error_fault         TEXT,
    started_at          INTEGER,
    finished_at         INTEGER,
    PRIMARY KEY (record_id, attempt, outcome)
) STRICT, WITHOUT ROWID;

CREATE TABLE message_batches (
    id          INTEGER PRIMARY KEY, -- from the sequence of message ids
    account_id  INTEGER NOT NULL,
    template_id INTEGER,
    channel     TEXT    NOT NULL,
    accepted    INTEGER NOT NULL,
    rejected    INTEGER NOT NULL,
    canceled    INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL
) STRICT;

-- Envelopes that are committed and not yet known to be in the queue. Rows go as soon as the queue has
-- confirmed them, so the table is small unless the queue is full.
CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY, -- from the sequence of message ids
    channel    TEXT    NOT NULL,
    lane       INTEGER NOT NULL,
    record_ids TEXT    NOT NULL,    -- JSON array
    created_at INTEGER NOT NULL
) STRICT;

-- Answers to requests that carried an Idempotency-Key.
CREATE TABLE idempotency_keys (
    id         INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    key        TEXT    NOT NULL,
    body_hash  BLOB    NOT NULL, -- SHA-256 of the request
    status     INTEGER NOT NULL, -- HTTP status of the answer
    response   BLOB    NOT NULL,
    expires_at INTEGER NOT NULL,
    UNIQUE (account_id, key)
) STRICT;

-- The purge removes what expired without reading the rest.
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);

-- +goose Down
DROP TABLE idempotency_keys;
DROP TABLE outbox;
DROP TABLE message_batches;
DROP TABLE message_attempts;
DROP TABLE message_contents;
DROP TABLE message_records;
