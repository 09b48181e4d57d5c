"""A service pays for HCL never: its grammar costs seconds where it cannot be kept (docs/decisions/0006-hcl.md)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

# The agent as it is assembled, and its steps over a whole recorded run in a directory full of HCL.
PROGRAM = """
import sys
import proton_tf_agent.agent
from support.recordings import recordings
from support.watching import Watching, bind_directory

name, root = sys.argv[1:]
recording = next(recording for recording in recordings() if recording.name == name)
with Watching(recording, root, root + "-memory/journal.db") as watching:
    arn, deployment_id = "arn:aws:proton:us-east-1:111122223333:environment/net", "fcda9f18-f569-4079-8474-0832f45b97ea"
    bind_directory(watching.directory, arn, deployment_id)
    with open(watching.directory + "/main.tf", "w") as file:
        file.write('terraform {\\n  backend "s3" {}\\n}\\noutput "a" {}\\n')
    for instant, changes in recording.instants():
        watching.happen(changes)
        watching.look(instant)
    watching.look_everywhere(instant)
    watching.wait(instant + 60)
    watching.look_everywhere(instant + 60)
    ended = [run.status.value for run in watching.runs() if run.ended_at]
    assert ended and watching.notifications(), ended
    for run in watching.runs():
        watching.pipeline.surroundings.why_no_outputs(run)
print(*sorted({"hcl2", "lark", "proton_tf_agent.sources.hcl_config"} & set(sys.modules)))
"""


@pytest.mark.parametrize("scenario", ["apply_ok", "apply_partial_failure", "s3_lockfile", "state_disk_full"])
def test_a_whole_run_is_watched_and_told_without_a_thought_of_hcl(scenario: str, tmp_path: Path) -> None:
    (tmp_path / "watched").mkdir()
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, scenario, str(tmp_path / "watched")],
        cwd=TESTS, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert said.stdout.split() == []
