"""The read model: its rows are a written contract, and it reads the journal and nothing else."""

from __future__ import annotations

import json

import pytest
from support.facts import JOB
from support.outboxes import ARN, DEPLOYMENT, OTHER_ARN, attempted, enqueued, filled, notification

from proton_tf_agent import status
from proton_tf_agent.domain.binding import Unbound
from proton_tf_agent.domain.errors import UsageInvalid
from proton_tf_agent.domain.evidence import ApprovalAwaited, DecisionTaken, Fact
from proton_tf_agent.domain.explanations import EXPLANATIONS
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import OutcomeKind
from proton_tf_agent.domain.retry import ACCEPTANCES
from proton_tf_agent.domain.run import Basis, Run, RunStatus, Wrapped
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal, Recorded
from proton_tf_agent.moments import iso
from proton_tf_agent.overview import overview
from proton_tf_agent.selection import Scope, find_entries

NOW = 1200.0


@pytest.fixture
def journal(journal: Journal) -> Journal:
    filled(journal)
    return journal


def seqs(rows: list[status.Row]) -> list[int]:
    return [row["seq"] for row in rows]


def test_a_run_is_shown_with_its_binding_or_with_the_reason_why_it_has_none(journal: Journal) -> None:
    unbound, told, historic = status.run_rows(journal, 10)
    assert told == {
        "run_id": "run-1",
        "directory": "/w/network",
        "workspace": "default",
        "operation": "apply",
        "status": "applied",
        "reason": "the log says: apply complete",
        "basis": "proof",
        "settled_by": None,
        "resource_arn": ARN,
        "deployment_id": DEPLOYMENT,
        "name": None,
        "unbound_reason": None,
        "refusal": None,
        "historic": False,
        "silence": None,
        "would_settle": [],
        "awaits_approval_since": None,
        "planned": 3,
        "applied": 3,
        "errors": 0,
        "log": "/w/network/apply.log",
        "command": None,
        "exit_status": None,
        "exit_signal": None,
        "job": None,
        "told": [
            {"sink": "console", "status": "SUCCEEDED", "state": "sending", "attempts": 1, "seq": 7},
            {"sink": "proton", "status": "SUCCEEDED", "state": "delivered", "attempts": 2, "seq": 3},
        ],
        "left_out": [],
        "last_evidence_at": "1970-01-01T00:17:40.000Z",
        "started_at": "1970-01-01T00:16:40.000Z",
        "ended_at": "1970-01-01T00:17:40.000Z",
    }
    assert (unbound["resource_arn"], unbound["ended_at"], unbound["log"]) == (None, None, None)
    assert "no deployment metadata" in unbound["unbound_reason"]
    assert historic["historic"]


def test_a_wrapped_run_is_shown_with_its_command_its_job_and_how_it_ended(journal: Journal) -> None:
    wrapped = Wrapped("0" * 32, command=("terraform", "apply"), job=JOB)
    run = Run("run-9", "/w/network", 1090.0, wrapped=wrapped)
    ended = replace(run, run_id="run-10", wrapped=replace(wrapped, exit_status=1))
    killed = replace(run, run_id="run-11", wrapped=replace(wrapped, exit_status=0, exit_signal=9))
    with journal.transaction():
        for one in (run, ended, killed):
            journal.put_run(Recorded(one, Unbound("why")))
    rows = {row["run_id"]: row for row in status.run_rows(journal, 20)}
    assert rows["run-9"]["command"] == ["terraform", "apply"]
    assert rows["run-9"]["job"] == {
        "system": "GitHub Actions", "commit": "0" * 40, "actor": "alice", "attempt": "2",
        "url": "https://github.example/acme/net/actions/runs/7",
    }  # fmt: skip
    exits = {name: (rows[name]["exit_status"], rows[name]["exit_signal"]) for name in ("run-9", "run-10", "run-11")}
    assert exits == {"run-9": (None, None), "run-10": (1, None), "run-11": (None, 9)}


def test_runs_come_newest_first_and_of_one_directory_if_asked(journal: Journal) -> None:
    assert [row["run_id"] for row in status.run_rows(journal, 2)] == ["run-2", "run-1"]
    assert [row["run_id"] for row in status.run_rows(journal, 10, "/w/old")] == ["run-3"]
    assert status.run_rows(journal, 10, "/nowhere") == []


