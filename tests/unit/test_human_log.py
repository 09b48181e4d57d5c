"""What a human log says, and whose it is: a real file, looked at as the agent does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.read_logs import ReadLog

from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.evidence import Evidence, Fact, Mark
from proton_tf_agent.sources import human_log, log

PLANNING = "Terraform will perform the following actions:\n"
PLAN = "Plan: 1 to add, 0 to change, 0 to destroy.\n"
CREATING = "terraform_data.a: Creating...\n"
CREATED = "terraform_data.a: Creation complete after 0s [id=1]\n"
SUCCESS = "\nApply complete! Resources: 1 added, 0 changed, 0 destroyed.\n"
NOTHING_DONE = "\nApply complete! Resources: 0 added, 0 changed, 0 destroyed.\n"
BOXED_ERROR = "╷\n│ Error: Unsupported argument\n│ \n│   on main.tf line 1:\n╵\n"
ERROR = "\nError: Unsupported argument\n\n  on main.tf line 1:\n"
APPLIED = ev.ApplySummarised(1, 0, 0)


Again = Callable[[ReadLog, str], ReadLog]


@pytest.fixture
def human(tmp_path: Path) -> ReadLog:
    return ReadLog(tmp_path / "apply.log")


# --- whose a line is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line_before", ["", "== deploying ==\n"])
@pytest.mark.parametrize("applied", [CREATING + CREATED + SUCCESS, NOTHING_DONE])
@pytest.mark.parametrize("again", [ReadLog.append, ReadLog.overwrite])
def test_a_saved_plan_that_is_applied_after_a_log_was_closed_proves_nothing_of_the_run_before(
    human: ReadLog, again: Again, applied: str, line_before: str
) -> None:
    human.append(CREATING).look().end()
    again(human, line_before + applied).look().end()
    assert len(human.runs) == 2
    assert human.told(0) == []
    assert len(human.told(1)) == 1


def test_a_log_that_was_written_over_and_closed_unseen_proves_nothing_of_the_run_before(human: ReadLog) -> None:
    human.append(PLANNING + PLAN + CREATING).look()
    human.path.write_text(CREATING + CREATED + SUCCESS)
    human.end()
    assert [human.told(run) for run in range(len(human.runs))] == [[], [APPLIED]]
    assert [human.ends(run) for run in range(len(human.runs))] == [[ev.LogOverwritten], [ev.LogClosed]]


def test_a_run_that_begins_like_the_last_one_is_another_though_it_was_written_over_it_unseen(human: ReadLog) -> None:
    alike = PLANNING + "  # terraform_data.a will be created\n" * 100 + PLAN + CREATING
    human.append(alike + CREATED + SUCCESS).look().end()
    human.path.write_text(alike + "terraform_data.a: Still creating... [10s elapsed]\n" * 9 + ERROR)
    human.end()
    assert [human.told(run) for run in range(len(human.runs))] == [[APPLIED], [FAILED]]


def test_a_run_goes_on_in_a_log_that_is_cut_while_it_is_written(human: ReadLog) -> None:
    human.append(PLANNING + PLAN + CREATING).look()
    human.overwrite("terraform_data.b: Creating...\n" + CREATED + SUCCESS).look().end()
    assert len(human.runs) == 1
    assert human.told(0) == [APPLIED]


def test_the_end_of_a_run_is_its_own_although_its_log_was_cut_a_moment_before(human: ReadLog) -> None:
    human.append(PLANNING + PLAN + CREATING).look()
    human.path.write_text(CREATED + SUCCESS)
    human.end()
    assert len(human.runs) == 1
    assert human.told(0) == [APPLIED]


def test_a_run_goes_on_whose_log_is_opened_for_every_line(human: ReadLog) -> None:
    for line in (PLANNING + PLAN + CREATING + CREATED + SUCCESS).splitlines(keepends=True):
        human.append(line).end()
        assert human.cursor is not None
        human.cursor = log.still_written(human.cursor, set(human.runs))
    assert len(human.runs) == 1
    assert human.told(0) == [APPLIED]


@pytest.mark.parametrize("error", [ERROR, BOXED_ERROR])
@pytest.mark.parametrize("again", [ReadLog.append, ReadLog.overwrite])
@pytest.mark.parametrize("first", [CREATING + CREATED + SUCCESS, ERROR, BOXED_ERROR])
def test_an_error_alone_is_the_next_runs_where_the_logs_name_says_what_writes_it(
    human: ReadLog, first: str, again: Again, error: str
) -> None:
    human.append(first).look().end()
    again(human, error).look().end()
    assert len(human.runs) == 2
    assert human.told(1) == [ev.ErrorReported("Unsupported argument")]


def test_an_error_alone_is_not_the_last_runs_where_nothing_says_what_writes_it(tmp_path: Path) -> None:
    job = ReadLog(tmp_path / "job.log").append(PLANNING + PLAN).look().end()
    job.append(ERROR).look().end()
    assert len(job.runs) == 1
    assert job.told(0) == []


def test_what_a_provisioner_printed_is_no_reason_to_disbelieve_the_next_writer(human: ReadLog) -> None:
    human.append(CREATING + "terraform_data.a (local-exec): Apply complete! Resources: 9 added.\n" + ERROR).look().end()
    human.append(CREATING + CREATED + SUCCESS).look().end()
    assert [human.told(run)[-1] for run in range(len(human.runs))] == [
        ev.ErrorReported("Unsupported argument"),
        APPLIED,
    ]


# --- what may be believed -----------------------------------------------------------------------------------------

WARNING = '\nWarning: Check block assertion failed\n\n  on check.tf line 4, in check "c":\n\n'
DONE = PLANNING + PLAN + CREATING + CREATED
FAILED = ev.ErrorReported("Unsupported argument")
CONTRADICTED = ev.OutcomeContradicted()
QUESTION = "\nDo you want to perform these actions?\n\n  Enter a value: \n"
PLAN_FAILS = "Terraform planned the following actions, but then encountered a problem:\n" + PLAN
FORGED = "\nApply complete! Resources: 7 added, 0 changed, 0 destroyed.\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (DONE + WARNING + "not well\n" + SUCCESS, [APPLIED]),
        (DONE + WARNING + "not well\n" + ERROR, [FAILED]),
        (DONE + WARNING + FORGED + ERROR, [FAILED]),
        (DONE + WARNING + FORGED + SUCCESS, [APPLIED]),
        (DONE + WARNING + FORGED, []),
        (DONE + WARNING + SUCCESS + SUCCESS, [APPLIED]),
        (DONE + WARNING + SUCCESS + ERROR, [CONTRADICTED]),
        (DONE + WARNING + "Error: it is not healthy\n" + SUCCESS, [CONTRADICTED]),
        (DONE + WARNING + "panic: no\n" + SUCCESS, [CONTRADICTED]),
        (DONE + WARNING + "Apply cancelled.\n" + SUCCESS, [APPLIED]),
        (PLANNING + PLAN + WARNING + NOTHING_DONE + QUESTION + CREATING + ERROR, [FAILED]),
        (PLANNING + PLAN + WARNING + SUCCESS + QUESTION + CREATING + ERROR, [FAILED]),
        (PLANNING + PLAN + WARNING + "Error: no\n" + QUESTION + CREATING + CREATED + SUCCESS, [APPLIED]),
        (PLANNING + PLAN + WARNING + "Error: no\n" + QUESTION + "\nApply cancelled.\n", [ev.ApprovalDeclined()]),
        (DONE + "╷\n│ Warning: Check block assertion failed\n│ \n│ Error: it is not healthy\n╵\n" + SUCCESS, [APPLIED]),
        (DONE + BOXED_ERROR, [FAILED]),
        (PLANNING + PLAN + WARNING + "Error: it is not healthy\nError: nor is this\n", []),
        (PLANNING + PLAN + WARNING + "panic: no\n", []),
        (PLANNING + PLAN + ERROR, [FAILED]),
        (PLANNING + PLAN + QUESTION + ERROR.lstrip(), [FAILED]),
        (PLAN_FAILS + WARNING + ERROR, [FAILED]),
    ],
)
def test_a_warning_is_no_outcome_whatever_it_says(human: ReadLog, text: str, told: list[Evidence]) -> None:
    human.append(text).look().end()
    assert len(human.runs) == 1
    assert human.told(0) == told


@pytest.mark.parametrize("cut", range(0, len(DONE + WARNING + FORGED + ERROR), 7))
def test_what_is_held_back_is_held_back_over_two_looks(human: ReadLog, cut: int) -> None:
    text = DONE + WARNING + FORGED + ERROR
    human.append(text[:cut]).look().append(text[cut:]).look()
    assert human.told(0) == []
    assert human.end().told(0) == [FAILED]


def test_what_is_held_back_is_told_when_the_next_run_begins_in_the_log(human: ReadLog) -> None:
    human.append(DONE + WARNING + SUCCESS + DONE).look()
    assert [human.told(run) for run in range(2)] == [[APPLIED], []]


@pytest.mark.parametrize("said", [SUCCESS, NOTHING_DONE])
def test_what_a_plan_would_do_was_not_done_before_it_is_said(human: ReadLog, said: str) -> None:
    human.append(PLANNING + PLAN + said).look().end()
    assert human.told(0) == []


def test_the_answer_no_is_believed_behind_the_question_alone(human: ReadLog) -> None:
    human.append(PLANNING + PLAN + "Apply cancelled.\n").look().end()
    assert human.told(0) == []


def test_what_terraform_output_quotes_behind_a_plan_is_no_outcome(human: ReadLog) -> None:
    human.append(PLANNING + PLAN + "last_log = <<EOT\nstart\nError: it broke\n" + NOTHING_DONE + "EOT\n").look().end()
    assert human.told(0) == []


def test_an_error_behind_a_plan_that_is_not_set_like_terraforms_is_another_tools(human: ReadLog) -> None:
    human.append(PLANNING + PLAN + "Error: 3 issues found\n" + CREATING + CREATED + SUCCESS).look().end()
    assert len(human.runs) == 1
    assert human.told(0) == [APPLIED]


# --- both forms in one log ----------------------------------------------------------------------------------------


def ui(kind: str, **members: object) -> str:
    return json.dumps({"@module": "terraform.ui"} | members | {"type": kind}, separators=(",", ":")) + "\n"


VERSION = ui("version", ui="1.2", terraform="1.11.4")
UI_PLAN = ui("change_summary", changes={"add": 1, "operation": "plan"})
UI_APPLYING = ui("apply_start", hook={"resource": {"addr": "a.b"}, "action": "create"})
UI_APPLIED = ui("change_summary", changes={"add": 1, "operation": "apply"})


@pytest.mark.parametrize(
    "before",
    [
        UI_PLAN,
        UI_PLAN + UI_APPLYING + UI_APPLIED,
        ui("init_output"),
        ui("diagnostic", diagnostic={"severity": "error"}),
    ],
)
@pytest.mark.parametrize("told", [DONE + SUCCESS, CREATING + CREATED + SUCCESS])
def test_a_run_for_people_follows_one_of_the_json_ui_that_is_over(human: ReadLog, before: str, told: str) -> None:
    human.append(VERSION + before + told + VERSION.replace("1.11.4", "1.12") + UI_PLAN).look().end()
    assert len(human.runs) == 3
    assert human.told(1) == [APPLIED]


def test_a_run_for_people_follows_one_of_the_json_ui_that_was_killed(human: ReadLog) -> None:
    human.append(VERSION + UI_PLAN + UI_APPLYING).look().end()
    human.append(CREATING + CREATED + SUCCESS).look().end()
    assert [human.told(run) for run in range(2)] == [[], [APPLIED]]


def test_what_others_print_while_a_run_of_the_json_ui_is_on_is_no_run(human: ReadLog) -> None:
    human.append(VERSION + UI_PLAN + PLAN + UI_APPLYING + CREATING + CREATED + UI_APPLIED + SUCCESS).look().end()
    assert len(human.runs) == 1
    assert human.told(0) == [APPLIED]


# --- recorded logs ------------------------------------------------------------------------------------------------

RECORDED = Path(__file__).parents[1] / "golden" / "human"


@pytest.mark.parametrize("name", sorted(path.name for path in RECORDED.glob("*.log")))
def test_a_recorded_log_says_the_same_line_by_line_and_at_once(name: str) -> None:
    lines, offset = [], 0
    for line in (RECORDED / name).read_bytes().splitlines(keepends=True):
        lines.append((offset, line))
        offset += len(line)
    at_once, _ = human_log.read(lines, Mark(), "it", name)
    facts: tuple[Fact, ...] = ()
    mark = Mark()
    for one in lines:
        found, mark = human_log.read([one], mark, "it", name)
        facts += found
    assert facts == at_once


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("apply_warns.log", [CONTRADICTED]),
        ("apply_creates.log", [ev.ApplySummarised(2, 0, 0)]),
        ("approve_no.log", [ev.ApprovalDeclined()]),
        ("approval_not_given.log", [ev.ErrorReported("error asking for approval: EOF")]),
        ("plan_fails_partly.log", [ev.ErrorReported("Unable to find remote state", "data.terraform_remote_state.s")]),
    ],
)
def test_a_recorded_log_tells_its_outcome(tmp_path: Path, name: str, told: list[Evidence]) -> None:
    log_again = ReadLog(tmp_path / name).append((RECORDED / name).read_bytes().decode(errors="replace")).look().end()
    assert log_again.told(-1) == told


@pytest.mark.parametrize("line", ["\n", "\x1b[0m\n", "\0\0\n", "\r\n", "╷\n", "│\n", " \n"])
def test_a_line_without_words_says_nothing_in_either_form(human: ReadLog, line: str) -> None:
    human.append(VERSION + line + UI_PLAN + line).look()
    human.append(line + DONE + line + SUCCESS).end()
    assert len(human.runs) == 2
