"""A sink is tried as a shadow beside the real one, and then it is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemons import AgentCommand, ask, write_settings
from support.hooks import SECRET, HookReceiver
from support.many_runs import ARN, ManyRuns, happened

from proton_tf_agent.receiver import Receiver

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture
def hook() -> Iterator[HookReceiver]:
    receiver = HookReceiver()
    yield receiver
    receiver.close()


def test_a_shadow_is_told_nothing_until_it_is_none_and_then_only_what_comes(
    tmp_path: Path, receiver: Receiver, hook: HookReceiver
) -> None:
    root, settings, secret = tmp_path / "watched", tmp_path / "agent.toml", tmp_path / "hook.key"
    root.mkdir()
    secret.write_text(SECRET)
    secret.chmod(0o600)
    write_settings(settings, tmp_path / "journal" / "journal.db", [root], receiver.url)
    with settings.open("a") as file:
        file.write(f'\n[[sink]]\ntype = "webhook"\nname = "hook"\nurl = "{hook.url}"\nsecrets = ["file:{secret}"]\n')
        file.write("shadow = true\n")
    runs, agent = ManyRuns(root), AgentCommand(settings)
    try:
        agent.wait_until_ready()
        runs.add(2)
        agent.wait_for(
            lambda rows: (
                sum(row["event"] == "notification.delivered" and row["status"] == "SUCCEEDED" for row in rows) == 2
            ),
            "tells Proton",
        )
        assert hook.requests == 0
        shadowed = ask(settings, "journal", "list", "--sink", "hook")
        assert {row["state"] for row in shadowed} == {"shadowed"}
        assert [row["status"] for row in shadowed].count("SUCCEEDED") == 2
        assert agent.stop() == 0
    finally:
        agent.close()

    settings.write_text(settings.read_text().replace("shadow = true\n", ""))
    agent = AgentCommand(settings)
    try:
        agent.wait_until_ready()
        runs.add(1)
        agent.wait_for(
            lambda rows: happened(rows, "notification.delivered", sink="hook", status="SUCCEEDED"), "tells it"
        )
        assert {event["subject"].rpartition("/")[2] for event in hook.events} == {"unit-2"}
        replayed = ask(settings, "replay", "--resource", f"{ARN}unit-0", "--sink", "hook")
        assert {row["outcome"] for row in replayed} == {"replayed"}
        agent.wait_for(
            lambda rows: happened(
                rows, "notification.delivered", sink="hook", resource_arn=f"{ARN}unit-0", status="SUCCEEDED"
            ),
            "tells what is replayed",
        )
        assert agent.stop() == 0
    finally:
        agent.close()
    assert {event["subject"] for event in hook.events} == {f"{ARN}unit-0", f"{ARN}unit-2"}
    heard = [event["data"]["status"] for event in hook.events if event["subject"] == f"{ARN}unit-0"]
    assert heard == [row["status"] for row in shadowed if row["subject"] == f"{ARN}unit-0"], "as it was kept, in order"
