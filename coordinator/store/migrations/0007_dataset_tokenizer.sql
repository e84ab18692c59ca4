-- What a sweep must know of a dataset's tokenizer; it has been registered again since then, or it is not
-- known.

ALTER TABLE dataset ADD COLUMN n_tokens INTEGER NOT NULL DEFAULT 0;    -- ids of the tokenizer; 0: not known
ALTER TABLE dataset ADD COLUMN mask_token INTEGER NOT NULL DEFAULT -1; -- its mask token; -1: none, or not known
