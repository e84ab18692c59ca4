-- Temporary workers, such as jobs of a cluster.

-- What the worker has of its machine: {"job": "slurm 1234"}; '': it is not temporary. With an end, also
-- "work_end_boot_ms", "work_end_boot" and "work_end_wall_ms": when it asks its trainers to stop, by the boot clock of
-- the boot that is named, which nobody sets, and by the wall clock, which counts after a reboot.
ALTER TABLE worker ADD COLUMN allocation TEXT NOT NULL DEFAULT '';
