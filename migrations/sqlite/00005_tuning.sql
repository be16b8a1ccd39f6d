-- What operators tune while the gateway runs. A change is in force within two seconds:
--     UPDATE thread_pool_configs SET core_pool_size = 50, max_pool_size = 200 WHERE pool_name = 'message_sender';
--     UPDATE rate_limit_configs SET max_value = 2000 WHERE resource = 'api:/messages/send' AND limit_type = 'qps';
-- The constraints are named for what a statement that they refuse has to heed.

-- +goose Up
CREATE TABLE thread_pool_configs (
    pool_name            TEXT    PRIMARY KEY NOT NULL,
    core_pool_size       INTEGER NOT NULL,              -- workers that always live
    max_pool_size        INTEGER NOT NULL,
    scale_up_threshold   REAL    NOT NULL DEFAULT 0.8,  -- share of the queue in use from which the pool grows
    scale_down_threshold REAL    NOT NULL DEFAULT 0.2,  -- share up to which it shrinks
    queue_size           INTEGER NOT NULL DEFAULT 1000, -- tasks that may wait
    file_value           TEXT,                          -- the gateway's own: what the configuration file last said
    CONSTRAINT core_pool_size_is_1_or_more CHECK (core_pool_size >= 1),
    CONSTRAINT max_pool_size_is_core_pool_size_to_10000 CHECK (max_pool_size BETWEEN core_pool_size AND 10000),
    CONSTRAINT scale_up_threshold_is_above_0_up_to_1 CHECK (scale_up_threshold > 0 AND scale_up_threshold <= 1),
    CONSTRAINT scale_down_threshold_is_above_0_and_below_scale_up_threshold
        CHECK (scale_down_threshold > 0 AND scale_down_threshold < scale_up_threshold),
    CONSTRAINT queue_size_is_1_to_1000000 CHECK (queue_size BETWEEN 1 AND 1000000)
) STRICT;

CREATE TABLE rate_limit_configs (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    resource       TEXT NOT NULL,                   -- api:/messages/send, channel:sms, connector:sms/main
    limit_type     TEXT NOT NULL,
    dimension      TEXT NOT NULL DEFAULT 'account', -- what has a count of its own
    max_value      REAL NOT NULL,                   -- a second, at a time, or in a window
    window_seconds REAL NOT NULL DEFAULT 0,         -- of a sliding_window
    file_value     TEXT,                            -- as that of thread_pool_configs
    CONSTRAINT resource_is_api_channel_or_connector
        CHECK (resource GLOB 'api:/?*' OR resource GLOB 'channel:?*' OR resource GLOB 'connector:?*/?*'),
    CONSTRAINT limit_type_is_qps_concurrent_or_sliding_window
        CHECK (limit_type IN ('qps', 'concurrent', 'sliding_window')),
    CONSTRAINT dimension_is_account_key_ip_channel_recipient_connector_global
        CHECK (dimension IN ('account', 'key', 'ip', 'channel', 'recipient', 'connector', 'global')),
    CONSTRAINT dimension_is_connector_where_the_resource_is_one
        CHECK ((resource GLOB 'connector:*') = (dimension = 'connector')),
    CONSTRAINT max_value_is_0_to_1000000000 CHECK (max_value >= 0 AND max_value <= 1000000000),
    CONSTRAINT window_seconds_is_up_to_2678400 CHECK (window_seconds >= 0 AND window_seconds <= 2678400),
    CONSTRAINT window_seconds_of_a_sliding_window_is_0_001_or_more
        CHECK (limit_type <> 'sliding_window' OR window_seconds >= 0.001)
) STRICT;

-- One limit of a kind. The window tells apart only where it counts.
CREATE UNIQUE INDEX rate_limit_configs_kind ON rate_limit_configs
    (resource, limit_type, dimension, (CASE limit_type WHEN 'sliding_window' THEN window_seconds ELSE 0 END));

-- +goose Down
DROP TABLE rate_limit_configs;
DROP TABLE thread_pool_configs;
