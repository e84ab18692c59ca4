-- The first schema. Words: architecture.md section 2. Times are milliseconds: *_wall_ms of the wall
-- clock, for display only. Foreign keys are deferred: a transaction is whole, its rows come in any
-- order.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE dataset (
  name         TEXT PRIMARY KEY,
  digest       TEXT NOT NULL,
  folder       TEXT NOT NULL,
  tokenizer    TEXT NOT NULL,             -- fingerprint
  vocab_size   INTEGER NOT NULL,
  split_tokens TEXT NOT NULL              -- {"train": n, ...}
) STRICT;

CREATE TABLE sweep (
  id                TEXT PRIMARY KEY,     -- ULID
  name              TEXT NOT NULL,
  digest            TEXT NOT NULL,        -- of what it asks for: the same file again is the same sweep
  submitted_seq     INTEGER NOT NULL,     -- the newest of a name has the largest
  submitted_wall_ms INTEGER NOT NULL,
  cancelled         INTEGER NOT NULL CHECK (cancelled IN (0, 1)),
  yaml              TEXT NOT NULL,        -- the submitted bytes
  file_name         TEXT NOT NULL,
  overrides         TEXT NOT NULL,        -- [[path, value], ...]
  labels            TEXT NOT NULL,
  axes              TEXT NOT NULL         -- axis paths in matrix order
) STRICT;
CREATE INDEX sweep_by_name ON sweep (name, submitted_seq);

CREATE TABLE run (
  run_key        TEXT PRIMARY KEY,
  run            TEXT NOT NULL,           -- canonical JSON: run_key is its SHA-256
  position       TEXT NOT NULL,
  train_length   INTEGER NOT NULL,
  seed           INTEGER NOT NULL,
  dataset_name   TEXT NOT NULL,
  dataset_digest TEXT NOT NULL,
  dataset_path   TEXT NOT NULL,
  execution      TEXT                     -- decided with the first attempt
) STRICT;

