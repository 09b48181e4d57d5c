"""Which run a fact belongs to, when logs, locks and directories come in any order and number."""

from __future__ import annotations

from typing import Any

import pytest

from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.correlation import CLOCK_SLACK, LINK_WINDOW, begin, correlate, follows, opens_run, tie
from proton_tf_agent.domain.evidence import Evidence, Fact, Form
from proton_tf_agent.domain.run import Patience, Run, RunStatus
from proton_tf_agent.domain.transitions import advance
from proton_tf_agent.domain.values import replace

PLAN, APPLY = "OperationTypePlan", "OperationTypeApply"


class Watched:
    """Runs as the pipeline keeps them: correlate, else begin; tie; advance."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def see(self, fact: Fact, directory: str = "/w", workspace: str | None = None, log: str = "") -> str | None:
        """Take in one fact; gives the id of the run it was tied to."""
        now = 2000.0
        known = correlate(self.runs, fact, directory, workspace)
        if known is None and not opens_run(fact):
            return None
        run = tie(known or begin(fact, directory, workspace, log, now), fact, directory, workspace, log)
        after, _ = advance(run, fact, now, Patience())
        self.runs = [other for other in self.runs if other.run_id != run.run_id] + [after]
        return run.run_id

    def log(self, anchor: str, at: float, directory: str = "/w", tool: str = "terraform") -> str | None:
        fact = Fact(ev.OperationStarted(tool, "1.11.4", at), anchor, 0)
        return self.see(fact, directory, None, f"{directory}/{anchor}.log")

    def human_log(self, anchor: str, directory: str = "/w") -> str | None:
        fact = Fact(ev.OperationStarted("terraform", "", None, Form.HUMAN), anchor, 0)
        return self.see(fact, directory, None, f"{directory}/{anchor}.log")

    def lock(
        self, lock_id: str, at: float | None, directory: str = "/w", workspace: str = "default", what: str = APPLY
    ) -> str | None:
        taken = ev.LockTaken(lock_id, what, "ci", "1.11.4", at, f"{directory}/terraform.tfstate")
        return self.see(Fact(taken), directory, workspace)

    def line(self, anchor: str, evidence: Evidence, position: int = 100) -> str | None:
        return self.see(Fact(evidence, anchor, position))

    def run(self, run_id: str | None) -> Run:
        return next(run for run in self.runs if run.run_id == run_id)


def test_a_log_and_the_lock_taken_after_it_are_one_run() -> None:
    watched = Watched()
    assert watched.log("a", 1000.0) == watched.lock("L", 1000.002)


def test_a_lock_seen_before_its_log_is_the_same_run() -> None:
    """The kernel may announce the lock first; Terraform's own clock says which came first."""
    watched = Watched()
    assert watched.lock("L", 1000.002) == watched.log("a", 1000.0)
    assert len(watched.runs) == 1
    assert (watched.runs[0].anchor, watched.runs[0].lock_id) == ("a", "L")


def test_of_two_logs_in_one_directory_only_one_can_have_the_lock() -> None:
    watched = Watched()
    first = watched.log("a", 1000.0)
    assert watched.lock("L", 1000.1) == first
    second = watched.log("b", 1001.0)
    assert second != first
    assert watched.line("b", ev.LockRefused("L")) == second
    assert watched.see(Fact(ev.LockReleased("L")), workspace="default") == first


def test_a_lock_belongs_to_the_log_that_began_before_it_not_to_one_that_waits_for_it() -> None:
    """Both logs are read before the lock (a rescan): the second run waits with -lock-timeout."""
    watched = Watched()
    holder, waiter = watched.log("a", 1000.0), watched.log("b", 1010.0)
    assert watched.lock("L", 1000.5) == holder
    watched.see(Fact(ev.LockReleased("L")), workspace="default")
    assert watched.lock("M", 1020.0) == waiter


def test_of_a_run_inside_of_a_run_the_outer_one_has_the_lock_that_was_taken_before_the_inner_one_began() -> None:
    watched = Watched()
    outer, inner = watched.log("outer", 1000.0), watched.log("inner", 1000.4)
    assert watched.lock("L", 1000.1) == outer
    assert watched.lock("M", 1000.5, "/w/child") == inner


def test_a_lock_is_not_that_of_a_run_which_had_said_before_what_comes_behind_it() -> None:
    watched = Watched()
    plan = watched.log("a", 1000.0)
    watched.runs = [replace(watched.run(plan), log_spoke_at=1000.2)]
    assert watched.lock("L", 1000.3) != plan
    watched.runs = [replace(watched.run(plan), misled=True)]
    assert watched.lock("L", 1000.3) == plan, "another has spoken there"


