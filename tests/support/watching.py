"""The turns of the real observer, one at a time over a re-enactment: real watch, readers, pipeline, journal.

Only the clock and the processes are recorded ones: a process is gone when its step had ended by then, and nobody
holds a lock or writes a log here.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import TracebackType

from watchdog.events import FileClosedEvent, FileCreatedEvent, FileDeletedEvent, FileModifiedEvent, FileSystemEvent

from proton_tf_agent.domain.evidence import Cursor, Form, Observation
from proton_tf_agent.domain.notification import Notification
from proton_tf_agent.domain.run import Run
from proton_tf_agent.journal import Journal, notification_of
from proton_tf_agent.observer import Observer
from proton_tf_agent.pipeline import Addressee, Pipeline, Rules, Told, proton_objection
from proton_tf_agent.run_directories import RunDirectories
from proton_tf_agent.settings import AllowSettings, Settings
from proton_tf_agent.sources.processes import Processes
from proton_tf_agent.sources.safe_open import SafeOpener
from proton_tf_agent.sources.watch import Touched, Watch, WatchedRoot

from .recordings import Change, Recording, Reenactment, Step

LOG_NAMES = ("*.log", "*.jsonl", "*.json")
_HINT_S = 20.0
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


def bind_directory(
    directory: str, resource_arn: str, deployment_id: str, *, deleted: bool = False, written_at: float | None = 0.0
) -> None:
    """Put deployment metadata into a run directory, as Proton does before it starts a job.

    They are older than any recording, or were written at another time; None: now.
    """
    os.makedirs(f"{directory}/.proton", exist_ok=True)
    document = {
        "deploymentId": deployment_id,
        "isResourceDeleted": deleted,
        "resourceMetadata": {"arn": resource_arn},
    }
    written = f"{directory}/.proton/.new"
    with open(written, "w", encoding="utf-8") as file:
        json.dump(document, file)
    if written_at is not None:
        os.utime(written, (written_at, written_at))
    os.rename(written, f"{directory}/.proton/deployment-metadata.json")


class RecordedProcesses(Processes):
    """The processes of a recording: those of steps that have not ended by `now` are at work."""

    def __init__(
        self, opener: SafeOpener, step_of: Callable[[Run], Step | None], recording: Recording, directory: str
    ) -> None:
        super().__init__(opener)
        self.now = 0.0
        self._step_of = step_of
        self._written = {f"{directory}/{step.log}": step.ends for step in recording.steps}

    def complete_logs(self, looks: Sequence[Touched]) -> dict[str, Touched]:
        over = [look for look in looks if self._written.get(look.path, 0.0) <= self.now]
        return super().complete_logs(over)

    def probe(self, runs: Sequence[Run], closed: Collection[str], cursors: Mapping[str, Cursor]) -> list[Observation]:
        over = [run for run in runs if (step := self._step_of(run)) and step.ends <= self.now]
        return super().probe(over, {run.log_path for run in over}, cursors)


class Watching:
    """One recording, re-enacted below `root` and watched. Use as a context manager."""

    def __init__(self, recording: Recording, root: str, journal_path: str) -> None:
        self.recording = recording
        self.directory = f"{root}/run"
        os.makedirs(self.directory)
        self._reenactment = Reenactment(recording, self.directory)
        self._opener = SafeOpener([root])
        self._root = root
        self._wake = threading.Event()
        self._watch = Watch([WatchedRoot(root, LOG_NAMES)], self._wake)
        self.journal = Journal.open_as_daemon(journal_path)
        surroundings = RunDirectories(self._opener, Settings(allow=AllowSettings(("arn:aws:proton:*",))))
        proton = Addressee("proton", lambda _notification: True, proton_objection)
        self.pipeline = Pipeline(self.journal, surroundings, [proton], Rules(), self._tell)
        self.told: list[Told] = []
        self._hints: list[tuple[str, FileSystemEvent]] = []
        self._past: list[tuple[str, FileSystemEvent]] = []
        self._now = 0.0
        self._processes = RecordedProcesses(self._opener, self.step_of, recording, self.directory)
        self._observer = Observer(
            self._opener, self._watch, self.pipeline, _always, self._tell, lambda: self._now, processes=self._processes
        )

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
                    self._hints.append((path, event(path)))
                    self._past.append((path, event(path)))

    def look(self, now: float, hint_has_come: Callable[[str], bool] = lambda _path: True) -> None:
        """One turn of the agent: a look at every file whose hint has come; the hints of the others stay."""
        come = {path for path in dict.fromkeys(path for path, _ in self._hints) if hint_has_come(path)}
        for path, event in self._hints:
            if path in come:
                self._watch._hints.dispatch(event)
        self._hints = [hint for hint in self._hints if hint[0] not in come]
        self._turn(now, rescan=False)

    def lose_hints(self) -> None:
        """What the kernel had to say has not come, and will not."""
        self._hints.clear()

    def repeat_hints(self, chosen: Callable[[str], bool]) -> None:
        """Hints of long ago come once more, in whatever order."""
        self._hints += [(path, event) for path, event in self._past if chosen(path)][::-1]

    def look_everywhere(self, now: float) -> None:
        """One turn of the agent at a rescan."""
        self._hints.clear()
        self._turn(now, rescan=True)

    def _turn(self, now: float, rescan: bool) -> None:
        self._processes.now = self._now = now
        self._observer.turn(rescan=rescan)
        while self._observer.has_backlog:
            self._observer.turn()

    def wait(self, until: float) -> None:
        """Let time pass: every verdict that comes due does so at its own second."""
        due = self.pipeline.next_due_at()
        while due is not None and due <= until:
            self.pipeline.elapse(due)
            due = self.pipeline.next_due_at()

    def _tell(self, told: Told) -> None:
        self.told.append(told)

    # --- what came of it -----------------------------------------------------------------------------------

    def step_of(self, run: Run) -> Step | None:
        """The step a run must be: the one that lasted when it began and, if it has a log, wrote that log. A human log
        has no clock: a run that is known by it alone began when it was first looked at."""
        lasted = [step for step in self.recording.steps if step.starts <= run.started_at]
        if run.form is not Form.HUMAN:
            lasted = [step for step in lasted if run.started_at <= step.ends]
        its = [step for step in lasted if not run.log_path or run.log_path == f"{self.directory}/{step.log}"]
        return its[-1] if its else None

    def runs(self) -> list[Run]:
        """Every run in the journal, oldest first."""
        return [recorded.run for recorded in reversed(self.journal.runs(limit=1000))]

    def notifications(self, *, superseded: bool = False) -> list[Notification]:
        """Everything in the outbox in order, what was superseded only if asked for."""
        rows = self.journal.query("entries", after=0, limit=100_000)
        return [notification_of(row["body"]) for row in rows if superseded or row["state"] != "superseded"]


class WatchingForReal(Watching):
    """The same with hints from the kernel instead of recorded ones."""

    def __enter__(self) -> WatchingForReal:
        assert self._watch.start() == []
        return self

    def happen(self, changes: Iterable[Change]) -> None:
        """Let changes happen; returns when the kernel's word of them has come."""
        changes = list(changes)
        for change in changes:
            self._reenactment.enact(change)
        if changes:
            self._hear_out()

    def look(self, now: float, hint_has_come: Callable[[str], bool] = lambda _path: True) -> None:
        """One turn of the agent, with whatever hints have come."""
        self._turn(now, rescan=False)

    def _hear_out(self) -> None:
        """Hints come in the order of what they are about: once there is one of the last, the others have come too."""
        last = f"{self._root}/last"
        with open(last, "w", encoding="utf-8"):
            pass
        deadline = time.monotonic() + _HINT_S
        while not self._watch._hints._files.get(last):
            self._wake.clear()
            if not self._watch._hints._files.get(last):
                assert self._wake.wait(max(0.0, deadline - time.monotonic())), "the kernel's hints do not come"
        del self._watch._hints._files[last]


def _always(_path: str) -> float:
    """The roots were watched before anything happened."""
    return 0.0
