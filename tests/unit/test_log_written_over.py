"""A log that is written over before its end was read: what is told of the run that had begun in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.read_logs import ReadLog

from proton_tf_agent.domain import evidence as ev


def message(kind: str, **keys: object) -> str:
    """A line of the JSON UI."""
    return json.dumps({"@level": "info", "@module": "terraform.ui", **keys, "type": kind}, separators=(",", ":")) + "\n"


def version(second: int) -> str:
    return message("version", **{"@timestamp": f"2026-11-23T02:33:{second}Z"}, terraform="1.11.4", ui="1.2")


HOOK = {"resource": {"addr": "a.b"}, "action": "create"}
PLAN = message("change_summary", changes={"add": 1, "operation": "plan"})
STARTS, DONE = message("apply_start", hook=HOOK), message("apply_complete", hook=HOOK)
WARNING = message("diagnostic", diagnostic={"severity": "warning", "summary": "Deprecated"})
FIRST, SECOND = version(10) + PLAN + STARTS, version(20) + PLAN
HUMAN = "Terraform will perform the following actions:\nPlan: 1 to add, 0 to change, 0 to destroy.\na.b: Creating...\n"
HUMAN_DONE = "a.b: Creation complete after 0s [id=1]\n"
HUMAN_SUCCESS = "\nApply complete! Resources: 1 added, 0 changed, 0 destroyed.\n"
ERROR = "\nError: Unsupported argument\n"
BOXED_ERROR = "╷\n│ Error: Unsupported argument\n"

HUMAN_NEXT = HUMAN.replace("a.b", "c.d")

each_form = pytest.mark.parametrize(("first", "second"), [(FIRST, SECOND), (HUMAN, HUMAN_NEXT)], ids=["JSON", "human"])
every_pair = pytest.mark.parametrize(
    ("first", "second"),
    [(FIRST, SECOND), (HUMAN, HUMAN_NEXT), (FIRST, HUMAN_NEXT), (HUMAN, SECOND)],
    ids=["JSON", "human", "human over JSON", "JSON over human"],
)


@pytest.fixture
def job(tmp_path: Path) -> ReadLog:
    """A log whose name says nothing of what writes it."""
    return ReadLog(tmp_path / "job.log")


def write_over(log: ReadLog, text: str, *, seen_empty: bool = False) -> None:
    """Truncate it and write; seen_empty: it is looked at in between."""
    if seen_empty:
        log.overwrite(text)
    else:
        log.path.write_text(text)


@every_pair
@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("seen_empty", [True, False])
def test_the_end_of_a_run_was_not_read_where_the_next_has_begun_over_it(
    job: ReadLog, first: str, second: str, seen_empty: bool, complete: bool
) -> None:
    job.append(first).look()
    write_over(job, second, seen_empty=seen_empty)
    job.look(complete=complete)
    assert [job.ends(run) for run in range(len(job.runs))] == [[ev.LogOverwritten], [ev.LogClosed] if complete else []]


@every_pair
def test_lines_of_nobodys_in_front_of_the_next_run_change_nothing(job: ReadLog, first: str, second: str) -> None:
    job.append(first).look()
    write_over(job, '== deploying ==\n{"some": "document"}\n')
    job.look().append(second).look()
    assert [job.ends(run) for run in range(len(job.runs))] == [[ev.LogOverwritten], []]


@every_pair
def test_the_end_of_a_run_that_went_on_in_a_log_that_was_cut_is_read(job: ReadLog, first: str, second: str) -> None:
    """Copytruncate: its own lines came behind the cut, and the next run behind those."""
    job.append(first).look()
    write_over(job, DONE if first is FIRST else HUMAN_DONE, seen_empty=True)
    job.look()
    assert (len(job.runs), job.ends(0)) == (1, [])
    job.append(PLAN if first is FIRST else HUMAN_SUCCESS).append(second).look()
    assert [job.ends(run) for run in range(len(job.runs))] == [[ev.LogClosed], []]


@each_form
def test_of_a_log_that_was_cut_nothing_is_told_until_it_is_known_what_comes(
    job: ReadLog, first: str, second: str
) -> None:
    job.append(first).look()
    write_over(job, "", seen_empty=True)
    job.look()
    assert job.ends(0) == []
    assert job.end().ends(0) == [ev.LogOverwritten], "nobody writes it any more"


@each_form
def test_the_end_of_a_run_is_known_that_was_found_complete_before_it_was_cut(
    job: ReadLog, first: str, second: str
) -> None:
    job.append(first).look().end()
    told = job.ends(0)
    write_over(job, second)
    job.look()
    assert (told, len(job.runs)) == ([ev.LogClosed], 2)


def test_a_line_that_is_no_evidence_shows_that_a_run_goes_on(job: ReadLog) -> None:
    job.append(FIRST).look()
    write_over(job, WARNING)
    assert job.end().ends(0) == [ev.LogClosed]


def test_a_log_that_is_written_again_from_its_start_goes_on(job: ReadLog) -> None:
    """An editor, or a filter that begins anew."""
    job.append(FIRST).look()
    write_over(job, FIRST, seen_empty=True)
    assert job.end().ends(0) == [ev.LogClosed]
    assert len(job.runs) == 2
    assert len(set(job.runs)) == 1


# --- what was read, and what may be the next command's --------------------------------------------------------------


@pytest.mark.parametrize("error", [ERROR, BOXED_ERROR])
def test_an_error_that_was_read_with_nothing_behind_it_counts(job: ReadLog, error: str) -> None:
    job.append(HUMAN + error).look()
    write_over(job, HUMAN_NEXT)
    job.look()
    assert job.told(0) == [ev.ErrorReported("Unsupported argument")]
    assert job.told(1) == []


@pytest.mark.parametrize("error", [ERROR, BOXED_ERROR, "panic: no\n"])
@pytest.mark.parametrize("seen_empty", [True, False])
def test_an_error_over_the_end_of_a_run_is_not_that_runs(job: ReadLog, error: str, seen_empty: bool) -> None:
    """`init`, or a plan with a mistake in its configuration: the same box, and no line that opens a run."""
    job.append(HUMAN).look()
    write_over(job, error, seen_empty=seen_empty)
    assert job.end().told(0) == []
    assert job.ends(0) == [ev.LogOverwritten]


def test_a_crash_over_the_end_of_a_run_is_not_that_runs(job: ReadLog) -> None:
    job.append(FIRST).look()
    write_over(job, "panic: no\n")
    assert job.end().told(0) == []


def test_what_was_held_back_is_not_told_where_what_may_contradict_it_was_not_read(job: ReadLog) -> None:
    """A summary behind a warning may be the warning's text; the error that follows would show it."""
    warning = '\nWarning: Check block assertion failed\n\n  on check.tf line 4, in check "c":\n\nnot well\n'
    job.append(HUMAN + HUMAN_DONE + warning + HUMAN_SUCCESS).look()
    write_over(job, HUMAN_NEXT)
    job.end()
    assert job.told(0) == []
    assert [job.ends(run) for run in range(len(job.runs))] == [[ev.LogOverwritten], [ev.LogClosed]]
