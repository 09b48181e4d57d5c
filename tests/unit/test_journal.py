"""The journal: nothing is lost, nothing is sent twice at once, nobody else's file is touched."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.outboxes import (
    ARN,
    DEPLOYMENT,
    NEXT_DEPLOYMENT,
    OTHER_ARN,
    attempted,
    enqueued,
    heads,
    notification,
    parked,
    row_of,
    states,
)

from proton_tf_agent import replay, status
from proton_tf_agent.domain.binding import Binding, Unbound
from proton_tf_agent.domain.errors import AgentError, JournalFull, JournalHeld, JournalUnusable
from proton_tf_agent.domain.evidence import Cursor, Fact, Form, LogClosed, Mark, OperationStarted
from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.outbox import ACTIVE, EntryState, Outcome, OutcomeKind
from proton_tf_agent.domain.retry import settle
from proton_tf_agent.domain.run import Basis, Patience, Run, RunStatus
from proton_tf_agent.domain.transitions import advance
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import SCHEMA_VERSION, Journal, Recorded, notification_of
from proton_tf_agent.journal_file import is_held
from proton_tf_agent.selection import Scope
from proton_tf_agent.sources import json_log, tail

IN_PROGRESS, SUCCEEDED, FAILED = Status.IN_PROGRESS, Status.SUCCEEDED, Status.FAILED
HOLD = """
import sys
from proton_tf_agent.journal import Journal
with Journal.open_as_daemon(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def on_disk(path: str, statement: str, *values: object) -> None:
    """Change the file behind the journal's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement, values)


def damage(path: str, seq: int) -> None:
    """Flip a byte of an entry's body, as a disk would: triggers are not asked."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        trigger = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'").fetchone()[0]
        connection.execute("DROP TRIGGER outbox_body_is_immutable")
        connection.execute(
            "UPDATE outbox SET body = CAST(replace(CAST(body AS TEXT), 'vpc', 'xpc') AS BLOB) WHERE seq = ?", (seq,)
        )
        connection.execute(trigger)


# --- the file ---------------------------------------------------------------------------------------------------


def test_a_new_journal_is_readable_by_its_owner_alone(journal: Journal) -> None:
    assert mode_of(journal.path) == 0o600
    assert mode_of(journal.path + ".lock") == 0o600
    assert mode_of(os.path.dirname(journal.path)) == 0o700


def test_the_rollback_journal_beside_it_is_readable_by_its_owner_alone(journal: Journal) -> None:
    before = os.umask(0)
    try:
        enqueued(journal, notification(1))
    finally:
        os.umask(before)
    assert {mode_of(entry.path) for entry in os.scandir(os.path.dirname(journal.path))} == {0o600}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o601])
def test_a_journal_that_is_open_to_others_is_refused_with_the_command_that_closes_it(
    journal_path: str, mode: int
) -> None:
    Journal.open_as_daemon(journal_path).close()
    os.chmod(journal_path, mode)
    for open_it in (Journal.open_as_daemon, Journal.open_existing):
        with pytest.raises(JournalUnusable) as refused:
            open_it(journal_path)
        assert f"chmod 0600 {journal_path}" in str(refused.value)
        assert refused.value.exit_code == 78
    assert not is_held(journal_path)


def test_what_a_commit_returned_for_survives_power_loss(journal: Journal) -> None:
    """journal_mode=PERSIST, synchronous=EXTRA: docs/decisions/0003-journal.md."""
    pragma = journal._connection.execute
    assert pragma("PRAGMA journal_mode").fetchone()[0] == "persist"
    assert pragma("PRAGMA synchronous").fetchone()[0] == 3
    assert pragma("PRAGMA secure_delete").fetchone()[0] == 1


def test_a_journal_that_does_not_exist_is_not_made_by_who_only_reads(journal_path: str) -> None:
    with pytest.raises(JournalUnusable, match=r"there is no journal yet .*started once"):
        Journal.open_existing(journal_path)
    assert not os.path.exists(os.path.dirname(journal_path))


def test_a_journal_whose_making_was_interrupted_is_made_by_the_next_daemon_and_by_nobody_else(
    journal_path: str,
) -> None:
    os.makedirs(os.path.dirname(journal_path), mode=0o700)
    os.close(os.open(journal_path, os.O_CREAT | os.O_WRONLY, 0o600))
    with pytest.raises(JournalUnusable, match="there is no journal yet"):
        Journal.open_existing(journal_path)
    assert os.path.getsize(journal_path) == 0
    with Journal.open_as_daemon(journal_path) as journal:
        assert enqueued(journal, notification(1)) == [1]


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnusable, match=r"file/memory.*cannot be made.*\[journal\] path"):
        Journal.open_as_daemon(str(tmp_path / "file" / "memory" / "journal.db"))


def test_a_link_in_the_journals_place_is_not_followed_to_make_one(journal_path: str, tmp_path: Path) -> None:
    os.makedirs(os.path.dirname(journal_path), mode=0o700)
    os.symlink(tmp_path / "elsewhere", journal_path)
    with pytest.raises(AgentError):
        Journal.open_as_daemon(journal_path)
    assert not os.path.exists(tmp_path / "elsewhere")


