-- Slots that get nothing new, since tasks failed there that succeeded elsewhere:
-- [{"slot": 0, "reason": "...", "since_ms": 0}].
ALTER TABLE worker ADD COLUMN quarantined TEXT NOT NULL DEFAULT '[]';

DROP VIEW IF EXISTS workers;
CREATE VIEW workers AS
  SELECT id AS worker, host, version, draining, slots, dataset_digests, protocol, labels,
         drain_wanted, drain_wall_ms AS drain_deadline_ms, quarantined
  FROM worker;
