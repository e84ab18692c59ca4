-- A task is removed without a look at all rows that might refer to it.

CREATE INDEX sweep_task_by_task ON sweep_task (task);
CREATE INDEX cell_by_task ON cell (task);
