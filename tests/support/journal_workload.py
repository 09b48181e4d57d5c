"""Work on a real journal, in a process of its own that can be traced: `python -m support.journal_workload SERIES
DIRECTORY WANDERINGS`, with `tests` on PYTHONPATH.

After every call that has returned it says what the journal holds now (`Holding`): that must have become durable. What
the calls are to lead to is asserted here, by name, so that what is said can be taken for the truth.
"""

from __future__ import annotations

import json
import os
import random
import sys
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from proton_tf_agent.domain.binding import Binding, Unbound
from proton_tf_agent.domain.evidence import Cursor, ErrorReported, Fact, Operation, PlanSummarised
from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.outbox import OutcomeKind
from proton_tf_agent.domain.run import Basis, Run, RunStatus, Transition
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal, Recorded

from .outboxes import ARN, DEPLOYMENT, NEXT_DEPLOYMENT, OTHER_ARN, attempted, notification, states
from .syscall_trace import ACKNOWLEDGED

LONG = "what was applied already, and why it ended; " * 150  # more than a page of the file holds
LOG = "/w/network/apply.log"


@dataclass(frozen=True, slots=True)
class Holding:
    """What a journal holds: a digest of every row of every table, and for people the last call and entries' states."""

    call: str
    digest: str
    states: str


def journal_in(directory: str) -> str:
    """Where the journal of a workload stands."""
    return f"{directory}/memory/journal.db"