def test_an_entry_is_shown_as_it_was_told_and_as_it_stands(journal: Journal) -> None:
    entries = {row["seq"]: row for row in status.entries(journal, 100)}
    assert entries[3] == {
        "id": "ntf-3",
        "seq": 3,
        "run_id": "run-1",
        "sink": "proton",
        "subject": ARN,
        "resource_arn": ARN,
        "deployment_id": DEPLOYMENT,
        "status": "SUCCEEDED",
        "status_message": "number 3",
        "outputs": {"vpc_id": "vpc-3"},
        "omitted": {"pw": "sensitive"},
        "state": "delivered",
        "attempts": 2,
        "reason": "accepted",
        "due_at": None,
        "created_at": "1970-01-01T00:17:40.000Z",
        "settled_at": "1970-01-01T00:17:43.000Z",
        "superseded_by": None,
        "replay_of": None,
        "failing": None,
        "times": 0,
        "waited_s": 0,
        "reduced": False,
        "suspect": False,
        "reassertion": False,
        "means": None,
        "remedy": None,
        "resolved_by": None,
    }
    assert (entries[2]["state"], entries[2]["superseded_by"]) == ("superseded", 3)
    assert entries[5]["due_at"] is not None


def test_the_last_entries_come_in_their_order(journal: Journal) -> None:
    assert seqs(status.entries(journal, 3)) == [5, 6, 7]
    assert seqs(status.entries_matching(journal, Scope(parked=True))) == [4]
    assert seqs(status.entries_matching(journal, Scope(after=5))) == [6, 7]
    assert status.entries_matching(journal, Scope(after=7)) == []


def test_what_a_replay_has_delivered_is_parked_no_more_and_says_by_what(journal: Journal) -> None:
    seq = journal.replay(journal.query("entry", seq=4)[0], NOW, "console")
    assert overview(journal, True, NOW)["parked"] == 1
    attempted(journal, seq)
    row = overview(journal, True, NOW)
    assert (row["parked"], [sink["parked"] for sink in row["sinks"]]) == (0, [0, 0])
    assert status.entries_matching(journal, Scope(parked=True)) == []
    (row,) = status.entries_matching(journal, Scope(parked=True, resolved=True))
    assert (row["seq"], row["state"], row["resolved_by"]) == (4, "parked", {"seq": 8, "sink": "console"})


def test_what_is_parked_or_failing_says_what_that_means_and_what_to_do(journal: Journal) -> None:
    (objected,) = enqueued(journal, notification(20, Status.FAILED), objection="statusMessage is longer than 5,000")
    rows = {row["seq"]: row for row in status.entries(journal, 100)}
    assert (rows[4]["failing"], rows[4]["times"], rows[4]["reduced"]) == ("invalid", 1, True)
    assert "finds the request invalid" in rows[4]["means"]
    assert (rows[5]["failing"], rows[5]["times"], rows[5]["suspect"]) == ("unavailable", 1, False)
    assert rows[5]["waited_s"] > 0
    assert "server errors" in rows[5]["means"]
    assert "never sent" in rows[objected]["means"]
    assert (rows[6]["means"], rows[6]["remedy"]) == (None, None)
    execute = journal._connection.execute
    execute("UPDATE outbox SET reason = 'checksum' WHERE seq = 4")
    execute("UPDATE outbox SET failing = NULL, attempts = 1 WHERE seq = 8")
    rows = {row["seq"]: row for row in status.entries(journal, 100)}
    assert "the disk has lost it" in rows[4]["means"]
    assert "did not record" in rows[objected]["means"]


@pytest.mark.parametrize("kind", [kind for kind in OutcomeKind if kind not in ACCEPTANCES])
def test_every_kind_of_failure_is_explained(kind: OutcomeKind) -> None:
    assert EXPLANATIONS[kind].means
    assert EXPLANATIONS[kind].remedy


@pytest.mark.parametrize(("wanted", "found"), [("3", [3]), ("ntf-3", [3, 7]), ("99", []), ("9" * 40, []), ("٣", [3])])
def test_an_entry_is_found_by_its_number_or_by_its_id(journal: Journal, wanted: str, found: list[int]) -> None:
    assert [row["seq"] for row in find_entries(journal, wanted)] == found


def test_every_attempt_is_shown(journal: Journal) -> None:
    first, second = status.attempts(journal, 3)
    assert (first["outcome"], first["started_at"]) == ("unavailable", "1970-01-01T00:17:42.000Z")
    assert (second["outcome"], second["http_status"], second["ambiguous"]) == ("accepted", 200, False)
    (on_the_wire,) = status.attempts(journal, 7)
    assert (on_the_wire["finished_at"], on_the_wire["outcome"]) == (None, None)


