"""How `v2.db` was made: `v1.db` brought up to date by the agent whose journal had version 2, as of commit 85393f4, and
one run settled by a person.

    git worktree add /tmp/v2 85393f4
    PYTHONPATH=/tmp/v2 python tests/golden/journals/make_v2.py tests/golden/journals/v2.db

Kept to show what is in it; no later agent can run it.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from proton_tf_agent.domain.evidence import DecisionTaken
from proton_tf_agent.domain.redaction import NOTHING_TAINTED
from proton_tf_agent.journal import Journal
from proton_tf_agent.pipeline import Addressee, Pipeline, Rules

NOW = 1_790_000_100.0


class Around:
    def taint(self, run):
        return NOTHING_TAINTED

    def outputs(self, run):
        return None

    def why_no_outputs(self, run):
        return "there is no local state"


def main(path):
    os.makedirs("v2-journal", mode=0o700)
    held = os.path.abspath("v2-journal/journal.db")
    shutil.copyfile(Path(__file__).with_name("v1.db"), held)
    os.chmod(held, 0o600)
    with Journal.open_as_daemon(held) as journal:
        proton = Addressee("proton", lambda _notification: True, lambda _notification: "")
        pipeline = Pipeline(journal, Around(), [proton], Rules(), lambda _told: None)
        run = next(r.run for r in journal.runs(100) if r.run.directory == "/srv/runs/undetermined")
        pipeline.decide(run.run_id, DecisionTaken(True, "alice@ci-7", "looked at it"), NOW)
    os.rename(held, path)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
