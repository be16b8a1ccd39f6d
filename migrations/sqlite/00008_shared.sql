-- What plugins share among gateways, such as access tokens. The values are sealed by the plugins:
--     SELECT plugin, name, datetime(expires_at / 1000, 'unixepoch'), revision FROM plugin_values;

-- +goose Up

-- As many rows as connectors have tokens, so that the key is the only index. Rows that ended long ago go.
CREATE TABLE plugin_values (
    plugin       TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    value        BLOB    NOT NULL,
    expires_at   INTEGER,          -- NULL: it has ended
    revision     INTEGER NOT NULL, -- grows whenever the value is kept, or somebody is told to renew it
    leased_until INTEGER,          -- until then nobody else is told to
    PRIMARY KEY (plugin, name)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE plugin_values;
