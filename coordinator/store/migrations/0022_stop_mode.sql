-- How a cancelled task's trainer is stopped: 'checkpoint': it has a grace time to write one; 'now': it is killed. Of no
-- meaning while cancel_wanted is 0.
ALTER TABLE task ADD COLUMN stop_mode TEXT NOT NULL DEFAULT 'checkpoint' CHECK (stop_mode IN ('checkpoint', 'now'));
