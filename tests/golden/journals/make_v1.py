"""How `v1.db` was made: by the agent whose journal had version 1, as of commit 0edc5bf.

    git worktree add /tmp/v1 0edc5bf
    PYTHONPATH=/tmp/v1 python tests/golden/journals/make_v1.py tests/golden/journals/v1.db

Kept to show what is in it; no later agent can run it. Recorded logs are read as if they lay below /srv/runs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.binding import Binding, Unbound
from proton_tf_agent.domain.evidence import Cursor, Fact, Observation
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind, settle
from proton_tf_agent.domain.redaction import NOTHING_TAINTED
from proton_tf_agent.journal import Journal
from proton_tf_agent.pipeline import Addressee, Pipeline, Rules
from proton_tf_agent.sources import json_log, tail

LOGS = Path(__file__).parents[1] / "logs"
NOW = 1_790_000_000.0
LOCK = "11111111-2222-3333-4444-555555555555"


class Around:
    def binding(self, run):
        name = run.directory.rpartition("/")[2]
        if name == "unbound":
            return Unbound("no deployment metadata and no [[bind]] for this directory")
        arn = f"arn:aws:proton:us-east-1:111122223333:environment/{name}"
        return Binding(arn, "fcda9f18-f569-4079-8474-0832f45b97ea", False, ".proton/deployment-metadata.json")

    def taint(self, run):
        return NOTHING_TAINTED

    def outputs(self, run):
        return None


def look(name, log, until=None):
    content = (LOGS / log).read_bytes()[:until]
    directory = f"/srv/runs/{name}"
    path = f"{directory}/apply.log"
    new = tail.read_new(lambda at, length: content[at : at + length], len(content), 66, 1000 + len(name), None)
    facts, anchor, start = json_log.read(new.lines, "", 0, directory)
    cursor = Cursor(path, 66, 1000 + len(name), new.offset, new.head, new.head_length, anchor, start)
    return Observation("json_log", path, directory, None, facts, cursor, 0.0)


def learn(pipeline, name, *evidence, now):
    run = next(run for run in pipeline.open_runs if run.directory == f"/srv/runs/{name}")
    facts = tuple(Fact(e, run.anchor) for e in evidence)
    pipeline.absorb([Observation("liveness", run.log_path, run.directory, None, facts, None)], now, born)


def lock(pipeline, name, now):
    directory = f"/srv/runs/{name}"
    path = f"{directory}/.terraform.tfstate.lock.info"
    taken = ev.LockTaken(LOCK, "OperationTypeApply", "ci@runner", "1.11.4", None, f"{directory}/terraform.tfstate")
    observation = Observation("lock_file", path, directory, "default", (Fact(taken),), Cursor(path, lock_id=LOCK), 0.0)
    pipeline.absorb([observation], now, born)


def born(path):
    return 0.0


def deliver(journal, now):
    for entry in journal.due_heads(("proton",), now, 100):
        if entry.state.value != "sending":
            journal.begin_attempt(entry.seq, now)
        outcome = Outcome(OutcomeKind.ACCEPTED, http_status=200, request_id="r-1")
        journal.finish_attempt(entry.seq, outcome, settle(entry.attempts, outcome, now, 0.5), now)


def main(path):
    held = os.path.abspath("v1-journal/journal.db")
    with Journal.open_as_daemon(held) as journal:
        journal.first_seen("/srv/runs", NOW - 1000)
        proton = Addressee("proton", lambda _notification: True, lambda _notification: "")
        pipeline = Pipeline(journal, Around(), [proton], Rules(), lambda _told: None)
        whole = (LOGS / "apply_partial_failure.log").read_bytes()
        middle = whole.index(b'"type":"apply_start"')
        for at, (name, log, until) in enumerate(
            (
                ("applied", "apply_ok.log", None),
                ("errored", "apply_partial_failure.log", None),
                ("lost", "sigkill.log", None),
                ("unbound", "apply_ok.log", None),
                ("undetermined", "sigkill.log", None),
                ("running", "apply_partial_failure.log", whole.index(b"\n", middle) + 1),
            )
        ):
            pipeline.absorb([look(name, log, until)], NOW + at, born)
            deliver(journal, NOW + at)
        learn(pipeline, "errored", ev.LogClosed(), now=NOW + 20)
        learn(pipeline, "lost", ev.LogClosed(), now=NOW + 20)
        pipeline.elapse(NOW + 30)
        lock(pipeline, "undetermined", NOW + 31)
        learn(pipeline, "undetermined", ev.LockReleased(LOCK), ev.LogClosed(), now=NOW + 32)
        deliver(journal, NOW + 40)
        pipeline.absorb([look("waiting", "apply_partial_failure.log")], NOW + 41, born)
        waiting = {run.directory: run.verdict.basis for run in pipeline.open_runs if run.verdict}
        assert waiting == {"/srv/runs/waiting": 3}  # proof, which is 4 since version 2
    os.rename(held, path)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
