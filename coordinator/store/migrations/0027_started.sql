-- An attempt that never ran has no time at which it started: null instead of 0.
DROP VIEW IF EXISTS attempts;
CREATE VIEW attempts AS
  SELECT a.id AS attempt, a.task, task.run_key, task.kind, a.n, a.state, a.worker,
         worker.host, a.failure_class, a.message, nullif(a.started_wall_ms, 0) AS started_ms,
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
