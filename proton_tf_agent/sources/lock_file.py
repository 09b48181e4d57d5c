"""The lock info file of local state (`.terraform.tfstate.lock.info`), as evidence.

Source: terraform internal/states/statemgr/filesystem.go (lockInfoPath, writeLockInfo): JSON without a newline,
written after the fcntl lock was taken, deleted before it is released. It outlives a killed process and is then
rewritten in place by the next one.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from ..domain.evidence import Fact, LockPassed, LockReleased, LockReplaced, LockTaken

MAX_SIZE = 64 * 1024


class _LockInfo(msgspec.Struct):
    lock_id: str = msgspec.field(default="", name="ID")
    operation: str = msgspec.field(default="", name="Operation")
    who: str = msgspec.field(default="", name="Who")
    version: str = msgspec.field(default="", name="Version")
    created: str = msgspec.field(default="", name="Created")


def read(
    content: bytes | None, lock_id: str, state_path: str, gone_by: float | None = None
) -> tuple[tuple[Fact, ...], str]:
    """The facts in a lock info file, and the lock id it names now.

    content is None when the file is gone (it was there: a hint named it), gone_by is when that was at the latest;
    lock_id is the one seen last; state_path is the state file the lock protects. Empty or torn content means "being
    written": no facts, the lock id stays.
    """
    if content is None:
        return (Fact(LockReleased(lock_id) if lock_id else LockPassed(state_path, gone_by)),), ""
    try:
        info = msgspec.json.decode(content, type=_LockInfo)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return (), lock_id
    named = info.lock_id[:64]
    if not named or named == lock_id:
        return (), lock_id
    created_at = _seconds(info.created)
    taken = LockTaken(named, info.operation[:64], info.who[:256], info.version[:64], created_at, state_path)
    # Another id: either the old lock was released and a new one taken before we looked, or its owner was killed and
    # the next run rewrites the file in place. Inode numbers are reused at once, so nothing tells these apart.
    before = (Fact(LockReplaced(lock_id)),) if lock_id else ()
    return (*before, Fact(taken)), named


def objection(content: bytes) -> str:
    """Why a lock info file names no lock: a code of `domain.refusals`; empty when it names one."""
    if not content.strip():
        return "E_EMPTY"
    try:
        content.decode("utf-8")
        return "" if msgspec.json.decode(content, type=_LockInfo).lock_id else "E_SCHEMA"
    except UnicodeDecodeError:
        return "E_UTF8"
    except RecursionError:
        return "E_JSON_DEPTH"
    except msgspec.ValidationError:
        return "E_SCHEMA"
    except msgspec.DecodeError as error:
        return "E_PARTIAL" if str(error) == "Input data was truncated" else "E_JSON"


def state_path_of(lock_info_path: str) -> str:
    """The state file that a lock info file speaks for: `.NAME.lock.info` beside `NAME`."""
    directory, _, name = lock_info_path.rpartition("/")
    return f"{directory}/{name.removeprefix('.').removesuffix('.lock.info')}"


def lock_info_path_of(state_path: str) -> str:
    """The lock info file of a state file (statemgr.Filesystem.lockInfoPath)."""
    directory, _, name = state_path.rpartition("/")
    return f"{directory}/.{name.removeprefix('.')}.lock.info"


def _seconds(created: str) -> float | None:
    try:
        return datetime.fromisoformat(created).timestamp()
    except (ValueError, OverflowError):
        return None
