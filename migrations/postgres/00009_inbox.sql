-- +goose Up
-- Inbound messages are listed from the newest on; the days are few, so that their lists are merged quickly.
CREATE INDEX inbound_messages_newest ON inbound_messages (id);

-- +goose Down
DROP INDEX inbound_messages_newest;
