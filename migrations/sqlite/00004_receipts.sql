-- +goose Up

-- Which message a provider means when it names one by its own id. Written only where receipts are
-- expected. A provider that uses an id again means the newer message.
CREATE TABLE provider_refs (
    connector   TEXT    NOT NULL,
    provider_id TEXT    NOT NULL,
    record_id   INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    part        INTEGER NOT NULL, -- from 1
    parts       INTEGER NOT NULL,
    state       TEXT,             -- what was last heard of the part, kept where there are several
    PRIMARY KEY (connector, provider_id)
) STRICT, WITHOUT ROWID;

-- The other parts of a message of several: it is delivered when all are.
CREATE INDEX provider_refs_parts ON provider_refs (record_id, attempt) WHERE parts > 1;

CREATE TABLE receipts (
    id                  INTEGER PRIMARY KEY,
    connector           TEXT    NOT NULL,
    dedupe_key          TEXT,             -- NULL: the provider gives none, repeats cannot be told
    provider_id         TEXT,
    record_id           INTEGER,          -- where the provider echoes our reference
    attempt             INTEGER,
    status              TEXT    NOT NULL,
    matched             INTEGER NOT NULL, -- 0: waits for its message
    error_code          TEXT,
    error_provider_code TEXT,
    error_message       TEXT,
    error_fault         TEXT,
    happened_at         INTEGER,          -- by the provider's clock
    received_at         INTEGER NOT NULL,
    UNIQUE (connector, dedupe_key)        -- providers repeat themselves
) STRICT;

-- Receipts that wait for their message, by each way they can be found, and by age for the purge. All
-- three are empty most of the time.
CREATE INDEX receipts_waiting_provider ON receipts (connector, provider_id)
    WHERE matched = 0 AND provider_id IS NOT NULL;
CREATE INDEX receipts_waiting_record ON receipts (record_id, attempt)
    WHERE matched = 0 AND record_id IS NOT NULL;
CREATE INDEX receipts_waiting_age ON receipts (received_at) WHERE matched = 0;

CREATE TABLE inbound_messages (
    id          INTEGER PRIMARY KEY,
    connector   TEXT    NOT NULL,
    dedupe_key  TEXT,
    provider_id TEXT,
    sender      TEXT    NOT NULL,
    recipient   TEXT    NOT NULL,
    content     TEXT    NOT NULL,
    attributes  TEXT,             -- JSON object
    happened_at INTEGER,
    received_at INTEGER NOT NULL,
    UNIQUE (connector, dedupe_key)
) STRICT;

-- +goose Down
DROP TABLE inbound_messages;
DROP TABLE receipts;
DROP TABLE provider_refs;
