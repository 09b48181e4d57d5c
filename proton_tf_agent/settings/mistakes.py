"""Collecting mistakes: each with its place in its file, all of them reported together, in the order of files and lines.

Promises that a line, where one is given, is the right one: it comes from `lines` or from `tomllib`.
"""

from __future__ import annotations

import json

from ..domain.errors import Problem
from .keys import Key
from .kinds import Complain, toml_key
from .model import At, Origin
from .tables import table_of


class Mistakes:
    """The mistakes found so far in the file at `path` and in those that `begin` names. origins: where everything of
    the document stands that is looked at, as far as known."""

    def __init__(self, path: str) -> None:
        self.origins: dict[At, Origin] = {}
        self._files = [path]
        self._path = path
        self._found: list[tuple[Origin, Problem]] = []
        self._places: set[At] = set()

    def __len__(self) -> int:
        return len(self._found)

    def begin(self, path: str) -> None:
        """What is found from now on is about this file, unless `origins` has another for it."""
        self._path = path
        self._put_down(Origin(path))

    def add(self, at: At, what: str, hint: str = "") -> None:
        """A mistake at a place of the document. What is missing is placed where its table begins."""
        origin = self._origin(at)
        self._put_down(origin)
        self._found.append((origin, Problem(what, f"{origin}: {label(at)}" if str(origin) else label(at), hint)))
        self._places.add(at)

    def add_file(self, what: str, hint: str = "", line: int = 0, column: int = 0) -> None:
        """A mistake of the file as a whole, or one that keeps it from being a document."""
        origin = Origin(self._path, line)
        self._found.append((origin, Problem(what, f"{origin}:{column}" if column else str(origin), hint)))

    def of(self, at: At, key: Key) -> Complain:
        """Takes the complaints about the value of one key of the table at `at`."""

        def complain(what: str, hint: str = "", *within: str | int) -> None:
            self.add((*at, key.name, *within), what, hint or f"for example: {key.name} = {key.example}")

        return complain

    def concern(self, *places: At) -> bool:
        """Whether something was wrong at one of these very places."""
        return not self._places.isdisjoint(places)

    def touch(self, *tables: str) -> bool:
        """Whether something was wrong anywhere in one of these tables."""
        return any(place[0] in tables for place in self._places)

    def beside(self, first: At, at: At) -> str:
        """Where the first of two is, to be put behind a complaint about the one at `at`."""
        return first_at(self.origins.get(first), self._origin(at).path)

    def problems(self) -> tuple[Problem, ...]:
        """All of them, by file and line; those of a whole file before its others."""
        by_place = sorted(self._found, key=lambda found: (self._files.index(found[0].path), found[0].line))
        return tuple(problem for _, problem in by_place)

    def _put_down(self, origin: Origin) -> None:
        """Files come in the order in which they were first spoken of."""
        if origin.path not in self._files:
            self._files.append(origin.path)

    def _origin(self, at: At) -> Origin:
        known = (self.origins.get(at), self.origins.get(at[:-1]))
        found = [origin for origin in known if origin]
        return next((origin for origin in found if origin.line), found[0] if found else Origin(self._path))


def first_at(origin: Origin | None, path: str) -> str:
    """Where something is, to be put behind a complaint about a second one in the file at `path`."""
    if origin is None or (origin.path == path and not origin.line):
        return ""
    return f", first on line {origin.line}" if origin.path == path else f", first in {origin}"


def label(at: At) -> str:
    """A place as a person would name it: `[table] key`."""
    first, *rest = [step for step in at if isinstance(step, str)]
    table = table_of(first)
    name = table.header if table else _printable(first)
    return f"{name} {'.'.join(map(_printable, rest))}" if rest else name


def _printable(name: str) -> str:
    """A key of the file, fit for a terminal."""
    shown = name if len(name) <= 60 else name[:59] + "…"
    return toml_key(shown) if shown.isprintable() else json.dumps(shown)
