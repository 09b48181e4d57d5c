"""Of all the calls with which a working agent writes and syncs its journal, each fails once, and only once.

The next would succeed: an agent that tried again would go on with what the kernel may have dropped. All that may come
is what SQLite does before COMMIT returns the error: it puts back what the transaction has overwritten.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from support.agents import DEADLINE_S
from support.failing_disk import World, all_is_told
from support.soak import rounds

from proton_tf_agent.journal import Journal
from proton_tf_agent.receiver import Receiver, Record

_CALL = re.compile(r"^(\d+) +(\w+)\((.*)$")
_END_OF_A_TRANSACTION = re.compile(r'"(\\0)*", 28, 0\)')  # zeros over the header of the rollback journal

pytestmark = pytest.mark.timeout(rounds(300, 6 * 3600))


class Dismissal:
    """Ends an agent in order once everything is told, whether or not its disk has failed by then."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._told: list[Record] = []

    def on_accepted(self, record: Record) -> None:
        """Called by the receiver, before it answers."""
        self._told.append(record)
        if self.process is not None and all_is_told(self._told):
            self.process.terminate()


@pytest.mark.parametrize(
    ("calls", "step"), [("fsync,fdatasync", rounds(3, 1)), ("pwrite64", rounds(20, 1))], ids=["syncs", "writes"]
)
def test_after_one_call_that_fails_no_other_transaction_is_begun(
    calls: str, step: int, tmp_path: Path, aws_environment: None
) -> None:
    failed = 0
    for nth in count(1, step):
        dismissal = Dismissal()
        place = tmp_path / str(nth)
        place.mkdir()
        with Receiver(on_accepted=dismissal.on_accepted) as receiver, closing(World(place, receiver)) as world:
            if not fails(world, dismissal, calls, nth, place / "calls"):
                break
            failed += 1
            world.judge_the_next()
    assert failed > 3


def fails(world: World, dismissal: Dismissal, calls: str, nth: int, trace: Path) -> bool:
    """Let an agent observe and tell two runs while a thread's n-th call fails; False when none made so many."""
    with Journal.open_as_daemon(world.journal_path) as journal:
        journal.first_seen(str(world.root), time.time())  # what happens from now on is to be told
    for run in world.runs.values():
        run.write(run.left)
    agent = world.agent(tracer=failing(world, calls, nth, trace))
    dismissal.process = agent.process
    if agent.process.wait(DEADLINE_S) == 0:
        assert "(INJECTED)" not in trace.read_text()
        return False
    dismissal.process = None
    world.judge_the_end(agent)
    judge_what_came_after(trace.read_text().splitlines())
    return True


def judge_what_came_after(trace: Sequence[str]) -> None:
    """The thread whose call has failed takes its transaction back; no thread begins one."""
    failed = next(number for number, line in enumerate(trace) if "(INJECTED)" in line)
    for line in trace[failed + 1 :]:
        call = _CALL.match(line)
        if call is None:
            continue
        assert call[1] == trace[failed].split()[0], f"another thread made {line}"
        is_of_the_rollback_journal = call[2] == "pwrite64" and "-journal>" in call[3]
        assert not is_of_the_rollback_journal or _END_OF_A_TRANSACTION.search(call[3]), f"another transaction: {line}"


def failing(world: World, calls: str, nth: int, trace: Path) -> Sequence[str]:
    """strace over the journal's two files; the agent stays our own child.

    Not over their directory: SQLite takes no notice when that cannot be synced.
    """
    ours = (world.journal_path, f"{world.journal_path}-journal")
    return (
        "strace", "-D", "-f", "-y", "-o", str(trace),
        "-e", "trace=fsync,fdatasync,pwrite64", "-e", f"inject={calls}:error=EIO:when={nth}",
        *(argument for path in ours for argument in ("-P", path)),
    )  # fmt: skip
