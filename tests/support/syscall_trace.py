"""What a process does to the files below a directory, as strace sees it: steps in the order of its system calls.

A process says what has become durable by writing a line to the file ACKNOWLEDGED beside its files: so it stands in the
same order. A call that changes a file in a way this module does not know is an error, never left out.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ACKNOWLEDGED = "acknowledged"
DEADLINE_S = 120.0

_NAMING = (
    "open", "openat", "openat2", "creat", "truncate", "unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2",
    "link", "linkat", "symlink", "symlinkat", "mkdir", "mkdirat",
)  # fmt: skip
_WRITING = (
    "write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "copy_file_range", "ftruncate", "fallocate",
    "fsync", "fdatasync", "sync_file_range", "syncfs",
)  # fmt: skip
_CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
_UNTOLD = re.compile(r"<unfinished|resumed>")  # two threads at once: the order would be a guess


@dataclass(frozen=True, slots=True)
class Step:
    """One change. path is relative to the traced directory."""

    path: str


@dataclass(frozen=True, slots=True)
class Make(Step):
    """An empty file, or a directory, came to be."""

    is_directory: bool = False


@dataclass(frozen=True, slots=True)
class Write(Step):
    """Bytes from an offset on."""

    at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate(Step):
    """The file is so many bytes long from now on."""

    size: int


@dataclass(frozen=True, slots=True)
class Sync(Step):
    """fsync or fdatasync of a file has returned."""


@dataclass(frozen=True, slots=True)
class SyncDirectory(Step):
    """fsync or fdatasync of a directory has returned."""


@dataclass(frozen=True, slots=True)
class Remove(Step):
    """The name is gone."""


@dataclass(frozen=True, slots=True)
class Rename(Step):
    """The file has another name, in the place of what bore it."""

    to: str


@dataclass(frozen=True, slots=True)
class Acknowledge(Step):
    """What the process has said."""

    line: str


def trace(command: Sequence[str], directory: Path, trace_file: Path, **environment: str) -> list[Step]:
    """Run a command to its end and return what it did below `directory`, which it finds as it is."""
    there = {str(path.relative_to(directory)): path.is_dir() for path in directory.rglob("*")}
    calls = ",".join(f"?{name}" for name in (*_NAMING, *_WRITING))  # "?": not every machine has them all
    subprocess.run(
        ["strace", "-f", "-y", "-xx", "-s", "10000000", "-o", str(trace_file), "-e", f"trace={calls}", *command],
        check=True, timeout=DEADLINE_S, stdin=subprocess.DEVNULL, env=os.environ | environment,
    )  # fmt: skip
    return _Reader(str(directory), there).read(trace_file.read_text("ascii").splitlines())


class _Reader:
    """Reads calls; knows which names there are, and whether each is a directory."""

    def __init__(self, directory: str, there: Mapping[str, bool]) -> None:
        self._prefix = directory.rstrip("/") + "/"
        self._there = {"": True, **there}

    def read(self, lines: Sequence[str]) -> list[Step]:
        """The steps of a whole trace."""
        steps = []
        for line in lines:
            call = _CALL.match(line)
            assert not _UNTOLD.search(line), line[:200]
            if call and int(call[3]) >= 0:
                step = self._step(call[1], call[2].split(", "), int(call[3]))
                steps += [] if step is None else [step]
        return steps

    def _step(self, call: str, arguments: list[str], result: int) -> Step | None:
        paths = [self._below(path) for path in self._paths(call, arguments)]
        if all(path is None for path in paths):
            return None
        path = paths[0]
        assert path is not None, (call, arguments)
        if call in ("write", "pwrite64"):
            return self._write(call, path, arguments, result)
        if call in ("fsync", "fdatasync"):
            return SyncDirectory(path) if self._there[path] else Sync(path)
        if call == "ftruncate":
            return Truncate(path, int(arguments[1]))
        return self._name(call, path, paths, arguments)

    def _write(self, call: str, path: str, arguments: list[str], result: int) -> Step:
        data = _text(arguments[1])[:result]
        assert len(data) == result
        if path == ACKNOWLEDGED:
            return Acknowledge(path, data.decode())
        assert call == "pwrite64", f"{path} is written to without an offset"
        return Write(path, int(arguments[3]), data)

    def _name(self, call: str, path: str, paths: list[str | None], arguments: list[str]) -> Step | None:
        if call in ("open", "openat"):
            flags = arguments[2 if call == "openat" else 1]
            made = path not in self._there and path != ACKNOWLEDGED  # it was opened, so it is there now
            assert "O_TRUNC" not in flags or path == ACKNOWLEDGED, arguments
            self._there.setdefault(path, False)
            return Make(path) if made else None
        if call in ("mkdir", "mkdirat"):
            self._there[path] = True
            return Make(path, is_directory=True)
        if call in ("unlink", "unlinkat"):
            self._there.pop(path)
            return Remove(path)
        if call in ("rename", "renameat", "renameat2"):
            to = paths[1]
            assert to is not None, arguments
            self._there[to] = self._there.pop(path)
            return Rename(path, to)
        raise AssertionError(f"a call that is not understood: {call} {arguments}"[:500])

    def _paths(self, call: str, arguments: list[str]) -> list[str]:
        """The paths a call is about: of the descriptor it works on, or those it names."""
        if call in _NAMING:
            return [os.fsdecode(_text(argument)) for argument in arguments if argument.startswith('"')]
        return [os.fsdecode(_unquoted(found[1])) for found in re.finditer(r"\d<([^>]*)>", ", ".join(arguments))]

    def _below(self, path: str) -> str | None:
        if path + "/" == self._prefix:
            return ""
        return path.removeprefix(self._prefix) if path.startswith(self._prefix) else None


def _text(argument: str) -> bytes:
    assert argument.startswith('"'), argument
    assert argument.endswith('"'), argument[-20:]  # else strace has cut it off
    return _unquoted(argument[1:-1])


def _unquoted(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
