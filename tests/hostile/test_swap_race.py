"""While a program swaps directories and files for links as fast as it can, no reader ever sees what lies outside.

By openat2 and by the walk that stands in for it; a minute of each in `make soak`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.hostile import CANARY
from support.hostile_files import swap
from support.soak import rounds

from proton_tf_agent.sources.observe import observe
from proton_tf_agent.sources.place import Kind, Place
from proton_tf_agent.sources.safe_open import SafeOpener, Unreadable
from proton_tf_agent.sources.states import read_binding_files, read_state
from proton_tf_agent.sources.tree import walk
from proton_tf_agent.sources.watch import Touched

LOOKS = 1_500
AT_LEAST_S = rounds(0, 60)
DEADLINE_S = 60.0
ONLY_OUTSIDE = "only-outside"

Reader = Callable[[SafeOpener, str], str]


def _opens(opener: SafeOpener, directory: str) -> str:
    seen = ""
    for path in ("here/apply.log", "apply.log", "linked.log"):
        try:
            with opener.open(f"{directory}/{path}") as file:
                seen += file.read(0, 1000).decode()
        except (Unreadable, FileNotFoundError) as refused:
            seen += getattr(refused, "code", "missing")
    return seen


def _observes(opener: SafeOpener, directory: str) -> str:
    place = Place(Kind.LOG, directory, None)
    seen = ""
    for path in ("here/apply.log", "apply.log"):
        try:
            observation = observe(opener, Touched(f"{directory}/{path}", place, closed=False), None)
            cursor = observation.cursor if observation else None
            assert cursor is not None
            assert cursor.offset == len("mine\n"), "it has read another file"
            seen += "mine"
        except Unreadable as refused:
            seen += refused.code
        except AssertionError:
            if observation is not None:
                raise
            seen += "missing"
    return seen


def _lists(opener: SafeOpener, directory: str) -> str:
    names = []
    for found in walk(opener, os.path.dirname(directory), directory, lambda _path, _code: None):
        names += [entry.name for entry in found.entries]
    seen = "mine" if names.count("apply.log") == 2 else "E_SYMLINK"
    return seen + (CANARY if ONLY_OUTSIDE in names else "")


def _looks(opener: SafeOpener, directory: str) -> str:
    try:
        found = opener.look(f"{directory}/here/{ONLY_OUTSIDE}")
    except Unreadable as refused:
        return refused.code
    return CANARY if found else "mine"


def _reads_states_and_bindings(opener: SafeOpener, directory: str) -> str:
    reading = read_state(opener, f"{directory}/here/apply.log")
    with suppress(Unreadable):
        read_binding_files(opener, f"{directory}/here")
    if reading.state is not None:
        return CANARY  # the file of ours is no state, the one outside is
    return "mine" if "E_JSON" in reading.reason else reading.reason


@pytest.fixture
def swapped(tmp_path: Path) -> Iterator[str]:
    outside, directory = tmp_path / "outside", tmp_path / "root" / "run"
    outside.mkdir()
    directory.mkdir(parents=True)
    secret = f'{{"version":4,"lineage":"{CANARY}","serial":1,"outputs":{{}},"resources":[]}}'
    (outside / "secret").write_text(secret, "utf-8")
    (outside / ONLY_OUTSIDE).touch()
    end = swap(directory, outside)
    yield str(directory)
    end()


@pytest.mark.timeout(rounds(90, 300))
@pytest.mark.parametrize("way", ["openat2", "walk"])
@pytest.mark.parametrize("reader", [_opens, _observes, _lists, _looks, _reads_states_and_bindings])
def test_4_no_reader_is_led_outside(reader: Reader, way: str, swapped: str) -> None:
    opener = SafeOpener([os.path.dirname(swapped)])
    opener._has_openat2 = way == "openat2"
    seen: set[str] = set()
    looks, began = 0, time.monotonic()
    # Where processors are rare, the swapper may stand still for long.
    while looks < LOOKS or time.monotonic() < began + AT_LEAST_S or not _was_a_race(seen):
        found = reader(opener, swapped)
        assert CANARY not in found
        seen.add(found)
        looks += 1
        assert looks < LOOKS or time.monotonic() < began + AT_LEAST_S + DEADLINE_S, f"there was no race: {seen}"
    print(f"{looks} looks")


def _was_a_race(seen: set[str]) -> bool:
    """Whether both was met: what is ours, and a link in its place."""
    return any("mine" in found for found in seen) and any("E_SYMLINK" in found for found in seen)
