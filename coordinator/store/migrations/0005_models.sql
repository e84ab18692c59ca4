-- Imported checkpoints by name. Their files stand in checkpoint_file, as those of a training's
-- checkpoints do, as long as a name or a run refers to them.

CREATE TABLE model (
  name             TEXT PRIMARY KEY,
  digest           TEXT NOT NULL,         -- of manifest.json, in the artifact store
  config           TEXT NOT NULL,         -- config.json
  source           TEXT NOT NULL,         -- the folder that it was imported from, for people
  bytes            INTEGER NOT NULL,      -- of all files
  imported_wall_ms INTEGER NOT NULL
) STRICT;

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
         train.state AS train_state,
         json_extract(train.final_checkpoint, '$.sha256') AS checkpoint,
         run.run, run.execution
  FROM run
  LEFT JOIN task train ON train.run_key = run.run_key AND train.kind = 'train';

DROP VIEW IF EXISTS models;
CREATE VIEW models AS
  SELECT model.name AS model, model.digest, json_extract(model.config, '$.model_type') AS architecture,
         model.bytes, model.imported_wall_ms AS imported_ms, model.source,
         (SELECT count(*) FROM run WHERE json_extract(run.run, '$.init.sha256') = model.digest) AS runs,
         model.config
  FROM model;
