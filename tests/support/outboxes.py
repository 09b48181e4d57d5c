"""Notifications to fill a journal's outbox with, and what came of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from proton_tf_agent.domain.binding import Binding, Unbound
from proton_tf_agent.domain.evidence import ErrorReported, Fact, Operation, OutputsReported, PlanSummarised
from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.outbox import Entry, EntryState, Outcome, OutcomeKind
from proton_tf_agent.domain.retry import Settled, settle
from proton_tf_agent.domain.run import Basis, Counts, Run, RunStatus, Transition
from proton_tf_agent.journal import Journal, Recorded
from proton_tf_agent.journal_store import checksum_of

ARN = "arn:aws:proton:eu-west-1:123456789012:environment/network"
OTHER_ARN = "arn:aws:proton:eu-west-1:123456789012:environment/dns"
DEPLOYMENT = "0a1b2c3d-0000-4000-8000-000000000001"
NEXT_DEPLOYMENT = "0a1b2c3d-0000-4000-8000-000000000002"
# Text that would steer a terminal, turn its direction round, forge a line or be taken for markup.
STEERING = "\x1b[31mred\x1b]0;title\x07 \u202egnp.exe\u2066 [/x] [bold]:smile:\r\x9b2J\u2028end"

_RUN_STATUS = {
    Status.IN_PROGRESS: RunStatus.APPLYING,
    Status.SUCCEEDED: RunStatus.APPLIED,
    Status.FAILED: RunStatus.ERRORED,
}


def notification(
    number: int,
    status: Status = Status.IN_PROGRESS,
    arn: str = ARN,
    deployment: str | None = DEPLOYMENT,
    text: str | None = None,
    run_id: str = "run-1",
    began: float = 0.0,
) -> Notification:
    """A notification whose id and, unless text is given, message are its number's. began: when its run did."""
    return Notification(
        notification_id=f"ntf-{number}",
        run_id=run_id,
        resource_arn=arn,
        deployment_id=deployment,
        status=status,
        status_message=f"number {number}" if text is None else text,
        outputs=(("vpc_id", f"vpc-{number}"),) if status is Status.SUCCEEDED else (),
        run_status=_RUN_STATUS[status],
        resource_deleted=False,
        directory="/w/network",
        workspace="default",
        created_at=1000.0,
        run_started_at=began,
        omitted=(("pw", "sensitive"),) if status is Status.SUCCEEDED else (),
    )


def enqueued(
    journal: Journal, *told: Notification, sink: str = "proton", now: float = 1000.0, objection: str = ""
) -> list[int]:
    """Enqueue notifications, each in a transaction of its own; returns their seqs."""
    seqs = []
    for one in told:
        with journal.transaction():
            seqs.append(journal.enqueue(one, sink, now, objection)[0])
    return seqs


def attempted(
    journal: Journal,
    seq: int,
    kind: OutcomeKind = OutcomeKind.ACCEPTED,
    now: float = 1001.0,
    outcome: Outcome | None = None,
) -> Settled:
    """Let an entry's request be made and answered."""
    row = row_of(journal, seq)
    if row["state"] != EntryState.SENDING:
        assert journal.begin_attempt(seq, now)
    entry = journal.entry(seq, now)
    assert entry is not None
    outcome = outcome or Outcome(kind, http_status=200 if kind is OutcomeKind.ACCEPTED else 400)
    settled = settle(entry, outcome, 0.5)
    journal.finish_attempt(seq, outcome, settled, now)
    return settled


def parked(journal: Journal, seq: int, now: float = 1001.0) -> Settled:
    """Let an entry be refused for good: whole, and reduced."""
    attempted(journal, seq, OutcomeKind.INVALID, now)
    return attempted(journal, seq, OutcomeKind.INVALID, now)


def row_of(journal: Journal, seq: int) -> dict[str, Any]:
    """One entry as it is on disk."""
    (row,) = journal.query("entry", seq=seq)
    return dict(row)


def states(journal: Journal) -> list[str]:
    """The state of every entry, in order."""
    return [row["state"] for row in journal.query("entries", after=0, limit=1_000_000)]


def heads(journal: Journal) -> list[Entry]:
    """The first active entry of every line, due or not."""
    found = (journal.entry(head.seq, 1000.0) for head in journal.heads(("proton", "console")))
    return [entry for entry in found if entry is not None]


