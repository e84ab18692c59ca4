-- The run from whose final weights a run starts. Releases before this one do not know that there is such a
-- run, and refuse the newer database.

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
         json_extract(run.run, '$.init.sha256') AS init,
         json_extract(run.run, '$.init.run') AS base,
         train.state AS train_state,
         json_extract(train.final_checkpoint, '$.sha256') AS checkpoint,
         run.run, run.execution
  FROM run
  LEFT JOIN task train ON train.run_key = run.run_key AND train.kind = 'train';
