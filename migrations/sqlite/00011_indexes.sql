-- One index less to write.

-- +goose Up

-- The ids of a batch's messages follow its own without a gap: the primary key finds them.
DROP INDEX message_records_batch;

-- +goose Down
CREATE INDEX message_records_batch ON message_records (batch_id) WHERE batch_id IS NOT NULL;
