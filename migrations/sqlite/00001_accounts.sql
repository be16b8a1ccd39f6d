-- Conventions of the whole schema.
--
-- Times are integers, milliseconds since 1970 UTC: eight bytes at most, compared without parsing, and
-- cheap on rows that are rewritten at every step of a message. To read one:
--     SELECT datetime(created_at / 1000, 'unixepoch') FROM message_records;
-- Absent values are NULL. Flags are 0 or 1. JSON is text. Every table is STRICT, so that a value of the
-- wrong type is refused when it is written rather than found when it is read.

-- +goose Up

-- AUTOINCREMENT here and in the other small tables: an id that was given out once never comes back, so
-- that an old reference cannot come to mean something new. Messages have ids of their own.
CREATE TABLE accounts (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    name           TEXT    NOT NULL UNIQUE,
    default_region TEXT    NOT NULL, -- ISO 3166-1 alpha-2
    created_at     INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    name       TEXT    NOT NULL,
    hint       TEXT    NOT NULL,        -- the first characters of the key, to tell keys apart
    hash       BLOB    NOT NULL UNIQUE, -- SHA-256; every request looks its key up by it
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    expires_at INTEGER
) STRICT;

-- +goose Down
DROP TABLE api_keys;
DROP TABLE accounts;
