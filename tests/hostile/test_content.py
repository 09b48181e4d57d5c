"""Sections B to E of docs/bad-input.md, one row each: bad content in the files of a run, before the real observer,
pipeline and journal.

What holds for all: the code it is reported or refused with, nothing is told of the run that is not so, the run beside
it is told, and once a good version has taken the place of the bad one, the run is told as if nothing had been. What the
agent makes of some inputs is more than the catalogue asks for: a document 900 deep, a million digits or a key that
occurs twice in a state do no harm and are read; only what names the resource (metadata) is read strictly.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import hostile_json, hostile_logs, hostile_metadata, hostile_states
from support.enactors import moved
from support.facts import LOGS
from support.hostile import Case, Ground, planted
from support.hostile_content import LOG, Content, go_on, whole_log
from support.observing import ObservedRoot
from support.watching import bind_directory

from proton_tf_agent.domain.notification import Notification
from proton_tf_agent.domain.refusals import REFUSALS
from proton_tf_agent.domain.run import OPEN, Run
from proton_tf_agent.journal import Journal
from proton_tf_agent.settings import AllowSettings, Settings, SinkSettings

CASES = (*hostile_json.CASES, *hostile_metadata.CASES, *hostile_states.CASES, *hostile_logs.CASES)
NEIGHBOUR = "arn:aws:proton:us-east-1:111122223333:environment/neighbour"
SETTINGS = Settings(
    allow=AllowSettings(("arn:aws:proton:*:111122223333:*",)), sink=(SinkSettings("proton", region="us-east-1"),)
)


@pytest.fixture
def observed(tmp_path: Path) -> Iterator[ObservedRoot]:
    with Journal.open_as_daemon(str(tmp_path / "journal" / "journal.db")) as journal:
        root = ObservedRoot(tmp_path, journal, SETTINGS)
        root.now = time.time()
        bind_directory(root.directory, NEIGHBOUR, "0" * 8 + "-0000-4000-8000-" + "0" * 12)
        yield root


def look(observed: ObservedRoot, case: Case, ground: Ground) -> None:
    """A rescan, and the kernel's hints."""
    observed.observer.turn(rescan=True)
    while observed.observer.has_backlog:
        observed.observer.turn()
    observed.observer.read(observed.watch.touched(str(ground.directory / path) for path in case.hinted))


def codes(observed: ObservedRoot, ground: Ground) -> tuple[set[str], set[str]]:
    """With which codes something was reported as unreadable, and a binding refused, so far."""
    below = str(ground.directory)
    unread = {
        str(t.keys["reason"]) for t in observed.told if t.name == "source.unreadable" and below in str(t.keys["path"])
    }
    refused = [
        str(t.keys["reason"]) for t in observed.told if t.name == "binding.refused" and t.keys["directory"] == below
    ]
    return unread, {reason.partition(":")[0] for reason in refused}


def run_in(observed: ObservedRoot, ground: Ground) -> Run | None:
    return next((run for run in observed.runs() if run.directory == str(ground.directory)), None)


def told_of(observed: ObservedRoot, ground: Ground) -> list[Notification]:
    return [told for told in observed.notifications() if told.resource_arn == ground.resource_arn]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_content_is_refused_by_code_harms_nobody_and_is_made_good(
    case: Content, observed: ObservedRoot, tmp_path: Path
) -> None:
    with planted([case], Path(observed.root), tmp_path / "outside") as (one,), ExitStack() as writers:
        ground = one.ground
        if case.mend:
            writers.enter_context(open(ground.directory / LOG, "ab"))  # somebody is at work
        look(observed, case, ground)
        expected = case.expects or case.late
        assert codes(observed, ground) == ({expected} - {""}, {case.refuses} - {""})
        assert codes_explained(observed)
        if case.mend or case.title in ("no metadata", "metadata that come when the run is under way"):
            begun = run_in(observed, ground)
            assert begun is not None
            assert begun.status in OPEN, "it is what it was known to be"
            assert {told.status for told in told_of(observed, ground)} <= {"IN_PROGRESS"}
        observed.write("apply.log", moved((LOGS / "apply_ok.log").read_text("utf-8"), observed.now).encode())
        look(observed, case, ground)
        if case.mend:
            case.mend(ground)
            go_on(ground, whole_log())
            look(observed, case, ground)
            writers.close()
            look(observed, case, ground)
        observed.wait(3600.0)
        judge(case, told_of(observed, ground))
    assert [told.status for told in observed.notifications() if told.resource_arn == NEIGHBOUR][-1] == "SUCCEEDED"
    if case.mend and case.expects:
        assert not [path for path in observed.observer.unreadable if path.startswith(str(ground.directory))]


