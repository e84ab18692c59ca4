-- The dataset that an evaluation read if it was not the one its run was trained on. Releases before
-- this one do not know that a stored evaluation may have one, and refuse the newer database.

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
         sweep_cell.ordinal, results.*
  FROM sweep
  JOIN sweep_cell ON sweep_cell.sweep = sweep.id
  JOIN results ON results.cell = sweep_cell.cell;