def test_a_human_run_that_was_over_when_its_lock_was_looked_at_has_it_and_not_the_next_one() -> None:
    watched = Watched()
    ended = watched.human_log("a")
    applied: list[Evidence] = [ev.ApplySummarised(1, 0, 0), ev.OutputsReported(())]
    for position, evidence in enumerate(applied, 10):
        watched.line("a", evidence, position)
    watched.runs = [replace(watched.run(ended), log_spoke_at=2000.0)]
    assert watched.run(ended).status is RunStatus.APPLIED
    assert watched.lock("own", 1999.0) == ended
    watched.runs = [replace(watched.run(ended), log_spoke_at=1998.0)]
    assert watched.lock("next", 1999.0) != ended


def test_a_lock_older_than_the_only_log_is_anothers() -> None:
    watched = Watched()
    waiter = watched.log("b", 1010.0)
    assert watched.lock("L", 1000.5) not in (None, waiter)


def test_a_run_that_was_refused_is_given_no_lock() -> None:
    watched = Watched()
    refused = watched.log("a", 1000.0)
    watched.line("a", ev.LockRefused("L"))
    assert watched.lock("L", 1000.5) not in (None, refused)


def test_a_run_that_has_reported_errors_is_given_its_lock() -> None:
    """Errors come before the unlock: an agent that comes late sees them first."""
    watched = Watched()
    failed = watched.log("a", 1000.0)
    watched.line("a", ev.ErrorReported("Invalid value"))
    assert watched.lock("L", 1000.5) == failed


def test_a_log_above_the_locked_directory_is_the_same_run() -> None:
    """terraform -chdir=envs/prod apply > apply.log"""
    watched = Watched()
    run_id = watched.log("a", 1000.0, "/repo")
    assert watched.lock("L", 1000.6, "/repo/envs/prod") == run_id
    assert watched.run(run_id).lock_directory == "/repo/envs/prod"
    assert watched.run(run_id).directory == "/repo"


def test_a_lock_below_seen_before_its_log_above_is_the_same_run() -> None:
    watched = Watched()
    assert watched.lock("L", 1000.6, "/repo/envs/prod") == watched.log("a", 1000.0, "/repo")


def test_a_lock_below_a_log_is_another_run_when_too_much_time_lies_between() -> None:
    watched = Watched()
    run_id = watched.log("a", 1000.0, "/repo")
    assert watched.lock("L", 1000.0 + LINK_WINDOW + 1, "/repo/envs/prod") != run_id


def test_a_directory_that_only_begins_with_the_same_letters_is_not_below() -> None:
    watched = Watched()
    assert watched.log("a", 1000.0, "/repo") != watched.lock("L", 1000.1, "/repo-two")


def test_two_logs_above_two_locks_are_tied_to_neither_rather_than_crosswise() -> None:
    """terraform -chdir=a apply > a.log & terraform -chdir=b apply > b.log: nothing tells which lock is whose."""
    watched = Watched()
    logs = {watched.log("a", 1000.0, "/repo"), watched.log("b", 1000.1, "/repo")}
    locks = {watched.lock("L", 1000.6, "/repo/a"), watched.lock("M", 1000.5, "/repo/b")}
    assert len(logs | locks) == 4
    watched = Watched()
    locks = {watched.lock("L", 1000.6, "/repo/a"), watched.lock("M", 1000.5, "/repo/b")}
    assert watched.log("a", 1000.0, "/repo") not in locks


def test_a_log_in_the_locked_directory_itself_goes_before_one_above() -> None:
    watched = Watched()
    above, here = watched.log("a", 1000.0, "/repo"), watched.log("b", 999.0, "/repo/prod")
    assert watched.lock("L", 1000.5, "/repo/prod") == here
    assert above != here


def test_the_locks_of_two_workspaces_are_two_runs() -> None:
    watched = Watched()
    assert watched.lock("L", 1000.0, workspace="blue") != watched.lock("M", 1000.0, workspace="green")


def test_a_run_tied_to_a_workspace_is_not_given_anothers_lock() -> None:
    watched = Watched()
    log = watched.log("a", 1000.0)
    assert watched.lock("L", 1000.1, workspace="blue") == log
    assert watched.run(log).workspace == "blue"
    assert watched.lock("M", 1000.2, workspace="green") != log


