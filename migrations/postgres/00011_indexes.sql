-- +goose NO TRANSACTION
-- One index less to write, one more to ask with. While the one is made nothing can be written to messages, for a second or
-- so for each million that are kept; the other goes in a moment.

-- +goose Up

-- For people who ask about a time ("what failed in the last hour"): messages lie on the disk in the order of their time,
-- so a note of the first and the last time in each 128 pages leaves out the rest. It costs a message next to nothing, as
-- created_at never changes. Lists of the API go by the id, and never use it.
CREATE INDEX IF NOT EXISTS message_records_created ON message_records USING brin (created_at) WITH (autosummarize = on);

-- The ids of a batch's messages follow its own without a gap: the primary key finds them, in the order of the disk.
DROP INDEX IF EXISTS message_records_batch;

-- +goose Down
DROP INDEX IF EXISTS message_records_created;
CREATE INDEX IF NOT EXISTS message_records_batch ON message_records (batch_id, id) WHERE batch_id IS NOT NULL;