@pytest.mark.parametrize("wanted", ["run-1", "ntf-3", "3", "/w/network", "/w/network/"])
def test_a_story_is_found_from_any_end(journal: Journal, wanted: str) -> None:
    (story,) = status.explain(journal, wanted)
    assert story.run["run_id"] == "run-1"
    assert [(fact["evidence"], fact["status"]) for fact in story.evidence] == [
        ("PlanSummarised", None),
        ("OutputsReported", "applied"),
    ]
    assert seqs(story.entries) == [1, 2, 3, 7]
    assert [len(entry["attempted"]) for entry in story.entries] == [1, 0, 2, 1]
    json.dumps(story.row())


@pytest.mark.parametrize("wanted", ["run-9", "ntf-9", "99", "", "' OR 1=1 --"])
def test_what_nobody_knows_is_said_with_where_to_look(journal: Journal, wanted: str) -> None:
    with pytest.raises(UsageInvalid, match="journal list"):
        status.explain(journal, wanted)


def test_of_a_directory_without_runs_there_is_no_story(journal: Journal) -> None:
    assert status.explain(journal, "/nowhere") == status.explain(journal, "/") == []


def test_evidence_says_where_it_stands_and_which_rule_it_fired(journal: Journal) -> None:
    (story,) = status.explain(journal, "run-1")
    assert [(fact["position"], fact["rows"]) for fact in story.evidence] == [(2048, []), (4096, [10])]


def test_a_run_that_nobody_can_decide_says_why_nothing_was_told_and_what_would_settle_it(journal: Journal) -> None:
    undetermined = Run("run-4", "/w/network", 990.0, status=RunStatus.UNDETERMINED, basis=Basis.INFERENCE, ended_at=999)
    with journal.transaction():
        journal.put_run(Recorded(undetermined, Unbound("why"), "success cannot be told from failure"))
    row = next(row for row in status.run_rows(journal, 10) if row["run_id"] == "run-4")
    assert (row["silence"], row["basis"]) == ("success cannot be told from failure", "inference")
    assert "runs settle run-4 --as" in row["would_settle"][-1]


def test_a_run_that_awaits_approval_says_since_when_until_it_goes_on(journal: Journal) -> None:
    waiting = Run("run-5", "/w/network", 1090.0, status=RunStatus.PLANNED, awaits_approval=True)
    with journal.transaction():
        for run in (waiting, replace(waiting, run_id="run-6", awaits_approval=False)):
            journal.put_run(Recorded(run, Unbound("why")))
            journal.put_evidence(run.run_id, "human_log", "/w/network/a.log", Fact(ApprovalAwaited()), None, 1095.0)
    rows = {row["run_id"]: row["awaits_approval_since"] for row in status.run_rows(journal, 10)}
    assert (rows["run-5"], rows["run-6"], rows["run-1"]) == ("1970-01-01T00:18:15.000Z", None, None)


def test_a_persons_decision_is_shown_with_their_name_until_proof_outranks_it(journal: Journal) -> None:
    said = DecisionTaken(True, "alice@ci-7", "looked at it")
    settled = Run("run-7", "/w/network", 1.0, status=RunStatus.APPLIED, basis=Basis.DECISION, ended_at=2, decision=said)
    with journal.transaction():
        journal.put_run(Recorded(settled, Unbound("why")))
        journal.put_run(Recorded(replace(settled, run_id="run-8", basis=Basis.PROOF), Unbound("why")))
    rows = {row["run_id"]: (row["basis"], row["settled_by"]) for row in status.run_rows(journal, 10)}
    assert (rows["run-7"], rows["run-8"]) == (("decision", "alice@ci-7"), ("proof", None))


def test_an_entry_that_is_damaged_on_disk_is_shown_without_what_it_seems_to_say(journal: Journal) -> None:
    execute = journal._connection.execute
    execute("DROP TRIGGER outbox_body_is_immutable")
    execute("UPDATE outbox SET body = CAST('{\"status_message\"' AS BLOB) WHERE seq = 3")
    execute("UPDATE outbox SET body = CAST(replace(CAST(body AS TEXT), 'vpc-3', 'vpc-4') AS BLOB) WHERE seq = 7")
    rows = {row["seq"]: row for row in status.entries(journal, 100)}
    for seq in (3, 7):
        assert (rows[seq]["status_message"], rows[seq]["outputs"]) == ("(damaged on disk)", {})
    assert rows[3]["resource_arn"] == ARN
    assert rows[4]["resource_arn"] == OTHER_ARN


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, None), (0.0, "1970-01-01T00:00:00.000Z"), (1_795_401_224.862_242, "2026-11-23T02:33:44.862Z")],
)
def test_times_are_iso_8601_in_utc(seconds: float | None, shown: str | None) -> None:
    assert iso(seconds) == shown
