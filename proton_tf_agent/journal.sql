-- Every query of the journal, by name. `journal.py` reads this file; nothing else in the house speaks SQL.

-- name: schema
-- The last column of every table is the row's seal: a checksum over all others in their order. A new column is added by
-- a migration, behind them, so that new and migrated journals have one order.
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL,
  seal  TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE TABLE cursor (                 -- how far each file has been read
  path TEXT PRIMARY KEY,
  body BLOB NOT NULL,                 -- domain.evidence.Cursor as JSON
  seal TEXT NOT NULL DEFAULT ''
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
  record_id      TEXT NOT NULL DEFAULT '',  -- of the wrapper's record; empty where no wrapper was
  seal           TEXT NOT NULL DEFAULT ''
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
  position INTEGER,                   -- bytes from the run's first log line; NULL for what is no line of a log
  seal   TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX evidence_run ON evidence (run_id, id);

CREATE TABLE outbox (                 -- one row for each notification and sink; states: domain.outbox.EntryState
  seq             INTEGER PRIMARY KEY AUTOINCREMENT,   -- never reused: it is the order within a line
  notification_id TEXT NOT NULL,
  run_id          TEXT NOT NULL,
  sink            TEXT NOT NULL,
  resource_arn    TEXT NOT NULL,      -- Notification.subject: the ARN; of who has none the name or the directory
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
  replay_of       INTEGER,            -- the entry that is said again: asked for by a person, or a reassertion
  failing         TEXT,               -- domain.outbox.Trouble: what keeps failing, how often, seconds waited over it
  times           INTEGER NOT NULL DEFAULT 0,
  waited          REAL NOT NULL DEFAULT 0,
  reduced         INTEGER NOT NULL DEFAULT 0,
  suspect         INTEGER NOT NULL DEFAULT 0,
  reassertion     INTEGER NOT NULL DEFAULT 0,
  seal            TEXT NOT NULL DEFAULT ''
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
  ambiguous   INTEGER,
  seal        TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX attempt_seq ON attempt (seq, id);

CREATE TABLE circuit (                -- sinks that are held up as a whole (domain.circuit.Circuit); none: all work
  sink     TEXT PRIMARY KEY,
  held_for TEXT NOT NULL,
  code     TEXT NOT NULL,
  since    REAL NOT NULL,
  probes   INTEGER NOT NULL,
  waited   REAL NOT NULL,
  seal     TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE TABLE filler (                 -- room that is given back when the disk is full
  id    INTEGER PRIMARY KEY,
  bytes BLOB NOT NULL
) STRICT;

-- name: stamp
-- Twice, so that one that has rotted is found out.
PRAGMA user_version = 4;
INSERT OR REPLACE INTO meta VALUES ('schema_version', '4', seal_of('meta', 'schema_version', '4'));

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

-- name: migrate_3_to_4
ALTER TABLE meta ADD COLUMN seal TEXT NOT NULL DEFAULT '';
ALTER TABLE cursor ADD COLUMN seal TEXT NOT NULL DEFAULT '';
ALTER TABLE run ADD COLUMN seal TEXT NOT NULL DEFAULT '';
ALTER TABLE evidence ADD COLUMN seal TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN failing TEXT;
ALTER TABLE outbox ADD COLUMN times INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN waited REAL NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN reduced INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN suspect INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN reassertion INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN seal TEXT NOT NULL DEFAULT '';
ALTER TABLE attempt ADD COLUMN seal TEXT NOT NULL DEFAULT '';
CREATE TABLE circuit (
  sink TEXT PRIMARY KEY, held_for TEXT NOT NULL, code TEXT NOT NULL, since REAL NOT NULL, probes INTEGER NOT NULL,
  waited REAL NOT NULL, seal TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE TABLE filler (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
UPDATE meta SET seal = seal_of('meta', key, value);
UPDATE cursor SET seal = seal_of('cursor', path, body);
UPDATE run SET seal = seal_of('run', run_id, directory, workspace, status, started_at, ended_at, anchor, lock_id,
  resource_arn, deployment_id, binding, unbound_reason, body, silence, record_id);
UPDATE evidence SET seal = seal_of('evidence', id, run_id, at, source, path, kind, fields, status, reason, position);
UPDATE outbox SET seal = seal_of('outbox', seq, notification_id, run_id, sink, resource_arn, deployment_id, status,
  body, checksum, state, attempts, due_at, reason, created_at, run_started_at, settled_at, superseded_by, replay_of,
  failing, times, waited, reduced, suspect, reassertion);
UPDATE attempt SET seal = seal_of('attempt', id, seq, started_at, finished_at, outcome, code, http_status, request_id,
  ambiguous);

-- name: meta
SELECT value FROM meta WHERE key = :key

-- name: put_meta_once
INSERT INTO meta (key, value, seal) VALUES (:key, :value, seal_of('meta', :key, :value)) ON CONFLICT (key) DO NOTHING

-- name: put_meta
INSERT INTO meta (key, value, seal) VALUES (:key, :value, seal_of('meta', :key, :value))
ON CONFLICT (key) DO UPDATE SET value = excluded.value, seal = excluded.seal

-- name: cursors
SELECT body FROM cursor
-- name: put_cursor
INSERT INTO cursor (path, body, seal) VALUES (:path, :body, seal_of('cursor', :path, :body))
ON CONFLICT (path) DO UPDATE SET body = excluded.body, seal = excluded.seal
-- name: forget_cursor
DELETE FROM cursor WHERE path = :path

-- name: put_run
INSERT INTO run (run_id, directory, workspace, status, started_at, ended_at, anchor, lock_id, resource_arn,
                 deployment_id, binding, unbound_reason, silence, record_id, body, seal)
VALUES (:run_id, :directory, :workspace, :status, :started_at, :ended_at, :anchor, :lock_id, :resource_arn,
        :deployment_id, :binding, :unbound_reason, :silence, :record_id, :body,
        seal_of('run', :run_id, :directory, :workspace, :status, :started_at, :ended_at, :anchor, :lock_id,
          :resource_arn, :deployment_id, :binding, :unbound_reason, :body, :silence, :record_id))
ON CONFLICT (run_id) DO UPDATE SET
  directory = excluded.directory, workspace = excluded.workspace, status = excluded.status,
  started_at = excluded.started_at, ended_at = excluded.ended_at, anchor = excluded.anchor,
  lock_id = excluded.lock_id, resource_arn = excluded.resource_arn, deployment_id = excluded.deployment_id,
  binding = excluded.binding, unbound_reason = excluded.unbound_reason, silence = excluded.silence,
  record_id = excluded.record_id, body = excluded.body, seal = excluded.seal
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
-- name: count_ever
-- Numbers are never given twice, so the last one counts all that ever were.
SELECT coalesce((SELECT max(seq) FROM outbox), 0) AS entries, coalesce((SELECT max(id) FROM attempt), 0) AS attempts

-- name: put_evidence
INSERT INTO evidence (run_id, at, source, path, position, kind, fields, status, reason)
VALUES (:run_id, :at, :source, :path, :position, :kind, :fields, :status, :reason)
-- name: seal_evidence
UPDATE evidence SET seal = seal_of('evidence', id, run_id, at, source, path, kind, fields, status, reason, position)
WHERE id = :id
-- name: evidence_of_run
SELECT at, source, path, position, kind, fields, status, reason FROM evidence WHERE run_id = :run_id ORDER BY id
-- name: last_evidence
SELECT max(at) AS at FROM evidence WHERE run_id = :run_id
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
-- too late. So does what a mere plan has to say of a deployment that has ended since the plan began (`done`). Clocks may
-- be set back: a run that began when such an end had been told, of which something was told since, or while the other
-- lies in the future, is the later one.
SELECT seq, run_id, (:plans AND deployment_id IS :deployment_id AND created_at >= :run_started_at) AS done
FROM outbox WHERE sink = :sink AND resource_arn = :resource_arn
  AND (run_started_at > :run_started_at
       OR (:plans AND deployment_id IS :deployment_id AND created_at >= :run_started_at AND run_id <> :run_id))
  AND status <> 'IN_PROGRESS' AND state <> 'superseded' AND replay_of IS NULL
  AND created_at BETWEEN :run_started_at AND :now AND run_started_at <= :now
  AND NOT EXISTS (SELECT 1 FROM outbox AS since WHERE since.run_id = :run_id AND since.sink = :sink
    AND since.seq > outbox.seq AND since.state <> 'superseded' AND since.replay_of IS NULL)
ORDER BY seq DESC
-- name: newer_deployment
-- A deployment of the resource that was first told behind the end of this one, whether that end was sent or not.
SELECT newer.deployment_id FROM outbox AS ended CROSS JOIN outbox AS newer ON newer.resource_arn = ended.resource_arn
WHERE ended.resource_arn = :resource_arn AND ended.deployment_id = :deployment_id AND ended.status <> 'IN_PROGRESS'
  AND ended.replay_of IS NULL AND newer.seq > ended.seq AND newer.deployment_id <> :deployment_id AND newer.replay_of IS NULL
  AND NOT EXISTS (SELECT 1 FROM outbox AS before WHERE before.resource_arn = :resource_arn
    AND before.deployment_id = newer.deployment_id AND before.seq < ended.seq AND before.replay_of IS NULL)
LIMIT 1
-- name: known_as
SELECT resource_arn FROM outbox WHERE run_id = :run_id AND sink = :sink ORDER BY seq LIMIT 1
-- name: told_before
-- The terminal status that was last told of a resource before a notification, whichever sink it was for: not what was
-- said again, nor what came too late; what was never sent because more was to be told has been true all the same.
SELECT status FROM outbox WHERE resource_arn = :resource_arn AND status <> 'IN_PROGRESS' AND replay_of IS NULL
  AND (state <> 'superseded' OR superseded_by > seq) AND notification_id <> :notification_id
  AND seq < coalesce((SELECT min(seq) FROM outbox AS told WHERE told.notification_id = :notification_id
    AND told.replay_of IS NULL), 9223372036854775807)
ORDER BY seq DESC LIMIT 1
-- name: line_is_busy
SELECT 1 FROM outbox WHERE sink = :sink AND resource_arn = :resource_arn
  AND state IN ('pending', 'sending', 'retryable') AND NOT (reassertion AND state = 'pending' AND attempts = 0) LIMIT 1
-- name: notification_exists
SELECT 1 FROM outbox WHERE notification_id = :notification_id AND sink = :sink AND replay_of IS NULL
-- name: enqueue
INSERT INTO outbox (notification_id, run_id, sink, resource_arn, deployment_id, status, body, checksum, state,
                    attempts, due_at, reason, created_at, run_started_at, settled_at, superseded_by, replay_of,
                    reassertion)
VALUES (:notification_id, :run_id, :sink, :resource_arn, :deployment_id, :status, :body, :checksum, :state,
        :attempts, :due_at, :reason, :created_at, :run_started_at, :settled_at, :superseded_by, :replay_of,
        :reassertion)
-- name: seal_entry
UPDATE outbox SET seal = seal_of('outbox', seq, notification_id, run_id, sink, resource_arn, deployment_id, status,
  body, checksum, state, attempts, due_at, reason, created_at, run_started_at, settled_at, superseded_by, replay_of,
  failing, times, waited, reduced, suspect, reassertion)
WHERE seq = :seq
-- name: heads
-- The first active entry of every line (sink, resource ARN); the partial index makes this a walk over open rows.
SELECT seq, sink, resource_arn, state = 'sending' AS sending, failing,
       CASE WHEN state = 'retryable' OR reassertion THEN due_at END AS waits_until FROM outbox
WHERE seq IN (
  SELECT min(seq) FROM outbox WHERE state IN ('pending', 'sending', 'retryable')
  AND sink IN (SELECT value FROM json_each(:sinks)) GROUP BY sink, resource_arn)
ORDER BY seq
-- name: begin_attempt
UPDATE outbox SET state = 'sending', attempts = attempts + 1
WHERE seq = :seq AND state IN ('pending', 'retryable')
-- name: put_attempt
INSERT INTO attempt (seq, started_at) VALUES (:seq, :started_at)
-- name: seal_attempt
UPDATE attempt SET seal = seal_of('attempt', id, seq, started_at, finished_at, outcome, code, http_status, request_id,
  ambiguous) WHERE id = :id
-- name: withdraw
UPDATE outbox SET state = 'pending', attempts = attempts - 1 WHERE seq = :seq AND state = 'sending'
-- name: withdraw_attempt
DELETE FROM attempt WHERE seq = :seq AND finished_at IS NULL
-- name: finish_attempt
UPDATE attempt SET finished_at = :now, outcome = :outcome, code = :code, http_status = :http_status,
                   request_id = :request_id, ambiguous = :ambiguous
WHERE seq = :seq AND finished_at IS NULL RETURNING id
-- name: interrupt_attempts
UPDATE attempt SET finished_at = :now, outcome = 'interrupted', ambiguous = 1 WHERE finished_at IS NULL RETURNING id
-- name: resume_sending
UPDATE outbox SET state = 'retryable', due_at = :now, reason = 'interrupted' WHERE state = 'sending' RETURNING seq
-- name: settle
UPDATE outbox SET state = :state, due_at = :due_at, reason = :reason, settled_at = :settled_at, failing = :failing,
                  times = :times, waited = :waited, reduced = :reduced, suspect = :suspect
WHERE seq = :seq AND state = 'sending'
-- name: withdraw_reassertions
-- What a line has to say makes it pointless to say again what it said before; whoever comes last says it again.
UPDATE outbox SET state = 'superseded', superseded_by = :seq, settled_at = :now, reason = 'superseded'
WHERE sink = :sink AND resource_arn = :resource_arn AND state = 'pending' AND attempts = 0 AND reassertion
RETURNING seq
-- name: next_in_line
SELECT min(seq) AS seq FROM outbox WHERE sink = :sink AND resource_arn = :resource_arn
  AND state IN ('pending', 'sending', 'retryable') HAVING min(seq) IS NOT NULL
-- name: last_delivered
SELECT seq FROM outbox WHERE sink = :sink AND resource_arn = :resource_arn AND state = 'delivered' AND seq < :seq
ORDER BY seq DESC LIMIT 1
-- name: may_be_contradicted
-- Whether a request of the line from before `until` may still be on its way that says something else than this terminal
-- status. Those from before the last one that was delivered were its matter, unless saying it again was left to us.
WITH line AS (SELECT * FROM outbox WHERE sink = :sink AND resource_arn = :resource_arn),
  last AS (SELECT coalesce(max(seq), 0) AS seq FROM line
    WHERE seq < :seq AND status <> 'IN_PROGRESS' AND state = 'delivered' AND NOT reassertion)
SELECT 1 FROM line, last WHERE CASE WHEN reassertion
  THEN state = 'superseded' AND superseded_by > last.seq AND superseded_by <= :until
  ELSE line.seq >= last.seq AND line.seq < :until AND notification_id <> :notification_id
    AND EXISTS (SELECT 1 FROM attempt WHERE attempt.seq = line.seq AND ambiguous) END LIMIT 1
-- name: park_damaged
UPDATE outbox SET state = 'parked', reason = 'checksum', settled_at = :now WHERE seq = :seq

-- name: entry
SELECT * FROM outbox WHERE seq = :seq
-- name: entries_by_notification
SELECT * FROM outbox WHERE notification_id = :notification_id ORDER BY seq
-- name: entries_of_run
SELECT * FROM outbox WHERE run_id = :run_id ORDER BY seq
-- name: last_told
-- For each sink the last entry of a run, but what was made pointless or only says once more what was said.
SELECT sink, status, state, attempts, max(seq) AS seq FROM outbox
WHERE run_id = :run_id AND state <> 'superseded' AND NOT reassertion GROUP BY sink ORDER BY sink

-- name: entries
SELECT * FROM outbox WHERE seq > :after ORDER BY seq LIMIT :limit
-- name: last_entries
SELECT * FROM (SELECT * FROM outbox ORDER BY seq DESC LIMIT :limit) ORDER BY seq

-- name: circuits
SELECT sink, held_for, code, since, probes, waited FROM circuit
-- name: put_circuit
INSERT INTO circuit (sink, held_for, code, since, probes, waited, seal)
VALUES (:sink, :held_for, :code, :since, :probes, :waited,
        seal_of('circuit', :sink, :held_for, :code, :since, :probes, :waited))
ON CONFLICT (sink) DO UPDATE SET held_for = excluded.held_for, code = excluded.code, since = excluded.since,
  probes = excluded.probes, waited = excluded.waited, seal = excluded.seal
-- name: close_circuit
DELETE FROM circuit WHERE sink = :sink

-- name: pauses
-- Sinks that a person has paused; ';' is the character behind ':'.
SELECT substr(key, 8) AS sink, value FROM meta WHERE key >= 'paused:' AND key < 'paused;'
-- name: unpause
DELETE FROM meta WHERE key = 'paused:' || :sink
-- name: last_accepted
SELECT max(settled_at) AS at FROM (
  SELECT settled_at FROM outbox WHERE sink = :sink AND state = 'delivered' ORDER BY seq DESC LIMIT 1)

-- name: count_filler
SELECT count(*) FROM filler
-- name: add_filler
INSERT INTO filler (bytes) VALUES (zeroblob(:size))
-- name: release_filler
DELETE FROM filler WHERE id IN (SELECT id FROM filler ORDER BY id DESC LIMIT :pieces)

-- name: reference
-- What the receiver calls a run, as it was heard last.
SELECT request_id FROM attempt JOIN outbox ON outbox.seq = attempt.seq
WHERE outbox.run_id = :run_id AND outbox.sink = :sink AND request_id <> '' ORDER BY attempt.id DESC LIMIT 1
-- name: attempts_of_entry
SELECT started_at, finished_at, outcome, code, http_status, request_id, ambiguous FROM attempt
WHERE seq = :seq ORDER BY id
-- name: attempts
SELECT * FROM attempt ORDER BY id
-- name: count_active
SELECT sink, state, count(*) AS entries, min(created_at) AS oldest_at, min(due_at) AS next_due_at,
       total(suspect) AS suspect FROM outbox
WHERE state IN ('pending', 'sending', 'retryable') GROUP BY sink, state

-- What people ask for: selections, replays, discards ---------------------------------------------------------------

-- name: select_entries
-- A page of the entries behind :after that a person's scope names. Resolved: said again since, and accepted.
SELECT * FROM outbox AS entry WHERE seq > :after
  AND (:sink IS NULL OR sink = :sink) AND (:resource_arn IS NULL OR resource_arn = :resource_arn)
  AND (:status IS NULL OR status = :status)
  AND (:since IS NULL OR created_at >= :since) AND (:until IS NULL OR created_at < :until)
  AND (NOT :originals OR (replay_of IS NULL AND state <> 'superseded'))
  AND CASE WHEN :undelivered THEN state IN ('pending', 'sending', 'retryable', 'parked')
           WHEN :parked THEN state = 'parked' ELSE 1 END
  AND NOT ((:parked OR :undelivered) AND NOT :resolved AND EXISTS (
    SELECT 1 FROM outbox AS again WHERE again.run_id = entry.run_id AND again.seq > entry.seq
    AND again.replay_of = coalesce(entry.replay_of, entry.seq) AND again.state = 'delivered'))
ORDER BY seq LIMIT :limit
-- name: count_parked
-- By sink, without those that were said again since, and accepted.
SELECT sink, count(*) AS entries FROM outbox AS entry WHERE state = 'parked' AND NOT EXISTS (
  SELECT 1 FROM outbox AS again WHERE again.run_id = entry.run_id AND again.seq > entry.seq
  AND again.replay_of = coalesce(entry.replay_of, entry.seq) AND again.state = 'delivered')
GROUP BY sink
-- name: resolved_by
SELECT again.seq, again.sink FROM outbox AS entry JOIN outbox AS again
  ON again.run_id = entry.run_id AND again.seq > entry.seq
  AND again.replay_of = coalesce(entry.replay_of, entry.seq) AND again.state = 'delivered'
WHERE entry.seq = :seq ORDER BY again.seq LIMIT 1
-- name: last_word
-- The terminal status of a line that stands last in its history: a replay stands where its original does. What only a
-- shadow would have been told nobody knows.
SELECT seq, status, coalesce(replay_of, seq) AS position FROM outbox
WHERE sink = :sink AND resource_arn = :resource_arn AND status <> 'IN_PROGRESS'
  AND state NOT IN ('superseded', 'shadowed')
ORDER BY position DESC, seq LIMIT 1
-- name: accepted_end
SELECT seq, status FROM outbox WHERE sink = :sink AND resource_arn = :resource_arn AND deployment_id = :deployment_id
  AND status <> 'IN_PROGRESS' AND state = 'delivered' ORDER BY seq LIMIT 1
-- name: waiting_replay
SELECT seq, state FROM outbox WHERE run_id = :run_id AND replay_of = :seq AND sink = :sink AND NOT reassertion
  AND state IN ('pending', 'sending', 'retryable') LIMIT 1
-- name: told_to
SELECT seq, state FROM outbox WHERE run_id = :run_id AND notification_id = :notification_id AND sink = :sink
  AND state NOT IN ('superseded', 'discarded', 'shadowed') ORDER BY seq LIMIT 1
-- name: names_sink
SELECT 1 FROM outbox WHERE sink = :sink LIMIT 1
-- name: discard
UPDATE outbox SET state = 'discarded', reason = :reason, settled_at = :now
WHERE seq = :seq AND state IN (SELECT value FROM json_each(:states))
-- name: interrupt_attempts_of
UPDATE attempt SET finished_at = :now, outcome = 'interrupted', ambiguous = 1 WHERE seq = :seq AND finished_at IS NULL
-- name: seal_attempts_of
UPDATE attempt SET seal = seal_of('attempt', id, seq, started_at, finished_at, outcome, code, http_status, request_id,
  ambiguous) WHERE seq = :seq

-- What may be let go of ----------------------------------------------------------------------------------------------

-- name: prunable_runs
-- Runs that were over before :before, of which all that was told is done, and no sink has the last word from them: each
-- has heard the end of a run that began later, behind their own end. The kept one makes it known, should the log of one
-- that was let go come back, that it comes too late.
SELECT run_id FROM run WHERE ended_at < :before AND NOT EXISTS (
  SELECT 1 FROM outbox AS entry WHERE entry.run_id = run.run_id AND (
    entry.state NOT IN ('delivered', 'superseded', 'discarded', 'shadowed') OR entry.created_at >= :before
    OR NOT EXISTS (
      SELECT 1 FROM outbox AS later WHERE later.sink = entry.sink AND later.resource_arn = entry.resource_arn
      AND later.run_started_at > run.ended_at AND later.status <> 'IN_PROGRESS' AND later.state <> 'superseded'
      AND later.replay_of IS NULL AND later.run_id <> run.run_id)
    OR entry.seq = (
      SELECT max(seq) FROM outbox AS last WHERE last.sink = entry.sink AND last.resource_arn = entry.resource_arn
      AND last.status <> 'IN_PROGRESS' AND last.state <> 'superseded')))
ORDER BY started_at LIMIT :limit
-- name: prunable_entries_of_nobody
-- The same, of entries whose run is not there any more, or, of a test, never was.
SELECT run_id FROM outbox AS entry WHERE run_id NOT IN (SELECT run_id FROM run)
GROUP BY run_id
HAVING count(settled_at) = count(*) AND max(settled_at) < :before AND total(state = 'parked') = 0
  AND total(run_id NOT GLOB 'test-*' AND NOT EXISTS (
      SELECT 1 FROM outbox AS later WHERE later.sink = entry.sink AND later.resource_arn = entry.resource_arn
      AND later.run_started_at > entry.settled_at AND later.status <> 'IN_PROGRESS' AND later.state <> 'superseded'
      AND later.replay_of IS NULL AND later.run_id <> entry.run_id)) = 0
ORDER BY min(seq) LIMIT :limit
-- name: prune_evidence
DELETE FROM evidence WHERE id IN (SELECT id FROM evidence WHERE run_id = :run_id ORDER BY id LIMIT max(:limit, 0))
-- name: count_told
SELECT (SELECT count(*) FROM run WHERE run_id = :run_id) AS runs,
       (SELECT count(*) FROM outbox WHERE run_id = :run_id) AS entries,
       (SELECT count(*) FROM attempt WHERE seq IN (SELECT seq FROM outbox WHERE run_id = :run_id)) AS attempts
-- name: count_evidence
SELECT count(*) FROM evidence WHERE run_id = :run_id
-- name: prune_attempts
DELETE FROM attempt WHERE seq IN (SELECT seq FROM outbox WHERE run_id = :run_id)
-- name: prune_entries
DELETE FROM outbox WHERE run_id = :run_id
-- name: count_entries
SELECT count(*) FROM outbox
-- name: count_bytes
SELECT (p.page_count - f.freelist_count) * s.page_size - (SELECT total(length(bytes)) FROM filler) AS bytes
FROM pragma_page_count AS p, pragma_freelist_count AS f, pragma_page_size AS s
-- name: vacuum
VACUUM

-- What must hold of every journal (`journal_verify`) ---------------------------------------------------------------
-- Each names what breaks it: the key of a row, and for people the ids it has.

-- name: verify_integrity
PRAGMA integrity_check(100)
-- name: verify_version
PRAGMA user_version
-- name: verify_meta
SELECT * FROM meta NOT INDEXED WHERE key > :at ORDER BY key LIMIT :limit
-- name: verify_meta_back
SELECT * FROM meta NOT INDEXED WHERE key < :at ORDER BY key DESC LIMIT :limit
-- name: verify_cursor
SELECT * FROM cursor NOT INDEXED WHERE path > :at ORDER BY path LIMIT :limit
-- name: verify_cursor_back
SELECT * FROM cursor NOT INDEXED WHERE path < :at ORDER BY path DESC LIMIT :limit
-- name: verify_run
SELECT * FROM run NOT INDEXED WHERE run_id > :at ORDER BY run_id LIMIT :limit
-- name: verify_run_back
SELECT * FROM run NOT INDEXED WHERE run_id < :at ORDER BY run_id DESC LIMIT :limit
-- name: verify_evidence
SELECT * FROM evidence NOT INDEXED WHERE id > :at ORDER BY id LIMIT :limit
-- name: verify_evidence_back
SELECT * FROM evidence NOT INDEXED WHERE id < :at ORDER BY id DESC LIMIT :limit
-- name: verify_outbox
SELECT * FROM outbox NOT INDEXED WHERE seq > :at ORDER BY seq LIMIT :limit
-- name: verify_outbox_back
SELECT * FROM outbox NOT INDEXED WHERE seq < :at ORDER BY seq DESC LIMIT :limit
-- name: verify_attempt
SELECT * FROM attempt NOT INDEXED WHERE id > :at ORDER BY id LIMIT :limit
-- name: verify_attempt_back
SELECT * FROM attempt NOT INDEXED WHERE id < :at ORDER BY id DESC LIMIT :limit
-- name: verify_circuit
SELECT * FROM circuit NOT INDEXED WHERE sink > :at ORDER BY sink LIMIT :limit
-- name: verify_circuit_back
SELECT * FROM circuit NOT INDEXED WHERE sink < :at ORDER BY sink DESC LIMIT :limit
-- name: verify_told_twice
-- A notification is told to a sink once; said again it is a replay. Read from the table, not from the index.
SELECT max(seq) AS key, notification_id, run_id FROM outbox NOT INDEXED WHERE replay_of IS NULL
GROUP BY notification_id, sink HAVING count(*) > 1
-- name: verify_told_nothing
-- A run that is over and gives no reason for silence has told an end.
SELECT run_id AS key, run_id FROM run WHERE ended_at IS NOT NULL AND silence = ''
  AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.run_id = run.run_id AND outbox.status <> 'IN_PROGRESS')
-- name: verify_two_subjects
-- A sink hears of a run by one subject.
SELECT max(seq) AS key, NULL AS notification_id, run_id FROM outbox GROUP BY run_id, sink
HAVING count(DISTINCT resource_arn) > 1
-- name: verify_seq_reused
SELECT max(seq) AS key, NULL AS run_id FROM outbox
HAVING max(seq) > coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'outbox'), 0)
-- name: verify_two_under_way
SELECT max(seq) AS key, notification_id, run_id FROM outbox WHERE state = 'sending'
GROUP BY sink, resource_arn HAVING count(*) > 1
-- name: verify_overtook_in_line
-- Every attempt for an entry is older than any for a later one of its line.
SELECT key, notification_id, run_id FROM (
  SELECT seq AS key, notification_id, run_id, first_id,
         max(last_id) OVER (PARTITION BY sink, resource_arn ORDER BY seq
                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
  FROM (SELECT outbox.seq, notification_id, run_id, sink, resource_arn, min(attempt.id) AS first_id,
               max(attempt.id) AS last_id
        FROM outbox JOIN attempt ON attempt.seq = outbox.seq GROUP BY outbox.seq))
WHERE first_id < before
-- name: verify_under_way_behind_another
SELECT seq AS key, notification_id, run_id FROM outbox AS entry WHERE state = 'sending' AND EXISTS (
  SELECT 1 FROM outbox AS head WHERE head.sink = entry.sink AND head.resource_arn = entry.resource_arn
  AND head.seq < entry.seq AND head.state IN ('pending', 'sending', 'retryable'))
-- name: verify_state
SELECT seq AS key, notification_id, run_id FROM outbox
WHERE state NOT IN ('pending', 'sending', 'retryable', 'delivered', 'superseded', 'parked', 'discarded',
    'shadowed')
  OR (settled_at IS NULL) <> (state IN ('pending', 'sending', 'retryable'))
-- name: verify_attempts
-- As many as are counted; one without an end while the entry is under way, and only then.
SELECT seq AS key, notification_id, run_id FROM outbox WHERE
  attempts <> (SELECT count(*) FROM attempt WHERE attempt.seq = outbox.seq)
  OR (state = 'sending') <> (SELECT count(*) FROM attempt WHERE attempt.seq = outbox.seq AND finished_at IS NULL)
-- name: verify_body_can_change
SELECT 'outbox_body_is_immutable' AS key, NULL AS run_id WHERE NOT EXISTS (
  SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name = 'outbox_body_is_immutable')
-- name: verify_went_back
SELECT seq AS key, notification_id, run_id FROM outbox AS entry WHERE status = 'IN_PROGRESS' AND replay_of IS NULL
  AND state <> 'superseded' AND EXISTS (
  SELECT 1 FROM outbox AS told WHERE told.run_id = entry.run_id AND told.sink = entry.sink AND told.seq < entry.seq
  AND told.status <> 'IN_PROGRESS' AND told.replay_of IS NULL AND told.state <> 'superseded')
-- name: verify_delivered_unheard
SELECT seq AS key, notification_id, run_id FROM outbox WHERE state = 'delivered' AND NOT EXISTS (
  SELECT 1 FROM attempt WHERE attempt.seq = outbox.seq AND outcome IN ('accepted', 'confirmed'))
-- name: verify_shadowed
SELECT seq AS key, notification_id, run_id FROM outbox WHERE state = 'shadowed' AND (attempts <> 0 OR replay_of IS NOT NULL)
-- name: verify_superseded
SELECT seq AS key, notification_id, run_id FROM outbox AS entry WHERE state = 'superseded' AND (
  attempts <> 0 OR superseded_by IS NULL OR superseded_by = seq
  OR superseded_by > (SELECT max(seq) FROM sqlite_sequence WHERE name = 'outbox')
  OR EXISTS (SELECT 1 FROM outbox AS instead WHERE instead.seq = entry.superseded_by
             AND (instead.sink <> entry.sink OR instead.resource_arn <> entry.resource_arn)))
-- name: verify_replay
SELECT seq AS key, notification_id, run_id FROM outbox AS entry WHERE replay_of IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM outbox AS original WHERE original.seq = entry.replay_of AND original.replay_of IS NULL
  AND original.seq < entry.seq AND original.notification_id = entry.notification_id)
-- name: verify_says_something_else
-- What stands in the columns is what the body says. A body that has rotted is found by its checksum.
SELECT seq AS key, notification_id, run_id FROM outbox WHERE
  CASE WHEN json_valid(CAST(body AS TEXT)) THEN
    json_extract(CAST(body AS TEXT), '$.notification_id') IS NOT notification_id
    OR json_extract(CAST(body AS TEXT), '$.run_id') IS NOT run_id
    OR coalesce(json_extract(CAST(body AS TEXT), '$.resource_arn'), json_extract(CAST(body AS TEXT), '$.name'),
      json_extract(CAST(body AS TEXT), '$.directory')) IS NOT resource_arn
    OR json_extract(CAST(body AS TEXT), '$.deployment_id') IS NOT deployment_id
    OR json_extract(CAST(body AS TEXT), '$.status') IS NOT status
  ELSE 0 END
-- name: verify_evidence_of_nobody
SELECT min(id) AS key, run_id FROM evidence WHERE run_id NOT IN (SELECT run_id FROM run) GROUP BY run_id
-- name: verify_attempt_for_nothing
SELECT id AS key, NULL AS run_id FROM attempt WHERE seq NOT IN (SELECT seq FROM outbox)

-- Whether a journal may be used (`journal_check`) --------------------------------------------------------------------

-- name: application_id
PRAGMA application_id
-- name: quick_check
PRAGMA quick_check(1)
-- name: columns_of_all
SELECT tables.name, columns.name, columns.type, columns."notnull", columns.dflt_value, columns.pk
FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'
-- name: schema_of_others
SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type <> 'table'
-- name: rows_of_open_runs
SELECT * FROM run WHERE ended_at IS NULL
-- name: rows_of_active_entries
SELECT * FROM outbox WHERE state IN ('pending', 'sending', 'retryable')
-- name: count_open_both_ways
SELECT (SELECT count(*) FROM outbox WHERE state IN ('pending', 'sending', 'retryable')),
       (SELECT count(*) FROM outbox NOT INDEXED WHERE state IN ('pending', 'sending', 'retryable'))
UNION ALL SELECT (SELECT count(*) FROM run WHERE ended_at IS NULL),
                 (SELECT count(*) FROM run NOT INDEXED WHERE ended_at IS NULL)

-- Rows of a damaged journal, put into a new one (`journal_salvage`) ----------------------------------------------------

-- name: columns
SELECT name FROM pragma_table_info(:table)
-- name: keep_meta
INSERT OR REPLACE INTO meta VALUES (:key, :value, :seal)
-- name: keep_cursor
INSERT OR REPLACE INTO cursor VALUES (:path, :body, :seal)
-- name: keep_run
INSERT OR REPLACE INTO run VALUES (:run_id, :directory, :workspace, :status, :started_at, :ended_at, :anchor, :lock_id,
  :resource_arn, :deployment_id, :binding, :unbound_reason, :body, :silence, :record_id, :seal)
-- name: keep_evidence
INSERT OR REPLACE INTO evidence VALUES (:id, :run_id, :at, :source, :path, :kind, :fields, :status, :reason, :position,
  :seal)
-- name: keep_outbox
INSERT OR REPLACE INTO outbox VALUES (:seq, :notification_id, :run_id, :sink, :resource_arn, :deployment_id, :status,
  :body, :checksum, :state, :attempts, :due_at, :reason, :created_at, :run_started_at, :settled_at, :superseded_by,
  :replay_of, :failing, :times, :waited, :reduced, :suspect, :reassertion, :seal)
-- name: keep_attempt
INSERT OR REPLACE INTO attempt VALUES (:id, :seq, :started_at, :finished_at, :outcome, :code, :http_status, :request_id,
  :ambiguous, :seal)
-- name: keep_circuit
INSERT OR REPLACE INTO circuit VALUES (:sink, :held_for, :code, :since, :probes, :waited, :seal)
-- name: keep_counter
-- The counter of a table without rows is not there.
INSERT INTO sqlite_sequence (name, seq) SELECT 'outbox', 0
WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'outbox')
-- name: raise_counter
UPDATE sqlite_sequence SET seq = max(seq, :seq) WHERE name = 'outbox'
-- name: runs_told_nothing
-- A run that is over, gives no reason for silence, and has told no end: that was lost.
SELECT run_id, body FROM run WHERE ended_at IS NOT NULL AND silence = ''
  AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.run_id = run.run_id AND outbox.status <> 'IN_PROGRESS')
-- name: evidence_of_nobody
SELECT DISTINCT run_id, path FROM evidence WHERE run_id NOT IN (SELECT run_id FROM run)
-- name: anchors
SELECT anchor FROM run WHERE anchor <> ''
-- name: seqs_named
SELECT seq FROM outbox UNION SELECT seq FROM attempt
-- name: quick_journal
PRAGMA journal_mode = OFF
-- name: quick_sync
PRAGMA synchronous = OFF
-- name: quick_cache
PRAGMA cache_size = -32768
