-- The results of a sweep are found from its runs, and those of a run from its tasks: so each task is
-- read once. To read it for each of its results would take a time that grows with the square of their
-- number, since a task's row lists all cells that it owes, and is checked as a whole.

DROP VIEW IF EXISTS results;
CREATE VIEW results AS
  SELECT task.run_key, run.position, run.train_length, run.dataset_name AS dataset, run.seed,
         r.metric, r.context_length, r.split, r.protocol, r.averaging, r.depth, r.variant,
         r.value, r.se, r.n, r.nll_sum, r.bytes,
         CASE WHEN r.metric = 'nll' AND r.n > 0 THEN exp(r.nll_sum / r.n) END AS perplexity,
         CASE WHEN r.metric = 'nll' AND r.n > 0
              THEN exp(r.nll_sum / r.n) * r.se END AS perplexity_se,
         CASE WHEN r.metric = 'nll' AND r.bytes > 0
              THEN r.nll_sum / 0.69314718055994530942 / r.bytes END AS bits_per_byte,
         r.status, r.extra, r.cell, r.task, r.attempt, r.seq,
         (SELECT json_extract(one.value, '$.extension') FROM json_each(task.evaluation) one)
           AS extension,
         (SELECT json_extract(one.value, '$.dataset.name') FROM json_each(task.evaluation) one)
           AS evaluated_dataset,
         (SELECT json_extract(one.value, '$.dataset.digest') FROM json_each(task.evaluation) one)
           AS evaluated_dataset_digest
  FROM task
  JOIN result r ON r.attempt = task.result_attempt
  JOIN run ON run.run_key = task.run_key
  WHERE task.result_attempt <> '';

DROP VIEW IF EXISTS sweep_results;
CREATE VIEW sweep_results AS
  SELECT sweep.name AS sweep, sweep.id AS sweep_id,
         sweep.submitted_seq = (SELECT max(other.submitted_seq) FROM sweep other
                                WHERE other.name = sweep.name) AS newest,
         sweep_cell.ordinal, results.*, json_extract(sweep_run.axes, '$.stage') AS stage
  FROM sweep
  CROSS JOIN sweep_run ON sweep_run.sweep = sweep.id
  CROSS JOIN results ON results.run_key = sweep_run.run_key
  CROSS JOIN sweep_cell ON sweep_cell.sweep = sweep.id AND sweep_cell.ordinal = sweep_run.ordinal
                       AND sweep_cell.cell = results.cell;
