-- The views that `longrun query` reads: query_catalogue.cc describes each column, and a test compares
-- the two. A user's query names views, never tables, so tables may change under them.

DROP VIEW IF EXISTS results;
CREATE VIEW results AS
  SELECT r.run_key, run.position, run.train_length, run.dataset_name AS dataset, run.seed,
         r.metric, r.context_length, r.split, r.protocol, r.averaging, r.depth, r.variant,
         r.value, r.se, r.n, r.nll_sum, r.bytes,
         CASE WHEN r.metric = 'nll' AND r.n > 0 THEN exp(r.nll_sum / r.n) END AS perplexity,
         CASE WHEN r.metric = 'nll' AND r.n > 0
              THEN exp(r.nll_sum / r.n) * r.se END AS perplexity_se,
         CASE WHEN r.metric = 'nll' AND r.bytes > 0
              THEN r.nll_sum / 0.69314718055994530942 / r.bytes END AS bits_per_byte,
         r.status, r.extra, r.cell, r.task, r.attempt, r.seq
  FROM task
  JOIN result r ON r.attempt = task.result_attempt
  JOIN run ON run.run_key = task.run_key
  WHERE task.result_attempt <> '';

DROP VIEW IF EXISTS sweep_results;
CREATE VIEW sweep_results AS
  SELECT sweep.name AS sweep, sweep.id AS sweep_id,
         sweep.submitted_seq = (SELECT max(other.submitted_seq) FROM sweep other
                                WHERE other.name = sweep.name) AS newest,
         sweep_cell.ordinal, results.*
  FROM sweep
  JOIN sweep_cell ON sweep_cell.sweep = sweep.id
  JOIN results ON results.cell = sweep_cell.cell;

DROP VIEW IF EXISTS curves;
CREATE VIEW curves AS
  SELECT task.run_key, metric_name.name AS metric, series.step, series.value, series.t_ms,
         lineage.task, series.attempt
  FROM lineage
  JOIN task ON task.id = lineage.task
  JOIN series ON series.attempt = lineage.attempt
             AND series.step BETWEEN lineage.step_first AND lineage.step_last
  JOIN metric_name ON metric_name.id = series.metric;

DROP VIEW IF EXISTS runs;
CREATE VIEW runs AS
  SELECT run.run_key, run.position, run.train_length, run.dataset_name AS dataset, run.seed,
         json_extract(run.run, '$.train.tokens') AS tokens,
         json_extract(run.run, '$.train.batch_tokens') AS batch_tokens,
         json_extract(run.run, '$.train.optimizer.lr') AS lr,
         json_extract(run.run, '$.train.precision') AS "precision",
         json_extract(run.run, '$.model.n_layer') AS n_layer,
         json_extract(run.run, '$.model.n_head') AS n_head,
         json_extract(run.run, '$.model.d_model') AS d_model,
         json_extract(run.run, '$.numerics') AS numerics,
         run.dataset_digest,
         json_extract(run.run, '$.tokenizer.fingerprint') AS tokenizer,
         train.state AS train_state,
         json_extract(train.final_checkpoint, '$.sha256') AS checkpoint,
         run.run, run.execution
  FROM run
  LEFT JOIN task train ON train.run_key = run.run_key AND train.kind = 'train';

DROP VIEW IF EXISTS tasks;
CREATE VIEW tasks AS
  SELECT task.id AS task, task.run_key, task.kind, task.state, task.reason, task.priority,
         task.attempts, task.attempt, task.result_attempt, task.failures, task.losses, task.needs,
         task.evaluation,
         (SELECT json_group_array(context_length) FROM
            (SELECT DISTINCT json_extract(one.value, '$.context_length') AS context_length
             FROM json_each(task.expected_cells) one ORDER BY 1)) AS context_lengths
  FROM task;

DROP VIEW IF EXISTS attempts;
CREATE VIEW attempts AS
  SELECT a.id AS attempt, a.task, task.run_key, task.kind, a.n, a.state, a.worker,
         worker.host, a.failure_class, a.message, a.started_wall_ms AS started_ms,
         nullif(a.ended_wall_ms, 0) AS ended_ms, a.resume_attempt, a.resume_step,
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

DROP VIEW IF EXISTS sweeps;
CREATE VIEW sweeps AS
  SELECT sweep.name AS sweep, sweep.id AS sweep_id,
         sweep.submitted_seq = (SELECT max(other.submitted_seq) FROM sweep other
                                WHERE other.name = sweep.name) AS newest,
         sweep.submitted_wall_ms AS submitted_ms, sweep.cancelled, sweep.file_name,
         sweep.labels, sweep.axes, sweep.overrides,
         (SELECT count(*) FROM sweep_run WHERE sweep_run.sweep = sweep.id) AS runs,
         (SELECT count(*) FROM sweep_task WHERE sweep_task.sweep = sweep.id) AS tasks,
         (SELECT count(*) FROM sweep_task JOIN task ON task.id = sweep_task.task
          WHERE sweep_task.sweep = sweep.id AND task.state = 'SUCCEEDED') AS tasks_succeeded,
         (SELECT count(*) FROM sweep_task JOIN task ON task.id = sweep_task.task
          WHERE sweep_task.sweep = sweep.id AND task.state IN ('FAILED', 'SKIPPED'))
           AS tasks_failed,
         (SELECT count(*) FROM sweep_task JOIN task ON task.id = sweep_task.task
          WHERE sweep_task.sweep = sweep.id AND task.state = 'CANCELLED') AS tasks_cancelled
  FROM sweep;

DROP VIEW IF EXISTS sweep_runs;
CREATE VIEW sweep_runs AS
  SELECT sweep.name AS sweep, sweep.id AS sweep_id,
         sweep.submitted_seq = (SELECT max(other.submitted_seq) FROM sweep other
                                WHERE other.name = sweep.name) AS newest,
         sweep_run.ordinal, sweep_run.run_key, sweep_run.axes
  FROM sweep
  JOIN sweep_run ON sweep_run.sweep = sweep.id;

DROP VIEW IF EXISTS datasets;
CREATE VIEW datasets AS
  SELECT name AS dataset, digest, folder, tokenizer, vocab_size, split_tokens FROM dataset;

DROP VIEW IF EXISTS workers;
CREATE VIEW workers AS
  SELECT id AS worker, host, version, slots, dataset_digests FROM worker;

DROP VIEW IF EXISTS artifacts;
CREATE VIEW artifacts AS
  SELECT 'checkpoint' AS kind, checkpoint_file.name, checkpoint_file.sha256, checkpoint_file.bytes,
         checkpoint.sha256 AS checkpoint, checkpoint.step, checkpoint.is_final,
         checkpoint.is_best, task.run_key, checkpoint.task, checkpoint.attempt
  FROM checkpoint
  JOIN task ON task.id = checkpoint.task
  JOIN checkpoint_file ON checkpoint_file.checkpoint = checkpoint.sha256
  UNION ALL
  SELECT 'evaluation', artifact.name, artifact.sha256, artifact.bytes,
         NULL, NULL, NULL, NULL, task.run_key, artifact.task, artifact.attempt
  FROM artifact
  JOIN task ON task.id = artifact.task;

DROP VIEW IF EXISTS transitions;
CREATE VIEW transitions AS
  SELECT seq, wall_ms, subject, id, from_state, to_state, reason FROM transition;
