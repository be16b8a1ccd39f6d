-- Conventions of the whole schema.
--
-- Times are timestamptz, kept to the millisecond. Absent values are NULL. Text is compared byte by byte
-- (COLLATE "C"): no order of a language is needed anywhere, and indexes are several times cheaper without.
--
-- What grows with the messages is partitioned by day, so that what is old is dropped as a table and never
-- deleted row by row. Message ids carry their time: a day is a range of ids. The gateway makes the partitions
-- of the days to come and drops those that are past their retention; what fits in none is in <table>_default.

-- +goose Up

CREATE TABLE accounts (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text COLLATE "C" NOT NULL UNIQUE,
    default_region text NOT NULL, -- ISO 3166-1 alpha-2
    created_at     timestamptz NOT NULL
);

CREATE TABLE api_keys (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts (id),
    name       text   NOT NULL,
    hint       text   NOT NULL,        -- the first characters of the key, to tell keys apart
    hash       bytea  NOT NULL UNIQUE, -- SHA-256; every request looks its key up by it
    created_at timestamptz NOT NULL,
    revoked_at timestamptz,
    expires_at timestamptz
);

-- The list of an account's keys.
CREATE INDEX api_keys_account ON api_keys (account_id, id);

-- +goose Down
DROP TABLE api_keys;
DROP TABLE accounts;
