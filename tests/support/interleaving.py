"""Two runs, one after the other, and an agent that may be stopped before any of its system calls; or many at once in
several directories, and one that may be stopped between its turns.

The world is a list of steps, each a change on disk or of who holds what. The agent is the real observer, pipeline and
journal: before it opens, reads or asks, the world may go on, as a script says. Only the clock and the answers about
processes are the world's.
"""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, count, repeat
from pathlib import Path
from types import TracebackType

import pytest
from watchdog.events import FileClosedEvent, FileCreatedEvent, FileDeletedEvent, FileModifiedEvent, FileSystemEvent

from proton_tf_agent.domain.notification import Notification
from proton_tf_agent.domain.run import Run
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal
from proton_tf_agent.sources import liveness, tail
from proton_tf_agent.sources.liveness import Presence
from proton_tf_agent.sources.safe_open import OpenFile, SafeOpener

from .facts import LOGS
from .observing import ObservedRoot
from .watching import bind_directory

ARN = "arn:aws:proton:us-east-1:111122223333:environment/net"
DEPLOYMENT_ID = "fcda9f18-f569-4079-8474-0832f45b97ea"
HUMAN = LOGS.parent / "human"
RUN = (
    "truncate", "version", "lock", "info", "info written", "plan", "apply", "info gone", "unlock", "summary",
    "outputs", "close",
)  # fmt: skip
"""`terraform apply -json > apply.log`, in the order in which the shell and Terraform do it."""
UNLOCKED = tuple(step for step in RUN if step not in ("lock", "info", "info written", "info gone", "unlock"))
"""The same with `-lock=false`, or with its lock where nobody looks."""

_STAMP = re.compile(rb'(?<="@timestamp":")[^"]+')


Lines = Mapping[str, Sequence[bytes]]


def _lines(path: Path, **begin: int) -> Lines:
    """A recorded log, by the step that prints it and the line at which that begins."""
    lines, steps = path.read_bytes().splitlines(keepends=True), list(begin)
    ends = [*list(begin.values())[1:], None]
    return {step: lines[begin[step] : end] for step, end in zip(steps, ends, strict=True)}


