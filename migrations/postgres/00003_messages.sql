-- +goose Up

-- Where the ids come from: each gateway takes blocks, and none goes back behind the clock.
CREATE TABLE id_blocks (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    next     bigint  NOT NULL -- the first id that nobody has
);
INSERT INTO id_blocks (next) VALUES (1);

-- One row per message: what it is and where it stands. The row is rewritten two to four times in a message's
-- life, so what never changes and is wide lives in message_contents, and no column that changes is in an
-- index, not even in an index's condition: then PostgreSQL writes the new version beside the old one and
-- touches no index at all (HOT). Every partition keeps room for that (fillfactor): a message is claimed and recorded
-- before PostgreSQL may forget what the row was before, so a page must hold three versions of each.
-- What would need such an index has a table of its own: message_timers, message_exceptions, outbox.
CREATE TABLE message_records (
    id                  bigint NOT NULL,
    account_id          bigint NOT NULL,
    batch_id            bigint,
    template_id         bigint,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    next_attempt_at     timestamptz,        -- scheduled, queued: not before; NULL: at once
    expire_at           timestamptz,
    lease_until         timestamptz,        -- sending
    wake_at             timestamptz,        -- when the sweep must look at the row; NULL: never
    sent_at             timestamptz,

    -- The latest attempt. started_at is NULL when it stands in message_attempts instead.
    started_at          timestamptz,
    finished_at         timestamptz,
    attempt             integer  NOT NULL DEFAULT 0,
    budget              integer  NOT NULL,  -- attempts allowed
    segments            integer,
    lane                smallint NOT NULL,  -- 0 urgent, 1 high, 2 normal, 3 low
    priority            smallint NOT NULL,  -- 0 to 10
    doubtful            boolean  NOT NULL DEFAULT false,

    status              text COLLATE "C" NOT NULL,
    channel             text COLLATE "C" NOT NULL,
    trace_id            text COLLATE "C" NOT NULL,
    recipient           text COLLATE "C" NOT NULL,
    recipient_given     text,               -- where the caller wrote it otherwise
    pinned_connector    text,               -- the connector that the caller asked for
    connector           text,
    outcome             text,
    provider_id         text,               -- of the first part
    provider_ids        json,               -- array, only of a message of several parts
    cost                text,
    error_code          text,
    error_provider_code text,
    error_message       text,
    error_fault         text,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);

-- The lists of an account: all, by recipient and by template, each in the order of the ids, which is what the
-- cursor goes by.
CREATE INDEX message_records_account ON message_records (account_id, id);
CREATE INDEX message_records_recipient ON message_records (account_id, recipient, id);
CREATE INDEX message_records_template ON message_records (account_id, template_id, id) WHERE template_id IS NOT NULL;

-- Progress, list and cancel of a batch.
CREATE INDEX message_records_batch ON message_records (batch_id, id) WHERE batch_id IS NOT NULL;

-- What a message says. Written once.
CREATE TABLE message_contents (
    id                bigint NOT NULL, -- of the message
    metadata          json,            -- object
    subject           text,
    content           text,
    html              text,
    attributes        json,            -- object
    provider_template json,            -- object
    attachments       json,            -- array
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);

