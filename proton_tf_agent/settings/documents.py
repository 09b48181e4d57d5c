"""From the settings file and its conf.d to one document: every table with where it stands.

A file is read, parsed and held against the names of the tables; then the tables of all files are put together. What
their values mean is `reading`'s. Why conf.d is as it is: docs/decisions/0012-conf-d.md.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import tomllib
from typing import Any

from . import lines
from .keys import Table
from .kinds import nearest
from .mistakes import Mistakes, first_at
from .model import At, Origin
from .tables import TABLES, table_of

PARTS = "conf.d"
_MAX_BYTES = 1024 * 1024
_SYNTAX = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)

Found = tuple[At, dict[str, Any]]
"""A table of the document: where it stands, and what stands in it."""


class Document:
    """What stands in the files: the tables of each name, in order, and the origin of everything in them. is_whole:
    whether every file could be read."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Found]] = {table.name: [] for table in TABLES}
        self.origins: dict[At, Origin] = {}
        self.is_whole = True

    def take(self, table: Table, at: At, found: dict[str, Any], path: str, mistakes: Mistakes) -> None:
        """Put a table of a file behind those that are there; mistakes.origins is that file's."""
        there = self.tables[table.name]
        if not table.repeated and len(at) == 1:
            if not there:
                there.append((at, {}))
            self._join(at, found, there[0][1], path, mistakes)
        else:
            place = (table.name, len(there))
            there.append((place, found))
            self._note(at, place, found, path, mistakes)

    def _join(self, at: At, found: dict[str, Any], there: dict[str, Any], path: str, mistakes: Mistakes) -> None:
        """Add the keys of a single table to those that other files have given; none stands twice."""
        new = {}
        for name, value in found.items():
            if name in there:
                first = first_at(self.origins.get((*at, name)), path)
                mistakes.add((*at, name), f"is set twice{first}", "take one of them out")
            else:
                new[name] = there[name] = value
        self._note(at, at, new, path, mistakes)

    def _note(self, at: At, place: At, found: dict[str, Any], path: str, mistakes: Mistakes) -> None:
        """Remember where a table and its keys stand that is at `at` in its file, and at `place` in the document."""
        known = mistakes.origins
        self.origins.setdefault(place, known.get(at, Origin(path)))
        for name in found:
            self.origins[*place, name] = known.get((*at, name), Origin(path))
        for where, origin in known.items():
            if len(where) > len(at) + 1 and where[: len(at)] == at and where[len(at)] in found:
                self.origins[*place, *where[len(at) :]] = origin


def document(path: str, mistakes: Mistakes, *, alone: bool = False) -> Document:
    """The tables in the file at `path` and, unless it is alone, in its conf.d."""
    whole = Document()
    for file in (path, *(() if alone else _parts(path, mistakes))):
        mistakes.begin(file)
        mistakes.origins = {}
        text = _contents(file, mistakes)
        parsed = None if text is None else _parsed(text, mistakes)
        if text is None or parsed is None:
            whole.is_whole = False
            continue
        mistakes.origins = {at: Origin(file, line) for at, line in lines.index(text, parsed).items()}
        for name, value in parsed.items():
            table = table_of(name)
            if not table:
                mistakes.add((name,), *_unknown(name, value))
                continue
            for at, found in _shaped(table, value, mistakes):
                whole.take(table, at, found, file, mistakes)
            if not whole.tables[name]:
                whole.origins.setdefault((name,), mistakes.origins.get((name,), Origin(file)))
    mistakes.begin(path)
    mistakes.origins = whole.origins
    return whole


def is_part(path: str) -> bool:
    """Whether a file is one of a conf.d."""
    return os.path.basename(os.path.dirname(os.path.abspath(path))) == PARTS


