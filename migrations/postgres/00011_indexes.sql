-- One index less to write, one more to ask with. Both statements lock the table against writes for as long as they take:
-- a second or so for each million messages that are kept.

-- +goose Up

-- The ids of a batch's messages follow its own without a gap: the primary key finds them, in the order of the disk.
DROP INDEX message_records_batch;

-- For people who ask about a time ("what failed in the last hour"): messages lie on the disk in the order of their time,
-- so a note of the first and the last time in each 128 pages leaves out the rest. It costs a message next to nothing, as
-- created_at never changes. Lists of the API go by the id, and never use it.
CREATE INDEX message_records_created ON message_records USING brin (created_at) WITH (autosummarize = on);

-- +goose Down
DROP INDEX message_records_created;
CREATE INDEX message_records_batch ON message_records (batch_id, id) WHERE batch_id IS NOT NULL;
