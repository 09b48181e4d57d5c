"""A watched root that is looked at when the test says so: the real observer, pipeline and journal, no threads."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from proton_tf_agent.domain.notification import Notification
from proton_tf_agent.domain.run import Patience, Run
from proton_tf_agent.journal import Journal, notification_of
from proton_tf_agent.observer import Observer
from proton_tf_agent.pipeline import Addressee, Pipeline, Rules, Told
from proton_tf_agent.run_directories import RunDirectories
from proton_tf_agent.settings import AllowSettings, Settings
from proton_tf_agent.sources.safe_open import SafeOpener
from proton_tf_agent.sources.spool import Spool, believes
from proton_tf_agent.sources.watch import Watch, WatchedRoot

from .facts import LOGS


def began_at(log: bytes) -> float:
    """When a JSON log says it began, in wall-clock seconds."""
    return datetime.fromisoformat(json.loads(log.splitlines()[0])["@timestamp"]).timestamp()


class ObservedRoot:
    """A watched root with one run directory, an observer that turns when the test says so, and a real journal."""

    def __init__(self, base: Path, journal: Journal, settings: Settings | None = None) -> None:
        """settings: what may be spoken for; any ARN unless they say so."""
        self.root = str(base / "watched")
        self.directory = f"{self.root}/net"
        os.makedirs(self.directory)
        self.journal = journal
        self.now = began_at((LOGS / "apply_ok.log").read_bytes()) + 1.0
        self.told: list[Told] = []
        self.steps: list[None] = []  # one for each beat of the observer
        self.cpu = time.thread_time
        self.at_each_step: Callable[[], object] = lambda: None
        opener = SafeOpener([self.root])
        self.spool = Spool(str(base / "spool"), believes(opener, ()))
        os.mkdir(self.spool.path)
        self.watch = Watch([WatchedRoot(self.root, ("*.log",))], threading.Event())
        settings = settings or Settings(allow=AllowSettings(("arn:aws:proton:*",)))
        surroundings = RunDirectories(opener, settings, spool=self.spool)
        proton = Addressee("proton", lambda _notification: True, lambda _notification: "")
        self.pipeline = Pipeline(journal, surroundings, [proton], Rules(Patience(10.0, 3.0)), self.told.append)
        self.observer = Observer(
            opener, self.watch, self.pipeline, lambda _path: 0.0, self.told.append, lambda: self.now, spool=self.spool,
            beat=self._step, ticks=lambda: self.now, cpu=lambda: self.cpu(),
        )  # fmt: skip

    def _step(self) -> None:
        self.steps.append(None)
        self.at_each_step()

    def write(self, name: str, content: bytes, mode: str = "wb") -> str:
        path = f"{self.directory}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, mode) as file:
            file.write(content)
        return path

    def look(self, *names: str) -> None:
        """Hints come for these files alone."""
        self.observer.read(self.watch.touched(f"{self.directory}/{name}" for name in names))

    def lock(
        self, lock_id: str, directory: str = ".", operation: str = "OperationTypeApply", created_at: float | None = None
    ) -> None:
        info = {"ID": lock_id, "Operation": operation, "Who": "ci@runner", "Version": "1.11.4"}
        if created_at is not None:
            info["Created"] = datetime.fromtimestamp(created_at, UTC).isoformat()
        self.write(f"{directory}/.terraform.tfstate.lock.info", json.dumps(info).encode())

    def wait(self, seconds: float) -> None:
        """Let time pass: what has waited long enough is decided."""
        self.now += seconds
        self.pipeline.elapse(self.now)

    def runs(self) -> list[Run]:
        return [recorded.run for recorded in self.journal.runs(100)]

    def notifications(self) -> list[Notification]:
        """What is left to be told or was told, in order."""
        rows = self.journal.query("entries", after=0, limit=1000)
        return [notification_of(row["body"]) for row in rows if row["state"] != "superseded"]

    def statuses(self) -> list[str]:
        """What Proton is told, equal neighbours once."""
        rows = self.journal.query("entries", after=0, limit=1000)
        return [status for status, _ in groupby(row["status"] for row in rows)]
