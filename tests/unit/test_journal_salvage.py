"""A damaged journal: found out before it is used, salvaged to the last row that is intact, and never silently empty.

Every way in which a small real journal can be damaged, up to every single bit of it (`make soak`), and what the next
agent makes of it. The truth is known: every row was read before.
"""

from __future__ import annotations

import os
import random
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.agents import with_journal
from support.journals import TABLES, Row, Told, directory_in_memory, fill, rows_in, rows_of, taken_up
from support.outboxes import OTHER_ARN, attempted, enqueued, notification, states
from support.soak import rounds

from proton_tf_agent import journal_salvage
from proton_tf_agent.domain.errors import AgentError, JournalUnusable
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import EntryState
from proton_tf_agent.journal_file import is_held, sync_directory
from proton_tf_agent.journal_store import SCHEMA_VERSION, Store, seal_of
from proton_tf_agent.journal_verify import rot

PAGE = 4096
SEED = 20261125
PARTS = rounds(2, 8)  # that may be tried at once
STEP = rounds(251, 1)  # of the bits of the whole file every so manieth
FLIPS = rounds(40, 0)  # of each page; 0: every bit of every page


@dataclass
class Specimen:
    """A sound journal, its file, and what is remembered of it; to be damaged again and again."""

    path: str
    data: bytes
    lock: bytes
    rows: dict[str, dict[object, Row]]

    @property
    def pages(self) -> int:
        return len(self.data) // PAGE

    def pages_of(self, table: str, key: object) -> set[int]:
        """Where a row lies: with its seal, and, if it is a run, with the beginning of its body."""
        row = self.rows[table][key]
        body = row[12][:30] if table == "run" and isinstance(row[12], bytes) else b""
        return {self.data.index(part) // PAGE for part in (str(row[-1]).encode(), body) if part}

    def put(self, data: bytes | bytearray, lock: bytes | None = None) -> None:
        """Let the file be these bytes, as an agent that ended in order leaves it."""
        for entry in os.scandir(os.path.dirname(self.path)):
            os.unlink(entry.path)
        for path, content in ((self.path, data), (self.path + ".lock", self.lock if lock is None else lock)):
            with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
                file.write(content)

    def aside(self) -> list[str]:
        names = sorted(os.listdir(os.path.dirname(self.path)))
        return [name for name in names if ".damaged-" in name and not name.endswith("-journal")]

    def flipped(self, at: int, bit: int) -> bytearray:
        data = bytearray(self.data)
        data[at] ^= 1 << bit
        return data


@pytest.fixture(scope="module")
def specimen() -> Iterator[Specimen]:
    with directory_in_memory() as directory:
        path = str(directory / "memory" / "journal.db")
        with taken_up(path) as journal:
            fill(journal)
            journal.remember(ended_well=True)
        lock = Path(path + ".lock").read_bytes()
        yield Specimen(path, Path(path).read_bytes(), lock, rows_in(path))


def read(path: str) -> dict[str, dict[object, Row]] | None:
    """What SQLite reads; None when it cannot."""
    try:
        return rows_in(path)
    except AgentError:
        return None


def is_found_by_verify(path: str) -> bool:
    with Store.open_to_verify(path) as journal:
        return any(rot(journal))


def told_of(told: Told, name: str) -> list[dict[str, object]]:
    return [keys for said, keys in told if said == name]


def missing(before: dict[str, dict[object, Row]], after: dict[str, dict[object, Row]]) -> set[tuple[str, object]]:
    """Rows that are not what they were, or gone."""
    return {(t, key) for t in TABLES for key, row in before[t].items() if after[t].get(key) != row}


def consequences(gone: set[tuple[str, object]], rows: dict[str, dict[object, Row]]) -> set[tuple[str, object]]:
    """What is let go of with rows that are gone, to be read again: evidence and cursors of runs."""
    runs = {key for table, key in gone if table == "run"}
    anchors = {rows["run"][run][6] for run in runs}
    evidence = {("evidence", key) for key, row in rows["evidence"].items() if row[1] in runs}
    cursors = {
        ("cursor", key) for key, row in rows["cursor"].items() if any(f'"{a}"'.encode() in row[1] for a in anchors)
    }
    return evidence | cursors


def judge(specimen: Specimen, data: bytes | bytearray, hit: int = 1) -> Told:
    """Start an agent on damaged bytes: at most so many rows are missing, and none without a word."""
    specimen.put(data)
    is_changed = read(specimen.path) != specimen.rows
    is_found = is_changed and is_found_by_verify(specimen.path)
    told: Told = []
    try:
        taken_up(specimen.path, told).close()
    except JournalUnusable as refused:
        assert Path(specimen.path).read_bytes() == data, "it was refused, and changed"
        return [("refused", {"reason": str(refused)})]
    if not told:
        assert not is_changed or is_found, "neither the start nor verifying has noticed"
        return told
    after = rows_in(specimen.path)
    gone = missing(specimen.rows, after)
    ((name, keys),) = told
    assert name == "journal.salvaged"
    really = {row for row in gone if row not in consequences(gone, specimen.rows)}
    assert len(really) <= hit, f"{really} are missing"
    assert Path(str(keys["aside"])).read_bytes() == data
    assert stat.S_IMODE(os.stat(str(keys["aside"])).st_mode) == 0o400
    assert all(after[table].keys() <= specimen.rows[table].keys() for table in TABLES), "rows were made up"
    assert keys["lost"] >= len({row for row in really if row[0] in ("run", "outbox")}), keys  # type: ignore[operator]
    return told


# --- bits -----------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(rounds(300, 7200))
@pytest.mark.parametrize("part", range(PARTS))
def test_no_flipped_bit_changes_data_unnoticed_or_costs_another_row_than_its_own(specimen: Specimen, part: int) -> None:
    """Of the header every bit, of the page with the versions every bit that is in use, of the others some; all in a
    soak."""
    draw = random.Random(SEED)
    places = [*range(100), *used_bytes(specimen, *specimen.pages_of("meta", "schema_version"))]
    bits = [(at, bit) for at in places for bit in range(8)]
    bits += [
        (page * PAGE + draw.randrange(PAGE), draw.randrange(8)) for page in range(specimen.pages) for _ in range(FLIPS)
    ]
    if not FLIPS:
        bits = [(at, bit) for at in range(len(specimen.data)) for bit in range(8)]
    bits = bits[part::PARTS]
    salvaged = sum(bool(told_of(judge(specimen, specimen.flipped(*bit)), "journal.salvaged")) for bit in bits)
    assert salvaged >= 1000 // PARTS


@pytest.mark.timeout(rounds(300, 7200))
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_bit_of_the_file_is_flipped_no_row_is_read_otherwise_without_verifying_noticing(
    specimen: Specimen, part: int
) -> None:
    """Every bit in a soak, so the file is kept in memory: what an agent then makes of it, the test above asks."""
    changed = 0
    for number in range(part, len(specimen.data) * 8, PARTS * STEP):
        data = specimen.flipped(*divmod(number, 8))
        with in_memory(data) as journal:
            is_changed = read_from(journal) != specimen.rows
        if is_changed:
            changed += 1
            with in_memory(data) as journal:
                assert any(rot(journal)), f"bit {number % 8} of byte {number // 8}"
    assert changed > len(specimen.data) // (PARTS * STEP) // 4, "hardly any bit is of a row"


def in_memory(data: bytearray) -> Store:
    """A journal of these bytes, opened to be verified."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.deserialize(bytes(data))
    return Store(":memory:", connection, None, lambda _failure: None)


def read_from(journal: Store) -> dict[str, dict[object, Row]] | None:
    """What SQLite reads; None when it cannot."""
    try:
        return rows_of(journal)
    except AgentError:
        return None


def test_rot_that_only_opening_it_meets_is_salvaged_too(specimen: Specimen) -> None:
    """In the page of the reserve, which nobody else looks at."""
    specimen.put(specimen.data)
    with Store.open_to_verify(specimen.path) as journal:
        root = journal._connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'filler'").fetchone()[0]
    for told in [judge(specimen, specimen.flipped((root - 1) * PAGE + 3, bit)) for bit in range(8)]:
        assert told_of(told, "journal.salvaged")


def used_bytes(specimen: Specimen, page: int) -> range:
    """From the first to the last byte of its rows, and its header."""
    content = specimen.data[page * PAGE : (page + 1) * PAGE]
    first = int.from_bytes(content[5:7], "big")
    return range(page * PAGE + first, (page + 1) * PAGE)


# --- pages ----------------------------------------------------------------------------------------------------------


def judge_pages(specimen: Specimen, data: bytes, damaged: Sequence[int], *, are_moved: bool = False) -> Told:
    """Start an agent after a crash: every row of every page that is intact is there, or found missing by verifying.

    are_moved: the damaged pages are intact, and not in their places, so that only rows of more than one are lost.
    """
    specimen.put(data, specimen.lock.replace(b'"ended_well":true', b'"ended_well":0000'))
    told: Told = []
    try:
        taken_up(specimen.path, told).close()
    except JournalUnusable as refused:
        assert Path(specimen.path).read_bytes() == data
        assert not specimen.aside()
        return [("refused", {"reason": str(refused)})]
    if not told:
        specimen_is_whole = read(specimen.path) == specimen.rows
        assert specimen_is_whole or is_found_by_verify(specimen.path)
        return told
    gone = missing(specimen.rows, rows_in(specimen.path))
    runs_are_gone = any(table == "run" for table, _ in gone)
    for table, key in gone - consequences(gone, specimen.rows):
        let_go = table == "cursor" and runs_are_gone
        pages = specimen.pages_of(table, key)
        assert let_go or (pages & {*damaged} and not (are_moved and len(pages) == 1)), (table, key)
    return told


def test_cut_off_anywhere_it_keeps_what_is_left(specimen: Specimen) -> None:
    for page in range(specimen.pages):
        for rest in (0, 1, 100, PAGE - 1)[2 * (page == 0) :]:
            told = judge_pages(specimen, specimen.data[: page * PAGE + rest], range(page, specimen.pages))
            assert told_of(told, "journal.salvaged"), (page, rest)


def test_cut_off_within_its_header_it_is_refused_and_left_as_it_is(specimen: Specimen) -> None:
    for size in (1, 16, 50, 71):
        assert judge_pages(specimen, specimen.data[:size], range(specimen.pages))[0][0] == "refused"


def test_any_page_may_be_zero_or_rubbish(specimen: Specimen) -> None:
    rubbish = random.Random(SEED).randbytes(PAGE)
    for page in range(specimen.pages):
        for content in (bytes(PAGE), rubbish, bytes(PAGE - 512) + rubbish[:512]):
            data = specimen.data[: page * PAGE] + content + specimen.data[(page + 1) * PAGE :]
            judge_pages(specimen, data, [page])


def test_pages_may_have_changed_places(specimen: Specimen) -> None:
    for first in range(specimen.pages):
        second = (first * 7 + 3) % specimen.pages
        pages = [specimen.data[n * PAGE : (n + 1) * PAGE] for n in range(specimen.pages)]
        pages[first], pages[second] = pages[second], pages[first]
        judge_pages(specimen, b"".join(pages), [first, second], are_moved=True)


# --- versions, and files of others ----------------------------------------------------------------------------------


def with_versions(specimen: Specimen, stamped: int, written: int | None) -> bytes:
    """The journal as its header and its meta say these versions, sealed."""
    specimen.put(specimen.data)
    with closing(sqlite3.connect(specimen.path, isolation_level=None)) as connection:
        connection.create_function("seal_of", -1, seal_of)
        connection.execute(f"PRAGMA user_version = {stamped}")
        if written is None:
            connection.execute("UPDATE meta SET seal = 'rotten' WHERE key = 'schema_version'")
        else:
            connection.execute(
                "UPDATE meta SET value = ?1, seal = seal_of('meta', key, ?1) WHERE key = 'schema_version'",
                (str(written),),
            )
    return Path(specimen.path).read_bytes()


@pytest.mark.parametrize("stamped", [0, 1, SCHEMA_VERSION - 1, SCHEMA_VERSION + 1, SCHEMA_VERSION + 1024, -1])
def test_a_version_that_has_rotted_in_the_header_is_known_from_meta(specimen: Specimen, stamped: int) -> None:
    data = with_versions(specimen, stamped, SCHEMA_VERSION)
    assert told_of(judge(specimen, data, hit=0), "journal.salvaged")


@pytest.mark.parametrize(("stamped", "written"), [(5, 5), (4, 5), (3, 5), (5, None), (99, 98)])
def test_a_newer_agents_journal_is_refused_and_left_as_it_is(specimen: Specimen, stamped: int, written: int) -> None:
    data = with_versions(specimen, stamped, written)
    ((said, keys),) = judge(specimen, data)
    assert (said, "newer agent" in str(keys["reason"])) == ("refused", True)
    assert not specimen.aside()


def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(specimen: Specimen, tmp_path: Path) -> None:
    others = str(tmp_path / "others.db")
    with closing(sqlite3.connect(others)) as connection:
        connection.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT, seal TEXT) WITHOUT ROWID")
        connection.execute("INSERT INTO meta VALUES ('a', 'b', '0123456789abcdef')")
        connection.commit()
    theirs = Path(others).read_bytes()
    for data in (b"[journal]\n", random.Random(SEED).randbytes(3 * PAGE), theirs, theirs[: PAGE + 1], bytes(5 * PAGE)):
        assert judge(specimen, data)[0][0] == "refused"
        assert not specimen.aside()
        assert not is_held(specimen.path)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_older_agents_journal_that_is_damaged_is_refused_and_left_as_it_is(specimen: Specimen, version: int) -> None:
    """Its rows have no seals. One that is sound is brought up to date."""
    old = (Path(__file__).parents[1] / "golden" / "journals" / f"v{version}.db").read_bytes()
    for page in range(1, len(old) // PAGE):
        specimen.put(old[: page * PAGE] + bytes(PAGE) + old[(page + 1) * PAGE :])
        before = Path(specimen.path).read_bytes()
        told: Told = []
        try:
            taken_up(specimen.path, told).close()
        except JournalUnusable:
            assert Path(specimen.path).read_bytes() == before
        assert not told
    specimen.put(old)
    with taken_up(specimen.path, told) as journal:
        assert journal._pragma("user_version") == SCHEMA_VERSION
    assert not told


# --- no journal -----------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "memory" / "journal.db")


@pytest.mark.parametrize("memory_is_sound", [True, False])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_journal_that_is_gone_or_empty_is_begun_anew_with_a_warning(
    specimen: Specimen, is_there: bool, memory_is_sound: bool
) -> None:
    specimen.put(b"", specimen.lock if memory_is_sound else specimen.lock[:80] + b"?" + specimen.lock[81:])
    Path(specimen.path + "-journal").write_bytes(b"left behind")
    os.chmod(specimen.path + "-journal", 0o600)
    if not is_there:
        os.unlink(specimen.path)
    told: Told = []
    with taken_up(specimen.path, told) as journal:
        assert states(journal) == []
    ((name, keys),) = told
    assert (name, keys["journal"]) == ("journal.renewed", specimen.path)
    assert Path(str(keys["aside"])).read_bytes() == b"left behind"
    taken_up(specimen.path, told).close()
    assert len(told) == 1


def test_the_first_of_all_starts_says_nothing_nor_does_one_after_it_was_cut_short(path: str) -> None:
    told: Told = []
    taken_up(path, told).close()
    os.unlink(path)
    os.unlink(path + ".lock")
    Path(path).touch(0o600)
    taken_up(path, told).close()
    assert not told


# --- what is salvaged -----------------------------------------------------------------------------------------------


def overwrite(path: str, old: bytes, new: bytes) -> None:
    """Let a place in the file rot."""
    data = Path(path).read_bytes()
    assert data.count(old) == 1
    with open(path, "r+b") as file:
        file.write(data.replace(old, new))


def body_of(path: str, seq: int) -> bytes:
    body = rows_in(path)["outbox"][seq][7]
    assert isinstance(body, bytes)
    return body


def zero_page_of(path: str, table: str, key: object) -> None:
    """Lose the page that holds a row."""
    seal = rows_in(path)[table][key][-1]
    with open(path, "r+b") as file:
        at = file.read().index(str(seal).encode()) // PAGE * PAGE
        os.pwrite(file.fileno(), bytes(PAGE), at)


def test_a_seq_is_never_given_twice_whatever_was_lost(path: str) -> None:
    with taken_up(path) as journal:
        *_, last = enqueued(journal, *(notification(n, Status.FAILED) for n in range(1, 6)))
    zero_page_of(path, "outbox", last)
    told: Told = []
    with taken_up(path, told) as journal:
        assert states(journal) == []
        assert enqueued(journal, notification(9)) == [last + 1]
    ((_, keys),) = told
    assert keys["lost_by_table"] == {"outbox": 5}


def test_of_two_copies_of_an_entry_the_one_counts_by_which_nothing_is_lost(path: str) -> None:
    """A page that was written, and not where it belongs: both are whole."""
    with taken_up(path) as journal:
        first, second = enqueued(journal, notification(1, Status.FAILED), notification(2, Status.FAILED, OTHER_ARN))
        before = Path(path).read_bytes()
        attempted(journal, first)
        journal.discard(second, [EntryState.SENDING], "by mistake", 1500.0)
    for older_is_behind in (True, False):
        after = Path(path).read_bytes()
        new, old = (after, before) if older_is_behind else (before, after)
        Path(path).write_bytes(bytes(PAGE) + new[PAGE:] + old[PAGE:])
        with taken_up(path) as journal:
            assert states(journal) == ["delivered", "sending"]
        Path(path).write_bytes(after)


def test_when_a_root_was_first_seen_is_not_lost_with_meta(path: str) -> None:
    with taken_up(path) as journal:
        assert journal.first_seen("/w", 900.0) == 900.0
        journal.put_boot_id("before")
    zero_page_of(path, "meta", "first_seen:/w")
    with taken_up(path) as journal:
        assert journal.first_seen("/w", 2000.0) == 900.0
        assert journal.boot_id() not in ("", "before"), "a restart of the machine would go unnoticed"


def test_a_command_beside_the_agent_says_what_to_do_and_changes_nothing(specimen: Specimen) -> None:
    for data in (bytes(PAGE) + specimen.data[PAGE:], specimen.data[:PAGE] + bytes(PAGE) + specimen.data[2 * PAGE :]):
        specimen.put(data)
        with pytest.raises(
            JournalUnusable, match=r"start the agent, which salvages it, or let .*journal verify"
        ) as said:
            with_journal(specimen.path, lambda journal: journal.query("meta", key="schema_version"))
        assert said.value.exit_code == 78
        assert Path(specimen.path).read_bytes() == data


# --- power loss in the midst of it ----------------------------------------------------------------------------------


class PowerLoss(BaseException):
    """The process is gone."""


CALLS = ("link", "rename", "chmod", "unlink")


def test_power_may_fail_at_any_step(specimen: Specimen, monkeypatch: pytest.MonkeyPatch) -> None:
    data = specimen.flipped(70, 0)
    steps = 0
    while lost_power_at(specimen, data, steps, monkeypatch):
        steps += 1
        told: Told = []
        taken_up(specimen.path, told).close()
        assert not missing(specimen.rows, rows_in(specimen.path))
        asides = specimen.aside()
        assert len(asides) == 1, asides
        directory = Path(specimen.path).parent
        assert (directory / asides[0]).read_bytes() == data
        assert not list(directory.glob("*.salvaged*"))
    assert steps >= 6


def lost_power_at(specimen: Specimen, data: bytes | bytearray, step: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Salvage until the call number `step` that changes the directory; False when there are not so many."""
    specimen.put(data)
    left = step

    def until(call: Callable[..., None]) -> Callable[..., None]:
        def called(*arguments: object) -> None:
            nonlocal left
            if left == 0:
                left = -1
            if left < 0:
                raise PowerLoss
            left -= 1
            call(*arguments)

        return called

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, until(getattr(os, name)))
        patch.setattr(journal_salvage, "sync_directory", until(sync_directory))
        try:
            taken_up(specimen.path).close()
        except PowerLoss:
            return True
    return False
