-- Many machines: what workers say of themselves, and what operators and owners want.

-- The version of the protocol in the worker's newest session. Releases before this one spoke version 1.
ALTER TABLE worker ADD COLUMN protocol INTEGER NOT NULL DEFAULT 1;
-- Labels given to the worker at its start: {"rack": "b7"}.
ALTER TABLE worker ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
-- 1: an operator drains it, so it gets nothing new. Unlike `draining`, no Hello takes that back.
ALTER TABLE worker ADD COLUMN drain_wanted INTEGER NOT NULL DEFAULT 0 CHECK (drain_wanted IN (0, 1));
-- The time by which the drained worker's trainers have stopped; null: they may finish. By the boot clock of
-- the boot `drain_boot`, which nobody sets, and by the wall clock, which counts after a reboot.
ALTER TABLE worker ADD COLUMN drain_boot_ms INTEGER;
ALTER TABLE worker ADD COLUMN drain_boot TEXT NOT NULL DEFAULT '';
ALTER TABLE worker ADD COLUMN drain_wall_ms INTEGER;

-- 1: its owner wants its tasks to wait. A sweep is never both paused and cancelled.
ALTER TABLE sweep ADD COLUMN paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1));
-- Who submitted it first; '' for a sweep of an earlier release.
ALTER TABLE sweep ADD COLUMN owner TEXT NOT NULL DEFAULT '';

DROP VIEW IF EXISTS workers;
CREATE VIEW workers AS
  SELECT id AS worker, host, version, draining, slots, dataset_digests, protocol, labels,
         drain_wanted, drain_wall_ms AS drain_deadline_ms
  FROM worker;

DROP VIEW IF EXISTS sweeps;
CREATE VIEW sweeps AS
  SELECT sweep.name AS sweep, sweep.id AS sweep_id,
         sweep.submitted_seq = (SELECT max(other.submitted_seq) FROM sweep other
                                WHERE other.name = sweep.name) AS newest,
         sweep.submitted_wall_ms AS submitted_ms, sweep.cancelled, sweep.file_name,
         (SELECT json_group_object(label, value) FROM
            (SELECT one.key AS label, one.value AS value FROM json_each(sweep.labels) one
             WHERE NOT EXISTS (SELECT 1 FROM sweep_label
                               WHERE sweep_label.sweep = sweep.id AND sweep_label.key = one.key)
             UNION ALL
             SELECT sweep_label.key, sweep_label.value FROM sweep_label
             WHERE sweep_label.sweep = sweep.id AND sweep_label.value IS NOT NULL
             ORDER BY 1)) AS labels,
         sweep.note, sweep.axes, sweep.overrides,
         (SELECT count(*) FROM sweep_run WHERE sweep_run.sweep = sweep.id) AS runs,
         (SELECT count(*) FROM sweep_task WHERE sweep_task.sweep = sweep.id) AS tasks,
         (SELECT count(*) FROM sweep_task JOIN task ON task.id = sweep_task.task
          WHERE sweep_task.sweep = sweep.id AND task.state = 'SUCCEEDED') AS tasks_succeeded,
         (SELECT count(*) FROM sweep_task JOIN task ON task.id = sweep_task.task
          WHERE sweep_task.sweep = sweep.id AND task.state IN ('FAILED', 'SKIPPED'))
           AS tasks_failed,
         (SELECT count(*) FROM sweep_task JOIN task ON task.id = sweep_task.task
          WHERE sweep_task.sweep = sweep.id AND task.state = 'CANCELLED') AS tasks_cancelled,
         sweep.paused, sweep.owner
  FROM sweep;
