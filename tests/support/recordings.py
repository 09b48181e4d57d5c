"""Recorded runs (`tests/golden/runs`, made by `tests/golden/collect.py`) and their re-enactment on a real disk."""

from __future__ import annotations

import gzip
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from proton_tf_agent.domain.run import RunStatus

RUNS = Path(__file__).parents[1] / "golden" / "runs"
_LOG_SUFFIXES = (".log", ".json", ".jsonl")
_OVERWRITTEN = b"(what stood here was overwritten by a later step and is not in the recording)\n"

# What the agent has to find, by the last of these in a step's hand-written truth.
VERDICTS = {
    "plan_finished": RunStatus.PLANNED_AND_FINISHED,
    "plan_finished_no_changes": RunStatus.PLANNED_AND_FINISHED,
    "apply_succeeded": RunStatus.APPLIED,
    "destroy_succeeded": RunStatus.DESTROYED,
    "plan_failed": RunStatus.ERRORED,
    "apply_failed": RunStatus.ERRORED,
    "state_push_failed": RunStatus.ERRORED,
    "lock_contention": RunStatus.ERRORED,
    "cancelled": RunStatus.CANCELED,
    "killed": RunStatus.LOST,
}


@dataclass(frozen=True)
class Step:
    """One command of a scenario. starts and ends are wall-clock seconds of its process."""

    number: int
    command: str
    log: str
    is_json: bool
    starts: float
    ends: float
    truth: tuple[str, ...]

    @property
    def is_run(self) -> bool:
        """Whether it is a plan, an apply or a destroy."""
        return self.command in ("plan", "apply", "destroy")

    @property
    def tells_its_run(self) -> bool:
        """Whether it is a run and its log says so; a refused lock alone says the same of every command that locks."""
        return self.is_run and (self.is_json or "plan_started" in self.truth)

    @property
    def verdict(self) -> RunStatus | None:
        """What became of it; None for a command that is no run."""
        return next((VERDICTS[truth] for truth in reversed(self.truth) if truth in VERDICTS), None)


@dataclass(frozen=True)
class Change:
    """One thing inotify told, with the size the file had when it was read."""

    path: str
    kinds: tuple[str, ...]
    size: int | None
    snapshot: str | None
    generation: int
    at: float

    @property
    def is_removal(self) -> bool:
        return bool({"DELETE", "MOVED_FROM", "DELETE_SELF"} & set(self.kinds))

    @property
    def is_directory(self) -> bool:
        return "ISDIR" in self.kinds or "DELETE_SELF" in self.kinds


