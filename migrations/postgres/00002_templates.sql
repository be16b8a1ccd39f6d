-- +goose Up
CREATE TABLE message_templates (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL,
    name       text COLLATE "C" NOT NULL,
    channel    text   NOT NULL,
    subject    text   NOT NULL,
    content    text   NOT NULL,
    html       text   NOT NULL,
    variables  json   NOT NULL, -- array of names
    status     text   NOT NULL,
    revision   integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (account_id, name)   -- also serves the list of an account, which is short
);

-- +goose Down
DROP TABLE message_templates;