def judge(case: Content, told: list[Notification]) -> None:
    """What Proton has heard in the end."""
    last = told[-1] if told else None
    succeeds = bool(case.mend) or case.succeeds
    assert (last is not None and last.status == "SUCCEEDED") == succeeds, last
    if last is None or not succeeds:
        return
    outputs = {"endpoint_id", "greeting"} if case.outputs is None else dict(case.outputs)
    if case.outputs is not None:
        assert dict(last.outputs) == outputs
    else:
        assert last.outputs, "the outputs of its log"
    assert {name for name, _ in last.omitted} >= set(case.omitted)
    assert all(name in last.status_message for name in case.omitted[:10])


def codes_explained(observed: ObservedRoot) -> bool:
    """Whether every code that was told has its row for people."""
    reasons = [str(t.keys["reason"]) for t in observed.told if t.name in ("source.unreadable", "binding.refused")]
    return all(reason.partition(":")[0] in REFUSALS for reason in reasons)


def test_an_error_that_steers_terminals_is_told_without_what_steers(observed: ObservedRoot, tmp_path: Path) -> None:
    """Bad inputs 82 and 84: within 5,000 characters, whole ones, none of which acts on anything."""
    case = next(case for case in hostile_logs.CASES if case.number == "82")
    with planted([case], Path(observed.root), tmp_path / "outside") as (one,):
        look(observed, case, one.ground)
        observed.wait(3600.0)
        last = told_of(observed, one.ground)[-1]
    assert last.status == "FAILED"
    assert "Oops" in last.status_message
    assert len(last.status_message) <= 5000
    assert all(character.isprintable() or character == "\n" for character in last.status_message)


_MEASURE = """
import gc, re, sys, time
from pathlib import Path
from support.hostile import all_cases, planted
from support.observing import ObservedRoot
from proton_tf_agent.journal import Journal
base = Path(sys.argv[1])
def memory(which):
    return int(re.search(which + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10
with Journal.open_as_daemon(str(base / "journal" / "journal.db")) as journal:
    observed = ObservedRoot(base, journal)
    observed.now = time.time()
    observed.observer.turn(rescan=True)
    bombs = [case for case in all_cases() if str(case) == sys.argv[2]]
    with planted(bombs, Path(observed.root), base / "outside") as (one,):
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the most that was ever used is what is used now
        before = memory("VmRSS")
        for _ in range(3):
            observed.observer.turn(rescan=True)
            observed.observer.read(observed.watch.touched(str(one.ground.directory / path) for path in one.case.hinted))
        observed.wait(3600.0)
        print(memory("VmHWM") - before)
"""


@pytest.mark.parametrize("case", [case for case in CASES if case.number in ("37", "38", "38b", "43", "79")], ids=str)
def test_no_bomb_takes_more_memory_than_its_file_a_few_times_over(case: Content, tmp_path: Path) -> None:
    """At most 16 MiB are ever decoded; as objects these bombs would take 400 MiB and more."""
    command = [sys.executable, "-c", _MEASURE, str(tmp_path), str(case)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert int(said.stdout) < 100, "MiB"


# What takes more than a file that is bad: where it is tried.
ELSEWHERE = {
    "56": "hostile/test_whose.py::test_a_run_keeps_the_deployment_it_began_with",
    "57": "hostile/test_whose.py::test_a_directory_is_another_resources_with_its_next_run",
    "58": "hostile/test_whose.py::test_a_deleted_resource_is_told_as_destroyed_with_no_outputs",
    "61": "hostile/test_whose.py::test_a_copy_of_the_metadata_speaks_for_nobody_while_the_first_run_is_under_way",
    "62": "hostile/test_whose.py::test_metadata_that_are_rolled_back_speak_for_no_deployment_that_is_over",
    "71": "unit/test_state_file.py::test_a_sensitive_output_carries_no_value_and_its_value_is_known_as_a_secret",
    "72": "unit/test_outputs.py::test_a_copy_of_a_sensitive_value_is_not_told_in_any_encoding",
    "77": "unit/test_state_file.py::test_where_a_sensitive_path_makes_no_sense_all_attributes_are_secret",
    "78": "unit/test_place.py::test_a_path_names_its_reader_its_run_directory_and_its_workspace",
    "83": "unit/test_redaction.py::test_a_copy_of_a_sensitive_value_is_masked_in_every_encoding",
    "84": "unit/test_notification.py::test_what_is_told_is_masked_before_it_is_cut",
    "85": "unit/test_tail.py::test_copytruncate_loses_no_line_written_after_it",
    "87": "property/test_a_log_written_over.py"
    "::test_of_two_runs_nothing_false_is_told_and_the_second_is_however_they_and_the_agent_interleave",
}


def test_every_number_of_the_catalogue_is_tried_here_or_elsewhere() -> None:
    assert {case.number for case in CASES} == ({str(n) for n in range(27, 88)} | {"38b"}) - ELSEWHERE.keys()
    for test in ELSEWHERE.values():
        file, _, name = test.partition("::")
        assert f"def {name}(" in (Path(__file__).parents[1] / file).read_text("utf-8"), test