def test_a_state_is_tied_to_the_open_run_of_its_directory_and_workspace() -> None:
    watched = Watched()
    blue, green = watched.lock("L", 1000.0, workspace="blue"), watched.lock("M", 1001.0, workspace="green")
    written = Fact(ev.StateWritten("lineage", 3, ()))
    assert watched.see(written, workspace="blue") == blue
    assert watched.see(written, workspace="green") == green
    assert watched.see(written, "/elsewhere", "blue") is None


def test_a_state_below_a_log_is_tied_by_the_locks_directory() -> None:
    watched = Watched()
    run_id = watched.log("a", 1000.0, "/repo")
    watched.lock("L", 1000.1, "/repo/prod")
    assert watched.see(Fact(ev.StateWritten("lineage", 3, ())), "/repo/prod", "default") == run_id


def test_an_ended_run_is_found_again_by_its_anchor_and_by_its_lock() -> None:
    """Re-reading begins nothing twice, and late proof finds the verdict it amends."""
    watched = Watched()
    run_id = watched.log("a", 1000.0)
    watched.lock("L", 1000.1)
    watched.runs = [replace(run, status=RunStatus.LOST) for run in watched.runs]
    assert watched.log("a", 1000.0) == run_id
    assert watched.line("a", ev.ErrorReported("late"), 900) == run_id
    assert watched.lock("L", 1000.1) == run_id
    assert watched.see(Fact(ev.LockReplaced("L")), workspace="default") == run_id


def test_an_ended_run_is_given_nothing_that_is_not_its_own() -> None:
    watched = Watched()
    ended = watched.log("a", 1000.0)
    watched.runs = [replace(run, status=RunStatus.ERRORED) for run in watched.runs]
    assert watched.lock("L", 1000.1) != ended
    assert watched.see(Fact(ev.StateWritten("lineage", 1, ())), "/other", "default") is None


def test_lines_of_an_unknown_log_and_ends_of_an_unknown_lock_belong_to_nobody() -> None:
    watched = Watched()
    watched.log("a", 1000.0)
    assert watched.line("unknown", ev.ErrorReported("x")) is None
    for end in (ev.LockReleased("U"), ev.LockReplaced("U"), ev.HolderGone("U")):
        assert watched.see(Fact(end), workspace="default") is None
    assert len(watched.runs) == 1


@pytest.mark.parametrize("operation", ["state-mv", "taint", "OperationTypeInvalid", "init", "workspace-new", ""])
def test_the_lock_of_a_command_that_is_no_run_begins_nothing_and_belongs_to_nobody(operation: str) -> None:
    watched = Watched()
    watched.log("a", 1000.0)
    assert watched.lock("L", 1000.1, what=operation) is None
    assert watched.runs[0].lock_id == ""


def test_a_moved_log_is_the_same_run_at_its_newest_place() -> None:
    watched = Watched()
    run_id = watched.log("a", 1000.0)
    moved = Fact(ev.ErrorReported("x"), "a", 500)
    assert watched.see(moved, "/w", None, "/w/archive/a.log") == run_id
    assert watched.run(run_id).log_path == "/w/archive/a.log"


def test_a_run_begins_when_terraform_says_it_did() -> None:
    started = Fact(ev.OperationStarted("terraform", "1.11.4", 1000.5), "a", 0)
    assert begin(started, "/w", None, "/w/a.log", 2000.0).started_at == 1000.5
    undated = Fact(ev.OperationStarted("terraform", "1.11.4", None), "a", 0)
    assert begin(undated, "/w", None, "/w/a.log", 2000.0).started_at == 2000.0
    assert begin(Fact(ev.LockTaken("L", PLAN, created_at=1001.0)), "/w", "default", "", 2000.0).started_at == 1001.0


def test_a_lock_without_a_date_is_tied_to_the_log_of_its_directory() -> None:
    watched = Watched()
    assert watched.log("a", 1000.0) == watched.lock("L", None)


def test_a_log_above_a_lock_that_was_taken_long_ago_is_another_run() -> None:
    watched = Watched()
    lock = watched.lock("L", 1000.0, "/repo/envs/prod")
    assert watched.log("a", 1000.0 + LINK_WINDOW + 1, "/repo") != lock


def test_a_log_in_the_locked_directory_is_another_run_when_the_lock_was_taken_long_ago() -> None:
    """The run with the lock has no log; this one will be refused."""
    watched = Watched()
    lock = watched.lock("L", 1000.0)
    assert watched.log("a", 1000.0 + LINK_WINDOW + 1) != lock


def test_the_window_ends_with_its_last_second() -> None:
    watched = Watched()
    lock = watched.lock("L", 1000.0 + LINK_WINDOW, "/repo/envs/prod")
    assert watched.log("a", 1000.0, "/repo") == lock
    watched = Watched()
    log = watched.log("a", 1000.0, "/repo")
    assert watched.lock("L", 1000.0 + LINK_WINDOW, "/repo/envs/prod") == log


