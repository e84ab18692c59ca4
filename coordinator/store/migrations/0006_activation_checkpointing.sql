-- What a training does to spend less memory, with the same numbers.

-- 1: blocks are computed again in the backward pass.
ALTER TABLE task ADD COLUMN activation_checkpointing INTEGER NOT NULL DEFAULT 0
  CHECK (activation_checkpointing IN (0, 1));
