-- +goose Up
-- A deletion that a person, the document or the write has confirmed is neither held again nor counted against the budget.
ALTER TABLE reconciler.removals ADD COLUMN confirmed boolean NOT NULL DEFAULT false;

-- A tombstone made only because a list lacked the set: what the set owns is held, and the set comes back when it is seen again.
ALTER TABLE reconciler.sets ADD COLUMN absent boolean NOT NULL DEFAULT false;

-- A fan-out whose chunk failed waits, so that the others go on.
ALTER TABLE reconciler.fanouts ADD COLUMN attempts int NOT NULL DEFAULT 0, ADD COLUMN retry_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX fanouts_set ON reconciler.fanouts (set_uid, id);

-- +goose Down
DROP INDEX reconciler.fanouts_set;
ALTER TABLE reconciler.fanouts DROP COLUMN attempts, DROP COLUMN retry_at;
ALTER TABLE reconciler.sets DROP COLUMN absent;
ALTER TABLE reconciler.removals DROP COLUMN confirmed;
