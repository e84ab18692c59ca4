-- Who may call the coordinator over the network, and what they did.

CREATE TABLE access_token (
  id          TEXT PRIMARY KEY,           -- 16 hex digits; public
  hash        TEXT NOT NULL,              -- SHA-256 of the token's text, which is stored nowhere
  role        TEXT NOT NULL,              -- viewer | submitter | operator | admin; worker: it joins one worker
  note        TEXT NOT NULL,              -- for people: whose it is
  worker      TEXT NOT NULL,              -- role worker: the only id that may join; '': any new one
  created_ms  INTEGER NOT NULL,           -- wall clock, as all times here
  expires_ms  INTEGER NOT NULL,
  ended_ms    INTEGER,                    -- revoked, or used to join; null: neither
  ended_by    TEXT NOT NULL,              -- who revoked it, or the worker that joined
  sum         INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The newest certificate of each worker that has joined.
CREATE TABLE worker_certificate (
  worker      TEXT PRIMARY KEY,           -- its id, the certificate's common name
  serial      TEXT NOT NULL,              -- hex digits
  issued_ms   INTEGER NOT NULL,
  expires_ms  INTEGER NOT NULL,
  revoked_ms  INTEGER,                    -- null: it is not revoked
  sum         INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Every call that changes something, and every refusal. The oldest rows are removed.
CREATE TABLE audit (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms       INTEGER NOT NULL,
  principal   TEXT NOT NULL,              -- 'local', 'token ID', 'worker ID' or 'nobody'
  role        TEXT NOT NULL,              -- '' of nobody
  peer        TEXT NOT NULL,              -- address, as gRPC writes it; '' if it is not known
  method      TEXT NOT NULL,              -- of the call, without its service
  subject     TEXT NOT NULL,              -- what the call was about; '' if it does not say
  outcome     TEXT NOT NULL,              -- OK, or the code of the error
  message     TEXT NOT NULL,              -- of the error
  repeats     INTEGER NOT NULL,           -- how many such entries this row stands for
  sum         INTEGER NOT NULL DEFAULT 0
) STRICT;
