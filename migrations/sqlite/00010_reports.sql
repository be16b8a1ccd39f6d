-- What a gateway's report on a rollout also says.

-- +goose Up
ALTER TABLE gateway_reports ADD COLUMN innocent  INTEGER NOT NULL DEFAULT 0; -- the problem is not the version's own fault
ALTER TABLE gateway_reports ADD COLUMN exclusive INTEGER NOT NULL DEFAULT 0; -- only one process may hold the plugin's session
ALTER TABLE gateway_reports ADD COLUMN gap_ms    INTEGER NOT NULL DEFAULT 0; -- for how long nobody held it when it was handed over

-- +goose Down
ALTER TABLE gateway_reports DROP COLUMN innocent;
ALTER TABLE gateway_reports DROP COLUMN exclusive;
ALTER TABLE gateway_reports DROP COLUMN gap_ms;