@dataclass(frozen=True)
class Recording:
    """One recorded scenario."""

    name: str

    @cached_property
    def _scenario(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.content("scenario.json"))
        return found

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order; a step lasts until its log was seen to be closed."""
        zero = self._scenario["t0_epoch"]
        closed = [change for change in self._raw if "CLOSE_WRITE" in change["ev"]]
        steps = []
        for step in self._scenario["steps"]:
            ended = step["t_end"]
            late = [c["t"] for c in closed if c["path"] == step["log"] and ended <= c["t"] < ended + 0.2]
            ends = zero + max((ended, *late))
            truth, starts = tuple(step["truth"]), zero + step["t_start"]
            steps.append(Step(step["i"], step["command"], step["log"], step["is_json"], starts, ends, truth))
        return tuple(steps)

    @property
    def json_logs(self) -> tuple[str, ...]:
        """The logs of plan, apply and destroy that speak the JSON UI, each once."""
        return tuple(dict.fromkeys(step.log for step in self.steps if step.is_json and step.is_run))

    @property
    def is_chatty(self) -> bool:
        """Whether so much is written that a look after every write would take seconds."""
        return len(self._raw) > 2000

    @property
    def final_outputs(self) -> dict[str, dict[str, Any]]:
        """What `terraform output -json` said at the end."""
        found: dict[str, dict[str, Any]] = (
            self._scenario["final_outputs"]
            if not self._has("final_outputs.json")
            else json.loads(self.content("final_outputs.json"))
        )
        return found or {}

    def content(self, name: str) -> bytes:
        """A file of the recording, unpacked."""
        path = RUNS / self.name / name
        packed = path.with_name(path.name + ".gz")
        return gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()

    def final(self, log: str) -> bytes:
        """A log as it was at the end of the scenario."""
        return self.content(f"files/final/{log}")

    def instants(self) -> Iterator[tuple[float, list[Change]]]:
        """What changed on disk, in the order and at the wall-clock seconds in which it was recorded."""
        zero = self._scenario["t0_epoch"]
        generation: defaultdict[str, int] = defaultdict(int)
        sizes: dict[str, int] = {}
        for at, together in groupby(self._raw, key=lambda raw: raw["t"]):
            changes = []
            for raw in together:
                path, size = raw["path"], raw.get("size")
                if size is not None and size < sizes.get(path, 0):
                    generation[path] += 1
                sizes[path] = size or 0
                changes.append(Change(path, tuple(raw["ev"]), size, raw.get("snap"), generation[path], zero + at))
            yield zero + at, changes

    def generation(self, log: str, number: int, last: int) -> bytes:
        """The whole of a log before it was begun anew for the number-th time."""
        if number == last:
            return self.final(log)
        name = f"overwritten/{number}_{log}"
        return self.content(name) if self._has(name) else _OVERWRITTEN * 100

    def _has(self, name: str) -> bool:
        path = RUNS / self.name / name
        return path.exists() or path.with_name(path.name + ".gz").exists()

    @cached_property
    def _raw(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.content("events.jsonl").splitlines()]


class Reenactment:
    """Lets a recorded scenario happen again in a directory: the same files, cut where they were cut."""

    def __init__(self, recording: Recording, directory: str) -> None:
        self._recording = recording
        self._directory = directory
        self._logs: dict[tuple[str, int], memoryview] = {}
        self._written: dict[str, tuple[int, int]] = {}  # log: its generation and how much of it stands on disk
        self._last = {
            change.path: change.generation
            for _, changes in recording.instants()
            for change in changes
            if change.path.endswith(_LOG_SUFFIXES)
        }

    def enact(self, change: Change) -> str | None:
        """Make one change; returns the path of the file that was touched, if one was."""
        path = os.path.join(self._directory, change.path)
        if change.is_directory:
            self._enact_directory(change, path)
            return None
        if change.is_removal:
            if os.path.exists(path):
                os.unlink(path)
            return path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if change.path.endswith(_LOG_SUFFIXES) and change.size is not None:
            self._enact_log(change, path, change.size)
        elif change.snapshot is not None:
            with open(path, "wb") as file:  # in place, as Terraform writes its state
                file.write(self._recording.content(change.snapshot))
        if os.path.exists(path):
            os.utime(path, (change.at, change.at))
        return path  # of configuration and plan files too, which are not on disk: nobody reads them

    def _enact_log(self, change: Change, path: str, size: int) -> None:
        key = (change.path, change.generation)
        if key not in self._logs:
            self._logs[key] = memoryview(self._recording.generation(*key, self._last[change.path]))
        if "MOVED_TO" in change.kinds:
            elsewhere = self._directory + ".elsewhere"
            Path(elsewhere).write_bytes(self._logs[key][:size])
            os.rename(elsewhere, path)
            return
        generation, written = self._written.get(change.path, (change.generation, 0))
        begun_anew = generation != change.generation
        with open(path, "wb" if begun_anew else "ab") as file:
            file.write(self._logs[key][0 if begun_anew else written : size])
        self._written[change.path] = (change.generation, size)

    @staticmethod
    def _enact_directory(change: Change, path: str) -> None:
        if not change.is_removal:
            os.makedirs(path, exist_ok=True)
        elif os.path.isdir(path):
            os.rmdir(path)


def recordings() -> list[Recording]:
    """Every recorded scenario."""
    return [Recording(path.name) for path in sorted(RUNS.iterdir()) if path.is_dir()]
