"""What Proton never took is carried to a webhook: in order, once, and what comes later is told there at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.daemons import AgentCommand, ask, write_settings
from support.hooks import SECRET, HookReceiver
from support.many_runs import ARN, ManyRuns

from proton_tf_agent.receiver import FaultKind, Receiver

RUNS = 5
pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture
def hook() -> Iterator[HookReceiver]:
    receiver = HookReceiver()
    yield receiver
    receiver.close()


def ends(hook: HookReceiver) -> list[str]:
    return [event["subject"] for event in hook.events if event["data"]["status"] == "SUCCEEDED"]


def sink_of(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next((sink for sink in status["sinks"] if sink["sink"] == name), {})


def test_notifications_that_a_retired_proton_never_took_go_to_a_webhook(
    tmp_path: Path, receiver: Receiver, hook: HookReceiver
) -> None:
    root, settings = tmp_path / "watched", tmp_path / "agent.toml"
    root.mkdir()
    receiver.fail(FaultKind.RETIRED_DENIED)
    write_settings(settings, tmp_path / "journal" / "journal.db", [root], receiver.url)
    runs = ManyRuns(root)

    agent = AgentCommand(settings)
    try:
        agent.wait_until_ready()
        runs.add(RUNS)
        agent.wait_for(lambda rows: [row for row in rows if row["event"] == "sink.gone"], "Proton is gone")
        agent.wait_for(
            lambda rows: sum(row["event"] == "run.transitioned" and row["status"] == "applied" for row in rows) == RUNS,
            "every run is seen",
        )
        (status,) = ask(settings, "status")
        assert sink_of(status, "proton")["verdict"] == "gone"
        assert agent.stop() == 0
    finally:
        agent.close()
    assert receiver.records() == ()

    secret = tmp_path / "hook.key"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    with settings.open("a") as file:
        file.write(f'\n[[sink]]\ntype = "webhook"\nname = "hook"\nurl = "{hook.url}"\nsecrets = ["file:{secret}"]\n')
    agent = AgentCommand(settings)
    try:
        agent.wait_until_ready()
        carried = ask(settings, "replay", "--undelivered", "--from", "proton", "--sink", "hook")
        assert {row["outcome"] for row in carried} == {"replayed"}
        wanted = {(row["resource_arn"], row["status"]) for row in carried}
        agent.wait_for(
            lambda rows: {(r["resource_arn"], r["status"]) for r in rows
                          if r["event"] == "notification.delivered" and r["sink"] == "hook"} >= wanted,
            "all of it is taken",
        )  # fmt: skip
        assert sorted(ends(hook)) == sorted(f"{ARN}unit-{number}" for number in range(RUNS))
        runs.add(1)
        agent.wait_for(
            lambda rows: any(r["event"] == "notification.delivered" and r["sink"] == "hook"
                             and r["resource_arn"] == f"{ARN}unit-{RUNS}" and r["status"] == "SUCCEEDED" for r in rows),
            "a new run is told there, too",
        )  # fmt: skip
        assert agent.stop() == 0
    finally:
        agent.close()
    for number in range(RUNS + 1):
        heard = [event["data"]["status"] for event in hook.events if event["subject"] == f"{ARN}unit-{number}"]
        assert heard in (["SUCCEEDED"], ["IN_PROGRESS", "SUCCEEDED"]), "in order, and each once"