APPLY = _lines(LOGS / "apply_ok.log", version=0, plan=1, apply=6, summary=-2, outputs=-1)
PLAN = _lines(LOGS / "plan_changes.log", version=0, plan=1)
SAVED_PLAN = _lines(LOGS / "apply_saved_plan.log", version=0, plan=1, apply=4, summary=-2, outputs=-1)
HUMAN_PLAN = _lines(HUMAN / "plan_saved.log", version=0, plan=4)
HUMAN_SAVED_PLAN = _lines(HUMAN / "apply_saved.log", apply=0, summary=4, outputs=6)


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what it does step by step, what it prints at which, into which log, and what it takes its lock for.

    A command that prints nothing at a step just passes it.
    """

    lock_id: str
    prints: Lines = field(default_factory=lambda: APPLY)
    steps: Sequence[str] = RUN
    log: str = "apply.log"
    operation: str = "OperationTypeApply"

    @property
    def appends(self) -> Command:
        """The same, behind what its log holds."""
        return replace(self, steps=("append", *self.steps[1:]))


TWICE = (Command("first"), Command("second"))
"""An apply, and another over its log."""


class Place:
    """A run directory in which commands happen one after the other. held: whether somebody holds the state's lock.

    below: where in it the state is, for `terraform -chdir=prod apply > apply.log`. lag: by how many of its words the
    kernel is behind; they come in order.
    """

    def __init__(self, scene: ObservedRoot, directory: str, below: str = ".", lag: int = 0) -> None:
        self.directory = directory
        self.state = os.path.normpath(f"{directory}/{below}/terraform.tfstate")
        self._info = os.path.normpath(f"{directory}/{below}/.terraform.tfstate.lock.info")
        self.held = False
        self._scene = scene
        self._lag = lag
        self._words: deque[FileSystemEvent] = deque()
        self._writer = -1
        os.makedirs(os.path.dirname(self.state), exist_ok=True)
        Path(self.state).touch()

    def close(self) -> None:
        """Leave no file open."""
        if self._writer >= 0:
            os.close(self._writer)

    def is_written(self, file: tuple[int, int]) -> bool:
        """Whether somebody has a file (device, inode) open for writing: nobody but the command that is on has."""
        status = os.fstat(self._writer) if self._writer >= 0 else None
        return status is not None and (status.st_dev, status.st_ino) == file

    def happen(self, step: str, command: Command) -> None:
        """Let a command do its next step, and the kernel tell of it."""
        word: FileSystemEvent | None = None
        log = f"{self.directory}/{command.log}"
        match step:
            case "truncate" | "append":
                how = os.O_TRUNC if step == "truncate" else os.O_APPEND
                word = None if step == "append" and os.path.exists(log) else FileModifiedEvent(log)
                self._writer = os.open(log, os.O_CREAT | os.O_WRONLY | how, 0o644)
            case "close":
                os.close(self._writer)
                self._writer = -1
                word = FileClosedEvent(log)
            case "lock" | "unlock":
                self.held = step == "lock"
            case "info":
                Path(self._info).touch()
                word = FileCreatedEvent(self._info)
            case "info written":
                Path(self._info).write_text(json.dumps(self._lock_info(command)))
                word = FileClosedEvent(self._info)
            case "info gone":
                os.remove(self._info)
                word = FileDeletedEvent(self._info)
            case _:
                lines = command.prints.get(step, ())
                os.write(self._writer, b"".join(_STAMP.sub(self._time().encode(), line) for line in lines))
                word = FileModifiedEvent(log) if lines else None
        if word is not None:  # by the world's clock
            changed = log if word.src_path == log else os.path.dirname(self._info)
            os.utime(changed, (self._scene.now, self._scene.now))
        if word is not None:
            self._words.append(word)
            self._tell(self._lag)

    def hear_out(self) -> None:
        """Let the kernel tell the rest."""
        self._tell(0)

    def _tell(self, lag: int) -> None:
        while len(self._words) > lag:
            self._scene.watch._hints.dispatch(self._words.popleft())

    def _lock_info(self, command: Command) -> dict[str, str]:
        named = {"ID": command.lock_id, "Operation": command.operation, "Who": "ci@runner", "Version": "1.11.4"}
        return named | {"Created": self._time()}

    def _time(self) -> str:
        return datetime.fromtimestamp(self._scene.now, UTC).isoformat()


@dataclass(frozen=True, slots=True)
class Pause:
    """How long the world rests before its next step: for so many of the agent's system calls, but not beyond the end of
    its turn; and so many seconds."""

    calls: int
    seconds: float = 0.01


class Interleaving:
    """One interleaving; use as a context manager. hidden: the agent may not look into /proc. below: where in the run
    directory the state is, and the deployment metadata. lag: by how many of its words the kernel is behind.

    script: the pauses before the steps of the commands, one command after the other. Behind its end the world does not
    rest.
    """

    def __init__(
        self,
        base: Path,
        script: Sequence[Pause],
        *,
        hidden: bool,
        commands: Sequence[Command] = TWICE,
        below: str = ".",
        lag: int = 0,
    ) -> None:
        self.journal = Journal.open_as_daemon(str(base / "memory" / "journal.db"))
        self.journal._connection.execute("PRAGMA synchronous=OFF")  # no power is lost here
        self.scene = ObservedRoot(base, self.journal)
        bind_directory(f"{self.scene.directory}/{below}", ARN, DEPLOYMENT_ID)
        self._place = Place(self.scene, self.scene.directory, below, lag)
        self._hidden = hidden
        self._steps = [(step, command) for command in commands for step in command.steps]
        self._pauses = chain(script, [Pause(0)] * len(self._steps))
        self._pause = next(self._pauses)
        self._calls = 0

    def __enter__(self) -> Interleaving:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.journal.close()
        self._place.close()

    def play(self) -> None:
        """Let the agent turn until everything has happened, and then until it has found out."""
        with pytest.MonkeyPatch.context() as patch:
            self._stop_before_calls(patch)
            while self._steps:
                self._calls = max(self._calls, self._pause.calls)
                self._go_on()
                self.scene.observer.turn()
            self.scene.observer.turn()
            self._place.hear_out()
            self.scene.observer.turn()
            for _ in range(3):
                self.scene.observer.turn(rescan=True)
                self.scene.now += 60.0
            self.scene.observer.turn(rescan=True)

    # --- the world -------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """The agent is about to call the system: what is due has happened by then."""
        while self._steps and self._calls >= self._pause.calls:
            self.scene.now += self._pause.seconds
            self._calls, self._pause = 0, next(self._pauses)
            self._place.happen(*self._steps.pop(0))
        self._calls += 1

    # --- the agent -------------------------------------------------------------------------------------------

    def _stop_before_calls(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(SafeOpener, "open", self._before(SafeOpener.open))
        patch.setattr(OpenFile, "read", self._before(OpenFile.read))
        patch.setattr(liveness, "lock_holder", self._before(self._lock_holder))
        patch.setattr(liveness, "writers", self._before(self._writers))

    def _before(self, call: Callable[..., object]) -> Callable[..., object]:
        def later(*arguments: object) -> object:
            self._go_on()
            return call(*arguments)

        return later

    def _lock_holder(self, _fd: int) -> Presence:
        return Presence.PRESENT if self._place.held else Presence.ABSENT

    def _writers(self, files: Mapping[tuple[int, int], int]) -> dict[tuple[int, int], Presence]:
        if self._hidden:
            return dict.fromkeys(files, Presence.UNKNOWN)
        return {file: Presence.PRESENT if self._place.is_written(file) else Presence.ABSENT for file in files}


class Crowd:
    """Runs in several run directories at once; use as a context manager. The agent is stopped between its turns only.

    commands: by directory, what happens there; a name like `above/prod` keeps the state in that, below the logs. Each
    lock has an id of its own. hurried: no batch of looks has time for more than the first of them. pieces: how much of
    a log one look reads.
    """

    def __init__(
        self, base: Path, commands: Mapping[str, Sequence[Command]], *, hurried: bool, pieces: int = tail.READ_LIMIT
    ) -> None:
        self.journal = Journal.open_as_daemon(str(base / "memory" / "journal.db"))
        self.journal._connection.execute("PRAGMA synchronous=OFF")  # no power is lost here
        self.scene = ObservedRoot(base, self.journal)
        spent = count() if hurried else repeat(0)
        self.scene.cpu = lambda: float(next(spent))
        self._pieces = pieces
        self._places: dict[str, Place] = {}
        for number, name in enumerate(commands):
            directory, _, below = name.partition("/")
            place = Place(self.scene, f"{self.scene.root}/{directory}", below or ".")
            bind_directory(place.directory, f"{ARN}-{number}", DEPLOYMENT_ID)
            self._places[name] = place
        self._steps = {
            name: [(step, replace(c, lock_id=f"{c.lock_id} in {name}")) for c in found for step in c.steps]
            for name, found in commands.items()
        }

    def __enter__(self) -> Crowd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.journal.close()
        for place in self._places.values():
            place.close()

    def play(self, script: Iterable[Mapping[str, int]], *, patient: bool) -> None:
        """Let so many steps happen in each directory between two turns of the agent, and all that are left in the end.

        patient: the world waits until the agent has looked at everything.
        """
        everything = dict.fromkeys(self._steps, len(max(self._steps.values(), key=len)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tail, "READ_LIMIT", self._pieces)
            patch.setattr(liveness, "lock_holder", self._lock_holder)
            patch.setattr(liveness, "writers", self._writers)
            for steps in (*script, everything):
                self._happen(steps)
                self.scene.observer.turn()
                while patient and self.scene.observer.has_backlog:
                    self.scene.observer.turn()
            for _ in range(3):
                self.scene.observer.turn(rescan=True)
                while self.scene.observer.has_backlog:
                    self.scene.observer.turn()
                self.scene.now += 60.0
            self.scene.observer.turn(rescan=True)

    def runs(self, name: str) -> list[Run]:
        """The runs of a directory, oldest first."""
        return [run for run in self.scene.runs()[::-1] if self._places[name].directory in run.directories]

    def told(self, name: str) -> list[Notification]:
        """What was told of them."""
        ids = {run.run_id for run in self.runs(name)}
        return [notification for notification in self.scene.notifications() if notification.run_id in ids]

    def _happen(self, steps: Mapping[str, int]) -> None:
        for name, number in steps.items():
            for step, command in self._steps[name][:number]:
                self.scene.now += 0.01
                self._places[name].happen(step, command)
            del self._steps[name][:number]

    def _lock_holder(self, fd: int) -> Presence:
        held = (os.stat(place.state) for place in self._places.values() if place.held)
        return Presence.PRESENT if any(os.path.samestat(os.fstat(fd), state) for state in held) else Presence.ABSENT

    def _writers(self, files: Mapping[tuple[int, int], int]) -> dict[tuple[int, int], Presence]:
        written = {file for file in files if any(place.is_written(file) for place in self._places.values())}
        return {file: Presence.PRESENT if file in written else Presence.ABSENT for file in files}
