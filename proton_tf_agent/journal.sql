-- Every query of the journal, by name. `journal.py` reads this file; nothing else in the house speaks SQL.

-- name: schema
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE cursor (                 -- how far each file has been read
  path TEXT PRIMARY KEY,
  body BLOB NOT NULL                  -- domain.evidence.Cursor as JSON
) STRICT, WITHOUT ROWID;

CREATE TABLE run (
  run_id         TEXT PRIMARY KEY,
  directory      TEXT NOT NULL,
  workspace      TEXT,
  status         TEXT NOT NULL,
  started_at     REAL NOT NULL,
  ended_at       REAL,
  anchor         TEXT NOT NULL,
  lock_id        TEXT NOT NULL,
  resource_arn   TEXT,
  deployment_id  TEXT,
  binding        BLOB,                -- domain.binding.Binding as JSON, frozen once found
  unbound_reason TEXT NOT NULL,
  body           BLOB NOT NULL,       -- domain.run.Run as JSON
  silence        TEXT NOT NULL DEFAULT '',  -- why no outcome was told when it ended; empty where one was
  record_id      TEXT NOT NULL DEFAULT ''   -- of the wrapper's record; empty where no wrapper was
) STRICT, WITHOUT ROWID;
CREATE INDEX run_open ON run (started_at) WHERE ended_at IS NULL;
CREATE INDEX run_anchor ON run (anchor) WHERE anchor <> '';
CREATE INDEX run_lock ON run (lock_id) WHERE lock_id <> '';
CREATE INDEX run_record ON run (record_id) WHERE record_id <> '';
CREATE INDEX run_started ON run (started_at);
CREATE INDEX run_directory ON run (directory, started_at);

CREATE TABLE evidence (               -- the facts a run's story is told from, oldest first
  id     INTEGER PRIMARY KEY,
  run_id TEXT NOT NULL,
  at     REAL NOT NULL,
  source TEXT NOT NULL,
  path   TEXT NOT NULL,
  kind   TEXT NOT NULL,
  fields BLOB NOT NULL,
  status TEXT,                        -- the status the run took by it, if it took one
  reason TEXT,
  position INTEGER                    -- bytes from the run's first log line; NULL for what is no line of a log
) STRICT;
CREATE INDEX evidence_run ON evidence (run_id, id);

CREATE TABLE outbox (                 -- one row for each notification and sink; states: domain.outbox.EntryState
  seq             INTEGER PRIMARY KEY AUTOINCREMENT,   -- never reused: it is the order within a line
  notification_id TEXT NOT NULL,
  run_id          TEXT NOT NULL,
  sink            TEXT NOT NULL,
  resource_arn    TEXT NOT NULL,
  deployment_id   TEXT,
  status          TEXT NOT NULL,
  body            BLOB NOT NULL,      -- domain.notification.Notification as JSON
  checksum        TEXT NOT NULL,
  state           TEXT NOT NULL,
  attempts        INTEGER NOT NULL,
  due_at          REAL NOT NULL,
  reason          TEXT NOT NULL,
  created_at      REAL NOT NULL,
  run_started_at  REAL NOT NULL,      -- the last word about a resource is that of the run that began last
  settled_at      REAL,
  superseded_by   INTEGER,
  replay_of       INTEGER
) STRICT;
CREATE UNIQUE INDEX outbox_once ON outbox (notification_id, sink) WHERE replay_of IS NULL;
CREATE INDEX outbox_active ON outbox (sink, resource_arn, seq) WHERE state IN ('pending', 'sending', 'retryable');
CREATE INDEX outbox_run ON outbox (run_id);
CREATE INDEX outbox_resource ON outbox (resource_arn, seq);
CREATE INDEX outbox_parked ON outbox (seq) WHERE state = 'parked';
CREATE TRIGGER outbox_body_is_immutable BEFORE UPDATE OF body, checksum, notification_id, sink, resource_arn ON outbox
BEGIN SELECT RAISE(ABORT, 'the body of an outbox entry never changes'); END;