-- When to look at messages again: schedules, retries, expiry, leases and held messages are all one question.
-- A row is written with every wake_at, one for all messages that a statement gives the same time, and goes
-- when the time comes. It is a hint: the message's own wake_at decides, so that a message that was done
-- earlier costs nothing but a look.
CREATE TABLE message_timers (
    wake_at    timestamptz NOT NULL,
    id         bigint GENERATED ALWAYS AS IDENTITY,
    record_ids bigint[]    NOT NULL,
    -- false: schedules, and the expiry of messages that are in an envelope too, of which there may be millions
    open       boolean     NOT NULL DEFAULT true,
    PRIMARY KEY (wake_at, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- What is queued or being sent is in an envelope or has an open timer: lists of it look there, as no index of
-- messages can know (see message_records).
CREATE INDEX message_timers_open ON message_timers (id) WHERE open;

-- Lists of what went wrong or waits for its schedule, which are short beside all messages. A hint as well: the
-- message's own status decides.
CREATE TABLE message_exceptions (
    account_id bigint NOT NULL,
    status     text COLLATE "C" NOT NULL, -- scheduled, uncertain, failed, expired, canceled, undelivered
    id         bigint NOT NULL,           -- of the message
    PRIMARY KEY (account_id, status, id)
) PARTITION BY RANGE (id);

-- Attempts before the latest, and ends of attempts that came when the message had moved on (late). A message
-- that succeeds at once has no row here. The outcome is part of the key so that evidence told twice is kept
-- once.
CREATE TABLE message_attempts (
    record_id           bigint  NOT NULL,
    attempt             integer NOT NULL,
    outcome             text COLLATE "C" NOT NULL,
    late                boolean NOT NULL,
    connector           text,
    provider_ids        json, -- array
    segments            integer,
    cost                text,
    error_code          text,
    error_provider_code text,
    error_message       text,
    error_fault         text,
    started_at          timestamptz,
    finished_at         timestamptz,
    PRIMARY KEY (record_id, attempt, outcome)
) PARTITION BY RANGE (record_id);

CREATE TABLE message_batches (
    id          bigint  NOT NULL, -- from the sequence of message ids
    account_id  bigint  NOT NULL,
    template_id bigint,
    accepted    integer NOT NULL,
    rejected    integer NOT NULL,
    canceled    boolean NOT NULL DEFAULT false,
    channel     text    NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);

-- The ledger of envelopes: a row stays until its messages have been taken up, and says which generation of the
-- queue has it.
CREATE TABLE outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    generation   bigint   NOT NULL DEFAULT 0, -- that confirmed it; 0: none
    created_at   timestamptz NOT NULL,
    published_at timestamptz,
    lane         smallint NOT NULL,
    channel      text COLLATE "C" NOT NULL,
    record_ids   bigint[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- What the queue does not have is every generation but one: two short ranges, however long the backlog.
CREATE INDEX outbox_generation ON outbox (generation, id);

-- A lane that stands empty although the ledger has envelopes of it.
CREATE INDEX outbox_lane ON outbox (channel, lane, published_at) WHERE published_at IS NOT NULL;

-- The oldest message that is not done, for the age alarm.
CREATE INDEX outbox_oldest ON outbox ((record_ids[1]));

-- The numbers of the generations of the queue.
CREATE TABLE queue_generations (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name   text COLLATE "C" NOT NULL UNIQUE
);

-- Answers to requests that carried an Idempotency-Key. One key is unique whatever the day, so these rows alone
-- are deleted, a few thousand at a time, as they expire.
CREATE TABLE idempotency_keys (
    account_id bigint NOT NULL,
    key        text COLLATE "C" NOT NULL,
    body_hash  bytea  NOT NULL, -- SHA-256 of the request
    status     integer NOT NULL, -- HTTP status of the answer
    response   bytea  NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, key)
);

-- The purge removes what expired without reading the rest.
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);

-- Partitions hold a day each; these hold what fits in none.
CREATE TABLE message_records_default PARTITION OF message_records DEFAULT WITH (fillfactor = 27);
CREATE TABLE message_contents_default PARTITION OF message_contents DEFAULT;
CREATE TABLE message_exceptions_default PARTITION OF message_exceptions DEFAULT;
CREATE TABLE message_attempts_default PARTITION OF message_attempts DEFAULT;
CREATE TABLE message_batches_default PARTITION OF message_batches DEFAULT;

-- +goose Down
DROP TABLE idempotency_keys;
DROP TABLE queue_generations;
DROP TABLE outbox;
DROP TABLE message_batches;
DROP TABLE message_attempts;
DROP TABLE message_exceptions;
DROP TABLE message_timers;
DROP TABLE message_contents;
DROP TABLE message_records;
DROP TABLE id_blocks;
