-- Which version of a plugin is active, and the ways to another one:
--     SELECT name, active_version FROM plugins;
--     SELECT id, plugin, from_version, to_version, state, reason FROM plugin_rollouts ORDER BY id DESC LIMIT 10;
--     SELECT datetime(happened_at / 1000, 'unixepoch'), state, share, actor, reason
--         FROM plugin_rollout_events WHERE rollout_id = 7 ORDER BY id;

-- +goose Up

CREATE TABLE plugin_versions (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    plugin     TEXT    NOT NULL,
    version    TEXT    NOT NULL,    -- semantic, without a leading v
    sha256     TEXT    NOT NULL,    -- of the executable, in hexadecimal digits
    first_seen INTEGER NOT NULL,
    quarantine TEXT,                -- why it is not rolled out by itself
    removed_at INTEGER,             -- NULL: it is installed
    UNIQUE (plugin, version)        -- also serves the list of a plugin, which is short
) STRICT;

CREATE TABLE plugins (
    name           TEXT PRIMARY KEY NOT NULL,
    active_version TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE plugin_rollouts (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    plugin       TEXT    NOT NULL,
    from_version TEXT    NOT NULL,
    to_version   TEXT    NOT NULL,
    sha256       TEXT    NOT NULL, -- of the executable of to_version
    plan         TEXT    NOT NULL, -- JSON object
    state        TEXT    NOT NULL,
    step         INTEGER NOT NULL, -- from 0
    since        INTEGER NOT NULL, -- when the state, or the step, began
    paused       INTEGER NOT NULL,
    reason       TEXT,             -- why it ended, or was paused
    baseline     TEXT,             -- JSON object: what the old version did last; set once the new one has everything
    actor        TEXT    NOT NULL, -- who began it
    revision     INTEGER NOT NULL, -- grows with every change
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    CONSTRAINT state_is_one_of_a_rollout
        CHECK (state IN ('starting', 'shadow', 'canary', 'baking', 'promoted', 'rolled_back'))
) STRICT;

-- A plugin has one open rollout at a time. It also finds those few that gateways act on, every second, whatever the
-- history has grown to.
CREATE UNIQUE INDEX plugin_rollouts_open ON plugin_rollouts (plugin) WHERE state NOT IN ('promoted', 'rolled_back');

-- The history of a plugin, newest first: other plugins' rollouts are passed over. SQLite keeps the id in every index.
CREATE INDEX plugin_rollouts_plugin ON plugin_rollouts (plugin);

CREATE TABLE plugin_rollout_events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    rollout_id  INTEGER NOT NULL REFERENCES plugin_rollouts (id),
    happened_at INTEGER NOT NULL,
    state       TEXT    NOT NULL, -- this, share and paused: after the event
    share       REAL    NOT NULL, -- of the new version, in percent
    paused      INTEGER NOT NULL,
    actor       TEXT    NOT NULL,
    reason      TEXT,
    old_figures TEXT,             -- JSON object: what the old version did in the window that was judged
    new_figures TEXT              -- the same of the new one
) STRICT;

-- The timeline of a rollout, in its order.
CREATE INDEX plugin_rollout_events_rollout ON plugin_rollout_events (rollout_id);

-- What gateways last said of rollouts. Rows of more than a day ago go, so that it is too small for an index by time.
CREATE TABLE gateway_reports (
    gateway     TEXT    NOT NULL,
    rollout_id  INTEGER NOT NULL, -- 0: the gateway runs, and takes part in none
    reported_at INTEGER NOT NULL,
    revision    INTEGER NOT NULL, -- of the rollout, that the gateway has put in force
    ready       INTEGER NOT NULL, -- the new version runs there and took every connector
    waiting     TEXT,             -- why it does not yet
    problem     TEXT,             -- why it never will
    old_figures TEXT    NOT NULL, -- JSON object: what the old version did there since the revision
    new_figures TEXT    NOT NULL, -- the same of the new one
    PRIMARY KEY (gateway, rollout_id)
) STRICT;

-- +goose Down
DROP TABLE gateway_reports;
DROP TABLE plugin_rollout_events;
DROP TABLE plugin_rollouts;
DROP TABLE plugins;
DROP TABLE plugin_versions;