CREATE TABLE sweep_run (
  sweep   TEXT NOT NULL REFERENCES sweep (id) DEFERRABLE INITIALLY DEFERRED,
  ordinal INTEGER NOT NULL,
  run_key TEXT NOT NULL REFERENCES run (run_key) DEFERRABLE INITIALLY DEFERRED,
  axes    TEXT NOT NULL,                  -- axis path -> value, in this sweep
  PRIMARY KEY (sweep, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX sweep_run_by_run ON sweep_run (run_key);

-- The numbers that a sweep's table shows.
CREATE TABLE sweep_cell (
  sweep   TEXT NOT NULL REFERENCES sweep (id) DEFERRABLE INITIALLY DEFERRED,
  ordinal INTEGER NOT NULL,               -- of the run
  cell    TEXT NOT NULL,
  PRIMARY KEY (sweep, ordinal, cell)
) STRICT, WITHOUT ROWID;

CREATE TABLE task (
  id                  TEXT PRIMARY KEY,   -- task key
  run_key             TEXT NOT NULL REFERENCES run (run_key) DEFERRABLE INITIALLY DEFERRED,
  kind                TEXT NOT NULL CHECK (kind IN ('train', 'evaluate')),
  state               TEXT NOT NULL CHECK (state IN ('BLOCKED', 'READY', 'RESERVED', 'RUNNING',
                          'STOPPING', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'SKIPPED')),
  cancel_wanted       INTEGER NOT NULL CHECK (cancel_wanted IN (0, 1)),
  reason              TEXT NOT NULL,
  priority            INTEGER NOT NULL,
  ready_seq           INTEGER NOT NULL,
  retry_round         INTEGER NOT NULL,
  epoch               INTEGER NOT NULL,   -- fencing token of the newest attempt
  attempts            INTEGER NOT NULL,
  attempt             TEXT NOT NULL,      -- newest, or ''
  result_attempt      TEXT NOT NULL,      -- the one that counts, once succeeded, or ''
  failures            INTEGER NOT NULL,
  losses              INTEGER NOT NULL,
  failures_max        INTEGER NOT NULL,
  losses_max          INTEGER NOT NULL,
  needs               TEXT NOT NULL,      -- task key that must succeed first, or ''
  device_kind         TEXT NOT NULL,
  avoid_worker        TEXT NOT NULL,
  evaluation          TEXT,
  expected_cells      TEXT NOT NULL,
  checkpoint_every_ms INTEGER NOT NULL,
  checkpoint_keep     INTEGER NOT NULL,
  checkpoints         TEXT NOT NULL,      -- list of references, by step
  best_checkpoint     TEXT,
  final_checkpoint    TEXT
) STRICT;
CREATE INDEX task_by_run ON task (run_key);

CREATE TABLE sweep_task (
  sweep TEXT NOT NULL REFERENCES sweep (id) DEFERRABLE INITIALLY DEFERRED,
  task  TEXT NOT NULL REFERENCES task (id) DEFERRABLE INITIALLY DEFERRED,
  PRIMARY KEY (sweep, task)
) STRICT, WITHOUT ROWID;

-- The task that owes or has a number.
CREATE TABLE cell (
  cell TEXT PRIMARY KEY,
  task TEXT NOT NULL REFERENCES task (id) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TABLE worker (
  id              TEXT PRIMARY KEY,
  incarnation     TEXT NOT NULL,
  host            TEXT NOT NULL,
  version         TEXT NOT NULL,
  slots           TEXT NOT NULL,
  dataset_digests TEXT NOT NULL
) STRICT;

CREATE TABLE attempt (
  id                TEXT PRIMARY KEY,     -- ULID
  task              TEXT NOT NULL REFERENCES task (id) DEFERRABLE INITIALLY DEFERRED,
  n                 INTEGER NOT NULL,
  epoch             INTEGER NOT NULL,
  state             TEXT NOT NULL CHECK (state IN ('OFFERED', 'ACCEPTED', 'RUNNING', 'SUCCEEDED',
                        'FAILED', 'PREEMPTED', 'CANCELLED', 'LOST', 'REJECTED')),
  worker            TEXT NOT NULL,
  device_index      INTEGER NOT NULL,     -- of the slot; -1: adopted, slot unknown
  resume            TEXT,                 -- the checkpoint it started from
  resume_attempt    TEXT,                 -- the same, for the views
  resume_step       INTEGER,
  durable_seq       INTEGER NOT NULL,     -- journal records stored
  failure_class     TEXT NOT NULL,
  message           TEXT NOT NULL,
  started_wall_ms   INTEGER NOT NULL,
  ended_wall_ms     INTEGER NOT NULL,
  end_stored        INTEGER NOT NULL CHECK (end_stored IN (0, 1)),
  UNIQUE (task, epoch)
) STRICT;
-- What must never be: two live attempts of a task, or on a slot.
CREATE UNIQUE INDEX attempt_live_of_task ON attempt (task)
  WHERE state IN ('OFFERED', 'ACCEPTED', 'RUNNING');
CREATE UNIQUE INDEX attempt_live_of_slot ON attempt (worker, device_index)
  WHERE state IN ('OFFERED', 'ACCEPTED', 'RUNNING') AND device_index >= 0;

-- Journal records as they came, but for well-formed ones of kind result and series.
CREATE TABLE record (
  attempt TEXT NOT NULL REFERENCES attempt (id) DEFERRABLE INITIALLY DEFERRED,
  seq     INTEGER NOT NULL,
  kind    TEXT NOT NULL,
  step    INTEGER,
  t_ms    INTEGER NOT NULL,
  line    TEXT NOT NULL,
  PRIMARY KEY (attempt, seq)
) STRICT, WITHOUT ROWID;

-- One measured number (contracts.md section 2). Rows of attempts that do not count stay as history;
-- the view `results` leaves them out.
CREATE TABLE result (
  attempt        TEXT NOT NULL REFERENCES attempt (id) DEFERRABLE INITIALLY DEFERRED,
  seq            INTEGER NOT NULL,
  task           TEXT NOT NULL,
  run_key        TEXT NOT NULL,
  cell           TEXT NOT NULL,
  metric         TEXT NOT NULL,
  context_length INTEGER,
  split          TEXT,
  protocol       TEXT,
  averaging      TEXT,
  depth          REAL,
  variant        TEXT,
  value          REAL,
  se             REAL,
  n              INTEGER,
  nll_sum        REAL,
  bytes          INTEGER,
  status         TEXT NOT NULL,
  extra          TEXT NOT NULL,
  t_ms           INTEGER NOT NULL,
  line           TEXT NOT NULL,
  PRIMARY KEY (attempt, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX result_once ON result
  (attempt, cell, metric, ifnull(context_length, -1), ifnull(variant, ''), ifnull(depth, -1));

CREATE TABLE metric_name (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE series (
  attempt TEXT NOT NULL REFERENCES attempt (id) DEFERRABLE INITIALLY DEFERRED,
  metric  INTEGER NOT NULL REFERENCES metric_name (id),
  step    INTEGER NOT NULL,
  value   REAL,                           -- null: not a finite number
  t_ms    INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  PRIMARY KEY (attempt, metric, step)
) STRICT, WITHOUT ROWID;

-- Checkpoints whose bytes are in the artifact store, in the order in which they were stored.
CREATE TABLE checkpoint (
  ordinal  INTEGER PRIMARY KEY,
  attempt  TEXT NOT NULL REFERENCES attempt (id) DEFERRABLE INITIALLY DEFERRED,
  seq      INTEGER NOT NULL,
  task     TEXT NOT NULL,
  step     INTEGER NOT NULL,
  sha256   TEXT NOT NULL,                 -- of manifest.json
  is_final INTEGER NOT NULL CHECK (is_final IN (0, 1)),
  is_best  INTEGER NOT NULL CHECK (is_best IN (0, 1)),
  UNIQUE (attempt, seq)
) STRICT;
CREATE INDEX checkpoint_by_task ON checkpoint (task, sha256);
CREATE INDEX checkpoint_by_digest ON checkpoint (sha256);

CREATE TABLE checkpoint_file (
  checkpoint TEXT NOT NULL,               -- sha256 of the manifest
  name       TEXT NOT NULL,
  sha256     TEXT NOT NULL,
  bytes      INTEGER NOT NULL,
  PRIMARY KEY (checkpoint, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX checkpoint_file_by_digest ON checkpoint_file (sha256);

CREATE TABLE artifact (
  attempt TEXT NOT NULL REFERENCES attempt (id) DEFERRABLE INITIALLY DEFERRED,
  seq     INTEGER NOT NULL,
  task    TEXT NOT NULL,
  name    TEXT NOT NULL,
  sha256  TEXT NOT NULL,
  bytes   INTEGER NOT NULL,
  PRIMARY KEY (attempt, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX artifact_by_digest ON artifact (sha256);

-- Every state change, once.
CREATE TABLE transition (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  wall_ms    INTEGER NOT NULL,
  subject    TEXT NOT NULL,               -- task | attempt
  id         TEXT NOT NULL,
  from_state TEXT NOT NULL,
  to_state   TEXT NOT NULL,
  reason     TEXT NOT NULL
) STRICT;
CREATE INDEX transition_by_subject ON transition (id, seq);

-- ---- views, for people -----------------------------------------------------------------------

-- The rows that count.
CREATE VIEW results AS
  SELECT r.task, r.run_key, run.position, run.train_length, run.dataset_name AS dataset, run.seed,
         r.metric, r.context_length, r.split, r.protocol, r.averaging, r.depth, r.variant,
         r.value, r.se, r.n, r.nll_sum, r.bytes, r.status, r.extra, r.cell, r.attempt, r.seq,
         CASE WHEN r.metric = 'nll' AND r.n > 0 THEN exp(r.nll_sum / r.n) END AS perplexity
  FROM task
  JOIN result r ON r.attempt = task.result_attempt
  JOIN run ON run.run_key = task.run_key
  WHERE task.result_attempt <> '';

-- Which attempts a task's curve is made of: the newest (or the one that counts), and what it resumed
-- from, each up to the step at which the next one took over.
CREATE VIEW lineage AS
  WITH RECURSIVE line (task, attempt, step_first, step_last) AS (
    SELECT task.id, attempt.id, ifnull(attempt.resume_step + 1, 0), 9223372036854775807
    FROM task
    JOIN attempt ON attempt.id = CASE task.result_attempt WHEN '' THEN task.attempt
                                                          ELSE task.result_attempt END
    UNION
    SELECT line.task, parent.id, ifnull(parent.resume_step + 1, 0), line.step_first - 1
    FROM line
    JOIN attempt child ON child.id = line.attempt
    JOIN attempt parent ON parent.id = child.resume_attempt
  )
  SELECT task, attempt, step_first, step_last FROM line;

CREATE VIEW curves AS
  SELECT lineage.task, task.run_key, metric_name.name AS metric, series.step, series.value,
         series.t_ms, series.attempt
  FROM lineage
  JOIN task ON task.id = lineage.task
  JOIN series ON series.attempt = lineage.attempt
             AND series.step BETWEEN lineage.step_first AND lineage.step_last
  JOIN metric_name ON metric_name.id = series.metric;
