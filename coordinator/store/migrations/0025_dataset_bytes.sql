-- The size of all files of a dataset. Of what was sent from another machine, it counts for the owner, too. 0 for what an
-- earlier release registered on the coordinator's machine.
ALTER TABLE dataset ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE dataset SET bytes = owner_bytes;

DROP VIEW IF EXISTS datasets;
CREATE VIEW datasets AS
  SELECT name AS dataset, digest, folder, tokenizer, vocab_size, split_tokens, owner, owner_bytes, bytes FROM dataset;
