"""The listener: what Terraform printed, as the evidence that a record repeats.

The only part of the wrapper that uses the house's readers; imported once Terraform runs. Nothing that is sensitive
leaves here: of a diagnostic its summary and address are kept, at the end only, without any copy of what the state, the
variables or the environment hold as secret; of outputs those that may be told.
"""

from __future__ import annotations

import os
import re
import select
import signal
import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ..domain import evidence as ev
from ..domain.evidence import Cursor, Evidence, Fact, Mark
from ..domain.output_mapping import OutputMapping
from ..domain.redacted_facts import redacted
from ..domain.redaction import Taint
from ..sources import backend, log, output_json
from ..sources.safe_open import Bounds, SafeOpener
from ..sources.state_place import backend_of, workspace_of
from ..sources.states import StateReading, read_state
from ..sources.tail import MAX_LINE, Tail
from . import program
from .command import Command
from .complaint import complain

_EVERY_S = 1.0  # at most so often a record is written anew; longer where there is much in it
_FACTS_A_SECOND = 2000
_MAX_FACTS = 100_000
_MAX_ERRORS = 10
_MAX_OUTPUTS = 64 << 20
_OUTPUT_S = 60.0
_SECRET_NAME = re.compile(r"(?i)pass|pw|secret|token|key|cred|auth|private")
_ONCE = (ev.ResourceRefreshed, ev.ApplyStarted)  # one says as much as many
_COUNTED = (ev.ChangePlanned, ev.ResourceApplied, ev.ResourceErrored)  # how many counts, not which
_AT_THE_END = (ev.ErrorReported, ev.OutputsReported)  # foreign text and values: not before we know what is secret
_NOT_HEARD = (ev.LogClosed, ev.OtherCommandStarted)


class Listener:
    """Hears one command out."""

    def __init__(self, command: Command, record_id: str, settings: str, listens: bool) -> None:
        self._command = command
        self._file = log.LogFile(f"record:{record_id}", _name_of(command), record_id, 0.0)
        self._settings = settings
        self._listens = listens
        self._lines: dict[int, bytes] = {}
        self._marks: tuple[Mark, ...] = ()
        self._offset = 0
        self._anchor = ""
        self._facts: list[Fact] = []
        self._once: set[type] = set()
        self._written = 0
        self._written_at = float("-inf")

    # --- while Terraform runs -------------------------------------------------------------------------------------

    def hear(self, stream: int, words: bytes) -> None:
        """Bytes that Terraform has written to one of its streams."""
        if not self._listens:
            return
        head, end, rest = words.rpartition(b"\n")
        before = self._lines.pop(stream, b"")
        whole = before + head + end if end else b""
        self._lines[stream] = rest if end else (before + rest if len(before) < MAX_LINE else b"")
        self._read(whole, self._lines[stream])

    def stop_listening(self, error: Exception) -> None:
        """What was printed is not understood any more."""
        complain(f"what is printed is not recorded any more: {program.said_of(error)}")
        self._listens = False
        self._lines.clear()

    def is_due(self, now: float) -> bool:
        """Whether there is something to write down, and time for it."""
        due = self.due_at()
        return due is not None and now >= due

    def due_at(self) -> float | None:
        """When to write down what was heard; None while there is nothing new."""
        if self._written == len(self._facts):
            return None
        return self._written_at + max(_EVERY_S, len(self._facts) / _FACTS_A_SECOND)

    def so_far(self, now: float) -> list[object]:
        """What was heard so far, for the record."""
        self._written, self._written_at = len(self._facts), now
        return [_kept(fact) for fact in self._facts if not isinstance(fact.evidence, _AT_THE_END)]

    def _read(self, block: bytes, unfinished: bytes, complete: bool = False) -> None:
        lines = []
        for line in _split(block):
            lines.append((self._offset, line))
            self._offset += len(line)
        cursor = Cursor("", offset=self._offset, marks=self._marks)
        new = Tail(tuple(lines), self._offset, "", 0, restarted=False, more=False, unfinished=unfinished[-256:])
        facts, self._marks = log.read(self._file, new, cursor, complete)
        for fact in facts:
            self._take(fact)

    def _take(self, fact: Fact) -> None:
        evidence = fact.evidence
        if fact.unit or isinstance(evidence, _NOT_HEARD):
            return
        if isinstance(evidence, ev.OperationStarted) and not self._anchor:
            self._anchor = fact.anchor
        if fact.anchor != self._anchor or len(self._facts) >= _MAX_FACTS:
            return
        if isinstance(evidence, _ONCE):
            if type(evidence) in self._once:
                return
            self._once.add(type(evidence))
        self._facts.append(fact)

    # --- when it has ended -----------------------------------------------------------------------------------------

    def everything(self, path: str, status: int | None) -> list[object]:
        """All that was heard, for the record; of an apply that went well its outputs, asked for if need be.

        path: of the program; status: its exit status, None when a signal has ended it.
        """
        try:
            for unfinished in list(self._lines.values()):
                self._read(unfinished + b"\n" if unfinished else b"", b"")
            self._read(b"", b"", complete=True)
        except Exception as error:  # noqa: BLE001, RUF100 - how it ended is known all the same
            self.stop_listening(error)
        applied = status == 0 and self._command.applies
        heard = any(isinstance(fact.evidence, ev.OutputsReported) for fact in self._facts)
        # A state that is out of reach may be asked for its sensitive outputs at least.
        asks = applied and (not heard or _path_of_state(self._command) is None)
        asked = output_json.read(_ask_for_outputs(path, self._command)) if asks else None
        outputs, secrets = asked or ((), ())
        taint = _taint(self._command, secrets)
        if asked is not None and not heard:
            self._facts.append(Fact(ev.OutputsReported(outputs), self._anchor))
        mapping = _mapping(self._settings) if heard or asked else OutputMapping()
        return [_kept(redacted(fact, lambda: taint, mapping)) for fact in self._bounded()]

    def _bounded(self) -> Iterator[Fact]:
        """All facts, but of errors only the first with their words: the others are counted."""
        errors = 0
        for fact in self._facts:
            if isinstance(fact.evidence, ev.ErrorReported):
                errors += 1
                fact = fact if errors <= _MAX_ERRORS else Fact(ev.ErrorReported(""), fact.anchor, fact.position)
            yield fact


