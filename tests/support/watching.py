"""The steps of the agent's loop, one at a time over a re-enactment: real watch, readers, pipeline, journal.

Only the clock and the processes are recorded ones. Where the agent would find a process gone, `probe` is asked
about the runs whose process had ended by then: nobody holds a lock or writes a log here.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable
from types import TracebackType

from watchdog.events import FileClosedEvent, FileCreatedEvent, FileDeletedEvent, FileModifiedEvent, FileSystemEvent

from proton_tf_agent.domain.notification import Notification
from proton_tf_agent.domain.run import Run
from proton_tf_agent.journal import Journal, notification_of
from proton_tf_agent.pipeline import Addressee, Pipeline, Rules, Told, proton_objection
from proton_tf_agent.run_directories import RunDirectories
from proton_tf_agent.settings import AllowSettings, Settings
from proton_tf_agent.sources.observe import observe, probe
from proton_tf_agent.sources.place import Kind
from proton_tf_agent.sources.safe_open import SafeOpener
from proton_tf_agent.sources.watch import Touched, Watch, WatchedRoot

from .recordings import Change, Recording, Reenactment, Step

LOG_NAMES = ("*.log", "*.jsonl", "*.json")
_KINDS: tuple[tuple[str, type[FileSystemEvent]], ...] = (
    ("CREATE", FileCreatedEvent),
    ("SCAN", FileCreatedEvent),
    ("SCAN_INITIAL", FileCreatedEvent),
    ("MOVED_TO", FileCreatedEvent),  # so watchdog tells of what is moved in from outside
    ("MODIFY", FileModifiedEvent),
    ("CLOSE_WRITE", FileClosedEvent),
    ("DELETE", FileDeletedEvent),
    ("MOVED_FROM", FileDeletedEvent),
)


def bind_directory(directory: str, resource_arn: str, deployment_id: str, *, deleted: bool = False) -> None:
    """Put deployment metadata into a run directory, as Proton does before it starts a job."""
    os.makedirs(f"{directory}/.proton", exist_ok=True)
    document = {
        "deploymentId": deployment_id,
        "isResourceDeleted": deleted,
        "resourceMetadata": {"arn": resource_arn},
    }
    written = f"{directory}/.proton/.new"
    with open(written, "w", encoding="utf-8") as file:
        json.dump(document, file)
    os.rename(written, f"{directory}/.proton/deployment-metadata.json")


class Watching:
    """One recording, re-enacted below `root` and watched. Use as a context manager."""

    def __init__(self, recording: Recording, root: str, journal_path: str) -> None:
        self.recording = recording
        self.directory = f"{root}/run"
        os.makedirs(self.directory)
        self._reenactment = Reenactment(recording, self.directory)
        self._opener = SafeOpener([root])
        self._watch = Watch([WatchedRoot(root, LOG_NAMES)], threading.Event())
        self.journal = Journal.open_as_daemon(journal_path)
        surroundings = RunDirectories(self._opener, Settings(allow=AllowSettings(("arn:aws:proton:*",))))
        proton = Addressee("proton", lambda _notification: True, proton_objection)
        self.pipeline = Pipeline(self.journal, surroundings, [proton], Rules(), self._tell)
        self.told: list[Told] = []
        self._late: list[Touched] = []

    def __enter__(self) -> Watching:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watch.stop()
        self.journal.close()

    # --- one instant after the other -----------------------------------------------------------------------

    def happen(self, changes: Iterable[Change]) -> None:
        """Let changes happen; the kernel's word of them waits to be taken."""
        for change in changes:
            path = self._reenactment.enact(change)
            if path is None:
                continue
            for kind, event in _KINDS:
                if kind in change.kinds:
                    self._watch._hints.dispatch(event(path))

    def look(self, now: float, hint_has_come: Callable[[str], bool] = lambda _path: True) -> None:
        """One turn of the agent: a look at every file whose hint has come; the hints of the others stay."""
        touched = {look.path: look for look in (*self._late, *self._watch.take()[0])}.values()
        come = [look for look in touched if hint_has_come(look.path)]
        self._late = [look for look in touched if look not in come]
        self._turn(come, now)

    def look_everywhere(self, now: float) -> None:
        """One turn of the agent at a rescan."""
        self._watch.take()
        touched, vanished = self._watch.rescan(self.pipeline.cursors)
        self.pipeline.forget(vanished)
        self._turn(touched, now)

    def wait(self, until: float) -> None:
        """Let time pass: every verdict that comes due does so at its own second."""
        due = self.pipeline.next_due_at()
        while due is not None and due <= until:
            self.pipeline.elapse(due)
            due = self.pipeline.next_due_at()

    def _turn(self, touched: Iterable[Touched], now: float) -> None:
        pending = list(touched)
        while pending:
            looks, pending = pending, []
            observations = []
            for look in looks:
                if look.place.kind is Kind.BINDING:
                    self.pipeline.bind(look.place.directory, now)
                elif look.place.kind is not Kind.STATE or self._has_open_run(look.place.directory):
                    observation = observe(self._opener, look, self.pipeline.cursors.get(look.path))
                    if observation is not None:
                        observations.append(observation)
                        pending += [look] if observation.more else []
            self.pipeline.absorb(observations, now, _always)
        self._probe(now)
        self.pipeline.elapse(now)

    def _has_open_run(self, directory: str) -> bool:
        return any(directory in (run.directory, run.lock_directory) for run in self.pipeline.open_runs)

    def _probe(self, now: float) -> None:
        over = [run for run in self.pipeline.open_runs if (step := self.step_of(run)) and step.ends <= now]
        observations = probe(self._opener, over, {run.log_path for run in over})
        if observations:
            self.pipeline.absorb(observations, now, _always)

    def _tell(self, told: Told) -> None:
        self.told.append(told)

    # --- what came of it -----------------------------------------------------------------------------------

    def step_of(self, run: Run) -> Step | None:
        """The step a run must be: the one that lasted when it began and, if it has a log, wrote that log."""
        return next(
            (
                step
                for step in self.recording.steps
                if step.starts <= run.started_at <= step.ends
                and (not run.log_path or run.log_path == f"{self.directory}/{step.log}")
            ),
            None,
        )

    def runs(self) -> list[Run]:
        """Every run in the journal, oldest first."""
        return [recorded.run for recorded in reversed(self.journal.runs(limit=1000))]

    def notifications(self, *, superseded: bool = False) -> list[Notification]:
        """Everything in the outbox in order, what was superseded only if asked for."""
        rows = self.journal.query("entries", after=0, limit=100_000)
        return [notification_of(row["body"]) for row in rows if superseded or row["state"] != "superseded"]


def _always(_path: str) -> float:
    """The roots were watched before anything happened."""
    return 0.0
