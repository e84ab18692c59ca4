-- The stage of a run in a sweep, as a column.

DROP VIEW IF EXISTS sweep_results;
CREATE VIEW sweep_results AS
  SELECT sweep.name AS sweep, sweep.id AS sweep_id,
         sweep.submitted_seq = (SELECT max(other.submitted_seq) FROM sweep other
                                WHERE other.name = sweep.name) AS newest,
         sweep_cell.ordinal, results.*, json_extract(sweep_run.axes, '$.stage') AS stage
  FROM sweep
  JOIN sweep_cell ON sweep_cell.sweep = sweep.id
  JOIN results ON results.cell = sweep_cell.cell
  LEFT JOIN sweep_run ON sweep_run.sweep = sweep.id AND sweep_run.ordinal = sweep_cell.ordinal;

DROP VIEW IF EXISTS sweep_runs;
CREATE VIEW sweep_runs AS
  SELECT sweep.name AS sweep, sweep.id AS sweep_id,
         sweep.submitted_seq = (SELECT max(other.submitted_seq) FROM sweep other
                                WHERE other.name = sweep.name) AS newest,
         sweep_run.ordinal, sweep_run.run_key, sweep_run.axes,
         json_extract(sweep_run.axes, '$.stage') AS stage
  FROM sweep
  JOIN sweep_run ON sweep_run.sweep = sweep.id;
