"""One run, told by one daemon to a file, a program, a channel and two forges, as their settings have it.

A replay after a restart makes no second deployment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.daemons import AgentCommand, Row, ask
from support.many_runs import ManyRuns
from support.rigs import github, gitlab, slack
from support.rigs.exec import write_program

SINKS = ("file", "exec", "slack", "github", "gitlab")


class World:
    """Everything that is told, and the settings that say so."""

    def __init__(self, base: Path) -> None:
        self.file, self.heard = base / "told.jsonl", base / "heard"
        self.github, self.gitlab, self.slack = github.GitHub(), gitlab.GitLab(), slack.Slack()
        root, program, self.settings = base / "watched", base / "tell", base / "agent.toml"
        root.mkdir()
        self.runs = ManyRuns(root)
        write_program(str(program), f"cat >>{self.heard}")
        for name, secret in (
            ("github", github.TOKEN),
            ("gitlab", gitlab.TOKEN),
            ("slack", self.slack.url + slack.PATH),
        ):
            (base / f"{name}.secret").write_text(secret + "\n")
            (base / f"{name}.secret").chmod(0o600)
        keys = {
            "file": f'path = "{self.file}"',
            "exec": f'program = "{program}"',
            "slack": f'secret = "file:{base}/slack.secret"',
            "github": f'url = "{self.github.api}"\nrepository = "{github.REPOSITORY}"\nref = "main"\n'
            f'secret = "file:{base}/github.secret"',
            "gitlab": f'url = "{self.gitlab.api}"\nproject = "{gitlab.PROJECT}"\nref = "main"\n'
            f'secret = "file:{base}/gitlab.secret"',
        }
        assert tuple(keys) == SINKS
        sinks = "".join(f'[[sink]]\ntype = "{type_}"\n{said}\n\n' for type_, said in keys.items())
        self.settings.write_text(
            f'[journal]\npath = "{base}/journal/journal.db"\nreserve = "256KiB"\n\n[[watch]]\npath = "{root}"\n\n'
            f'[allow]\nresource_arns = ["arn:aws:proton:*"]\n\n[spool]\npath = "{base}/spool"\n\n{sinks}'
            f"[run]\nsettle = 1\ngrace = 0.3\n"
        )
        self.settings.chmod(0o644)

    def close(self) -> None:
        for server in (self.github, self.gitlab, self.slack):
            server.close()
            assert server.errors == []


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def delivered(*sinks: str, times: int = 1) -> Callable[[list[Row]], bool]:
    """Whether the verdict has been taken so many times by each of these sinks."""

    def met(rows: list[Row]) -> bool:
        taken = [
            row["sink"] for row in rows if row["event"] == "notification.delivered" and row["status"] == "SUCCEEDED"
        ]
        return all(taken.count(sink) >= times for sink in sinks)

    return met


def test_every_receiver_hears_of_a_run_and_a_replay_finds_its_deployment(world: World) -> None:
    with ExitStack() as agents:
        agent = AgentCommand(world.settings)
        agents.callback(agent.close)
        agent.wait_until_ready()
        world.runs.add(1)
        agent.wait_for(delivered(*SINKS), "all have taken it")
        assert agent.stop() == 0

        agent = AgentCommand(world.settings)
        agents.callback(agent.close)
        agent.wait_until_ready()
        for sink in ("github", "gitlab"):
            ask(world.settings, "replay", "--all", "--sink", sink, "--force")
        agent.wait_for(delivered("github", "gitlab"), "and again")
        assert agent.stop() == 0

    for path in (world.file, world.heard):
        last = json.loads(path.read_text("ascii").splitlines()[-1])
        assert (last["type"], last["data"]["resource_arn"]) == (
            "dev.proton-tf-agent.deployment.succeeded",
            "arn:aws:proton:us-east-1:111122223333:environment/unit-0",
        )
    assert world.slack.texts[-1].startswith("SUCCEEDED: environment/unit-0\nApply complete: ")
    (made,) = world.github.deployments.values()
    assert (made["environment"], made["ref"]) == ("unit-0", "main")
    assert [state for _, state, _ in world.github.statuses].count("success") == 2
    (made,) = world.gitlab.deployments.values()
    assert (made["environment"], made["sha"], made["status"]) == ({"name": "unit-0"}, gitlab.HEAD, "success")
