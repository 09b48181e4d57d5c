"""What a run directory tells beside its logs: the state with its outputs and its secrets, and whose run it is.

Reads only. What cannot be read is said to be unknown, never taken for absent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..domain.binding import MAX_METADATA, MAX_OPERATION, METADATA_PATH, OPERATION_PATH, TFVARS_PATH
from ..domain.redaction import Taint
from ..domain.values import replace
from . import lock_file, state_file, tail
from .safe_open import SafeOpener, Unreadable


@dataclass(frozen=True, slots=True)
class StateReading:
    """A state as far as it could be read: outputs (None: not readable now) and what is sensitive.

    reason says why there is no state, in words for people; modified_at is when the state was last written. secrets are
    the values behind the taint.
    """

    state: state_file.State | None
    taint: Taint
    reason: str = ""
    modified_at: float = 0.0
    secrets: tuple[str, ...] = field(default=(), repr=False)


_MOST_SENSITIVE = 20_000  # values; each is looked for in a dozen forms
_LONGEST_SENSITIVE = 2 << 20  # characters of all of them
MAX_STATE = 1 << 30  # bytes; the largest that are told of have 300 MB
NO_STATE = "there is no local state"
TORN = "the state is torn or being written"
PASSING = ("E_EMPTY", "E_PARTIAL")  # codes of what Terraform leaves for a moment whenever it writes
ENCRYPTED = "the state is encrypted"


def read_state(opener: SafeOpener, path: str) -> StateReading:
    """The state at path, and every value of it and of its backup, the serial before it, that nobody may see.

    Taint is unknown when either exists but cannot be read whole; with no local state nothing can be known to be
    sensitive, and patterns have to do. An encrypted state (OpenTofu) is no state: neither its outputs nor what is
    sensitive in it can be known.
    """
    current, secrets = _read_one_state(opener, path)
    backup, previous = _read_one_state(opener, path + ".backup")
    everything = (*secrets, *previous)
    if len(everything) > _MOST_SENSITIVE or sum(map(len, everything)) > _LONGEST_SENSITIVE:
        return replace(current, taint=Taint(known=False), secrets=everything)  # more than can be looked for
    known = current.taint.known and backup.taint.known
    unseen = current.taint.unseen | backup.taint.unseen
    return replace(current, taint=Taint(everything, known, unseen), secrets=everything)


def _read_one_state(opener: SafeOpener, path: str) -> tuple[StateReading, tuple[str, ...]]:
    nothing, unknown = Taint(), Taint(known=False)
    try:
        with opener.open(path, MAX_STATE) as file:
            return reading_of(file.read, file.stat.st_size, file.is_unchanged, file.stat.st_mtime)
    except FileNotFoundError:
        return StateReading(None, nothing, NO_STATE), ()
    except Unreadable as error:
        return StateReading(None, unknown, f"the state cannot be read: {error.code}"), ()


def reading_of(
    read_at: tail.ReadAt, size: int, is_unchanged: Callable[[], bool], at: float
) -> tuple[StateReading, tuple[str, ...]]:
    """A state of so many bytes, last written `at` (seconds since the epoch), and its sensitive values."""
    nothing, unknown = Taint(), Taint(known=False)
    if size == 0:
        return StateReading(None, nothing, "the state is empty", at), ()  # nothing was written yet
    state = state_file.read(read_at, size, is_unchanged)
    if state is None:
        code = state_file.objection(read_at, size)
        reason = TORN if code in PASSING or not is_unchanged() else f"the state cannot be read: {code}"
        return StateReading(None, unknown, reason, at), ()
    if state.encrypted:
        return StateReading(None, unknown, ENCRYPTED, at), ()
    marked = state_file.marked_in_resources(read_at, size)
    if marked is None or not is_unchanged():
        return StateReading(state, unknown, "", at), (*state.secrets, *(marked.secrets if marked else ()))
    return StateReading(state, Taint(unseen=marked.write_only), "", at), (*state.secrets, *marked.secrets)


def is_locked(opener: SafeOpener, path: str) -> bool:
    """Whether a lock info file lies beside a state, or may: its outputs may be a mix of old and new.

    It may also have been left behind by a killed run; then too nobody can vouch for what the state holds.
    """
    try:
        return opener.look(lock_file.lock_info_path_of(path)) is not None
    except Unreadable:
        return True


@dataclass(frozen=True, slots=True)
class BindingFile:
    """What names a resource, as bytes, and when it was written."""

    content: bytes
    modified_at: float


def read_binding_files(opener: SafeOpener, directory: str) -> tuple[BindingFile | None, BindingFile | None]:
    """The deployment metadata and Proton's tfvars of a run directory; None where there is none."""
    return _binding_file(opener, f"{directory}/{METADATA_PATH}"), _binding_file(opener, f"{directory}/{TFVARS_PATH}")


def read_operation_file(opener: SafeOpener, directory: str) -> BindingFile | None:
    """The operation that Service Catalog has asked for in a run directory; None where there is none."""
    return _binding_file(opener, f"{directory}/{OPERATION_PATH}", MAX_OPERATION)


def _binding_file(opener: SafeOpener, path: str, most: int = MAX_METADATA) -> BindingFile | None:
    try:
        with opener.open(path, most) as file:
            return BindingFile(file.read(0, most), file.stat.st_mtime)
    except FileNotFoundError:
        return None