def _parts(path: str, mistakes: Mistakes) -> list[str]:
    """The files of the conf.d beside a settings file, by name; what is hidden or has another ending is none."""
    directory = os.path.join(os.path.dirname(path), PARTS)
    mistakes.begin(directory)
    try:
        mode = os.stat(directory).st_mode
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, ValueError):  # the latter: what is said of the settings file itself will do
        return []
    except OSError as error:
        if not isinstance(error, NotADirectoryError) or os.path.lexists(directory):
            mistakes.add_file(f"cannot be read: {reason(error)}", "it is a directory, or there is none")
        return []
    if mode & 0o022:
        mistakes.add_file(*_open_to_others(directory, mode))
    return [os.path.join(directory, name) for name in names if name.endswith(".toml") and not name.startswith(".")]


def _open_to_others(path: str, mode: int) -> tuple[str, str]:
    what = f"can be written by others than its owner (mode {stat.S_IMODE(mode):04o})"
    return what, f"chmod go-w {shlex.quote(path)}"


def reason(error: Exception) -> str:
    """Why a file or directory cannot be looked at, in words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


# --- one file ---------------------------------------------------------------------------------------------


def _contents(path: str, mistakes: Mistakes) -> str | None:
    content = _bytes(path, mistakes)
    if content is None:
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        mistakes.add_file("is not UTF-8", "save the file as UTF-8", line)
        return None


def _bytes(path: str, mistakes: Mistakes) -> bytes | None:
    try:
        # Non-blocking: a FIFO in the file's place must not hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        mistakes.add_file("does not exist", "proton-tf-agent config generate prints one to start from")
        return None
    except (OSError, ValueError) as error:
        mistakes.add_file(f"cannot be read: {reason(error)}")
        return None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            mistakes.add_file("is a directory" if stat.S_ISDIR(mode) else "is not a regular file")
            return None
        if mode & 0o022:
            mistakes.add_file(*_open_to_others(path, mode))
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        mistakes.add_file(f"cannot be read: {reason(error)}")
        return None
    finally:
        os.close(descriptor)
    if len(content) > _MAX_BYTES:
        mistakes.add_file(f"is larger than {_MAX_BYTES // 1024} KiB")
        return None
    return content


def _parsed(text: str, mistakes: Mistakes) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except RecursionError:
        mistakes.add_file("is not TOML: nested too deeply")
    except ValueError as error:  # TOMLDecodeError, or an integer with more digits than Python reads
        match = _SYNTAX.fullmatch(str(error))
        what, line, column = match.groups() if match else (str(error), 0, 0)
        if match and not line:
            line = text.rstrip("\n").count("\n") + 1  # the document ends too early: its last line
        line = int(line)
        mistakes.add_file(f"is not TOML: {what[:200]}", _syntax_hint(text, line), line, int(column or 0))
    return None


def _syntax_hint(text: str, line: int) -> str:
    read = text.split("\n")[line - 1].strip() if line else ""
    return f"the line reads: {read[:80]}" if read and read.isprintable() else ""


def _unknown(name: str, value: object) -> tuple[str, str]:
    """What is said of a name at the top of the document that stands for no table."""
    owners = " or ".join(table.header for table in TABLES if table.key(name))
    if owners and not isinstance(value, dict):
        return "stands outside of a table", f"it belongs below {owners}"
    near = table_of(nearest(name, tuple(table.name for table in TABLES)))
    known = "known are " + ", ".join(table.header for table in TABLES)
    return "unknown table", f"did you mean {near.header}?" if near else known


def _shaped(table: Table, value: object, mistakes: Mistakes) -> list[Found]:
    """The tables of that name. Those in the wrong brackets are read as well: their mistakes are worth knowing."""
    at: At = (table.name,)
    if isinstance(value, dict):
        if table.repeated:
            mistakes.add(at, f"must be written {table.header}", "double brackets: there may be more than one")
        return [(at, value)]
    if not isinstance(value, list) or not all(isinstance(element, dict) for element in value):
        mistakes.add(at, "must be a table", f"write {table.header} on a line of its own, then its keys below")
        return []
    if not table.repeated:
        mistakes.add(at, f"must be written {table.header}", "single brackets: there is only one")
    return [((*at, place), element) for place, element in enumerate(value)]