def filled(journal: Journal) -> None:
    """Three runs (told and over; open and unbound; historic), and entries in every state but discarded."""
    told = Run(
        "run-1", "/w/network", 1000.0, "default", RunStatus.APPLIED, "the log says: apply complete", Basis.PROOF,
        ended_at=1060.0, operation=Operation.APPLY, anchor="a1", log_path="/w/network/apply.log",
        plan=Counts(3, 0, 0), applied=3,
    )  # fmt: skip
    unbound = Run("run-2", f"/w/{STEERING}", 1100.0, status=RunStatus.PLANNING, anchor="a2")
    historic = Run("run-3", "/w/old", 900.0, status=RunStatus.LOST, ended_at=950.0, historic=True, errors=1)
    with journal.transaction():
        journal.put_run(Recorded(told, Binding(ARN, DEPLOYMENT, False, ".proton/deployment-metadata.json")))
        journal.put_run(Recorded(unbound, Unbound("no deployment metadata and no [[bind]] for this directory")))
        journal.put_run(Recorded(historic, Unbound(STEERING), "it was over before the agent first watched its root"))
        log = "/w/network/apply.log"
        journal.put_evidence("run-1", "json_log", log, Fact(PlanSummarised(3, 0, 0), "a1", 2048), None, 1010.0)
        made = Transition(
            "run-1", RunStatus.APPLYING, RunStatus.APPLIED, Basis.PROOF, "the log says: apply complete", "", 1060.0
        )
        journal.put_evidence("run-1", "json_log", log, Fact(OutputsReported(()), "a1", 4096), made, 1060.0)
        journal.put_evidence("run-2", "json_log", f"/w/{STEERING}/a.log", Fact(ErrorReported(STEERING)), None, 1110.0)
    (first,) = enqueued(journal, notification(1), now=1000.0)
    enqueued(journal, notification(2), notification(3, Status.SUCCEEDED), now=1060.0)
    attempted(journal, first, now=1061.0)
    attempted(journal, 3, OutcomeKind.UNAVAILABLE, now=1062.0)
    attempted(journal, 3, now=1063.0)
    enqueued(journal, notification(4, Status.FAILED, OTHER_ARN, text=STEERING, run_id="run-2"), now=1100.0)
    parked(journal, 4, now=1101.0)
    enqueued(journal, notification(5, Status.FAILED, OTHER_ARN, run_id="run-2"), now=1102.0)
    attempted(journal, 5, OutcomeKind.UNAVAILABLE, now=1103.0)
    enqueued(journal, notification(6, Status.FAILED, OTHER_ARN, run_id="run-2"), now=1104.0)
    enqueued(journal, notification(3, Status.SUCCEEDED), sink="console", now=1060.0)
    assert states(journal) == ["delivered", "superseded", "delivered", "parked", "retryable", "pending", "sending"]


def multiplied(journal: Journal, runs: int, per_run: int) -> None:
    """Beside what `filled` has put there, so many runs that are over, each with so many entries that were delivered. A
    later run began later; its entries come behind those of the others. Written at once, sealed as the agent seals."""
    connection = journal._connection
    run = dict(connection.execute("SELECT * FROM run WHERE run_id = 'run-1'").fetchone())
    entry = dict(connection.execute("SELECT * FROM outbox WHERE seq = 3").fetchone())
    first = connection.execute("SELECT max(seq) + 1 FROM outbox").fetchone()[0]

    run_body, entry_body = json.loads(run["body"]), json.loads(entry["body"])

    def all_runs() -> Iterator[dict[str, object]]:
        for number in range(runs):
            changed: dict[str, object] = {
                "run_id": many_run(number), "directory": f"/w/{number:05d}", "anchor": f"many-{number}",
                "started_at": 2000.0 + number, "ended_at": 2000.5 + number,
            }  # fmt: skip
            yield run | changed | {"body": msgspec.json.encode(run_body | changed)}

    def all_entries() -> Iterator[dict[str, object]]:
        for number in range(runs * per_run):
            of = number // per_run
            changed: dict[str, object] = {"notification_id": f"ntf-many-{number}", "run_id": many_run(of)}
            times: dict[str, object] = {"created_at": 2000.0 + of, "run_started_at": 2000.0 + of}
            body = msgspec.json.encode(entry_body | changed | times | {"directory": f"/w/{of:05d}"})
            row = entry | changed | times | {"seq": first + number, "settled_at": 2001.0 + of}
            yield row | {"body": body, "checksum": checksum_of(body)}

    with journal.transaction():
        for table, template, rows in (("run", run, all_runs()), ("outbox", entry, all_entries())):
            names = [name for name in template if name != "seal"]
            values = ", ".join(f":{name}" for name in names)
            statement = (
                f"INSERT INTO {table} ({', '.join(names)}, seal) VALUES ({values}, seal_of('{table}', {values}))"
            )
            connection.executemany(statement, rows)


def many_run(number: int) -> str:
    """The id of a run of `multiplied`."""
    return f"run-{number:016x}"
