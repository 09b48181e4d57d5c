"""Write-only secrets (Terraform 1.11): they stand in no state, so a copy of one cannot be known. What a service quotes
of it, in an error about such a resource, is told to nobody.

Recorded with Terraform 1.11.4 and the AWS provider 5.100.0 from main.tf.txt against moto's server; the refusal comes
from a server in front of it that quotes what it is given, as services do. In database.tfstate there is an
`aws_db_instance`, too.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.agents import DEADLINE_S, AgentThread, settings_for
from support.canaries import files_below, sightings
from support.enactors import moved
from support.watching import bind_directory

from proton_tf_agent.receiver import Receiver, Record
from proton_tf_agent.sources.state_file import Marked, marked_in_resources

RECORDED = Path(__file__).parent / "write_only"
ARN = "arn:aws:proton:us-east-1:111122223333:environment/db"
DEPLOYMENT_ID = "00000000-0000-4000-8000-000000000000"
WITH_SECRET = "aws_secretsmanager_secret_version"


def marked(name: str) -> Marked | None:
    content = (RECORDED / name).read_bytes()
    return marked_in_resources(lambda offset, length: content[offset : offset + length], len(content))


def told(tmp_path: Path, receiver: Receiver, log: str, *states: str) -> Record:
    """The end of a recorded run, as a receiver hears it. states: those that it has left, the last one first. What was
    kept of it holds no secret."""
    root, kept = tmp_path / "watched", tmp_path / "kept"
    directory = root / "db"
    with AgentThread(settings_for(str(root), str(kept / "journal.db"), receiver.url)) as agent:
        directory.mkdir(parents=True)
        bind_directory(str(directory), ARN, DEPLOYMENT_ID)
        for name, state in zip(("terraform.tfstate", "terraform.tfstate.backup"), states, strict=False):
            (directory / name).write_bytes((RECORDED / state).read_bytes())
        (directory / "writing").write_text(moved((RECORDED / log).read_text("utf-8"), time.time()), "utf-8")
        (directory / "writing").rename(directory / "apply.log")
        records = receiver.wait_for(lambda records: bool(records) and records[-1].status != "IN_PROGRESS", DEADLINE_S)
        agent.stop()
    assert {path: found for path, content in files_below(kept) if (found := sightings(content))} == {}
    assert sightings(repr((records, agent.log.lines())).encode()) == []
    return records[-1]


def test_what_a_service_quotes_of_a_write_only_secret_is_told_to_nobody(tmp_path: Path, receiver: Receiver) -> None:
    """The state that the run has left has no such resource any more; the one before has it."""
    assert sightings((RECORDED / "refused.log").read_bytes()), "there is nothing to be told"
    assert marked("refused.tfstate") == Marked()
    last = told(tmp_path, receiver, "refused.log", "refused.tfstate", "applied.tfstate")
    assert last.status == "FAILED"
    assert (last.status_message or "").startswith(f"Apply failed: the error text is withheld at {WITH_SECRET}.db.")


def test_a_run_that_gives_write_only_secrets_is_told_with_its_outputs(tmp_path: Path, receiver: Receiver) -> None:
    last = told(tmp_path, receiver, "applied.log", "applied.tfstate")
    assert (last.status, list(last.outputs or ())) == ("SUCCEEDED", ["secret_arn"])


@pytest.mark.parametrize(
    ("state", "types"),
    [("applied.tfstate", {WITH_SECRET}), ("database.tfstate", {WITH_SECRET, "aws_db_instance"})],
)
def test_the_state_tells_which_resources_were_given_one_and_holds_none(state: str, types: set[str]) -> None:
    assert sightings((RECORDED / state).read_bytes()) == []
    found = marked(state)
    assert found is not None
    assert found.write_only == types
