-- How long an attempt ran, by the boot clock, which nobody sets; the wall clock may be set while it runs.

ALTER TABLE attempt ADD COLUMN started_boot_ms INTEGER NOT NULL DEFAULT 0;
-- Which boot of the coordinator's machine that time counts from.
ALTER TABLE attempt ADD COLUMN started_boot TEXT NOT NULL DEFAULT '';
-- From RUNNING to its end; null while it lives, and where it never ran.
ALTER TABLE attempt ADD COLUMN duration_ms INTEGER;
ALTER TABLE attempt ADD COLUMN duration_clock TEXT NOT NULL DEFAULT ''
  CHECK (duration_clock IN ('', 'boot', 'wall'));

-- Of attempts that ended before, the wall clock's difference is all there is.
UPDATE attempt SET duration_ms = max(0, ended_wall_ms - started_wall_ms), duration_clock = 'wall'
  WHERE started_wall_ms > 0 AND ended_wall_ms > 0;

DROP VIEW IF EXISTS attempts;
CREATE VIEW attempts AS
  SELECT a.id AS attempt, a.task, task.run_key, task.kind, a.n, a.state, a.worker,
         worker.host, a.failure_class, a.message, a.started_wall_ms AS started_ms,
         nullif(a.ended_wall_ms, 0) AS ended_ms, a.duration_ms,
         nullif(a.duration_clock, '') AS duration_clock, a.resume_attempt, a.resume_step,
         a.durable_seq AS records,
         json_extract(a.started, '$.version') AS version,
         json_extract(a.started, '$.commit') AS "commit",
         json_extract(a.started, '$.numerics') AS numerics,
         json_extract(a.started, '$.torch') AS torch,
         json_extract(a.started, '$.device.kind') AS device_kind,
         json_extract(a.started, '$.device.name') AS device_name,
         json_extract(a.started, '$.execution.threads') AS threads,
         json_extract(a.started, '$.execution.micro_batch') AS micro_batch,
         a.started
  FROM (SELECT attempt.*,
               (SELECT json_extract(record.line, '$.body') FROM record
                WHERE record.attempt = attempt.id AND record.kind = 'started'
                ORDER BY record.seq LIMIT 1) AS started
        FROM attempt) a
  JOIN task ON task.id = a.task
  LEFT JOIN worker ON worker.id = a.worker;