@pytest.mark.parametrize("open_it", [Journal.open_as_daemon, Journal.open_existing])
def test_a_journal_of_a_newer_agent_is_refused_and_not_a_byte_of_it_changed(
    journal_path: str, open_it: Callable[[str], Journal]
) -> None:
    with Journal.open_as_daemon(journal_path) as journal:
        enqueued(journal, notification(1))
    on_disk(journal_path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = Path(journal_path).read_bytes()
    with pytest.raises(JournalUnusable, match=rf"version {SCHEMA_VERSION + 1}.*newer agent.*nothing was changed"):
        open_it(journal_path)
    assert Path(journal_path).read_bytes() == before
    assert not is_held(journal_path)


# --- a journal of an older agent ----------------------------------------------------------------------------------

JOURNALS = Path(__file__).parents[1] / "golden" / "journals"
OLD = {1: JOURNALS / "v1.db", 2: JOURNALS / "v2.db", 3: JOURNALS / "v3.db"}
LOGS = Path(__file__).parents[1] / "golden" / "logs"


@pytest.fixture(params=OLD)
def version(request: pytest.FixtureRequest) -> int:
    """Each version that an agent has ever written."""
    number: int = request.param
    return number


@pytest.fixture
def old_journal(journal_path: str, version: int) -> str:
    """A journal as an agent of that version has left it (tests/golden/journals/make_v*.py)."""
    os.makedirs(os.path.dirname(journal_path), mode=0o700)
    shutil.copyfile(OLD[version], journal_path)
    os.chmod(journal_path, 0o600)
    return journal_path


def test_an_old_journal_is_brought_up_to_date_and_the_old_one_kept_beside_it(old_journal: str, version: int) -> None:
    backup = f"{old_journal}.v{version}"
    with Journal.open_as_daemon(old_journal) as journal, closing(sqlite3.connect(backup)) as kept:
        assert journal._pragma("user_version") == SCHEMA_VERSION
        assert mode_of(backup) == 0o600
        assert kept.execute("PRAGMA user_version").fetchone()[0] == version
        with closing(sqlite3.connect(OLD[version])) as original:
            assert list(kept.iterdump()) == list(original.iterdump())
    assert not os.path.exists(backup + ".new")
    Journal.open_existing(old_journal).close()


def test_an_old_journal_has_all_that_a_new_one_has(old_journal: str, tmp_path: Path) -> None:
    def columns(journal: Journal) -> dict[str, set[tuple[object, ...]]]:
        execute = journal._connection.execute
        tables = [row["name"] for row in execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: {tuple(row)[1:] for row in execute(f"PRAGMA table_info({table})")} for table in tables}

    with (
        Journal.open_as_daemon(old_journal) as migrated,
        Journal.open_as_daemon(str(tmp_path / "new" / "journal.db")) as new,
    ):
        assert columns(migrated) == columns(new)


def test_who_only_reads_leaves_an_old_journal_alone_and_says_what_to_do(old_journal: str, version: int) -> None:
    before = Path(old_journal).read_bytes()
    with pytest.raises(
        JournalUnusable, match=rf"version {version} of an older agent.*start this agent once"
    ) as refused:
        Journal.open_existing(old_journal)
    assert refused.value.exit_code == 78
    assert Path(old_journal).read_bytes() == before
    assert not os.path.exists(f"{old_journal}.v{version}")


def test_what_an_old_journal_knows_of_runs_stays_true(old_journal: str, version: int) -> None:
    with Journal.open_as_daemon(old_journal) as journal:
        runs = {r.run.directory.rpartition("/")[2]: r for r in journal.runs(100)}
        bases = {name: (r.run.status, r.run.basis) for name, r in runs.items()}
        waiting = runs["waiting"].run.verdict
    settled = (RunStatus.APPLIED, Basis.DECISION)
    undetermined = settled if version > 1 else (RunStatus.UNDETERMINED, Basis.INFERENCE)
    wrapped = {"wrapped": (RunStatus.APPLIED, Basis.PROOF)} if version > 2 else {}
    assert bases == {
        "applied": (RunStatus.APPLIED, Basis.PROOF),
        "errored": (RunStatus.ERRORED, Basis.PROOF),
        "lost": (RunStatus.LOST, Basis.INFERENCE),
        "undetermined": undetermined,
        "unbound": (RunStatus.APPLIED, Basis.PROOF),
        "waiting": (RunStatus.APPLYING, None),
        "running": (RunStatus.APPLYING, None),
        **wrapped,
    }
    assert waiting is not None
    assert (waiting.status, waiting.basis) == (RunStatus.ERRORED, Basis.PROOF)
    assert all(r.run.form is Form.JSON for name, r in runs.items() if name not in wrapped)
    assert runs["applied"].silence == runs["lost"].silence == runs["running"].silence == ""
    assert bool(runs["undetermined"].silence) == (version == 1)
    assert "no deployment metadata" in runs["unbound"].silence


def test_the_logs_an_old_agent_was_reading_are_read_on_from_where_it_stood(old_journal: str) -> None:
    content = (LOGS / "apply_partial_failure.log").read_bytes()
    with Journal.open_as_daemon(old_journal) as journal:
        cursors = journal.cursors()
        cursor = cursors["/srv/runs/running/apply.log"]
        (mark,) = cursor.marks
        (run,) = [r.run for r in journal.open_runs() if r.run.directory == "/srv/runs/running"]
        assert (mark.anchor, mark.offset, mark.form) == (run.anchor, 0, Form.JSON)

        def read(at: int, length: int) -> bytes:
            return content[at : at + length]

        new = tail.read_new(read, len(content), cursor.device, cursor.inode, cursor)
        assert not new.restarted
        facts, mark = json_log.read(new.lines, mark, "/srv/runs/running")
        assert {fact.anchor for fact in facts} == {run.anchor}
        assert min(fact.position for fact in facts if fact.position is not None) > run.position
        for fact in facts:
            run, _ = advance(run, fact, 2e9, Patience())
        assert run.applied == 2
        assert run.errors == 1
    lock = cursors["/srv/runs/undetermined/.terraform.tfstate.lock.info"]
    assert (lock.lock_id, lock.marks) == ("11111111-2222-3333-4444-555555555555", ())


def test_an_old_journal_can_be_read_explained_and_replayed_by_the_command_line(old_journal: str, version: int) -> None:
    with Journal.open_as_daemon(old_journal):
        pass
    with Journal.open_existing(old_journal) as journal:
        assert len(status.run_rows(journal, 100)) == (8 if version > 2 else 7)
        (story,) = status.explain(journal, "/srv/runs/errored")
        assert [fact["status"] for fact in story.evidence][-1] == "errored"
        assert {fact["position"] for fact in story.evidence} == {None}, "the agent of that time kept no offsets"
        assert story.entries[-1]["omitted"] == {}
        (choice,) = replay.append(journal, replay.choose(journal, Scope(notification="4")), 2e9)
        assert row_of(journal, choice.seq)["body"] == choice.row["body"]


@pytest.mark.parametrize(
    ("version", "steps"), [(1, 1), (1, 20), (1, 60), (1, 200), (2, 1), (2, 20)], indirect=["version"]
)
def test_an_interrupted_migration_leaves_the_old_journal_and_the_next_start_does_it_all(
    old_journal: str, version: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def interrupted(path: str, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(path, **options)
        left = [steps]

        def step() -> int:
            left[0] -= 1
            return left[0] < 0

        if path == old_journal:
            connection.set_progress_handler(step, 5)
        return connection

    monkeypatch.setattr(sqlite3, "connect", interrupted)
    with pytest.raises(AgentError):
        Journal.open_as_daemon(old_journal)
    monkeypatch.undo()
    with closing(sqlite3.connect(old_journal)) as left, closing(sqlite3.connect(OLD[version])) as original:
        assert list(left.iterdump()) == list(original.iterdump())
    with Journal.open_as_daemon(old_journal) as journal:
        assert journal._pragma("user_version") == SCHEMA_VERSION
        assert len(journal.runs(100)) == 7


def test_a_version_that_no_agent_has_written_is_refused(old_journal: str) -> None:
    on_disk(old_journal, "PRAGMA user_version = 0")
    with pytest.raises(JournalUnusable, match="version 0, which no agent has written"):
        Journal.open_as_daemon(old_journal)
    assert not is_held(old_journal)


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_of_somebody_else_is_refused_and_not_a_byte_of_it_changed(journal_path: str, mode: str) -> None:
    os.makedirs(os.path.dirname(journal_path), mode=0o700)
    on_disk(journal_path, f"PRAGMA journal_mode = {mode}")
    on_disk(journal_path, "CREATE TABLE precious (thing TEXT)")
    os.chmod(journal_path, 0o600)
    before = Path(journal_path).read_bytes()
    with pytest.raises(JournalUnusable, match=r"no journal of proton-tf-agent.*another file"):
        Journal.open_as_daemon(journal_path)
    assert Path(journal_path).read_bytes() == before


def test_an_empty_database_with_somebody_elses_mark_is_refused(journal_path: str) -> None:
    os.makedirs(os.path.dirname(journal_path), mode=0o700)
    on_disk(journal_path, "PRAGMA application_id = 7")
    os.chmod(journal_path, 0o600)
    with pytest.raises(JournalUnusable, match="no journal of proton-tf-agent"):
        Journal.open_as_daemon(journal_path)


@pytest.mark.parametrize("content", [b"garbage", b"SQLite format 3\0" + bytes(40), bytes(5000), os.urandom(8192)])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(journal_path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(journal_path), mode=0o700)
    Path(journal_path).write_bytes(content)
    os.chmod(journal_path, 0o600)
    with pytest.raises(JournalUnusable, match=journal_path):
        Journal.open_as_daemon(journal_path)
    assert Path(journal_path).read_bytes() == content


def test_a_journal_that_is_damaged_in_the_middle_is_said_to_be(journal: Journal) -> None:
    for number in range(200):
        enqueued(journal, notification(number, text="x" * 500))
    journal.close()
    whole = Path(journal.path).read_bytes()
    Path(journal.path).write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    with pytest.raises(JournalUnusable, match="cannot be read"), Journal.open_existing(journal.path) as damaged:
        damaged.query("entries", after=0, limit=1000)


# --- one daemon -------------------------------------------------------------------------------------------------


def test_a_second_daemon_is_refused_with_the_pid_of_the_first_until_that_is_killed(journal_path: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, journal_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        try:
            assert first.stdout is not None
            assert first.stdout.readline() == "held\n"
            with pytest.raises(JournalHeld, match=rf"process {first.pid}\)") as refused:
                Journal.open_as_daemon(journal_path)
            assert refused.value.exit_code == 75
            assert is_held(journal_path)
        finally:
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
    assert not is_held(journal_path)
    with Journal.open_as_daemon(journal_path) as successor:
        assert enqueued(successor, notification(1)) == [1]
        assert Path(journal_path + ".lock").read_text().split() == [str(os.getpid()), "room"]


def test_of_daemons_that_start_at_once_exactly_one_gets_the_journal(journal_path: str) -> None:
    got: list[Journal] = []
    refused: list[JournalHeld] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        try:
            got.append(Journal.open_as_daemon(journal_path))
        except JournalHeld as held:
            refused.append(held)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for journal in got:
        journal.close()
    assert (len(got), len(refused)) == (1, 7)


def test_asking_whether_a_journal_is_held_takes_it_from_nobody(journal_path: str) -> None:
    assert not is_held(journal_path)
    with Journal.open_as_daemon(journal_path):
        assert is_held(journal_path)
        assert is_held(journal_path)
    assert not is_held(journal_path)


def test_the_command_line_may_write_beside_the_daemon(journal: Journal) -> None:
    enqueued(journal, notification(1, SUCCEEDED))
    with Journal.open_existing(journal.path) as beside:
        (row,) = beside.query("entry", seq=1)
        assert beside.replay(row, 1005.0) == 2
    assert states(journal) == ["sending", "pending"]


# --- transactions -----------------------------------------------------------------------------------------------


def test_a_transaction_that_raises_leaves_nothing(journal: Journal) -> None:
    with suppress(KeyboardInterrupt), journal.transaction():
        journal.put_run(Recorded(Run("run-1", "/w", 1000.0), Unbound("why")))
        journal.put_cursor(Cursor("/w/a.log", 1, 2, 3))
        journal.enqueue(notification(1), "proton", 1000.0)
        raise KeyboardInterrupt
    assert journal.runs(10) == []
    assert journal.cursors() == {}
    assert states(journal) == []
    assert enqueued(journal, notification(1)) == [1]


def test_a_transaction_that_sqlite_has_rolled_back_itself_raises_what_was_wrong(journal: Journal) -> None:
    """A full disk: "cannot rollback - no transaction is active" must not hide it."""
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalFull, match=r"journal\.db: the journal's disk is full .make room"):
        enqueued(journal, notification(1, text="x" * 100_000))
    journal._connection.execute("PRAGMA max_page_count = 1000000")
    assert states(journal) == []
    assert enqueued(journal, notification(1)) == [1]


def test_threads_take_turns(journal: Journal) -> None:
    def fill(sink: str) -> None:
        for number in range(20):
            enqueued(journal, notification(number, FAILED), sink=sink)

    threads = [threading.Thread(target=fill, args=(sink,)) for sink in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(states(journal)) == 80


# --- cursors, runs ----------------------------------------------------------------------------------------------


def test_a_cursor_comes_back_as_it_was_put(journal: Journal) -> None:
    cursor = Cursor(
        "/w/a.log", 1, 2**63, 3, "head", 4, (Mark("anchor", 5, Form.HUMAN, "planned", "unit"),), 6, 7, "lock"
    )
    journal.put_cursor(cursor)
    journal.put_cursor(Cursor("/w/b.log"))
    journal.forget_cursor("/w/b.log")
    assert journal.cursors() == {"/w/a.log": cursor}


@pytest.mark.parametrize("binding", [Unbound("not covered", ARN), Binding(ARN, DEPLOYMENT, True, "[[bind]]")])
def test_a_run_comes_back_with_its_binding_or_the_reason_why_it_has_none(
    journal: Journal, binding: Binding | Unbound
) -> None:
    run = Run("run-1", "/w", 1000.0, status=RunStatus.APPLYING, anchor="a", lock_id="l")
    journal.put_run(Recorded(run, binding))
    found = journal.run("run-1")
    assert found is not None
    assert found.run == run
    if isinstance(binding, Binding):
        assert found.binding == binding
    else:
        assert isinstance(found.binding, Unbound)
        assert found.binding.reason == binding.reason
    assert journal.open_runs() == [found]
    assert [r.run.run_id for r in journal.runs_known_as("a", "")] == ["run-1"]
    assert [r.run.run_id for r in journal.runs_known_as("", "l")] == ["run-1"]
    assert journal.runs_known_as("", "") == []


def test_runs_that_began_at_once_are_listed_by_when_they_were_first_heard_of(journal: Journal) -> None:
    heard_of = ["run-2", "run-9", "run-1"]
    for run_id in heard_of:
        journal.put_run(Recorded(Run(run_id, "/w", 1000.0), Unbound("not covered")))
        journal.put_evidence(run_id, "human_log", "/w/a.log", Fact(OperationStarted("terraform", "")), None, 1000.0)
    journal.put_evidence("run-2", "human_log", "/w/a.log", Fact(LogClosed()), None, 1001.0)
    assert [recorded.run.run_id for recorded in journal.runs(10)] == heard_of[::-1]
    assert [recorded.run.run_id for recorded in journal.runs(10, "/w")] == heard_of[::-1]


def test_when_a_root_was_first_seen_is_said_once_and_for_all(journal_path: str) -> None:
    for now in (1000.25, 2000.0):
        with Journal.open_as_daemon(journal_path) as journal:
            assert journal.first_seen("/w", now) == 1000.25


# --- entering the outbox ------------------------------------------------------------------------------------------


def test_on_an_idle_line_an_entry_is_on_its_way_in_the_transaction_that_brought_it(journal: Journal) -> None:
    (seq,) = enqueued(journal, notification(1), now=1000.0)
    row = row_of(journal, seq)
    assert (row["state"], row["attempts"]) == ("sending", 1)
    (attempt,) = journal.query("attempts_of_entry", seq=seq)
    assert (attempt["started_at"], attempt["finished_at"]) == (1000.0, None)


@pytest.mark.parametrize("kind", [None, OutcomeKind.UNAVAILABLE])
def test_behind_an_entry_that_is_not_settled_it_waits(journal: Journal, kind: OutcomeKind | None) -> None:
    first, second = enqueued(journal, notification(1), notification(2, FAILED))
    if kind:
        attempted(journal, first, kind)
    assert row_of(journal, second)["state"] == "pending"
    assert journal.query("attempts_of_entry", seq=second) == []
    assert [entry.seq for entry in heads(journal)] == [first]


@pytest.mark.parametrize("settled", [attempted, parked])
def test_a_line_is_idle_again_when_its_last_entry_is_settled(
    journal: Journal, settled: Callable[[Journal, int], object]
) -> None:
    (first,) = enqueued(journal, notification(1))
    settled(journal, first)
    (second,) = enqueued(journal, notification(2))
    assert row_of(journal, second)["state"] == "sending"


def test_the_same_notification_enters_once_for_each_sink(journal: Journal) -> None:
    assert enqueued(journal, notification(1), notification(1)) == [1, 0]
    assert enqueued(journal, notification(1), notification(1), sink="console") == [2, 0]
    attempted(journal, 1)
    assert enqueued(journal, notification(1)) == [0]
    assert states(journal) == ["delivered", "sending"]


def test_what_a_sink_could_never_accept_is_parked_at_once_and_leaves_the_line_alone(journal: Journal) -> None:
    enqueued(journal, notification(1), notification(2))
    (seq,) = enqueued(journal, notification(3, FAILED), objection="too long")
    row = row_of(journal, seq)
    assert (row["state"], row["reason"], row["settled_at"], row["attempts"]) == ("parked", "too long", 1000.0, 0)
    assert states(journal) == ["sending", "pending", "parked"]
    assert enqueued(journal, notification(3, FAILED), objection="too long") == [0]


def test_an_entrys_content_never_changes(journal: Journal) -> None:
    enqueued(journal, notification(1))
    changes = {"body": b"x", "checksum": "x", "notification_id": "x", "sink": "x", "resource_arn": "x"}
    for column, value in changes.items():
        with pytest.raises(sqlite3.IntegrityError, match="never changes"):
            on_disk(journal.path, f"UPDATE outbox SET {column} = ?", value)


def test_a_number_is_never_given_twice(journal: Journal) -> None:
    enqueued(journal, notification(1))
    on_disk(journal.path, "DELETE FROM outbox")
    assert enqueued(journal, notification(2)) == [2]


# --- coalescing ---------------------------------------------------------------------------------------------------


def superseded_by(journal: Journal, new: Notification, *waiting: Notification) -> list[str]:
    """What a new notification supersedes of those that wait in its line behind one that is on its way."""
    first = notification(100, FAILED, deployment=waiting[0].deployment_id)
    seqs = enqueued(journal, first, *waiting)
    with journal.transaction():
        seq, superseded = journal.enqueue(new, "proton", 1002.0)
    gone = [s for s in seqs if row_of(journal, s)["state"] == "superseded"]
    for row in (row_of(journal, s) for s in gone):
        assert (row["superseded_by"], row["settled_at"], row["attempts"]) == (seq, 1002.0, 0)
    assert [row_of(journal, s)["notification_id"] for s in gone] == superseded
    return superseded


@pytest.mark.parametrize("status", Status)
def test_in_progress_that_was_never_sent_gives_way_to_whatever_the_deployment_tells_next(
    journal: Journal, status: Status
) -> None:
    assert superseded_by(journal, notification(2, status), notification(1)) == ["ntf-1"]


@pytest.mark.parametrize("old", [SUCCEEDED, FAILED])
@pytest.mark.parametrize("new", Status)
def test_an_outcome_never_gives_way_to_the_same_deployment(journal: Journal, old: Status, new: Status) -> None:
    assert superseded_by(journal, notification(2, new), notification(1, old)) == []


@pytest.mark.parametrize("old", Status)
@pytest.mark.parametrize("new", Status)
@pytest.mark.parametrize("older", [DEPLOYMENT, None])
def test_whatever_an_older_deployment_has_not_sent_gives_way(
    journal: Journal, old: Status, new: Status, older: str | None
) -> None:
    waiting = notification(1, old, deployment=older)
    assert "ntf-1" in superseded_by(journal, notification(2, new, deployment=NEXT_DEPLOYMENT), waiting)


@pytest.mark.parametrize("straggler", Status)
def test_nothing_gives_way_to_a_straggler_of_an_older_deployment(journal: Journal, straggler: Status) -> None:
    enqueued(
        journal,
        notification(1),
        notification(2, deployment=NEXT_DEPLOYMENT),
        notification(3, FAILED, deployment=NEXT_DEPLOYMENT),
    )
    assert states(journal) == ["sending", "superseded", "pending"]
    enqueued(journal, notification(4, straggler))
    assert states(journal) == ["sending", "superseded", "pending", "pending"]


def test_without_deployment_ids_all_is_one_deployment(journal: Journal) -> None:
    enqueued(journal, *(notification(n, s, deployment=None) for n, s in enumerate((IN_PROGRESS, FAILED, IN_PROGRESS))))
    enqueued(journal, notification(3, SUCCEEDED, deployment=None))
    assert states(journal) == ["sending", "pending", "superseded", "pending"]


def test_what_has_been_attempted_never_gives_way(journal: Journal) -> None:
    (first,) = enqueued(journal, notification(1))
    enqueued(journal, notification(2, deployment=NEXT_DEPLOYMENT))
    assert row_of(journal, first)["state"] == "sending"
    attempted(journal, first, OutcomeKind.UNAVAILABLE)
    enqueued(journal, notification(3, FAILED, deployment=NEXT_DEPLOYMENT))
    assert states(journal) == ["retryable", "superseded", "pending"]
    journal.resume_after_crash(1003.0)
    enqueued(journal, notification(4, deployment="0a1b2c3d-0000-4000-8000-000000000003"))
    assert states(journal) == ["retryable", "superseded", "superseded", "pending"]


def test_other_lines_are_left_alone(journal: Journal) -> None:
    enqueued(journal, notification(1), notification(2))
    enqueued(journal, notification(1), notification(2), sink="console")
    enqueued(journal, notification(3, arn=OTHER_ARN), notification(4, arn=OTHER_ARN))
    enqueued(journal, notification(5))
    assert states(journal) == ["sending", "superseded", "sending", "pending", "sending", "pending", "pending"]


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("deployment", [DEPLOYMENT, NEXT_DEPLOYMENT])
def test_what_a_run_has_to_say_after_a_later_one_has_told_its_end_is_kept_and_not_sent(
    journal: Journal, status: Status, deployment: str
) -> None:
    (last,) = enqueued(journal, notification(1, FAILED, began=20.0))
    attempted(journal, last)
    straggler = notification(2, status, deployment=deployment, began=10.0)
    with journal.transaction():
        assert journal.enqueue(straggler, "proton", 1002.0) == (0, ["ntf-2"])
    row = row_of(journal, 2)
    assert (row["state"], row["superseded_by"], row["settled_at"], row["attempts"]) == ("superseded", last, 1002.0, 0)
    assert heads(journal) == []
    assert enqueued(journal, straggler) == [0]
    assert len(states(journal)) == 2


def test_a_run_that_was_not_over_when_a_later_one_began_tells_its_end(journal: Journal) -> None:
    """Two workspaces, or two directories, of one resource: both ends count."""
    enqueued(journal, notification(1, SUCCEEDED, run_id="run-later", began=20.0))
    asked: list[str] = []

    def was_over(later: str) -> bool:
        asked.append(later)
        return False

    with journal.transaction():
        seq, _ = journal.enqueue(notification(2, FAILED, began=10.0), "proton", 1002.0, "", was_over)
    assert asked == ["run-later"]
    assert row_of(journal, seq)["state"] == "pending"


def test_a_mere_plan_is_not_in_progress_once_its_deployment_has_ended(journal: Journal) -> None:
    """A plan beside an apply is done after it: Proton must not be left with IN_PROGRESS."""
    (end,) = enqueued(journal, notification(1, SUCCEEDED, run_id="run-apply", began=10.0))
    plan = replace(notification(2, run_id="run-plan", began=20.0), run_status=RunStatus.PLANNED_AND_FINISHED)
    assert enqueued(journal, plan) == [0]
    assert row_of(journal, 2)["superseded_by"] == end
    later = replace(plan, notification_id="ntf-3", run_started_at=2000.0)
    another = replace(plan, notification_id="ntf-4", deployment_id=NEXT_DEPLOYMENT)
    applies = replace(plan, notification_id="ntf-5", run_status=RunStatus.APPLYING)
    assert 0 not in enqueued(journal, later, another, applies)


def test_the_progress_of_a_later_run_silences_nobody(journal: Journal) -> None:
    enqueued(journal, notification(1, began=20.0), notification(2, FAILED, began=10.0))
    assert states(journal) == ["sending", "pending"]


def test_a_later_run_silences_nobody_on_another_line(journal: Journal) -> None:
    enqueued(journal, notification(1, FAILED, began=20.0))
    enqueued(journal, notification(2, FAILED, began=10.0), sink="console")
    enqueued(journal, notification(3, FAILED, OTHER_ARN, began=10.0))
    assert states(journal) == ["sending", "sending", "sending"]


def test_a_replay_never_gives_way(journal: Journal) -> None:
    (first,) = enqueued(journal, notification(1))
    attempted(journal, first)
    journal.replay(journal.query("entry", seq=first)[0], 1002.0)
    enqueued(journal, notification(2, deployment=NEXT_DEPLOYMENT))
    assert states(journal) == ["delivered", "pending", "pending"]


def test_an_attempt_at_what_has_just_been_superseded_is_not_begun(journal: Journal) -> None:
    """The relay looks, the pipeline enqueues, the relay begins: in this order nothing may leave."""
    first, second = enqueued(journal, notification(1), notification(2))
    attempted(journal, first)
    assert [entry.seq for entry in heads(journal)] == [second]
    enqueued(journal, notification(3, FAILED))
    assert journal.begin_attempt(second, 1002.0) is False
    assert row_of(journal, second)["state"] == "superseded"
    assert journal.query("attempts_of_entry", seq=second) == []


# --- leaving the outbox -------------------------------------------------------------------------------------------


def test_the_heads_are_the_first_of_every_line_in_the_order_they_came(journal: Journal) -> None:
    enqueued(journal, notification(1, arn=OTHER_ARN), notification(2), notification(3, FAILED))
    enqueued(journal, notification(2), sink="console")
    assert [(entry.seq, entry.sink, entry.notification.resource_arn) for entry in heads(journal)] == [
        (1, "proton", OTHER_ARN),
        (2, "proton", ARN),
        (4, "console", ARN),
    ]
    attempted(journal, 2)
    assert [entry.seq for entry in heads(journal)] == [1, 3, 4]


def test_a_head_carries_what_was_enqueued(journal: Journal) -> None:
    told = notification(1, SUCCEEDED, text="żółć \N{GRINNING FACE}")
    enqueued(journal, told)
    assert heads(journal)[0].notification == told


def test_every_attempt_stays_on_record_with_what_came_of_it(journal: Journal) -> None:
    (seq,) = enqueued(journal, notification(1))
    outcomes = [
        Outcome(OutcomeKind.THROTTLED, "ThrottlingException", 400, "req-1", retry_after=3.0),
        Outcome(OutcomeKind.UNAVAILABLE, "ReadTimeoutError", ambiguous=True),
        Outcome(OutcomeKind.ACCEPTED, "", 200, "req-3"),
    ]
    for number, outcome in enumerate(outcomes, 1):
        if number > 1:
            assert journal.begin_attempt(seq, 1000.0 + number)
        entry = journal.entry(seq, 1000.0)
        assert entry is not None
        settled = settle(entry, outcome, 0.0)
        journal.finish_attempt(seq, outcome, settled, 1000.5 + number)
        row = row_of(journal, seq)
        due_at = 1000.5 + number + settled.wait
        assert (row["state"], row["due_at"], row["attempts"]) == (settled.state, due_at, number)
    rows = journal.query("attempts_of_entry", seq=seq)
    assert [(r["outcome"], r["code"], r["http_status"], r["request_id"], r["ambiguous"]) for r in rows] == [
        ("throttled", "ThrottlingException", 400, "req-1", 0),
        ("unavailable", "ReadTimeoutError", None, "", 1),
        ("accepted", "", 200, "req-3", 0),
    ]
    assert row_of(journal, seq)["settled_at"] == 1003.5


@pytest.mark.parametrize("sent", [True, False])
def test_an_entry_that_is_damaged_on_disk_is_parked_and_not_sent(journal: Journal, sent: bool) -> None:
    first, second = enqueued(journal, notification(1, FAILED), notification(2, SUCCEEDED))
    if sent:
        attempted(journal, first)
    damage(journal.path, second)
    heads(journal)
    if not sent:
        attempted(journal, first)
    assert [entry.seq for entry in heads(journal)] == []
    row = row_of(journal, second)
    assert (row["state"], row["reason"]) == ("parked", "checksum")


def test_what_was_on_the_wire_when_the_agent_died_is_due_again_and_said_to_be_ambiguous(journal_path: str) -> None:
    with Journal.open_as_daemon(journal_path) as journal:
        enqueued(journal, notification(1), notification(2, FAILED), now=1000.0)
    with Journal.open_as_daemon(journal_path) as journal:
        assert journal.resume_after_crash(2000.0) == 1
        (entry,) = heads(journal)
        assert (entry.seq, entry.state, entry.attempts) == (1, EntryState.RETRYABLE, 1)
        assert row_of(journal, 1)["due_at"] == 2000.0
        (attempt,) = journal.query("attempts_of_entry", seq=1)
        assert (attempt["outcome"], attempt["ambiguous"], attempt["finished_at"]) == ("interrupted", 1, 2000.0)
        assert journal.resume_after_crash(2001.0) == 0
        assert states(journal) == ["retryable", "pending"]


def test_a_replay_is_a_new_entry_at_the_end_of_its_line_with_the_same_id_and_content(journal: Journal) -> None:
    first, _ = enqueued(journal, notification(1, SUCCEEDED), notification(2, FAILED))
    attempted(journal, first)
    before = row_of(journal, first)
    seq = journal.replay(journal.query("entry", seq=first)[0], 1005.0)
    row = row_of(journal, seq)
    assert seq == 3
    for same in ("notification_id", "body", "checksum", "run_id", "sink", "resource_arn", "deployment_id", "status"):
        assert row[same] == before[same]
    assert (row["replay_of"], row["state"], row["attempts"]) == (first, "pending", 0)
    assert row_of(journal, first) == before
    journal.replay(journal.query("entry", seq=first)[0], 1006.0)
    assert states(journal) == ["delivered", "pending", "pending", "pending"]


# --- any order of all of it ---------------------------------------------------------------------------------------


class Outbox(RuleBasedStateMachine):
    """Everything that may happen to the outbox, in any order, with a restart or a crash at any time."""

    @initialize()
    def create(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.path = f"{self.directory}/memory/journal.db"
        self.journal = Journal.open_as_daemon(self.path)
        self.now = 1000.0
        self.number = 0
        self.bodies: dict[int, bytes] = {}
        self.on_wire: set[int] = set()
        self.sent: dict[tuple[str, str], list[int]] = defaultdict(list)

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            shutil.rmtree(self.directory)

    @rule(
        status=st.sampled_from(Status),
        arn=st.sampled_from([ARN, OTHER_ARN]),
        deployment=st.sampled_from([None, DEPLOYMENT, NEXT_DEPLOYMENT]),
        sink=st.sampled_from(["proton", "console"]),
        objection=st.sampled_from(["", "", "", "too long"]),
        began=st.sampled_from([10.0, 10.0, 20.0]),
    )
    def enqueue(
        self, status: Status, arn: str, deployment: str | None, sink: str, objection: str, began: float
    ) -> None:
        self.number += 1
        told = notification(self.number, status, arn, deployment, began=began)
        (seq,) = enqueued(self.journal, told, sink=sink, now=self.now, objection=objection)
        if seq and row_of(self.journal, seq)["state"] == EntryState.SENDING:
            self.leaves(seq)
        assert enqueued(self.journal, told, sink=sink, now=self.now) == [0]

    @rule()
    def begin(self) -> None:
        for entry in heads(self.journal):
            if entry.seq not in self.on_wire and self.journal.begin_attempt(entry.seq, self.now):
                self.leaves(entry.seq)

    @precondition(lambda self: self.on_wire)
    @rule(kind=st.sampled_from(OutcomeKind), pick=st.integers(0, 10))
    def finish(self, kind: OutcomeKind, pick: int) -> None:
        seq = sorted(self.on_wire)[pick % len(self.on_wire)]
        self.on_wire.discard(seq)
        entry = self.journal.entry(seq, self.now)
        assert entry is not None
        outcome = Outcome(kind, ambiguous=kind is OutcomeKind.UNAVAILABLE)
        settled = settle(entry, outcome, 0.5)
        self.journal.finish_attempt(seq, outcome, settled, self.now)
        assert row_of(self.journal, seq)["state"] == settled.state

    @precondition(lambda self: self.bodies)
    @rule(pick=st.integers(0, 100))
    def replay(self, pick: int) -> None:
        seq = sorted(self.bodies)[pick % len(self.bodies)]
        (row,) = self.journal.query("entry", seq=seq)
        self.journal.replay(row, self.now)

    @rule(seconds=st.sampled_from([1.0, 1000.0, -(10.0**8)]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def fail_in_a_transaction(self) -> None:
        with suppress(ZeroDivisionError), self.journal.transaction():
            self.journal.enqueue(notification(10_000, FAILED), "proton", self.now)
            _ = 1 / 0

    @rule()
    def crash(self) -> None:
        self.journal.close()
        self.journal = Journal.open_as_daemon(self.path)
        assert self.journal.resume_after_crash(self.now) == len(self.on_wire)
        self.on_wire.clear()

    def leaves(self, seq: int) -> None:
        row = row_of(self.journal, seq)
        self.on_wire.add(seq)
        self.sent[str(row["sink"]), str(row["resource_arn"])].append(seq)

    @invariant()
    def everything_holds(self) -> None:
        if not hasattr(self, "journal"):
            return
        rows = self.journal.query("entries", after=0, limit=1_000_000)
        seqs = {row["seq"] for row in rows}
        assert self.bodies.keys() <= seqs, "something has disappeared"
        lines: dict[tuple[str, str], list[sqlite3.Row]] = defaultdict(list)
        for row in rows:
            assert self.bodies.setdefault(row["seq"], row["body"]) == row["body"], "a body has changed"
            assert notification_of(row["body"]).status == row["status"]
            assert row["state"] in set(EntryState)
            assert (row["settled_at"] is None) == (row["state"] in ACTIVE)
            lines[row["sink"], row["resource_arn"]].append(row)
            if row["state"] == EntryState.SUPERSEDED:
                self.judge_superseded(row)
        for key, line in lines.items():
            active = [row for row in line if row["state"] in ACTIVE]
            assert EntryState.SENDING not in {row["state"] for row in active[1:]}, "two at once, or not the first"
            assert self.sent[key] == sorted(self.sent[key]), "sent out of order"
        assert {row["seq"] for row in rows if row["state"] == EntryState.SENDING} == self.on_wire
        firsts = [next((row["seq"] for row in line if row["state"] in ACTIVE), 0) for line in lines.values()]
        assert [entry.seq for entry in heads(self.journal)] == sorted(filter(None, firsts))

    def judge_superseded(self, row: sqlite3.Row) -> None:
        successor = row_of(self.journal, row["superseded_by"])
        assert row["attempts"] == 0
        if row["reassertion"]:
            return
        assert row["replay_of"] is None
        assert (successor["sink"], successor["resource_arn"]) == (row["sink"], row["resource_arn"])
        if successor["seq"] < row["seq"]:
            assert successor["run_started_at"] > row["run_started_at"]
            assert successor["status"] != "IN_PROGRESS"
            return
        same = successor["deployment_id"] == row["deployment_id"]
        assert row["status"] == "IN_PROGRESS" or not same, "an outcome is hidden"


TestOutbox = Outbox.TestCase
TestOutbox.settings = hypothesis_settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_what_is_deleted_is_overwritten_on_disk(tmp_path: Path) -> None:
    """`secure_delete`: a page that is free again does not keep what it held."""
    path = tmp_path / "kept" / "journal.db"
    run = Run("run-1", "/w", 1000.0, error_summary="deleted-long-ago " * 500, log_path="/w/deleted-long-ago.log")
    with Journal.open_as_daemon(str(path)) as journal, journal.transaction():
        journal.put_run(Recorded(run, Unbound("")))
    assert path.read_bytes().count(b"deleted-long-ago") > 100
    with Journal.open_as_daemon(str(path)) as journal, journal.transaction():
        journal.delete_run("run-1")
    assert b"deleted-long-ago" not in path.read_bytes()