def test_a_log_that_begins_after_the_lock_was_taken_is_not_the_holders() -> None:
    """Terraform prints its `version` line before it takes the lock: this one will be refused it."""
    watched = Watched()
    lock = watched.lock("L", 1000.0)
    assert watched.log("a", 1000.5) != lock


def test_a_log_without_a_date_is_tied_to_the_lock_of_its_directory() -> None:
    watched = Watched()
    lock = watched.lock("L", 1000.0)
    started = Fact(ev.OperationStarted("terraform", "1.11.4", None), "a", 0)
    assert watched.see(started, "/w", None, "/w/a.log") == lock


def test_clocks_may_differ_by_a_second() -> None:
    """Both dates are Terraform's own, but one is cut to microseconds and the file system may be elsewhere."""
    watched = Watched()
    assert watched.log("a", 1000.0) == watched.lock("L", 1000.0 - CLOCK_SLACK)
    watched = Watched()
    assert watched.log("a", 1000.0) != watched.lock("L", 1000.0 - CLOCK_SLACK - 0.1)


def test_what_was_found_first_stays_a_runs_own() -> None:
    """A second look at the same lock from another directory, or a fact that is no line, moves nothing."""
    watched = Watched()
    run_id = watched.log("a", 1000.0)
    watched.lock("L", 1000.1)
    before = watched.run(run_id)
    again = Fact(ev.LockTaken("L", APPLY))
    assert tie(before, again, "/elsewhere", "blue", "") == before
    assert tie(before, Fact(ev.LogClosed(), "a"), "/w", None, "") == before
    assert tie(before, Fact(ev.LockReleased("L")), "/elsewhere", "blue", "") == before
    assert tie(before, Fact(ev.OperationStarted("terraform", "1"), "other", 0), "/w", None, "").anchor == "a"


def test_a_lock_of_an_unknown_workspace_is_tied_to_the_log_of_its_directory() -> None:
    watched = Watched()
    log = watched.log("a", 1000.0)
    watched.runs = [replace(run, workspace="blue") for run in watched.runs]
    taken = Fact(ev.LockTaken("L", APPLY, created_at=1000.1))
    assert watched.see(taken, "/w", None) == log


# --- human logs: no clock, and a first line that comes after the lock ---------------------------------------------


def test_a_human_log_is_of_the_run_that_has_the_lock() -> None:
    watched = Watched()
    assert watched.lock("L", 1970.0) == watched.human_log("h")


def test_a_human_log_seen_before_its_older_lock_is_the_same_run() -> None:
    """Its first line is printed after the lock was taken, and dated when it was read."""
    watched = Watched()
    assert watched.human_log("h") == watched.lock("L", 1970.0)


def test_a_lock_taken_after_the_last_word_of_a_human_log_is_the_next_runs() -> None:
    """`terraform plan -out=p; terraform apply p` in one log: the second lock may be seen before its first line."""
    watched = Watched()
    plan = watched.human_log("h")
    watched.line("h", ev.LogClosed(written_at=2000.0))
    assert watched.lock("L", 2000.05) != plan


@pytest.mark.parametrize("end", [ev.LockReleased("P"), ev.LockReplaced("P")], ids=["released", "replaced"])
def test_a_plan_whose_human_log_goes_on_is_given_the_lock_of_its_apply(end: ev.Evidence) -> None:
    """With TF_IN_AUTOMATION a plan and its apply in one log print what an apply alone prints."""
    watched = Watched()
    plan = watched.lock("P", 1970.0, what=PLAN)
    assert watched.human_log("h") == plan
    if isinstance(end, ev.LockReleased):
        watched.line("h", ev.PlanSummarised(1, 0, 0))
    watched.see(Fact(end))
    assert watched.lock("A", 1990.0) == plan


def test_a_lock_taken_before_the_last_word_of_a_human_log_is_its_own() -> None:
    """It is given back behind the last word, so it may still be there."""
    watched = Watched()
    plan = watched.human_log("h")
    watched.line("h", ev.LogClosed(written_at=2000.0))
    assert watched.lock("L", 1999.9) == plan


