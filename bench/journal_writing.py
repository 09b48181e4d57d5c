"""A journal with as many rows as a busy year leaves, written without waiting for the disk a hundred thousand times."""

from __future__ import annotations

import sqlite3
import time
import uuid

from proton_tf_agent.domain.binding import Binding
from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.run import Basis, Run, RunStatus
from proton_tf_agent.journal import Journal, Recorded

from .scene import arn_of

_OUTPUTS = tuple((f"output_{number:02d}", f"value-{number}" * 6) for number in range(8))
_PER_RUN = 4


def notification_numbered(number: int, line: int) -> Notification:
    """A notification of ordinary size; line chooses its resource."""
    ends = number % _PER_RUN == _PER_RUN - 1
    run = number // _PER_RUN
    return Notification(
        notification_id=f"ntf-{number:020x}",
        run_id=f"run-{run:016x}",
        resource_arn=arn_of(f"r{line:05d}"),
        deployment_id=str(uuid.uuid5(uuid.NAMESPACE_URL, str(run))),
        status=Status.SUCCEEDED if ends else Status.IN_PROGRESS,
        status_message="Apply complete: 3 added, 0 changed, 0 destroyed." if ends else "Applying: 3 to add.",
        outputs=_OUTPUTS if ends else (),
        run_status=RunStatus.APPLIED if ends else RunStatus.APPLYING,
        resource_deleted=False,
        directory=f"/srv/terraform/r{line:05d}",
        workspace="default",
        created_at=time.time(),
    )


def write_journal(path: str, rows: int, open_lines: int) -> None:
    """rows entries, delivered but for the last open_lines, which wait for their first attempt; and their runs."""
    done = rows - open_lines
    now = time.time()
    with Journal.open_as_daemon(path) as journal:
        with journal.transaction():
            for run in range(rows // _PER_RUN):
                journal.put_run(_run(run, now))
        # In pieces: in one transaction every earlier row of a line would still be on its way, and the search for
        # what a new row supersedes would walk them all.
        for first in range(0, done, 3000):
            with journal.transaction():
                for number in range(first, min(first + 3000, done)):
                    journal.enqueue(notification_numbered(number, line=open_lines + number % 3000), "proton", now)
            _deliver_all(path, now)
        with journal.transaction():
            for number in range(done, rows):
                journal.enqueue(notification_numbered(number, line=number - done), "proton", now)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE outbox SET state = 'pending', attempts = 0 WHERE state = 'sending'")
        connection.execute("DELETE FROM attempt WHERE finished_at IS NULL")
    connection.close()
    with Journal.open_as_daemon(path) as journal:
        for seal in ("seal_entry", "seal_attempt"):  # all of them: what was changed behind its back is sealed again
            statement = journal._sql[seal]
            journal._connection.execute(statement[: statement.rindex("WHERE")])


def _deliver_all(path: str, now: float) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE outbox SET state = 'delivered', reason = 'accepted', settled_at = ? WHERE state = 'sending'", (now,)
        )
        connection.execute(
            "UPDATE attempt SET finished_at = ?, outcome = 'accepted', http_status = 200 WHERE finished_at IS NULL",
            (now,),
        )
    connection.close()


def _run(number: int, now: float) -> Recorded:
    line = number % 3000
    directory = f"/srv/terraform/r{line:05d}"
    run = Run(
        run_id=f"run-{number:016x}", directory=directory, started_at=now - 60 - number, workspace="default",
        status=RunStatus.APPLIED, reason="the log says: apply complete", basis=Basis.PROOF, ended_at=now - number,
        revision=4, anchor=f"{number:024x}", log_path=f"{directory}/apply.log",
    )  # fmt: skip
    return Recorded(run, Binding(arn_of(f"r{line:05d}"), str(uuid.UUID(int=number)), False, "bench"))