CREATE TABLE attempt (                -- every request made, or about to be made when a crash came
  id          INTEGER PRIMARY KEY,
  seq         INTEGER NOT NULL,
  started_at  REAL NOT NULL,
  finished_at REAL,
  outcome     TEXT,                   -- domain.outbox.OutcomeKind, or 'interrupted'
  code        TEXT,
  http_status INTEGER,
  request_id  TEXT,
  ambiguous   INTEGER
) STRICT;
CREATE INDEX attempt_seq ON attempt (seq, id);

-- name: migrate_1_to_2
-- Bodies are cast, because older versions of SQLite read JSON from text alone.
ALTER TABLE run ADD COLUMN silence TEXT NOT NULL DEFAULT '';
ALTER TABLE evidence ADD COLUMN position INTEGER;
UPDATE cursor SET body = CAST(json_set(CAST(body AS TEXT), '$.marks', json_array(json_object(
    'anchor', json_extract(CAST(body AS TEXT), '$.anchor'),
    'offset', json_extract(CAST(body AS TEXT), '$.anchor_offset'), 'form', 'json'))) AS BLOB)
  WHERE json_extract(CAST(body AS TEXT), '$.anchor') <> '';
UPDATE cursor SET body = CAST(json_remove(CAST(body AS TEXT), '$.anchor', '$.anchor_offset') AS BLOB);
UPDATE run SET body = CAST(json_set(CAST(body AS TEXT), '$.form', 'json') AS BLOB) WHERE anchor <> '';
UPDATE run SET body = CAST(json_set(CAST(body AS TEXT), '$.basis', 4) AS BLOB)
  WHERE json_extract(CAST(body AS TEXT), '$.basis') = 3;
UPDATE run SET body = CAST(json_set(CAST(body AS TEXT), '$.verdict.basis', 4) AS BLOB)
  WHERE json_extract(CAST(body AS TEXT), '$.verdict.basis') = 3;
UPDATE run SET silence = CASE
    WHEN json_extract(CAST(body AS TEXT), '$.historic') THEN 'it was over before the agent first watched its root'
    WHEN resource_arn IS NULL THEN unbound_reason
    ELSE 'the agent of that time did not record why' END
  WHERE ended_at IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM outbox WHERE outbox.run_id = run.run_id AND outbox.status <> 'IN_PROGRESS');

-- name: migrate_2_to_3
ALTER TABLE run ADD COLUMN record_id TEXT NOT NULL DEFAULT '';
CREATE INDEX run_record ON run (record_id) WHERE record_id <> '';

-- name: meta
SELECT value FROM meta WHERE key = :key

-- name: put_meta_once
INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO NOTHING

-- name: put_meta
INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value

-- name: cursors
SELECT body FROM cursor
-- name: put_cursor
INSERT INTO cursor (path, body) VALUES (:path, :body) ON CONFLICT (path) DO UPDATE SET body = excluded.body
-- name: forget_cursor
DELETE FROM cursor WHERE path = :path

-- name: put_run
INSERT INTO run (run_id, directory, workspace, status, started_at, ended_at, anchor, lock_id, resource_arn,
                 deployment_id, binding, unbound_reason, silence, record_id, body)
VALUES (:run_id, :directory, :workspace, :status, :started_at, :ended_at, :anchor, :lock_id, :resource_arn,
        :deployment_id, :binding, :unbound_reason, :silence, :record_id, :body)
ON CONFLICT (run_id) DO UPDATE SET
  directory = excluded.directory, workspace = excluded.workspace, status = excluded.status,
  started_at = excluded.started_at, ended_at = excluded.ended_at, anchor = excluded.anchor,
  lock_id = excluded.lock_id, resource_arn = excluded.resource_arn, deployment_id = excluded.deployment_id,
  binding = excluded.binding, unbound_reason = excluded.unbound_reason, silence = excluded.silence,
  record_id = excluded.record_id, body = excluded.body
