"""A daemon tells Service Catalog the result of what its engine was asked for, over a restart and without the directory;
the token by which it does is in nothing that anybody else is told or shown."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.canaries import MARKER, files_below, sightings
from support.daemons import AgentCommand, Row, ask, write_settings
from support.enactors import moved
from support.facts import LOGS
from support.rigs.service_catalog import WORKFLOW, Catalog

from proton_tf_agent.command_line import PARTLY_DONE
from proton_tf_agent.domain.binding import OPERATION_PATH
from proton_tf_agent.receiver import Receiver

TOKEN = f"{MARKER}+{MARKER}/{MARKER}=="


@pytest.fixture
def catalog(aws_environment: None) -> Iterator[Catalog]:
    catalog = Catalog()
    catalog.token = TOKEN
    yield catalog
    catalog.close()


def carry_out(directory: Path) -> None:
    """Let an engine write down what it was asked for, and Terraform apply it well."""
    (directory / OPERATION_PATH).parent.mkdir(parents=True)
    message = {
        "token": TOKEN, "operation": "PROVISION_PRODUCT", "recordId": WORKFLOW.record_id,
        "provisionedProductId": WORKFLOW.product_id, "parameters": [{"key": "password", "value": f"{MARKER}hunter2"}],
    }  # fmt: skip
    (directory / OPERATION_PATH).write_text(json.dumps(message))
    (directory / "new").write_text(moved((LOGS / "apply_ok.log").read_text("utf-8"), time.time()), "utf-8")
    (directory / "new").rename(directory / "apply.log")


def told(rows: list[Row], event: str, sink: str) -> list[Row]:
    return [row for row in rows if row["event"] == event and row["sink"] == sink and row["status"] == "SUCCEEDED"]


def said(settings: Path, *arguments: str) -> bytes:
    """What a command prints, on both streams."""
    command = [sys.executable, "-m", "proton_tf_agent", *arguments, "--config", str(settings)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=30)
    assert done.returncode in (0, 1, PARTLY_DONE), done.stderr.decode()
    return done.stdout + done.stderr


def test_the_result_is_told_and_its_token_to_nobody_else(tmp_path: Path, receiver: Receiver, catalog: Catalog) -> None:
    root, kept, elsewhere = tmp_path / "watched", tmp_path / "kept", tmp_path / "elsewhere"
    settings, lines = tmp_path / "agent.toml", elsewhere / "told.jsonl"
    for directory in (root, elsewhere):
        directory.mkdir()
    kept.mkdir(mode=0o700)
    write_settings(settings, kept / "journal.db", [root], receiver.url)
    with settings.open("a") as file:
        file.write(f'[log]\nlevel = "debug"\n[[sink]]\ntype = "file"\npath = "{lines}"\nunbound = true\n')
        file.write(f'[[sink]]\ntype = "service_catalog"\nregion = "eu-west-1"\nendpoint_url = "{catalog.url}"\n')
    logged: list[Row] = []
    run_directory = root / "shop"

    def with_agent(wanted: Any) -> None:
        agent = AgentCommand(settings)
        try:
            agent.wait_until_ready()
            wanted(agent)
            assert agent.stop() == 0
        finally:
            agent.close()
        logged.extend(agent.rows())

    def while_it_fails(agent: AgentCommand) -> None:
        catalog.refuse("InternalFailure", 500)
        carry_out(run_directory)
        agent.wait_for(lambda rows: told(rows, "notification.deferred", "service_catalog"), "has not tried")

    def when_it_is_back(agent: AgentCommand) -> None:
        agent.wait_for(lambda rows: told(rows, "notification.delivered", "service_catalog"), "has not told it")

    with_agent(while_it_fails)
    shutil.rmtree(run_directory)
    catalog.recover()
    with_agent(when_it_is_back)
    (result,) = catalog.results
    assert (result["WorkflowToken"], result["Status"]) == (TOKEN, "SUCCEEDED")
    assert {output["OutputKey"] for output in result["Outputs"]} == {"const", "ids", "last"}

    (run,) = ask(settings, "runs", "list")
    (entry,) = [row for row in ask(settings, "journal", "list") if row["sink"] == "service_catalog"]
    commands = [
        ["status"], ["runs", "list"], ["runs", "show", run["run_id"]], ["journal", "list"], ["journal", "tail"],
        ["journal", "show", entry["id"]], ["explain", run["run_id"]], ["explain", str(run_directory)],
        ["replay", "--all", "--dry-run"], ["journal", "verify"], ["config", "show"], ["doctor"],
        ["journal", "export", str(elsewhere / "export.jsonl")],
        ["journal", "export", "--format", "cloudevents", str(elsewhere / "events.jsonl")],
        ["doctor", "--bundle", str(elsewhere / "bundle.tar.gz")],
    ]  # fmt: skip
    shown = [said(settings, *command) for command in commands]
    shown += [said(settings, *command, "--json") for command in commands[:6]]
    shown += [json.dumps(logged).encode(), *(content for _, content in files_below(elsewhere))]
    subprocess.run(["tar", "-xzf", elsewhere / "bundle.tar.gz", "-C", elsewhere], check=True)
    shown += [content for _, content in files_below(elsewhere)]
    assert [found for text in shown if (found := sightings(text))] == []
    assert sum(WORKFLOW.product_id.encode() in text for text in shown) >= 5, "the run is in there"
    assert sightings((kept / "journal.db").read_bytes()), "the search finds it where it must be"
    assert "hunter2" not in (kept / "journal.db").read_text("latin-1")
