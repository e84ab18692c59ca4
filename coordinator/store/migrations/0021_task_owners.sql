-- Who submitted the task first, for whom it counts once no sweep has it any more; '' for a task that no sweep had when
-- this column came, and for one of an owner who is unknown.
ALTER TABLE task ADD COLUMN owner TEXT NOT NULL DEFAULT '';
UPDATE task SET owner = first.owner
  FROM (SELECT sweep_task.task, sweep.owner, min(sweep.submitted_seq)
        FROM sweep_task JOIN sweep ON sweep.id = sweep_task.sweep
        GROUP BY sweep_task.task) AS first
  WHERE first.task = task.id;