def holding(journal: Journal, call: str = "") -> Holding:
    """What a journal holds now."""
    digest = blake2b(digest_size=16)
    tables = [name for (name,) in journal._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in sorted(tables):
        digest.update(f"\n{table}\n".encode())
        rows = journal._connection.execute(f"SELECT * FROM {table}")
        digest.update("\n".join(sorted(repr(tuple(row)) for row in rows)).encode())
    return Holding(call, digest.hexdigest(), " ".join(states(journal)))


class Workload:
    """One journal, and what is done to it in turn."""

    journal: Journal

    def __init__(self, directory: str) -> None:
        self._path = journal_in(directory)
        self._told = os.open(f"{directory}/{ACKNOWLEDGED}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._number = 0
        self.open()

    def open(self) -> None:
        """Open the journal; a new one is made, one that is open already is closed first."""
        if hasattr(self, "journal"):
            self.journal.close()
        self.journal = Journal.open_as_daemon(self._path)
        self.durable("open")

    def durable(self, call: str) -> None:
        """Say that all of this has been committed."""
        os.write(self._told, json.dumps(asdict(holding(self.journal, call))).encode() + b"\n")

    def enqueue(self, *told: Notification, objection: str = "") -> int:
        """One transaction with these notifications; returns the seq of the last."""
        with self.journal.transaction():
            for one in told:
                seq, _ = self.journal.enqueue(one, "proton", 1000.0, objection)
        self.durable("enqueue")
        return seq

    def attempt(self, seq: int, kind: OutcomeKind = OutcomeKind.ACCEPTED) -> None:
        """Begin an attempt, unless it is on its way already, and finish it."""
        if self.journal.begin_attempt(seq, 1001.0):
            self.durable("begin_attempt")
        attempted(self.journal, seq, kind)
        self.durable("finish_attempt")

    def next(self, status: Status = Status.IN_PROGRESS, **values: Any) -> Notification:
        """A notification that has not been told yet."""
        self._number += 1
        return notification(self._number, status, **values)

    def observe(self, run: Run, told: Notification | None) -> None:
        """One observation as the pipeline absorbs it: evidence, run, cursor and entry in one transaction."""
        binding = Binding(ARN, DEPLOYMENT, False, "x") if run.directory == "/w/network" else Unbound(LONG)
        made = Transition(run.run_id, RunStatus.PLANNING, run.status, Basis.PROOF, "the log says so", "", 1010.0)
        with self.journal.transaction():
            self.journal.put_evidence(run.run_id, "json_log", LOG, Fact(PlanSummarised(3, 0, 0), "a1", 2048), None, 1.0)
            self.journal.put_evidence(run.run_id, "json_log", LOG, Fact(ErrorReported(LONG)), made, 1010.0)
            self.journal.put_run(Recorded(run, binding))
            if told is not None:
                self.journal.enqueue(told, "proton", 1010.0)
            self.journal.put_cursor(Cursor(path=LOG, offset=len(run.run_id) + 4096))
        self.durable("observe")

    def begin_with_everything(self) -> None:
        """A new journal gets one of everything that is ever written."""
        self.journal.first_seen("/w", 1000.0)
        self.durable("first_seen")
        self.journal.put_boot_id("boot-1")
        self.durable("put_boot_id")
        self.attempt(self.enqueue(self.next()))
        sent = self.enqueue(self.next())  # an idle line: on its way at once
        self.enqueue(self.next())  # a busy one: waits
        end = self.enqueue(self.next(Status.SUCCEEDED, text=LONG))  # supersedes what waits
        assert states(self.journal) == ["delivered", "sending", "superseded", "pending"]
        self.attempt(sent, OutcomeKind.UNAVAILABLE)
        assert states(self.journal)[sent - 1] == "retryable"
        self.attempt(sent)
        self.attempt(end, OutcomeKind.INVALID)  # whole
        self.attempt(end, OutcomeKind.INVALID)  # and reduced
        assert states(self.journal) == ["delivered", "delivered", "superseded", "parked"]
        self.enqueue(self.next(Status.FAILED, arn=OTHER_ARN), self.next(deployment=NEXT_DEPLOYMENT))
        self.enqueue(self.next(text=LONG), objection="too_long")
        run = Run("run-1", "/w/network", 1000.0, "default", RunStatus.APPLYING, operation=Operation.APPLY, anchor="a1")
        self.observe(run, self.next(Status.FAILED, text=LONG))
        self.observe(replace(run, status=RunStatus.APPLIED, ended_at=1060.0), None)
        self.journal.replay(self.journal.query("entry", seq=end)[0], 1070.0)
        self.durable("replay")
        self.journal.forget_cursor(LOG)
        self.durable("forget_cursor")
        *_, first, second, third, fourth = states(self.journal)
        assert (first, second, third, fourth) == ("sending", "parked", "pending", "pending"), states(self.journal)

    def go_on(self) -> None:
        """A daemon that starts again: what was on the wire is due, and told; more comes."""
        self.journal.resume_after_crash(2000.0)
        self.durable("resume_after_crash")
        for head in self.journal.heads(("proton",))[:2]:
            self.attempt(head.seq)
        self._number = 1000
        self.enqueue(self.next(Status.FAILED, text=LONG), self.next(arn=OTHER_ARN))

    def wander(self, rng: random.Random) -> None:
        """Any of the calls, as they come."""
        entries = [row["seq"] for row in self.journal.query("entries", after=0, limit=1_000_000)]
        match rng.randrange(6):
            case 0:
                text = LONG * rng.randrange(3)
                self.enqueue(self.next(rng.choice(list(Status)), text=text, arn=rng.choice((ARN, OTHER_ARN))))
            case 1 | 2:
                for head in self.journal.heads(("proton",))[:1]:
                    self.attempt(head.seq, rng.choice(list(OutcomeKind)))
            case 3:
                run = Run(f"run-{rng.randrange(9)}", rng.choice(("/w/network", "/w/other")), 1000.0, anchor=LONG[:500])
                self.observe(run, self.next() if rng.random() < 0.5 else None)
            case 4:
                with self.journal.transaction():
                    self.journal.delete_run(f"run-{rng.randrange(9)}")
                    self.journal.put_cursor(Cursor(path=f"/w/{rng.randrange(9)}.log", offset=rng.randrange(1 << 30)))
                self.durable("delete_run")
            case 5 if entries:
                self.journal.replay(self.journal.query("entry", seq=rng.choice(entries))[0], 1070.0)
                self.durable("replay")


def main(series: str, directory: str, wanderings: int) -> None:
    """Do one series of calls."""
    workload = Workload(directory)
    if series == "without_syncs":
        workload.journal._connection.execute("PRAGMA synchronous = OFF")
    if series != "go_on":
        workload.begin_with_everything()
        workload.open()
    workload.go_on()
    rng = random.Random(wanderings)
    for _ in range(wanderings):
        workload.wander(rng)
    workload.journal.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
