-- What plugins share among gateways, such as access tokens. The values are sealed by the plugins:
--     SELECT plugin, name, expires_at, revision FROM plugin_values;

-- +goose Up

-- As many rows as connectors have tokens, so that the key is the only index. Rows that ended long ago go.
CREATE TABLE plugin_values (
    plugin       text COLLATE "C" NOT NULL,
    name         text COLLATE "C" NOT NULL,
    value        bytea  NOT NULL,
    expires_at   timestamptz,     -- NULL: it has ended
    revision     bigint NOT NULL, -- grows whenever the value is kept, or somebody is told to renew it
    leased_until timestamptz,     -- until then nobody else is told to
    PRIMARY KEY (plugin, name)
) WITH (fillfactor = 50);

-- +goose Down
DROP TABLE plugin_values;
