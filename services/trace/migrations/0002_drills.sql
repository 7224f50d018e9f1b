-- A drill is a recall that is timed and accounted for, and of which nobody is told: no hold, no revocation.

ALTER TABLE recall ADD COLUMN drill boolean NOT NULL DEFAULT false;

DROP INDEX recall_open_once;
CREATE UNIQUE INDEX recall_open_once ON recall (seed) WHERE closed_at IS NULL AND NOT drill;
