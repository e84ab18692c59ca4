-- When the attempt was offered, on the boot clock and the boot from which it counts. '' for an attempt of
-- an earlier release, and for one that was adopted from its worker after a restore: its id has that time
-- on the wall clock.
ALTER TABLE attempt ADD COLUMN offered_boot_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN offered_boot TEXT NOT NULL DEFAULT '';
