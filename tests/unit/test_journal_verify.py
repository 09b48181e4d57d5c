"""Verifying: every change of a row is found and named, and nothing is raised, whatever is damaged."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.outboxes import OTHER_ARN, attempted, enqueued, filled, notification

from proton_tf_agent.domain.circuit import Circuit
from proton_tf_agent.domain.evidence import Cursor
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import OutcomeKind
from proton_tf_agent.journal import Journal
from proton_tf_agent.journal_store import Store
from proton_tf_agent.journal_verify import INVARIANTS, Finding, check

GOLDEN = Path(__file__).parents[1] / "golden" / "journals"
KEYS = {"meta": "key", "cursor": "path", "run": "run_id", "evidence": "id", "outbox": "seq", "attempt": "id",
        "circuit": "sink"}  # fmt: skip


@pytest.fixture
def journal(journal: Journal) -> Journal:
    """Something in every table."""
    filled(journal)
    journal.first_seen("/w", 900.0)
    with journal.transaction():
        journal.put_cursor(Cursor("/w/network/apply.log", 1, 2, 3, "4", 5))
        journal.put_circuit("proton", Circuit(held_for=OutcomeKind.GONE, code="410", probes=1, waited=9.0), 1000.0)
    return journal


def findings(path: str) -> list[Finding]:
    with Store.open_to_verify(path) as store:
        return list(check(store))


def execute(journal: Journal, sql: str) -> None:
    journal._connection.execute("DROP TRIGGER IF EXISTS outbox_body_is_immutable")
    journal._connection.execute(sql)


def reseal(journal: Journal) -> None:
    """As a bug of ours would leave the rows: sealed, and wrong."""
    for (seq,) in journal._connection.execute("SELECT seq FROM outbox").fetchall():
        journal._do("seal_entry", seq=seq)
        journal._do("seal_attempts_of", seq=seq)


def test_a_sound_journal_has_no_findings(journal: Journal) -> None:
    assert list(check(journal)) == []
    assert findings(journal.path) == []


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_real_journal_that_was_brought_up_to_date_has_none(tmp_path: Path, version: int) -> None:
    path = str(tmp_path / "journal.db")
    shutil.copy(GOLDEN / f"v{version}.db", path)
    os.chmod(path, 0o600)
    assert any(f"its version is {version} by its header" in finding.what for finding in findings(path))
    with Journal.open_as_daemon(path) as journal:
        assert list(check(journal)) == []


@pytest.mark.parametrize("table", KEYS)
def test_every_value_of_every_row_is_under_a_seal(journal: Journal, table: str) -> None:
    columns = [row[1] for row in journal._connection.execute(f"PRAGMA table_info({table})")]
    assert columns[-1] == "seal"
    key = KEYS[table]
    execute(journal, "SELECT 1")
    (name,) = journal._connection.execute(f"SELECT min({key}) FROM {table}").fetchone()
    for column in columns:
        if column == key:
            continue
        journal._connection.execute("SAVEPOINT before")
        kind = f"typeof({column})"
        journal._connection.execute(
            f"UPDATE {table} SET {column} = CASE {kind} WHEN 'text' THEN {column} || 'x' WHEN 'blob' THEN CAST("
            f"CAST({column} AS TEXT) || ' ' AS BLOB) WHEN 'null' THEN 1 ELSE {column} + 1 END WHERE {key} = ?", (name,)
        )  # fmt: skip
        found = [f for f in check(journal) if f.table == table and "seal does not hold" in f.what]
        assert len(found) == 1, column
        assert found[0].key.startswith(f"{key} {name}"), column
        journal._connection.execute("ROLLBACK TO before")
        journal._connection.execute("RELEASE before")


def test_a_finding_names_the_row_with_its_ids(journal: Journal) -> None:
    execute(journal, "UPDATE outbox SET body = CAST(replace(CAST(body AS TEXT), 'vpc-3', 'vpc-4') AS BLOB) WHERE seq=3")
    execute(journal, "UPDATE attempt SET outcome = 'accepted' WHERE id = 2")
    assert [f for f in check(journal) if "missing" not in f.what] == [
        Finding("outbox", "seq 3 (ntf-3, run-1)", "it is not what was written: its seal does not hold"),
        Finding("outbox", "seq 3 (ntf-3, run-1)", "its body is not what was written: its checksum does not hold"),
        Finding("attempt", "id 2 (of seq 3)", "it is not what was written: its seal does not hold"),
    ]


BROKEN = {
    "verify_told_twice": ("DROP INDEX outbox_once", "UPDATE outbox SET notification_id = 'ntf-1' WHERE seq = 3"),
    "verify_two_subjects": ("UPDATE outbox SET run_id = 'run-1' WHERE seq = 4",),
    "verify_told_nothing": ("UPDATE outbox SET status = 'IN_PROGRESS' WHERE run_id = 'run-1'",),
    "verify_seq_reused": ("UPDATE sqlite_sequence SET seq = 6 WHERE name = 'outbox'",),
    "verify_two_under_way": ("UPDATE outbox SET state = 'sending' WHERE seq IN (5, 6)",),
    "verify_overtook_in_line": ("UPDATE attempt SET seq = 6 WHERE seq = 4",),
    "verify_under_way_behind_another": ("UPDATE outbox SET state = 'sending' WHERE seq = 6",),
    "verify_state": ("UPDATE outbox SET state = 'lost' WHERE seq = 6",),
    "verify_attempts": ("UPDATE outbox SET attempts = 3 WHERE seq = 3",),
    "verify_body_can_change": (),
    "verify_went_back": ("UPDATE outbox SET status = 'IN_PROGRESS' WHERE seq = 6",),
    "verify_delivered_unheard": ("UPDATE attempt SET outcome = 'invalid' WHERE seq = 1",),
    "verify_shadowed": ("UPDATE outbox SET state = 'shadowed' WHERE seq = 3",),
    "verify_superseded": ("UPDATE outbox SET superseded_by = 4 WHERE seq = 2",),
    "verify_replay": ("UPDATE outbox SET replay_of = 1 WHERE seq = 3",),
    "verify_says_something_else": ("UPDATE outbox SET deployment_id = NULL WHERE seq = 3",),
    "verify_evidence_of_nobody": ("UPDATE evidence SET run_id = 'run-8' WHERE id = 3",),
    "verify_attempt_for_nothing": ("UPDATE attempt SET seq = 99 WHERE id = 1",),
}


@pytest.mark.parametrize(("query", "table", "what"), INVARIANTS, ids=[query for query, *_ in INVARIANTS])
def test_every_invariant_can_be_broken_and_that_is_found(journal: Journal, query: str, table: str, what: str) -> None:
    for sql in BROKEN[query]:
        execute(journal, sql)
    if query == "verify_body_can_change":
        execute(journal, "SELECT 1")
    reseal(journal)
    assert [f.table for f in check(journal) if f.what == what] == [table]


def test_text_that_has_rotted_names_its_row_and_hides_no_other(journal: Journal) -> None:
    execute(journal, "UPDATE outbox SET reason = CAST(x'61ff62' AS TEXT) WHERE seq = 4")
    execute(journal, "UPDATE outbox SET status = 'x' WHERE seq = 7")
    found = [f.key for f in check(journal) if "seal" in f.what]
    assert found == ["seq 4 (ntf-4, run-2)", "seq 7 (ntf-3, run-1)"]


# --- damaged files ------------------------------------------------------------------------------------------------


@pytest.fixture
def pages(journal: Journal) -> bytes:
    """A closed journal of several pages in each of its larger tables."""
    for number in range(20, 60):
        (seq,) = enqueued(journal, notification(number, Status.FAILED, OTHER_ARN + "9", run_id=f"run-{number}"))
        attempted(journal, seq)
    journal.close()
    return Path(journal.path).read_bytes()


def damaged(journal: Journal, content: bytes) -> list[Finding]:
    Path(journal.path).write_bytes(content)
    return findings(journal.path)


def test_every_page_may_be_lost_and_nothing_is_raised(journal: Journal, pages: bytes) -> None:
    """Zeroed, cut off behind it, or another page in its place."""
    count = len(pages) // 4096
    assert count > 20
    for page in range(count):
        at, behind = page * 4096, (page + 1) * 4096
        other = ((page + 7) % count) * 4096
        for content in (
            pages[:at] + bytes(4096) + pages[behind:],
            pages[:at],
            pages[:at] + pages[other : other + 4096] + pages[behind:],
        ):
            found = damaged(journal, content)
            assert found or page == 0, page
            assert all(isinstance(f.what, str) for f in found)


def test_what_lies_behind_a_lost_page_is_looked_at_all_the_same(journal: Journal, pages: bytes) -> None:
    page = next(  # a leaf of the outbox in the midst
        at for at in range(0, len(pages), 4096)
        if pages[at] == 13 and b"ntf-30" in pages[at : at + 4096] and b"FAILED" in pages[at : at + 4096]
    )  # fmt: skip
    with Journal.open_existing(journal.path) as sound:
        execute(sound, "UPDATE outbox SET reason = 'rot' WHERE notification_id IN ('ntf-1', 'ntf-59')")
    content = bytearray(Path(journal.path).read_bytes())
    content[page : page + 4096] = bytes(4096)
    found = damaged(journal, bytes(content))
    rows = [f.key for f in found if f.table == "outbox" and "seal" in f.what]
    assert rows == ["seq 1 (ntf-1, run-1)", "seq 47 (ntf-59, run-59)"]
    assert any(f.table == "outbox" and "rows cannot be read" in f.what for f in found)


@pytest.mark.parametrize("content", [b"", b"x", b"not a database, but long enough for a header " * 200, bytes(8192)])
def test_what_is_no_journal_is_a_finding(journal: Journal, pages: bytes, content: bytes) -> None:
    assert damaged(journal, content)


def test_flipped_bits_raise_nothing(journal: Journal, pages: bytes) -> None:
    draw = random.Random(1)
    for _ in range(150):
        content = bytearray(pages)
        bit = draw.randrange(len(pages) * 8)
        content[bit // 8] ^= 1 << bit % 8
        damaged(journal, bytes(content))


# --- beside a daemon ----------------------------------------------------------------------------------------------


@pytest.fixture
def at_work(journal: Journal) -> Iterator[Callable[[], int]]:
    """A daemon that tells and delivers as fast as it can; says how often it has so far."""
    over, done = threading.Event(), [0]

    def work() -> None:
        while not over.is_set():
            number = 100 + done[0]
            (seq,) = enqueued(journal, notification(number, Status.FAILED, OTHER_ARN + "8", run_id=f"run-{number}"))
            attempted(journal, seq, OutcomeKind.UNAVAILABLE)
            attempted(journal, seq)
            done[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    yield lambda: done[0]
    over.set()
    thread.join()


def test_nothing_is_found_wrong_because_a_daemon_is_at_work(journal: Journal, at_work: Callable[[], int]) -> None:
    rounds, before = 0, at_work()
    while rounds < 5 or at_work() < before + 20:
        assert findings(journal.path) == []
        rounds += 1