-- name: delete_run
DELETE FROM run WHERE run_id = :run_id
-- name: delete_evidence_of_run
DELETE FROM evidence WHERE run_id = :run_id
-- name: open_runs
SELECT body, binding, unbound_reason, silence FROM run WHERE ended_at IS NULL ORDER BY started_at
-- name: run
SELECT body, binding, unbound_reason, silence FROM run WHERE run_id = :run_id
-- name: run_by_anchor
SELECT body, binding, unbound_reason, silence FROM run WHERE anchor = :anchor AND anchor <> ''
-- name: run_by_lock
SELECT body, binding, unbound_reason, silence FROM run WHERE lock_id = :lock_id AND lock_id <> ''
-- name: run_by_record
SELECT body, binding, unbound_reason, silence FROM run WHERE record_id = :record_id AND record_id <> ''
-- name: runs
SELECT body, binding, unbound_reason, silence FROM run
ORDER BY started_at DESC, (SELECT min(id) FROM evidence WHERE run_id = run.run_id) DESC LIMIT :limit
-- name: runs_in
SELECT body, binding, unbound_reason, silence FROM run WHERE directory = :directory
ORDER BY started_at DESC, (SELECT min(id) FROM evidence WHERE run_id = run.run_id) DESC LIMIT :limit
-- name: runs_around
-- '0' is the character behind '/': a range of the index over directories, not a scan.
SELECT body, binding, unbound_reason, silence FROM run
WHERE (directory = :directory OR (directory > :below AND directory < :behind)) AND started_at <= :before
ORDER BY started_at DESC, (SELECT min(id) FROM evidence WHERE run_id = run.run_id) DESC LIMIT :limit
-- name: count_runs
SELECT count(*) FROM run

-- name: put_evidence
INSERT INTO evidence (run_id, at, source, path, position, kind, fields, status, reason)
VALUES (:run_id, :at, :source, :path, :position, :kind, :fields, :status, :reason)
-- name: evidence_of_run
SELECT at, source, path, position, kind, fields, status, reason FROM evidence WHERE run_id = :run_id ORDER BY id
-- name: last_of_kind
SELECT max(at) AS at FROM evidence WHERE run_id = :run_id AND kind = :kind

-- name: supersede
-- An unsent IN_PROGRESS of the same deployment is pointless once more is known; so is whatever of an older
-- deployment of the resource was never attempted. Older: nothing of the present one was told before it.
UPDATE outbox SET state = 'superseded', superseded_by = :seq, settled_at = :now, reason = 'superseded'
WHERE sink = :sink AND resource_arn = :resource_arn AND seq < :seq AND state = 'pending' AND attempts = 0
  AND replay_of IS NULL AND CASE WHEN deployment_id IS :deployment_id THEN status = 'IN_PROGRESS' ELSE NOT EXISTS (
    SELECT 1 FROM outbox AS told WHERE told.sink = :sink AND told.resource_arn = :resource_arn
    AND told.seq < outbox.seq AND told.deployment_id IS :deployment_id AND told.replay_of IS NULL) END
RETURNING seq, notification_id
-- name: overtaken_by
-- Runs that began later and have told their end already: if the earlier one was over by then, what it has to say comes
-- too late. So does what a mere plan has to say of a deployment that has ended since the plan began (`done`).
SELECT seq, run_id, (:plans AND deployment_id IS :deployment_id AND created_at >= :run_started_at) AS done
FROM outbox WHERE sink = :sink AND resource_arn = :resource_arn
  AND (run_started_at > :run_started_at
       OR (:plans AND deployment_id IS :deployment_id AND created_at >= :run_started_at AND run_id <> :run_id))
  AND status <> 'IN_PROGRESS' AND state <> 'superseded' AND replay_of IS NULL ORDER BY seq DESC
-- name: line_is_busy
SELECT 1 FROM outbox WHERE sink = :sink AND resource_arn = :resource_arn
  AND state IN ('pending', 'sending', 'retryable') LIMIT 1
-- name: notification_exists
SELECT 1 FROM outbox WHERE notification_id = :notification_id AND sink = :sink AND replay_of IS NULL
-- name: enqueue
INSERT INTO outbox (notification_id, run_id, sink, resource_arn, deployment_id, status, body, checksum, state,
                    attempts, due_at, reason, created_at, run_started_at, settled_at, superseded_by, replay_of)
