"""Section A of docs/bad-input.md, one row each: what lies in a run directory instead of a file, before real readers.

Each row is looked at by a rescan and by hints, by a real observer with a real journal. What holds for all: nothing of
a file outside of the root comes in, nothing blocks, and whatever lies beside it is told.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.enactors import moved
from support.facts import LOGS
from support.hostile import CANARY, Case, planted
from support.hostile_files import CASES
from support.observing import ObservedRoot
from support.watching import bind_directory

from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.hold_ups import BELOW_S
from proton_tf_agent.journal import Journal

_TURNS = 1000
_NEIGHBOUR = "arn:aws:proton:us-east-1:111122223333:environment/neighbour"


@pytest.fixture
def observed(tmp_path: Path) -> Iterator[ObservedRoot]:
    with Journal.open_as_daemon(str(tmp_path / "journal" / "journal.db")) as journal:
        yield ObservedRoot(tmp_path, journal)


def _turn(observed: ObservedRoot) -> None:
    observed.observer.turn(rescan=True)
    for _ in range(_TURNS):
        if observed.observer.has_backlog:
            observed.observer.turn()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_no_plain_file_is_reported_and_harms_nobody(case: Case, observed: ObservedRoot, tmp_path: Path) -> None:
    root = Path(observed.root)
    log = (LOGS / "apply_ok.log").read_text("utf-8")
    bind_directory(observed.directory, _NEIGHBOUR, "0" * 8 + "-0000-4000-8000-" + "0" * 12)
    with planted([case], root, tmp_path / "outside") as (one,):
        _turn(observed)
        directory = str(one.ground.directory)
        observed.observer.read(observed.watch.touched(f"{directory}/{path}" for path in case.hinted))
        observed.write("apply.log", moved(log, observed.now).encode())  # a neighbour's run, behind all that
        _turn(observed)
        observed.wait(3600.0)
        told = [row.keys for row in observed.told if row.name == "source.unreadable"]
        codes = {str(keys["reason"]) for keys in told if str(keys["path"]).startswith(directory)}
        succeeded = {n.resource_arn for n in observed.notifications() if n.status == "SUCCEEDED"}
    assert codes - set(case.may) == ({case.expects} if case.expects else set())
    assert succeeded == {_NEIGHBOUR} | ({one.ground.resource_arn} if case.succeeds else set())
    everything = json.dumps([dict(row.keys) for row in observed.told]) + repr(observed.notifications())
    assert CANARY not in everything
    assert CANARY.encode() not in Path(observed.journal.path).read_bytes()


def test_the_numbers_are_those_of_the_catalogue() -> None:
    """Those that are missing here need more of the machine, or are no file: tests/machine, tests/unit."""
    assert {case.number for case in CASES} == {str(n) for n in range(1, 27)} - {"18", "19", "20", "26"}


def test_11_a_log_that_is_not_read_to_its_end_yet_holds_up_its_own_directory_alone(
    observed: ObservedRoot, tmp_path: Path
) -> None:
    """Its own runs are told in their order, once its end is reached."""
    log = (LOGS / "apply_ok.log").read_text("utf-8")
    bind_directory(observed.directory, _NEIGHBOUR, "0" * 8 + "-0000-4000-8000-" + "0" * 12)
    huge = Path(observed.root, "huge")
    bind_directory(str(huge), f"{_NEIGHBOUR}-huge", "0" * 8 + "-0000-4000-8000-" + "0" * 12)
    (huge / "a.log").write_text('{"@level":"info","type":"log"}\n' * 500_000 + moved(log, observed.now), "utf-8")
    (huge / "b.log").write_text(moved(log, observed.now + 1.0), "utf-8")
    observed.observer.turn(rescan=True)
    observed.write("apply.log", moved(log, observed.now).encode())
    observed.observer.turn(rescan=True)
    assert observed.observer.has_backlog, "it was read at once: nothing waited"
    assert [n.resource_arn for n in observed.notifications() if n.status == "SUCCEEDED"] == [_NEIGHBOUR]
    _turn(observed)
    told = [n.resource_arn for n in observed.notifications() if n.status == "SUCCEEDED"]
    assert told == [_NEIGHBOUR, f"{_NEIGHBOUR}-huge", f"{_NEIGHBOUR}-huge"]


def test_11_a_log_that_grows_faster_than_it_is_read_holds_up_what_lies_below_it_for_a_while_only(
    observed: ObservedRoot,
) -> None:
    """A run may write its log above its directory, so what lies below waits; but no job may stop the runs of others."""
    bind_directory(observed.directory, _NEIGHBOUR, "0" * 8 + "-0000-4000-8000-" + "0" * 12)
    chatter = b'{"@level":"info","type":"log"}\n' * 5_000

    def grow() -> None:
        with open(f"{observed.root}/apply.log", "ab") as file:
            file.write(chatter)

    grow()
    observed.at_each_step = grow
    observed.observer.turn(rescan=True)
    observed.write("apply.log", moved((LOGS / "apply_ok.log").read_text("utf-8"), observed.now).encode())
    observed.observer.turn(rescan=True)
    observed.observer.turn()
    assert observed.notifications() == []
    observed.now += BELOW_S
    observed.observer.turn()
    observed.observer.turn()
    assert observed.observer.has_backlog, "the log does not grow any more"
    assert [n.status for n in observed.notifications()][-1] == "SUCCEEDED"


def test_11_the_end_of_a_run_whose_log_grows_for_ever_is_waited_for_but_holds_up_nobody(
    observed: ObservedRoot,
) -> None:
    """Nobody has the log open, so it is read to its end before that is believed, which never comes."""
    bind_directory(observed.directory, _NEIGHBOUR, "0" * 8 + "-0000-4000-8000-" + "0" * 12)
    chatty = f"{observed.root}/chatty"
    bind_directory(chatty, f"{_NEIGHBOUR}-chatty", "0" * 8 + "-0000-4000-8000-" + "0" * 12)
    log = (LOGS / "apply_ok.log").read_text("utf-8")
    begun = moved(log, observed.now - 0.5).splitlines(keepends=True)[:4]
    with open(f"{chatty}/apply.log", "w", encoding="utf-8") as file:
        file.writelines(begun)
        file.flush()
        observed.observer.turn(rescan=True)
    chatter = b'{"@level":"info","type":"log"}\n' * 20_000

    def grow() -> None:
        with open(f"{chatty}/apply.log", "ab") as file:
            file.write(chatter)

    observed.at_each_step = grow
    observed.observer.turn()
    observed.write("apply.log", moved(log, observed.now).encode())
    observed.observer.turn(rescan=True)
    assert observed.observer.has_backlog
    told = [(n.resource_arn, n.status) for n in observed.notifications()]
    assert (_NEIGHBOUR, "SUCCEEDED") in told
    assert (f"{_NEIGHBOUR}-chatty", "IN_PROGRESS") in told
    assert {arn for arn, status in told if status != "IN_PROGRESS"} == {_NEIGHBOUR}


def test_11_a_log_that_grows_for_ever_keeps_no_agent_from_becoming_ready(observed: ObservedRoot) -> None:
    """At a start the logs of open runs are read before anything is concluded about them; half a minute at most."""
    log = moved((LOGS / "apply_ok.log").read_text("utf-8"), observed.now)
    with open(observed.write("apply.log", b""), "w", encoding="utf-8") as file:
        file.writelines(log.splitlines(keepends=True)[:4])
        file.flush()
        observed.observer.turn(rescan=True)
    chatter = b'{"@level":"info","type":"log"}\n' * 5_000
    observed.at_each_step = lambda: observed.write("apply.log", chatter, "ab")
    spent = itertools.count()
    observed.cpu = lambda: float(next(spent))  # a clock by which each step takes seconds
    unread = observed.observer.look_at_open_runs()
    assert observed.observer.has_backlog
    observed.pipeline.host_restarted(observed.now, observed.now + 1.0, unread.hold_up)
    observed.wait(3600.0)
    assert [run.is_open for run in observed.runs()] == [True], "its log may still say how it ended"
    observed.pipeline.host_restarted(observed.now, observed.now + 1.0)
    observed.wait(3600.0)
    assert [run.status for run in observed.runs()] == [RunStatus.LOST]