def _name_of(command: Command) -> str:
    """A log's name that says which command writes it: a plan that fails at once prints nothing else that does."""
    return "plan.log" if command.operation == "plan" else "apply.log"


def _split(block: bytes) -> list[bytes]:
    """Lines by newline alone: bytes.splitlines would also cut at a lone carriage return."""
    lines = [line + b"\n" for line in block.split(b"\n")]
    lines.pop()
    return lines


def _kept(fact: Fact) -> list[object]:
    """A fact as a record holds it: kind, fields, position."""
    evidence: Evidence = fact.evidence
    fields: dict[str, Any] = msgspec.to_builtins(evidence)
    if isinstance(evidence, (*_ONCE, *_COUNTED)):
        fields["address"] = ""
    return [type(evidence).__name__, fields, fact.position]


# --- what is secret, and what may be told -----------------------------------------------------------------------


def _taint(command: Command, secrets: Iterable[str]) -> Taint:
    """Every value nobody may see: what the local state marks, the outputs that were asked for, and variables whose
    names say that they are secret."""
    named = [*command.variables, *((name.removeprefix("TF_VAR_"), value) for name, value in os.environ.items())]
    values = {value for name, value in named if value and _SECRET_NAME.search(name)}
    state = _state(command)
    return Taint((*secrets, *values, *state.secrets), state.taint.known, state.taint.unseen)


def _state(command: Command) -> StateReading:
    """The local state, for what is sensitive in it."""
    if not os.path.isdir(command.directory):
        return StateReading(None, Taint(known=False))  # cleared away before we could look
    path = _path_of_state(command)
    if path is None:
        return StateReading(None, Taint())
    return read_state(SafeOpener([Bounds(os.path.dirname(path), crosses_mounts=True)]), path)


def _path_of_state(command: Command) -> str | None:
    """The local state that a command leaves behind; None where it is kept elsewhere."""
    if command.state:
        return os.path.normpath(os.path.join(command.directory, command.state))
    opener = SafeOpener([Bounds(command.directory, crosses_mounts=True)])
    workspace = os.environ.get("TF_WORKSPACE") or workspace_of(opener, command.directory)
    return backend.state_path(command.directory, backend_of(opener, command.directory), workspace)


def _mapping(settings: str) -> OutputMapping:
    """Which outputs the settings ask for; all of them where a job may not read the settings: the agent maps again."""
    if not os.access(settings, os.R_OK):
        return OutputMapping()
    from ..domain.errors import AgentError
    from ..settings import load

    try:
        return load(settings).outputs
    except AgentError:
        return OutputMapping()


def _ask_for_outputs(path: str, command: Command) -> bytes:
    """What `terraform output -json` prints in the same directory and environment; nothing when it fails. Flags in the
    environment are another command's."""
    chdir = [word for word in command.words[1:2] if word.startswith("-chdir=")]
    state = [f"-state={command.state}"] if command.state else []
    source, inlet = os.pipe()
    try:
        pid = os.posix_spawn(
            path,
            [command.words[0], *chdir, "output", "-json", *state],
            {n: value for n, value in program.environment().items() if not n.startswith(("TF_CLI_ARGS", "TF_LOG"))},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, inlet, 1),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
    except OSError:
        os.close(source)
        return b""
    finally:
        os.close(inlet)
    try:
        said = _read_to_end(source)
    finally:
        os.close(source)
    if said is None:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return said if said is not None and status == 0 else b""


def _read_to_end(source: int) -> bytes | None:
    """Everything that comes; None when it takes too long or is too much."""
    deadline = time.monotonic() + _OUTPUT_S
    pieces: list[bytes] = []
    size = 0
    poll = select.poll()
    poll.register(source, select.POLLIN)
    while size <= _MAX_OUTPUTS and poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        piece = os.read(source, 1 << 16)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
    return None
