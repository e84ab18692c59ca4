-- The ULID that the worker's folder got when it was made. '' for a worker of an earlier release.
ALTER TABLE worker ADD COLUMN folder_id TEXT NOT NULL DEFAULT '';
