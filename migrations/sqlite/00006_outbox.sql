-- +goose Up

-- The outbox becomes the ledger of envelopes: a row stays until its messages have been taken up, and says
-- which generation of the queue has it.

ALTER TABLE outbox ADD COLUMN generation INTEGER NOT NULL DEFAULT 0; -- that confirmed it; 0: none
ALTER TABLE outbox ADD COLUMN published_at INTEGER;

-- What the queue does not have is every generation but one: two short ranges, however long the backlog.
CREATE INDEX outbox_generation ON outbox (generation, id);

-- A lane that stands empty although the ledger has envelopes of it.
CREATE INDEX outbox_lane ON outbox (channel, lane, published_at) WHERE published_at IS NOT NULL;

-- The numbers of the generations. AUTOINCREMENT: a number that was given out never comes back.
CREATE TABLE queue_generations (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name   TEXT    NOT NULL UNIQUE
) STRICT;

-- +goose Down
DROP TABLE queue_generations;
DROP INDEX outbox_lane;
DROP INDEX outbox_generation;
ALTER TABLE outbox DROP COLUMN published_at;
ALTER TABLE outbox DROP COLUMN generation;
