-- What people say about a sweep after it was submitted, and workers that have left in order.

-- Labels beside those of the sweep's file: a null takes the file's label away. They outlive a
-- submission of the same file, which writes sweep.labels anew.
CREATE TABLE sweep_label (
  sweep TEXT NOT NULL REFERENCES sweep (id) DEFERRABLE INITIALLY DEFERRED,
  key   TEXT NOT NULL,
  value TEXT,
  PRIMARY KEY (sweep, key)
) STRICT, WITHOUT ROWID;

ALTER TABLE sweep ADD COLUMN note TEXT NOT NULL DEFAULT '';

-- 1: its last word was that it takes nothing new. Its next Hello takes that back.
ALTER TABLE worker ADD COLUMN draining INTEGER NOT NULL DEFAULT 0 CHECK (draining IN (0, 1));