VALUES (:notification_id, :run_id, :sink, :resource_arn, :deployment_id, :status, :body, :checksum, :state,
        :attempts, :due_at, :reason, :created_at, :run_started_at, :settled_at, :superseded_by, :replay_of)
-- name: heads
-- The first active entry of every line (sink, resource ARN) that is due; the partial index makes this a walk over
-- open rows. A due date further away than any retry waits means that the clock was set back: due now.
SELECT seq, sink, body, checksum, state, attempts, due_at, reason, replay_of FROM outbox
WHERE state IN ('pending', 'sending', 'retryable') AND seq IN (
  SELECT min(seq) FROM outbox WHERE state IN ('pending', 'sending', 'retryable') GROUP BY sink, resource_arn)
  AND (state <> 'retryable' OR due_at <= :now OR due_at > :now + :furthest)
  AND sink IN (SELECT value FROM json_each(:sinks))
ORDER BY seq LIMIT :limit
-- name: next_due
SELECT min(due_at) AS due_at FROM outbox
WHERE state IN ('pending', 'sending', 'retryable') AND state = 'retryable' AND due_at > :now
-- name: begin_attempt
UPDATE outbox SET state = 'sending', attempts = attempts + 1
WHERE seq = :seq AND state IN ('pending', 'retryable', 'sending')
-- name: put_attempt
INSERT INTO attempt (seq, started_at) VALUES (:seq, :started_at)
-- name: finish_attempt
UPDATE attempt SET finished_at = :now, outcome = :outcome, code = :code, http_status = :http_status,
                   request_id = :request_id, ambiguous = :ambiguous
WHERE seq = :seq AND finished_at IS NULL
-- name: interrupt_attempts
UPDATE attempt SET finished_at = :now, outcome = 'interrupted', ambiguous = 1 WHERE finished_at IS NULL
-- name: resume_sending
UPDATE outbox SET state = 'retryable', due_at = :now, reason = 'interrupted' WHERE state = 'sending'
-- name: settle
UPDATE outbox SET state = :state, due_at = :due_at, reason = :reason, settled_at = :settled_at WHERE seq = :seq
-- name: park_damaged
UPDATE outbox SET state = 'parked', reason = 'checksum', settled_at = :now WHERE seq = :seq

-- name: entry
SELECT * FROM outbox WHERE seq = :seq
-- name: entries_by_notification
SELECT * FROM outbox WHERE notification_id = :notification_id ORDER BY seq
-- name: entries_of_run
SELECT * FROM outbox WHERE run_id = :run_id ORDER BY seq

-- name: entries
SELECT * FROM outbox WHERE seq > :after ORDER BY seq LIMIT :limit
-- name: last_entries
SELECT * FROM (SELECT * FROM outbox ORDER BY seq DESC LIMIT :limit) ORDER BY seq
-- name: parked_entries
SELECT * FROM outbox WHERE state = 'parked' ORDER BY seq
-- name: originals
SELECT * FROM outbox WHERE replay_of IS NULL AND state <> 'superseded' ORDER BY seq

-- name: attempts_of_entry
SELECT started_at, finished_at, outcome, code, http_status, request_id, ambiguous FROM attempt
WHERE seq = :seq ORDER BY id
-- name: count_active
SELECT sink, state, count(*) AS entries, min(created_at) AS oldest_at, min(due_at) AS next_due_at FROM outbox
WHERE state IN ('pending', 'sending', 'retryable') GROUP BY sink, state
-- name: count_parked
SELECT count(*) FROM outbox WHERE state = 'parked'

-- name: last_terminal
SELECT notification_id, deployment_id, status, seq FROM outbox
WHERE sink = :sink AND resource_arn = :resource_arn AND status <> 'IN_PROGRESS' AND replay_of IS NULL
  AND state <> 'superseded' ORDER BY seq DESC LIMIT 1
