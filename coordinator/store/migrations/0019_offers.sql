-- How an attempt is to be computed whose run has no execution yet, as canonical JSON: a run takes it over once the
-- attempt starts. Null otherwise, and once the attempt has started or ended.
ALTER TABLE attempt ADD COLUMN execution TEXT;
