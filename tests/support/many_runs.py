"""Runs by the hundred, each in a directory of its own for a resource of its own, and what must be heard of them."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from proton_tf_agent.receiver import Record

from .daemons import Row
from .enactors import moved
from .facts import LOGS
from .watching import bind_directory

ARN = "arn:aws:proton:us-east-1:111122223333:environment/"
_DEPLOYMENT_ID = "00000000-0000-4000-8000-000000000000"


class ManyRuns:
    """Applies that have gone well, and more of them whenever the test says so."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._log = (LOGS / "apply_ok.log").read_text("utf-8")
        self._began_at = time.time()
        self.count = 0

    def add(self, count: int) -> None:
        """Let so many more happen; each log is there at once."""
        for number in range(self.count, self.count + count):
            directory = self._root / f"unit-{number}"
            bind_directory(str(directory), f"{ARN}unit-{number}", _DEPLOYMENT_ID)
            (directory / "new").write_text(moved(self._log, self._began_at + number), "utf-8")
            os.rename(directory / "new", directory / "apply.log")
        self.count += count

    def all_are_told(self, records: Iterable[Record]) -> bool:
        """Whether the verdict on every run has been heard."""
        return len(told(records)) == self.count

    def judge(self, records: Iterable[Record]) -> None:
        """Every verdict was heard once, and last of what there was to hear of its resource."""
        heard = defaultdict(list)
        for record in records:
            heard[record.resource_arn].append(record.status)
        assert heard.keys() == {f"{ARN}unit-{number}" for number in range(self.count)}
        assert {tuple(statuses) for statuses in heard.values()} <= {("IN_PROGRESS", "SUCCEEDED"), ("SUCCEEDED",)}


def told(records: Iterable[Record]) -> set[str]:
    """The resources whose verdict has been heard."""
    return {record.resource_arn for record in records if record.status == "SUCCEEDED"}


def journaled(rows: Iterable[Row]) -> int:
    """How many verdicts a daemon has journaled, by its log."""
    return sum(row["event"] == "run.transitioned" and row["status"] == "applied" for row in rows)


def happened(rows: Iterable[Row], event: str, **keys: str) -> bool:
    """Whether a daemon's log has such a line."""
    return any(row["event"] == event and keys.items() <= row.items() for row in rows)
