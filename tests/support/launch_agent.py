"""Run an agent whose settings are the first argument, as JSON; says `ready` on stdout when it is.

A second argument is the user to run as: only after everything was imported, for that user may not reach Python itself.
Where an I/O fault was named (`io_faults`) it says `failing` once that has begun.
"""

from __future__ import annotations

import codecs
import ctypes
import json
import os
import sys
from collections.abc import Callable

import io_faults  # beside this script
import msgspec

from proton_tf_agent import journal_store, telemetry
from proton_tf_agent.agent import Agent, run_until_signalled
from proton_tf_agent.domain.errors import AgentError
from proton_tf_agent.settings import Settings


class AnnouncedAgent(Agent):
    """An agent that says when it is ready to whoever started its process."""

    def run(self, on_ready: Callable[[], None] = lambda: print("ready", flush=True)) -> int:
        """Until a signal comes."""
        return super().run(on_ready)


def become(uid: int) -> None:
    """Run on as another user. /proc/self would stay the old one's without PR_SET_DUMPABLE (prctl(2))."""
    for late in ("ascii", "utf-8-sig"):
        codecs.lookup(late)  # imports it
    journal_store._queries()  # the one file of the package that is read late; it is kept
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)


if __name__ == "__main__":
    settings: Settings = msgspec.convert(json.loads(sys.argv[1]), Settings)
    for uid in sys.argv[2:]:
        become(int(uid))
    io_faults.expect_fault(lambda: os.write(1, b"failing\n"))  # in one piece: the fault may end us at once
    try:
        sys.exit(run_until_signalled(AnnouncedAgent(settings, telemetry.configure("info", "json"))))
    except AgentError as error:  # as the command line does
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
