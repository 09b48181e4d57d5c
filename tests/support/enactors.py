"""Recorded runs that happen again as real processes, line by line, whenever the test says so."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from proton_tf_agent.domain.run import RunStatus

from .recordings import Recording

_SCRIPT = str(Path(__file__).with_name("enact_run.py"))
_LASTS_S = 5.0
_TIMESTAMP = re.compile(r'"@timestamp":"([^"]+)"')


@dataclass(frozen=True)
class Script:
    """One run to be: where it happens, what it writes, how it ends. The same arguments give the same bytes."""

    directory: str
    number: int
    document: str
    lines: int
    verdict: RunStatus | None
    is_killed: bool

    @classmethod
    def of(cls, scenario: str, directory: str, number: int, began_at: float, log: str) -> Script:
        """The first logged run of a scenario, as if it had begun at began_at."""
        recording = Recording(scenario)
        step = next(step for step in recording.steps if step.is_json and step.is_run)
        lines = moved(recording.final(step.log).decode(), began_at).splitlines(keepends=True)
        killed = step.verdict is RunStatus.LOST
        operation = "OperationTypePlan" if step.command == "plan" else "OperationTypeApply"
        lock_info = {
            "ID": str(uuid5(NAMESPACE_URL, f"{directory} {number}")),
            "Operation": operation,
            "Who": "runner@host",
            "Version": "1.11.4",
            "Created": datetime.fromtimestamp(began_at, UTC).isoformat().replace("+00:00", "Z"),
            "Path": "terraform.tfstate",
        }
        document = {
            "log": f"{directory}/{log}",
            "state": f"{directory}/terraform.tfstate",
            "lines": lines,
            "lock_info": json.dumps(lock_info),
            "final_state": _last_state(recording),
            "written_at": began_at + _LASTS_S,
            "unlock_before": len(lines) + 1 if killed else _unlock_before(lines, step.verdict),
        }
        return cls(directory, number, json.dumps(document), len(lines), step.verdict, killed)


class Enactor:
    """The process of one run."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.left = script.lines
        self._process = subprocess.Popen(
            [sys.executable, "-I", _SCRIPT, script.document],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def write(self, lines: int) -> None:
        """Let it write that many lines. Returns when they are there; after the last, when the process is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{lines}\n".encode())
        self._process.stdin.flush()
        self.left = int(self._process.stdout.readline())
        if not self.left:
            self.close()

    def close(self) -> None:
        """Kill it if it still runs, as a killed run ends."""
        if self.script.is_killed or self.left:
            self._process.kill()
        self._process.wait(timeout=10)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def _unlock_before(lines: list[str], verdict: RunStatus | None) -> int:
    """A run that changes something is unlocked before it is summarised; a failed one when all is said."""
    summary = ('"operation":"apply"', '"operation":"destroy"')
    if verdict in (RunStatus.APPLIED, RunStatus.DESTROYED):
        return next(n for n, line in enumerate(lines) if any(operation in line for operation in summary))
    return len(lines) - 1


def moved(log: str, began_at: float) -> str:
    """A log in JSON as if its first line had been written at a moment."""
    first = _TIMESTAMP.search(log)
    assert first is not None
    by = datetime.fromtimestamp(began_at, UTC) - datetime.fromisoformat(first[1])
    return _TIMESTAMP.sub(lambda match: _shifted(match, by), log)


def _shifted(match: re.Match[str], by: timedelta) -> str:
    at = datetime.fromisoformat(match[1]) + by
    return f'"@timestamp":"{at.strftime("%Y-%m-%dT%H:%M:%S.%f")}Z"'


def _last_state(recording: Recording) -> str:
    snapshots = [
        change.snapshot
        for _, changes in recording.instants()
        for change in changes
        if change.path == "terraform.tfstate" and change.snapshot and change.size
    ]
    return recording.content(snapshots[-1]).decode() if snapshots else ""
