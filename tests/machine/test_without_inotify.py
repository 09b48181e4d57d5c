"""26 of docs/bad-input.md: the kernel gives no hints. Its limits are those of a user namespace of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.daemons import AgentCommand, ask, write_settings
from support.many_runs import ARN, ManyRuns, told

from proton_tf_agent.receiver import Receiver

DEADLINE_S = 30.0


@pytest.mark.parametrize(
    ("limit", "mended_by"),
    [
        ("max_inotify_instances 0", "fs.inotify.max_user_instances"),
        ("max_inotify_watches 4", "fs.inotify.max_user_watches"),
    ],
)
def test_26_runs_are_told_without_inotify_and_it_is_said_once_what_mends_that(
    limit: str, mended_by: str, tmp_path: Path, receiver: Receiver
) -> None:
    name, value = limit.split()
    root = tmp_path / "watched"
    root.mkdir()
    settings = tmp_path / "agent.toml"
    write_settings(settings, tmp_path / "kept" / "journal.db", [root], receiver.url)
    runs = ManyRuns(root)
    runs.add(8)  # directories to watch; what was over before the agent came is not told
    set_limit = f'echo {value} > /proc/sys/user/{name} && exec "$@"'
    agent = AgentCommand(settings, ("unshare", "--user", "--map-root-user", "sh", "-c", set_limit, "sh"))
    try:
        agent.wait_until_ready()
        runs.add(2)
        receiver.wait_for(lambda records: told(records) == {f"{ARN}unit-8", f"{ARN}unit-9"}, DEADLINE_S)
        status = ask(settings, "status")[0]
    finally:
        agent.stop()
    degraded = [row["reason"] for row in agent.rows() if row["event"] == "watch.degraded"]
    assert len(degraded) == 1
    assert mended_by in degraded[0]
    assert (status["observing"], degraded[0] in status["because"]["observing"]) == ("degraded", True)
