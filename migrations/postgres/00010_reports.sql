-- What a gateway's report on a rollout also says.

-- +goose Up
ALTER TABLE gateway_reports
    ADD COLUMN innocent  boolean NOT NULL DEFAULT false, -- the problem is not the version's own fault
    ADD COLUMN exclusive boolean NOT NULL DEFAULT false, -- only one process may hold the plugin's session
    ADD COLUMN gap_ms    bigint  NOT NULL DEFAULT 0;     -- for how long nobody held it when it was handed over

-- +goose Down
ALTER TABLE gateway_reports DROP COLUMN innocent, DROP COLUMN exclusive, DROP COLUMN gap_ms;
