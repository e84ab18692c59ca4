-- The SHA-256 of the worker's public key: a certificate with another key was replaced when the worker joined again. ''
-- for a certificate that an earlier release issued, until it is renewed.
ALTER TABLE worker_certificate ADD COLUMN key TEXT NOT NULL DEFAULT '';
