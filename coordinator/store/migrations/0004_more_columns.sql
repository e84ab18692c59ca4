-- What people say about a sweep, what a run goes on from, and workers that left in order, as columns
-- of the views.

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
         json_extract(run.run, '$.parent') AS parent,
         train.state AS train_state,
         json_extract(train.final_checkpoint, '$.sha256') AS checkpoint,
         run.run, run.execution
  FROM run
  LEFT JOIN task train ON train.run_key = run.run_key AND train.kind = 'train';

-- `labels`: those of the file, with what was changed since.
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
          WHERE sweep_task.sweep = sweep.id AND task.state = 'CANCELLED') AS tasks_cancelled
  FROM sweep;

DROP VIEW IF EXISTS workers;
CREATE VIEW workers AS
  SELECT id AS worker, host, version, draining, slots, dataset_digests FROM worker;
