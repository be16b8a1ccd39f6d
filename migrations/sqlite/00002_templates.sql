-- +goose Up
CREATE TABLE message_templates (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    channel    TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    content    TEXT    NOT NULL,
    html       TEXT    NOT NULL,
    variables  TEXT    NOT NULL, -- JSON array of names
    status     TEXT    NOT NULL,
    revision   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (account_id, name)    -- also serves the list of an account, which is short
) STRICT;

-- +goose Down
DROP TABLE message_templates;
