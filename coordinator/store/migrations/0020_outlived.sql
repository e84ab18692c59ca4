-- 1: a temporary worker has a newer allocation than the one in which the attempt ran, so however the attempt ends, its
-- allocation has ended it.
ALTER TABLE attempt ADD COLUMN outlived INTEGER NOT NULL DEFAULT 0 CHECK (outlived IN (0, 1));
