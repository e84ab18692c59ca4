-- Whose disk limit a dataset counts for, and with how many bytes: the caller who sent it from another machine; the user
-- of the coordinator's machine who registered it, with 0 bytes, since this user has no limit. '' for a row of an
-- earlier release.
ALTER TABLE dataset ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE dataset ADD COLUMN owner_bytes INTEGER NOT NULL DEFAULT 0;
-- The same for a model, which counts with all its bytes.
ALTER TABLE model ADD COLUMN owner TEXT NOT NULL DEFAULT '';

DROP VIEW IF EXISTS datasets;
CREATE VIEW datasets AS
  SELECT name AS dataset, digest, folder, tokenizer, vocab_size, split_tokens, owner, owner_bytes FROM dataset;

DROP VIEW IF EXISTS models;
CREATE VIEW models AS
  SELECT model.name AS model, model.digest, json_extract(model.config, '$.model_type') AS architecture,
         model.bytes, model.imported_wall_ms AS imported_ms, model.source,
         (SELECT count(*) FROM run WHERE json_extract(run.run, '$.init.sha256') = model.digest) AS runs,
         model.config, model.owner
  FROM model;
