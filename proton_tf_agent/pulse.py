"""The pulse: a supervisor hears that the agent is alive only as long as each of its loops gets on.

A loop beats whenever it is a step further: a turn, a file, a directory. The pulse, in a thread of its own, tells
systemd `WATCHDOG=1` (sd_watchdog_enabled(3)) as long as every part has beaten lately; before the agent is ready, when
systemd does not watch yet, it asks for more time to start instead (`EXTEND_TIMEOUT_USEC=`, sd_notify(3)). So a long
look that gets on is left alone, and a loop that hangs, whatever the other one does, brings the agent down and up again.
Which one it is, and where, is said before.

Nothing is decided here about what a step is. That the process as a whole stands still needs no word: nobody pings.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_UNWATCHED_S = 60.0  # for the log alone, where no supervisor says how long it has patience
_FRAMES = 3

Tell = Callable[[str, Mapping[str, object]], None]
Beat = Callable[[], None]


def patience(environment: Mapping[str, str], pid: int) -> float:
    """Seconds without a ping after which systemd takes this process for hung (WatchdogSec= of the unit)."""
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return _UNWATCHED_S
    try:
        return int(environment["WATCHDOG_USEC"]) / 1e6 or _UNWATCHED_S
    except (KeyError, ValueError):
        return _UNWATCHED_S


@dataclass(slots=True)
class _Part:
    """One loop: when it last beat (ticks), in which thread, and whether it was said that it hangs."""

    beaten_at: float
    thread: int
    hangs: bool = False


class Pulse:
    """Tells that every part gets on. `beat` may be called from any thread, `turn` from one.

    patience: seconds; systemd pulls the plug after so long without a ping. A part that has not beaten for half of that
    hangs. ticks gives seconds that only go forward; notify takes assignments of sd_notify(3).
    """

    def __init__(self, patience: float, notify: Callable[[str], None], tell: Tell, ticks: Callable[[], float]) -> None:
        self.every = patience / 4
        self._patience = patience
        self._notify = notify
        self._tell = tell
        self._ticks = ticks
        self._parts: dict[str, _Part] = {}
        self._lock = threading.Lock()
        self._is_ready = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Begin to watch over the parts that beat, until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Watch over nothing any more."""
        self._stopping.set()
        self._thread.join()

    def ready(self) -> None:
        """The agent has started: from now on systemd waits for pings."""
        self._is_ready = True

    def beat(self, part: str) -> None:
        """A part is a step further. It is watched over from its first beat on."""
        now = self._ticks()
        with self._lock:
            self._parts[part] = _Part(now, threading.get_ident())

    def leave(self, part: str) -> None:
        """A part has come to its end in order, and is not waited for."""
        with self._lock:
            self._parts.pop(part, None)

    def turn(self) -> None:
        """Look at every part; tell systemd when all get on, and the log when one does not."""
        now = self._ticks()
        with self._lock:
            hanging = {name: part for name, part in self._parts.items() if now - part.beaten_at > self._patience / 2}
            new = {name: part for name, part in hanging.items() if not part.hangs}
            for part in new.values():
                part.hangs = True
            is_anyone_there = bool(self._parts)
        for name, part in new.items():
            told = {"part": name, "silent_s": round(now - part.beaten_at, 1), "at": _whereabouts(part.thread)}
            self._tell("agent.stalled", told)
        if is_anyone_there and not hanging:
            self._notify("WATCHDOG=1" if self._is_ready else f"EXTEND_TIMEOUT_USEC={int(self._patience * 1e6)}")

    def _run(self) -> None:
        while not self._stopping.wait(self.every):
            self.turn()


def _whereabouts(thread: int) -> str | None:
    """What a thread is at: its innermost functions, with file and line; no value of theirs. None when it has ended."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - documented, in spite of its name
    places: list[str] = []
    while frame is not None and len(places) < _FRAMES:
        file = os.path.basename(frame.f_code.co_filename)
        places.append(f"{file}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(places) or None
