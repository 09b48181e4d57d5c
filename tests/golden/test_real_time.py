"""Recorded runs that happen again in their order on a real disk, before the kernel's own hints."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.recordings import Recording, recordings
from support.truth import (
    ARN,
    DEPLOYMENT_ID,
    LONG,
    grows_only,
    judge,
    judge_runs_known_by_their_lock_alone,
    with_ends,
)
from support.watching import WatchingForReal, bind_directory

from proton_tf_agent.sources import hints


@pytest.fixture
def watching(recording: Recording, tmp_path: Path) -> Iterator[WatchingForReal]:
    root = tmp_path / "watched"
    root.mkdir()
    with WatchingForReal(recording, str(root), str(tmp_path / "journal" / "journal.db")) as watching:
        bind_directory(watching.directory, ARN, DEPLOYMENT_ID)
        yield watching


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.name)
def test_what_the_kernel_hints_at_is_enough_for_every_true_verdict(
    recording: Recording, watching: WatchingForReal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rescan: what appears in a new directory before that is watched is found by the look at new directories."""
    monkeypatch.setattr(hints, "_STORM", sys.maxsize)  # what took a minute happens in a second here
    now, waiting = 0.0, 0
    for at, changes in with_ends(recording):
        now = at
        watching.wait(now)
        watching.happen(changes)
        waiting = waiting + 1 if recording.is_chatty and grows_only(changes) else 0
        if waiting % 40 == 0:
            watching.look(now)
    monkeypatch.setattr(hints, "_SETTLED_S", 0.0)
    watching.look(now)
    watching.wait(now + LONG)
    judge(recording, watching)
    judge_runs_known_by_their_lock_alone(recording, watching)