@pytest.mark.parametrize("json_first", [True, False])
def test_a_run_that_speaks_in_two_logs_is_one_run_and_its_json_log_counts(json_first: bool) -> None:
    """OpenTofu's -json-into=FILE: the human words on stdout, the JSON UI in a file."""
    watched = Watched()
    logs = {"j": lambda: watched.log("j", 1999.5, tool="tofu"), "h": lambda: watched.human_log("h")}
    first, second = (logs[name]() for name in ("jh" if json_first else "hj"))
    assert first == second
    (run,) = watched.runs
    assert (run.anchor, run.echo, run.form, run.log_path) == ("j", "h", Form.JSON, "/w/j.log")


def test_what_the_human_log_had_told_is_not_counted_twice_when_the_json_log_is_found() -> None:
    watched = Watched()
    run_id = watched.human_log("h")
    watched.line("h", ev.ChangePlanned("a.b", "create"))
    assert watched.run(run_id).planned == 1
    watched.log("j", 1999.5, tool="tofu")
    watched.line("j", ev.ChangePlanned("a.b", "create"))
    assert watched.run(run_id).planned == 1


@pytest.mark.parametrize(("tool", "at"), [("terraform", 1999.5), ("terraform", 2003.0), ("tofu", 2003.0)])
@pytest.mark.parametrize("locked", [True, False])
def test_a_json_log_that_begins_beside_a_human_one_is_a_second_command(tool: str, at: float, locked: bool) -> None:
    """It is refused the lock, plans without one, or works on another workspace; and Terraform has no -json-into."""
    watched = Watched()
    first = watched.human_log("h")
    if locked:
        assert watched.lock("L", 1999.9) == first
    assert watched.log("j", at, tool=tool) != first


def test_a_human_log_that_begins_beside_a_json_log_of_terraform_is_a_second_command() -> None:
    watched = Watched()
    first = watched.log("j", 1999.5)
    watched.lock("L", 1999.6)
    assert watched.human_log("h") != first


def test_a_human_log_beside_a_run_that_has_ended_is_another_run() -> None:
    watched = Watched()
    first = watched.log("j", 1999.5, tool="tofu")
    watched.lock("L", 1999.6)
    watched.see(Fact(ev.LockReleased("L")), workspace="default")
    assert watched.human_log("h") != first


def test_two_human_logs_are_two_runs() -> None:
    watched = Watched()
    first = watched.human_log("h")
    watched.lock("L", 1999.0)
    assert watched.human_log("i") != first


# --- states that are kept elsewhere ----------------------------------------------------------------------------


def test_a_lock_far_away_is_of_the_run_whose_recorded_backend_keeps_its_state_there() -> None:
    """backend "local" { path = "/srv/state/net.tfstate" }: two runs begin at once, each finds its own lock."""
    watched = Watched()
    started = [Fact(ev.OperationStarted("terraform", "1", 1000.0), anchor, 0) for anchor in "ab"]
    runs = [begin(fact, f"/{fact.anchor}", None, "", 0.0, f"/srv/{fact.anchor}.tfstate") for fact in started]
    watched.runs = runs
    taken = ev.LockTaken("L", APPLY, "ci", "1", 1000.1, "/srv/b.tfstate")
    assert watched.see(Fact(taken), "/srv", "default") == runs[1].run_id


def test_a_log_is_of_the_run_whose_lock_far_away_was_seen_first() -> None:
    watched = Watched()
    run_id = watched.lock("L", 1000.0, "/srv")
    started = Fact(ev.OperationStarted("terraform", "1", 999.9), "a", 0)
    assert correlate(watched.runs, started, "/net", None, "/srv/other.tfstate") is None
    found = correlate(watched.runs, started, "/net", None, "/srv/terraform.tfstate")
    assert found is not None
    assert found.run_id == run_id


# --- whose word is the last ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("later", "over_at", "expected"),
    [
        ({"state_path": "/w/s"}, None, True),
        ({"state_path": "/w/s"}, 500.0, True),
        ({"state_path": "/w/b/s", "workspace": "b"}, None, False),
        ({"state_path": "/w/b/s", "workspace": "b"}, 500.0, False),
        ({"state_path": "/w/b/s", "workspace": "b"}, 150.0, True),
        ({"workspace": None}, None, True),
        ({"workspace": None}, 500.0, False),
        ({"workspace": "b"}, None, False),
        ({"directory": "/v"}, 500.0, False),
        ({"directory": "/v"}, 150.0, True),
    ],
)
def test_runs_of_one_state_take_turns_and_others_may_overlap(
    later: dict[str, Any], over_at: float | None, expected: bool
) -> None:
    run = Run("run-1", "/w", 100.0, workspace="a", state_path="/w/s")
    other = replace(Run("run-2", "/w", 200.0, workspace="a"), **later)
    assert follows(other, run, over_at) is expected
