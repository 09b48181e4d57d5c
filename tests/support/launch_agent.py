"""Run an agent whose settings are the one argument, as JSON; says `ready` on stdout when it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import msgspec

from proton_tf_agent import telemetry
from proton_tf_agent.agent import Agent, run_until_signalled
from proton_tf_agent.settings import Settings


class AnnouncedAgent(Agent):
    """An agent that says when it is ready to whoever started its process."""

    def run(self, on_ready: Callable[[], None] = lambda: print("ready", flush=True)) -> int:
        """Until a signal comes."""
        return super().run(on_ready)


if __name__ == "__main__":
    settings: Settings = msgspec.convert(json.loads(sys.argv[1]), Settings)
    sys.exit(run_until_signalled(AnnouncedAgent(settings, telemetry.configure("info", "json"))))
