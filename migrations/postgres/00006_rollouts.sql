-- Which version of a plugin is active, and the ways to another one:
--     SELECT name, active_version FROM plugins;
--     SELECT id, plugin, from_version, to_version, state, reason FROM plugin_rollouts ORDER BY id DESC LIMIT 10;
--     SELECT happened_at, state, share, actor, reason FROM plugin_rollout_events WHERE rollout_id = 7 ORDER BY id;

-- +goose Up

CREATE TABLE plugin_versions (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plugin     text COLLATE "C" NOT NULL,
    version    text COLLATE "C" NOT NULL, -- semantic, without a leading v
    sha256     text   NOT NULL,           -- of the executable, in hexadecimal digits
    first_seen timestamptz NOT NULL,
    quarantine text,                      -- why it is not rolled out by itself
    removed_at timestamptz,               -- NULL: it is installed
    UNIQUE (plugin, version)              -- also serves the list of a plugin, which is short
);

CREATE TABLE plugins (
    name           text COLLATE "C" PRIMARY KEY,
    active_version text COLLATE "C" NOT NULL
);

CREATE TABLE plugin_rollouts (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plugin       text COLLATE "C" NOT NULL,
    from_version text COLLATE "C" NOT NULL,
    to_version   text COLLATE "C" NOT NULL,
    sha256       text    NOT NULL,     -- of the executable of to_version
    plan         jsonb   NOT NULL,
    state        text    NOT NULL,
    step         integer NOT NULL,     -- from 0
    since        timestamptz NOT NULL, -- when the state, or the step, began
    paused       boolean NOT NULL,
    reason       text,                 -- why it ended, or was paused
    baseline     jsonb,                -- what the old version did last; set once the new one has everything
    actor        text    NOT NULL,     -- who began it
    revision     bigint  NOT NULL,     -- grows with every change
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    CONSTRAINT state_is_one_of_a_rollout
        CHECK (state IN ('starting', 'shadow', 'canary', 'baking', 'promoted', 'rolled_back'))
);

-- A plugin has one open rollout at a time. It also finds those few that gateways act on, every second, whatever the
-- history has grown to.
CREATE UNIQUE INDEX plugin_rollouts_open ON plugin_rollouts (plugin) WHERE state NOT IN ('promoted', 'rolled_back');

-- The history of a plugin, newest first: other plugins' rollouts are passed over.
CREATE INDEX plugin_rollouts_plugin ON plugin_rollouts (plugin, id);

CREATE TABLE plugin_rollout_events (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rollout_id  bigint  NOT NULL REFERENCES plugin_rollouts (id) ON DELETE CASCADE,
    happened_at timestamptz NOT NULL,
    state       text    NOT NULL,          -- this, share and paused: after the event
    share       double precision NOT NULL, -- of the new version, in percent
    paused      boolean NOT NULL,
    actor       text    NOT NULL,
    reason      text,
    old_figures jsonb,                     -- what the old version did in the window that was judged
    new_figures jsonb                      -- the same of the new one
);

-- The timeline of a rollout, in its order.
CREATE INDEX plugin_rollout_events_rollout ON plugin_rollout_events (rollout_id, id);

-- What gateways last said of rollouts. Rows of more than a day ago go, so that it is too small for an index by time;
-- and without one, and with room in its pages, a report replaces the one before it without a change of any index.
CREATE TABLE gateway_reports (
    gateway     text COLLATE "C" NOT NULL,
    rollout_id  bigint  NOT NULL, -- 0: the gateway runs, and takes part in none
    reported_at timestamptz NOT NULL,
    revision    bigint  NOT NULL, -- of the rollout, that the gateway has put in force
    ready       boolean NOT NULL, -- the new version runs there and took every connector
    waiting     text,             -- why it does not yet
    problem     text,             -- why it never will
    old_figures jsonb   NOT NULL, -- what the old version did there since the revision
    new_figures jsonb   NOT NULL, -- the same of the new one
    PRIMARY KEY (gateway, rollout_id)
) WITH (fillfactor = 50);

-- +goose Down
DROP TABLE gateway_reports;
DROP TABLE plugin_rollout_events;
DROP TABLE plugin_rollouts;
DROP TABLE plugins;
DROP TABLE plugin_versions;
