"""Whatever happens, and whenever the agent is started again: each sink is told what its route takes, and once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from support.observing import ObservedRoot
from support.routed import FAILED_AND_RECOVERED, LOG_OF, happen, sink, told
from support.watching import bind_directory

from proton_tf_agent.journal import Journal

ARN = "arn:aws:proton:us-east-1:111122223333:environment/net"


def expected(outcomes: Sequence[str]) -> list[str]:
    """Failures, and what is no failure behind one."""
    pairs = zip(["ok", *outcomes], outcomes, strict=False)
    return ["FAILED" if now == "failed" else "SUCCEEDED" for before, now in pairs if "failed" in (before, now)]


def read_anew(root: ObservedRoot) -> None:
    """Let everything be read from its beginning once more."""
    for path in list(root.pipeline.cursors):
        root.pipeline.forget([path])
        root.observer.read(root.watch.touched([path]))
    root.wait(60.0)


@settings(max_examples=15)
@given(st.lists(st.sampled_from(sorted(LOG_OF)), min_size=1, max_size=6), st.sets(st.integers(1, 5)))
def test_a_restart_and_reading_anew_change_nothing_of_what_is_routed(outcomes: list[str], restarts: set[int]) -> None:
    """What a restarted agent routes is what one that was never stopped would have, and reading all of it anew adds
    nothing."""
    with tempfile.TemporaryDirectory() as base:
        now, path = 0.0, f"{base}/memory/journal.db"
        chunks: list[list[str]] = [[]]
        for place, outcome in enumerate(outcomes):
            if place in restarts:
                chunks.append([])
            chunks[-1].append(outcome)
        for place, chunk in enumerate(chunks):
            with Journal.open_as_daemon(path) as journal:
                root = ObservedRoot(Path(base, f"life-{place}"), journal)
                bind_directory(root.directory, ARN, "11111111-1111-4111-8111-111111111111")
                root.pipeline.addressees = (sink("proton"), sink("chat", FAILED_AND_RECOVERED))
                root.now = max(root.now, now)
                happen(root, *chunk)
                now = root.now
                read_anew(root)
                assert told(root, "chat") == expected([one for chunk in chunks[: place + 1] for one in chunk])
