"""How `v3.db` was made: `v2.db` brought up to date by the agent whose journal had version 3, as of commit 78b8984, with
a wrapped run of which a notification is parked, replayed and waits, and a request that was under way at a crash.

    git worktree add /tmp/v3 78b8984
    PYTHONPATH=/tmp/v3 python tests/golden/journals/make_v3.py tests/golden/journals/v3.db

Kept to show what is in it; no later agent can run it.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from proton_tf_agent.domain.binding import Binding
from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind, settle
from proton_tf_agent.domain.run import Basis, Run, RunStatus, Wrapped
from proton_tf_agent.journal import Journal, Recorded

NOW = 1_790_000_200.0
ARN = "arn:aws:proton:us-east-1:111122223333:environment/wrapped"
DEPLOYMENT = "fcda9f18-f569-4079-8474-0832f45b97ea"
RUN = Run(
    "run-wrapped", "/srv/runs/wrapped", NOW, "default", RunStatus.APPLIED, "terraform exited with status 0",
    Basis.PROOF, ended_at=NOW + 9, wrapped=Wrapped("record-1", command=("terraform", "apply"), exit_status=0),
)  # fmt: skip


def told(number, status, run_status):
    outputs = (("vpc_id", "vpc-1"),) if status is Status.SUCCEEDED else ()
    return Notification(
        f"ntf-v3-{number}", RUN.run_id, ARN, DEPLOYMENT, status, f"number {number}", outputs, run_status, False,
        RUN.directory, RUN.workspace, NOW, NOW,
    )  # fmt: skip


def answer(journal, seq, kind, now):
    journal.begin_attempt(seq, now)
    outcome = Outcome(kind, http_status=400, ambiguous=kind is OutcomeKind.UNAVAILABLE)
    journal.finish_attempt(seq, outcome, settle(1, outcome, now, 0.5), now)


def main(path):
    os.makedirs("v3-journal", mode=0o700)
    held = os.path.abspath("v3-journal/journal.db")
    shutil.copyfile(Path(__file__).with_name("v2.db"), held)
    os.chmod(held, 0o600)
    with Journal.open_as_daemon(held) as journal:
        with journal.transaction():
            journal.put_run(Recorded(RUN, Binding(ARN, DEPLOYMENT, False, ".proton/deployment-metadata.json")))
            parked, _ = journal.enqueue(told(1, Status.IN_PROGRESS, RunStatus.APPLYING), "proton", NOW)
        answer(journal, parked, OutcomeKind.INVALID, NOW + 1)
        with journal.transaction():
            waits, _ = journal.enqueue(told(2, Status.SUCCEEDED, RunStatus.APPLIED), "proton", NOW + 9)
        answer(journal, waits, OutcomeKind.UNAVAILABLE, NOW + 10)
        (row,) = journal.query("entry", seq=parked)
        journal.replay(row, NOW + 11)
        with journal.transaction():
            journal.enqueue(told(2, Status.SUCCEEDED, RunStatus.APPLIED), "console", NOW + 9)  # left on the wire
    os.rename(held, path)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
